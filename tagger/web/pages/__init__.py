"""The pages that people see: one file for each, over the same use cases as the API.

A page is rendered whole or, for htmx, the part of it that changes; every form works without a script too.
"""

from fastapi import APIRouter

from tagger.search.grammar import parse
from tagger.taxonomy import load_taxonomy
from tagger.web.pages import gallery, models, photo, runs, thumbnails
from tagger.web.pages.faults import for_people
from tagger.web.pages.render import compile_templates

__all__ = ["for_people", "prepare", "router"]


def prepare() -> None:
    """Do what is done once, so that the first page need not wait for it."""
    parse("dog")
    load_taxonomy()
    compile_templates()


router = APIRouter(include_in_schema=False)
for _part in (gallery, photo, thumbnails, runs, models):
    router.include_router(_part.router)
