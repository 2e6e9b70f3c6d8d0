"""The application, put together: pages and other routers are added to what this makes."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute

import tagger
from tagger.web import api, login
from tagger.web.api import health
from tagger.web.errors import answer_for
from tagger.web.security import Door, Guard
from tagger.web.site import Site

_ABOUT = """A photo library's tags. Lists come in pages: a page names its `next`, which is `after` of the one
that follows, until it is null. Whatever goes wrong is `{"error": {"code": ..., "message": ...}}`."""


def make_app(site: Site) -> FastAPI:
    """The API over a library, behind its guard.

    Further routers may be included, and static files mounted at :data:`tagger.web.security.STATIC`, which
    needs no token; the guard stands before them all.
    """
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
    app.include_router(api.router)
    app.include_router(health.router)
    app.include_router(login.router)
    return app


def _name(route: APIRoute) -> str:
    """What generated clients call an operation: its function's name, which therefore stays."""
    return route.name
