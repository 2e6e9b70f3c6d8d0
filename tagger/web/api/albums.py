"""Albums: searches under a name."""

from __future__ import annotations

from fastapi import APIRouter

from tagger.library import albums
from tagger.store.albums import Album
from tagger.web.api.parameters import Answer, Body, NameInPath, Words
from tagger.web.site import SiteHere

router = APIRouter(prefix="/albums", tags=["albums"])


class KeptAlbum(Answer):
    """A search under a name."""

    name: str
    expression: str
    view: str
    """In SQL: `SELECT * FROM` this."""


class Albums(Answer):
    """All albums, by name."""

    albums: list[KeptAlbum]


class AlbumSearch(Body):
    """What an album is to find."""

    expression: Words
    """As in a search."""


@router.get("", summary="All albums")
def list_albums(site: SiteHere) -> Albums:
    """By name."""
    return Albums(albums=[KeptAlbum.model_validate(album) for album in albums.listed(site.database)])


@router.put("/{name:path}", summary="Keep a search under a name", response_model=KeptAlbum)
def save_album(site: SiteHere, name: NameInPath, search: AlbumSearch) -> Album:
    """Instead of what had that name. Its photos are found by `/search?album=NAME`."""
    return albums.save(site.database, name, search.expression)


@router.delete("/{name:path}", summary="Remove an album", status_code=204)
def remove_album(site: SiteHere, name: NameInPath) -> None:
    """And its view; no photo, and no tag."""
    albums.remove(site.database, name)
