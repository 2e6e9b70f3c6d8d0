"""The pages that people see: one file for each, over the same use cases as the API.

A page is rendered whole or, for htmx, the part of it that changes; every form works without a script too.
"""

from fastapi import APIRouter

from tagger.web.pages import gallery, models, photo, runs, thumbnails
from tagger.web.pages.faults import for_people

__all__ = ["for_people", "router"]

router = APIRouter(include_in_schema=False)
for _part in (gallery, photo, thumbnails, runs, models):
    router.include_router(_part.router)
