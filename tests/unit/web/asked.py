"""Short ways to ask the API, and to put into a shelf what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.testclient import TestClient

from tagger.values import Outcome, OutcomeKind
from tests.unit.store.conftest import ROOT, Shelf, outcome
from tests.unit.store.running import want

V = "/api/v1"
DOG = {"animal": 0.99, "dog": 0.97}


def done(answer: Any, code: int = 200) -> Any:
    assert answer.status_code == code, answer.text
    return answer.json() if answer.content else None


def refused(answer: Any, code: int) -> Any:
    assert answer.status_code == code, answer.text
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]


def ids_of(shelf: Shelf) -> dict[str, int]:
    return {str(uri).rsplit("/", 1)[1]: int(str(id)) for id, uri in shelf.rows("SELECT id, uri FROM images")}


def pages_of(api: TestClient, path: str, **query: Any) -> Iterator[list[Any]]:
    """All pages of a list."""
    after: str | None = None
    for _ in range(100):
        page = done(api.get(path, params=query | ({"after": after} if after else {})))
        (rows,) = [value for value in page.values() if isinstance(value, list)]
        yield [{name: value for name, value in row.items() if name != "rate"} for row in rows]  # it fades
        after = page["next"]
        if after is None:
            return
    raise AssertionError("it does not end")


def lists_of(document: Any) -> list[str]:
    """The paths that go on from page to page."""
    return [
        path
        for path, operations in document["paths"].items()
        if any(
            each["name"] == "after" and not each["required"]
            for each in operations.get("get", {}).get("parameters", ())
        )
    ]


def fail(shelf: Shelf, run_id: int, *names: str) -> None:
    """Images of a run that could not be tagged, some at one moment."""
    shelf.scan(*names, "rex.jpg")
    want(shelf, run_id, [ids_of(shelf)[name] for name in names])
    lease = shelf.lease()
    refs = shelf.claim(lease)
    shelf.record(lease, *(Outcome(ref.image_id, OutcomeKind.CORRUPT, "cut off") for ref in refs))


def put(shelf: Shelf, photos: Mapping[str, Mapping[str, float]]) -> None:
    """As the shelf does, but in folders, and of any name."""
    shelf.scan(*photos)
    lease = shelf.lease()
    done = []
    for ref in shelf.claim(lease):
        name = ref.uri.removeprefix(f"{ROOT}/")
        done.append(outcome(ref.image_id, name, photos[name]))
    shelf.record(lease, *done)
