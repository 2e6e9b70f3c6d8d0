"""Tallies that are kept by the scores in hand are those that the views would count."""

from __future__ import annotations

import random

import pytest

from .conftest import TREE, Shelf, outcome


@pytest.mark.parametrize("seed", range(4))
def test_what_is_new_is_counted_as_the_views_count_it(shelf: Shelf, seed: int) -> None:
    dice = random.Random(seed)
    shelf.write(
        "UPDATE thresholds SET threshold = 0.9 WHERE tag_id IN (SELECT id FROM tags WHERE name = 'animal')"
    )
    shelf.write("DELETE FROM stale_tags")
    photos = {
        f"photo{number}": {tag: round(dice.random(), 2) for tag in TREE if dice.random() < 0.7}
        for number in range(30)
    }
    shelf.scan(*(f"{name}.jpg" for name in photos))
    shelf.write(
        "INSERT INTO verdicts (image_id, tag_id, verdict, decided_at) SELECT i.id, t.id, 'confirm', "
        "CURRENT_TIMESTAMP FROM images i, tags t WHERE t.name = 'dog' AND i.uri LIKE '%photo7%'"
    )
    shelf.write("DELETE FROM stale_tags")
    shelf.write("DELETE FROM tag_tallies")
    shelf.write("INSERT INTO tag_tallies SELECT tag_id, COUNT(*) FROM effective_tags GROUP BY tag_id")
    lease = shelf.lease()
    refs = shelf.claim(lease)
    names = [ref.uri.rsplit("/", 1)[1].removesuffix(".jpg") for ref in refs]
    # Some are copies of others, in the same group and in later ones.
    contents = [dice.choice(names) if dice.random() < 0.3 else name for name in names]
    done = [
        outcome(ref.image_id, content, photos[content]) for ref, content in zip(refs, contents, strict=True)
    ]
    shelf.record(lease, *done[:20])
    shelf.record(lease, *done[20:])
    assert shelf.counts() == shelf.counted()


def test_scores_go_with_their_content(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.9})
    shelf.write("DELETE FROM images")
    shelf.write("DELETE FROM contents")
    assert shelf.rows("SELECT COUNT(*) FROM tag_scores") == [(0,)]
    assert shelf.rows("SELECT COUNT(*) FROM class_scores") == [(0,)]
