"""Addresses of images on servers: ``s3://bucket/a.jpg``, ``https://host/a.jpg``, one form for each.

An address is read into its parts once, and everything is decided by the parts. Two dialects:

- the web (``http``, ``https``): RFC 3986. Host in lower case, no default port, ``%7e`` is ``~``, and
  all other escapes stay as they are, since a server may tell ``%2F`` from ``/``. The query belongs
  to the address; a fragment is refused.
- all other protocols name things rather than ask for them: ``?`` and ``#`` are letters of a name
  like any other, and an escape stands for its byte, as in ``file://``. So a name with a percent
  sign in it is written with ``%25``.

Steps (``.``, ``..``) are refused, and so is whatever some server may take for one (``%2e%2e``,
``..%2f``, ``..%252f``, ``..;x``): what it leads to is the server's to say, not ours.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes, urldefrag, urljoin

from tagger.errors import SourceError
from tagger.sources.names import printable

LONGEST = 16_384
"""Characters of a path or address: the longest path that Linux allows (4096 bytes), all of it escaped."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)(.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_SEGMENT = "!$&'()*+,;=:@%"
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PLACE = re.compile(r"([A-Za-z0-9._~+-]+@)?([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_PORTS = {"http": 80, "https": 443}
_SAME = {"s3a": "s3", "gcs": "gs", "ssh": "sftp"}
_ROUNDS = 4
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Address:
    """A place on a server. ``authority`` is a host, a bucket, or what else the protocol has there;
    ``parts`` and ``query`` are percent-encoded; ``query`` is without its question mark."""

    scheme: str
    authority: str
    parts: tuple[str, ...] = ()
    query: str = ""

    @property
    def web(self) -> bool:
        """Whether it is asked for by HTTP."""
        return self.scheme in _PORTS

    @property
    def uri(self) -> str:
        """The one way in which this address is written."""
        path = "".join(f"/{part}" for part in self.parts)
        return f"{self.scheme}://{self.authority}{path}" + (f"?{self.query}" if self.query else "")

    @property
    def key(self) -> str:
        """The name below the authority, unescaped; bytes that are not UTF-8 as surrogates."""
        return "/".join(unquoted(part) for part in self.parts)

    @property
    def server(self) -> str:
        """Who answers, for a person."""
        return f"{self.scheme}://{self.authority}"

    def contains(self, other: Address) -> bool:
        """Whether ``other`` is this place or lies beneath it: by whole parts, never by text."""
        return (self.scheme, self.authority) == (other.scheme, other.authority) and (
            other.parts[: len(self.parts)] == self.parts
        )

    def below(self, *names: str) -> Address:
        """What is called so, in plain letters, beneath this place.

        Raises:
            SourceError: a name has a NUL or a step in it.
        """
        return replace(self, parts=(*self.parts, *(_named(name) for name in names)))

    def follow(self, location: str) -> Address:
        """Where a redirect from here leads.

        Raises:
            SourceError: it is no address.
        """
        # Headers come as Latin-1, whatever the server wrote.
        text = location.encode("latin-1", "replace").decode("utf-8", "replace")
        return parse_address(urljoin(self.uri, urldefrag(text).url))


def is_address(text: str) -> bool:
    """Whether a text is written like a URI (``scheme://...``), be it of a server or not."""
    return _ADDRESS.match(text) is not None


def parse_address(text: str) -> Address:
    """The address that a text stands for.

    Raises:
        SourceError: it is no address, or one that may be understood in two ways, or one with
            credentials in it; the message never shows them.
    """
    if len(text) > LONGEST:
        raise SourceError(f"an address of {len(text):,} characters; {LONGEST:,} are the most")
    found = _ADDRESS.fullmatch(text)
    if found is None or _CONTROL.search(text):
        raise SourceError(f"{shown(text)} is no address, or has control characters in it")
    scheme, authority, tail = found[1].lower(), found[2], found[3]
    scheme = _SAME.get(scheme, scheme)
    try:
        address = _web(scheme, authority, tail) if scheme in _PORTS else _object(scheme, authority, tail)
        if len(address.uri) > LONGEST:  # it has grown by escapes
            raise SourceError(f"it has {len(address.uri):,} characters; {LONGEST:,} are the most")
        return address
    except (SourceError, UnicodeError) as error:
        why = "it is no text" if isinstance(error, UnicodeError) else error
        raise SourceError(f"{shown(text)} cannot be used: {why}") from None


def shown(text: str) -> str:
    """A path or address within a message: short, printable, without credentials and queries."""
    scheme, mark, rest = text.partition("://")
    if mark:
        rest = "...@" + rest.rpartition("@")[2] if "@" in rest else rest
        rest = rest.partition("?")[0] if scheme.lower() in _PORTS else rest
    clipped = _clipped(scheme + mark + rest)
    try:
        return _clipped(printable(clipped))
    except UnicodeError:  # half of a pair of surrogates: no file's name and no character
        return _clipped(ascii(clipped))


def _clipped(text: str) -> str:
    half = _LONGEST_SHOWN // 2
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:half]}[...]{text[-half:]}"


def unquoted(part: str) -> str:
    """A percent-encoded name as it is; bytes that are not UTF-8 become surrogates."""
    return unquote_to_bytes(part).decode("utf-8", "surrogateescape")


def _web(scheme: str, authority: str, tail: str) -> Address:
    if "@" in authority:
        raise SourceError(_credentials("an address on the web has no user in it"))
    if "\\" in tail:
        raise SourceError("a backslash is written %5C")
    if "#" in tail:
        raise SourceError("a fragment (#) means nothing to a server: leave it out, or write %23")
    path, _, query = tail.partition("?")
    parts = tuple(_normal(part, _IN_SEGMENT) for part in path.split("/")[1:])
    _refuse_steps(parts)
    return Address(
        scheme, _host(scheme, authority), () if parts == ("",) else parts, _normal(query, "/?" + _IN_SEGMENT)
    )


def _object(scheme: str, authority: str, tail: str) -> Address:
    if ":" in authority.rpartition("@")[0]:
        raise SourceError(_credentials("a password in an address can be read by everyone who sees it"))
    if not _PLACE.fullmatch(authority) or tail[:1] not in ("", "/"):
        raise SourceError("after :// comes the name of a server or bucket, and then a slash")
    key = unquoted_text(tail[1:]).rstrip("/")
    return Address(scheme, authority).below(*key.split("/")) if key else Address(scheme, authority)


def unquoted_text(text: str) -> str:
    """Like :func:`unquoted`, for a text that may have other characters beside its escapes."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _credentials(why: str) -> str:
    return f"credentials do not belong there ({why}); the environment is where the protocol's library looks"


def _host(scheme: str, authority: str) -> str:
    found = _HOST_AND_PORT.fullmatch(authority)
    if found is None:
        raise SourceError("its host cannot be understood")
    host, port = found[1].lower(), int(found[2] or _PORTS[scheme])
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise SourceError("its host is no IPv6 address") from None
    elif not host.isascii():
        raise SourceError("a host with other than ASCII letters is written in its xn-- form")
    elif len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise SourceError("its host cannot be understood")
    if not 0 < port < 65_536:
        raise SourceError("there is no such port")
    return host if port == _PORTS[scheme] else f"{host}:{port}"


def _normal(text: str, safe: str) -> str:
    """In the normal form of RFC 3986, section 6.2.2: needless escapes undone, the others in upper case."""
    return _ESCAPE.sub(_escape, quote(text, safe=safe))


def _escape(found: re.Match[str]) -> str:
    if found[1] is None:
        return "%25"  # a percent sign that begins no escape
    letter = chr(int(found[1], 16))
    return letter if letter in _UNRESERVED else found[0].upper()


def _named(name: str) -> str:
    part = quote_from_bytes(name.encode("utf-8", "surrogateescape"), safe="")
    _refuse_steps((part,))
    return part


def _refuse_steps(parts: tuple[str, ...]) -> None:
    for part in parts:
        if "%00" in part:
            raise SourceError("no name can hold a NUL byte")
        if _may_be_step(part):
            raise SourceError("steps like . and .. are not followed on a server; write where they lead")


def _may_be_step(part: str) -> bool:
    """Whether some server may take it for a step: servers unescape more than once, or cut at semicolons."""
    for _ in range(_ROUNDS):
        plain = unquote(part)
        if plain == part:
            return any(step.partition(";")[0] in (".", "..") for step in re.split(r"[/\\]", part))
        part = plain
    return True
