"""``serve``: the library over HTTP, from this process, until it is told to stop."""

from __future__ import annotations

import errno
import socket
import threading
import webbrowser
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli.look import queues_of
from tagger.cli.options import DbOption, open_library, roots_of, settings_of
from tagger.cli.output import errors, out
from tagger.cli.worker import send_first
from tagger.errors import SettingsError

if TYPE_CHECKING:
    from types import FrameType

    from uvicorn import Server

    from tagger.settings import Settings
    from tagger.sources import Roots
    from tagger.store.session import Database
    from tagger.web.site import Site

GRACE_SECONDS = 3
"""How long answers that are under way are waited for at the end."""


def serve(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH...]",
            exists=True,
            help="Folders that may be read, beside TAGGER_ROOTS.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; other than this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 is any that is free.")] = 8484,
    browse: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    db: DbOption = None,
) -> None:
    """Answer over HTTP, until told to stop (TERM, Ctrl-C): pages for people, and an API beneath /api/v1.

    Other machines are let in by a token alone (TAGGER_TOKEN), which is then asked for everywhere.
    """
    settings = settings_of(context, db)
    with _listening(host, port, settings) as listener:
        address = _address_of(listener)
        _run(settings, paths or [], listener, address, browse=browse)


def _run(
    settings: Settings, paths: list[Path], listener: socket.socket, address: str, *, browse: bool
) -> None:
    """Serve until a signal comes."""
    from tagger.library.thumbnails import Thumbnails
    from tagger.web.site import PATIENCE_SECONDS, Site

    stop = threading.Event()
    folder, most = settings.cache_dir / "thumbnails", settings.thumbnail_bytes
    with ExitStack() as held:
        opened = held.enter_context(open_library(settings))
        database = replace(opened, patience=PATIENCE_SECONDS)
        roots = _readable(settings, paths, database)
        thumbnails = Thumbnails(roots, settings.limits, folder, most, settings.cores)
        site = Site(
            database,
            settings,
            roots,
            held.enter_context(thumbnails),
            send=partial(send_first, database, settings),
            queues=partial(queues_of, settings),
            stopping=stop.is_set,
        )
        server = _server(site, stop)
        out.print(f"Tagger is at {address} (Ctrl-C ends it).")
        if browse:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # uvicorn passes the signal on when all is done
            server.run(sockets=[listener])


def _server(site: Site, stop: threading.Event) -> Server:
    """A server that tells when it is told to end."""
    from uvicorn import Config, Server

    from tagger.web.app import make_app

    class Telling(Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            stop.set()  # whoever looks through a folder stops doing so
            super().handle_exit(sig, frame)

    return Telling(
        Config(
            make_app(site),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=list(site.settings.proxies),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def _readable(settings: Settings, paths: list[Path], database: Database) -> Roots:
    """What may be shown: the roots and the folders that were named; where there are none of either, what
    `tagger tag` was run over on this machine, if it is for this machine that it is shown."""
    from tagger.library import lookup

    roots = roots_of(settings).adding(paths)
    if roots.items or roots.remote:
        return roots
    if settings.token is None:
        return roots.adding(lookup.tagged_places(database))
    errors.print(
        "warning: no folders are named, so no pictures are shown: `tagger serve PATH`, or TAGGER_ROOTS",
        style="yellow",
    )
    return roots


def _listening(host: str, port: int, settings: Settings) -> socket.socket:
    """A socket that listens there; raises :class:`SettingsError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as fault:
        raise SettingsError(f"there is no address {host!r} to listen on: {fault}") from fault
    if settings.token is None and not ip_address(address[0]).is_loopback:
        raise SettingsError(
            f"at {host} other machines reach your photos, and no token is set: "
            "export TAGGER_TOKEN=$(openssl rand -hex 24), or listen on 127.0.0.1"
        )
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} of {host} is taken: name another with --port") from fault
        raise SettingsError(f"port {port} of {host} cannot be listened on: {fault.strerror}") from fault


def _address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
