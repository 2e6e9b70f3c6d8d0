"""The application, put together: the guard before all, the API, the pages and their files."""

from __future__ import annotations

import os

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.staticfiles import PathLike
from starlette.types import Scope

import tagger
from tagger.web import api, login, pages
from tagger.web.api import health
from tagger.web.errors import answer_for
from tagger.web.security import STATIC, Door, Guard
from tagger.web.site import Site

_ABOUT = """A photo library's tags. Lists come in pages: a page names its `next`, which is `after` of the one
that follows, until it is null. Whatever goes wrong is `{"error": {"code": ..., "message": ...}}`."""


def make_app(site: Site) -> FastAPI:
    """The API and the pages over a library, behind their guard."""
    pages.prepare()
    app = FastAPI(
        title="Tagger",
        version=tagger.__version__,
        description=_ABOUT,
        openapi_url=f"{api.PREFIX}/openapi.json",
        docs_url=None,  # both would load their scripts from elsewhere
        redoc_url=None,
        generate_unique_id_function=_name,
    )
    app.state.site = site
    app.state.door = door = Door(site.token)
    app.add_middleware(Guard, door=door, most_bytes=site.most_bytes)
    answer_for(app)
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, pages.for_people(handler))
    app.include_router(api.router)
    app.include_router(health.router)
    app.include_router(login.router)
    app.include_router(pages.router)
    app.mount(STATIC.rstrip("/"), Files(packages=[("tagger.web", "static")]))
    return app


class Files(StaticFiles):
    """Styles and scripts: for good where the address has their digest, else asked for again each time."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        is_named = scope["query_string"].startswith(b"v=")
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_named else "no-cache"
        return answer


def _name(route: APIRoute) -> str:
    """What generated clients call an operation: its function's name, which therefore stays."""
    return route.name
