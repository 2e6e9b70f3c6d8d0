"""Tallies that are kept by the scores in hand are those that the views would count."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest

from tagger.store.census import Seen, taking
from tagger.values import Outcome, OutcomeKind

from .conftest import ROOT, TREE, Shelf, outcome


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


def test_a_copy_counts_from_the_moment_its_content_has_scores(shelf: Shelf) -> None:
    """Both failed before, and are tried again in different groups."""
    digest = hashlib.sha256(b"same").digest()
    shelf.scan("a.jpg", "b.jpg")
    lease = shelf.lease()
    failed = [
        Outcome(ref.image_id, OutcomeKind.UNSUPPORTED, reason="no rawpy", digest=digest)
        for ref in shelf.claim(lease)
    ]
    shelf.record(lease, *failed)
    shelf.write("DELETE FROM stale_tags")
    with taking(shelf.database, shelf.model.id, retry_failed=True) as census:
        census.observe([Seen(f"{ROOT}/{name}", 10, 1) for name in ("a.jpg", "b.jpg")])
    first, second = shelf.claim(lease)
    shelf.record(lease, outcome(first.image_id, "same", {"animal": 0.9, "dog": 0.9}))
    assert shelf.counts() == shelf.counted() == {"animal": 2, "dog": 2}
    known = outcome(second.image_id, "same", {})
    shelf.record(lease, replace(known, kind=OutcomeKind.OK, tags=(), labels=(), reused=True))
    assert shelf.counts() == shelf.counted() == {"animal": 2, "dog": 2}


def test_scores_go_with_their_content(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.9})
    shelf.write("DELETE FROM images")
    shelf.write("DELETE FROM contents")
    assert shelf.rows("SELECT COUNT(*) FROM tag_scores") == [(0,)]
    assert shelf.rows("SELECT COUNT(*) FROM class_scores") == [(0,)]
