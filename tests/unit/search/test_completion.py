"""What is offered while a search is typed; a stroke marks the caret."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from tagger.library import lookup
from tagger.search.completion import complete
from tagger.store import catalog
from tagger.store.catalog import ModelEntry, TagEntry
from tagger.store.session import Database
from tagger.values import Label

NAMES = {
    "dog": ("puppy", "hound"),
    "dock": (),
    "golden retriever": (),
    "golden eagle": (),
    "bow and arrow": (),
    "black dog": (),
    'o\'neill "x" 50%': (),
    "a_b": (),
    "axb": (),
}
ENTRY = ModelEntry(
    spec="tiny",
    vocabulary="words",
    fingerprint="a" * 64,
    floor=0.05,
    labels=tuple(Label(f"n{index}", name) for index, name in enumerate(NAMES)),
    tags=tuple(TagEntry(name, aliases, 0.5) for name, aliases in NAMES.items()),
    paths=tuple((name, name, 0) for name in NAMES),
    exclusive=True,
)


@pytest.fixture
def words(database: Database) -> Database:
    with database.writing() as connection:
        catalog.register_model(connection, replace(ENTRY))
        connection.execute(text("DELETE FROM tag_tallies"))
        connection.execute(
            text(
                "INSERT INTO tag_tallies (tag_id, images) SELECT id, 7 FROM tags WHERE name = 'golden eagle'"
            )
        )
    return database


def _offered(database: Database, typed: str) -> list[str]:
    before, _, after = typed.partition("|")
    with database.reading() as connection:
        found = complete(connection, before + after, len(before))
    return [f"{each.text[: each.at]}|{each.text[each.at :]}" for each in found]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("do|", ["dock |", "dog |", "black dog |"]),
        ("DOG|", ["dog |", "black dog |"]),
        ("pup|", ["dog |"]),
        ("gold|", ["golden eagle |", "golden retriever |"]),  # in use before others
        ("golden ret|", ["golden retriever |"]),
        ("dock golden ret|", ["dock golden retriever |"]),
        ("(dock OR gold| NOT dog)", ["(dock OR golden eagle |NOT dog)"]),
        ("dock AND ho|", ["dock AND dog |"]),
        ("d|og AND dock", ["dock |AND dock", "dog |AND dock"]),
        ("dock ho|und>=0.8", ["dock dog |>=0.8"]),
        ("NOT -ho|", ["NOT -dog |"]),
        ("bow an|", ["bow and arrow |"]),
        ('"golden r|', ["golden retriever |"]),
        ('"golden r|"', ["golden retriever |"]),
        ("o'nei|", ['"o\'neill ""x"" 50%" |']),
        ("a_|", ["a_b |"]),
        ("|", []),
        ("dog |", []),
        ("dog>=0.|", []),
        ("path:do|", []),
        ("taken>=20|", []),
        ("%|", []),
        ("zzz|", []),
    ],
)
def test_tags_go_on_from_the_word_at_the_caret(words: Database, typed: str, offered: list[str]) -> None:
    found = _offered(words, typed)
    assert found[: len(offered)] == offered
    assert offered or not found


def test_what_is_offered_can_be_searched_for(words: Database) -> None:
    for name in NAMES:
        with words.reading() as connection:
            (first, *_) = complete(connection, f'"{name[:5]}', 6)
            lookup.understood(connection, first.text)


def test_the_word_that_was_meant_is_told(words: Database) -> None:
    with words.reading() as connection:
        (found,) = complete(connection, "pup", 3)
        assert (found.tag, found.meant, found.images) == ("dog", "puppy", 0)
        assert complete(connection, "pup", -5) == complete(connection, "", 99) == []
