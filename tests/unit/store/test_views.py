"""The meaning of the views, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from tagger.store import catalog, counts

from .conftest import ROOT, Shelf, entry

DOG = {"animal": 0.99, "dog": 0.97, "retriever": 0.6, "cat": 0.1}


def _threshold(shelf: Shelf, threshold: float, *tags: str) -> None:
    for tag in tags:
        shelf.write(
            "UPDATE thresholds SET threshold = :threshold "
            "WHERE tag_id = (SELECT id FROM tags WHERE name = :tag)",
            threshold=threshold,
            tag=tag,
        )


def _verdict(shelf: Shelf, name: str, tag: str, verdict: str) -> None:
    shelf.write(
        "INSERT INTO verdicts (image_id, tag_id, verdict, decided_at) "
        "SELECT i.id, t.id, :verdict, CURRENT_TIMESTAMP FROM images i, tags t "
        "WHERE i.uri = :uri AND t.name = :tag",
        verdict=verdict,
        uri=f"{ROOT}/{name}.jpg",
        tag=tag,
    )


def test_a_score_over_its_threshold_is_a_tag(shelf: Shelf) -> None:
    shelf.tag(rex=DOG, beetle={"car": 0.69})
    assert shelf.effective("rex") == {"animal": 0.99, "dog": 0.97, "retriever": 0.6}
    assert shelf.effective("beetle") == {}


def test_a_threshold_that_is_met_exactly_counts(shelf: Shelf) -> None:
    shelf.tag(beetle={"car": 0.7})
    assert shelf.effective("beetle") == {"car": 0.7}


def test_thresholds_are_data_and_hold_at_once(shelf: Shelf) -> None:
    shelf.tag(rex=DOG, felix={"animal": 0.9, "cat": 0.45})
    _threshold(shelf, 0.1, "cat")
    assert "cat" in shelf.effective("rex") and "cat" in shelf.effective("felix")
    assert shelf.counts() == shelf.counted() == {"animal": 2, "dog": 1, "retriever": 1, "cat": 2}


def test_an_effective_tag_makes_its_ancestors_effective(shelf: Shelf) -> None:
    _threshold(shelf, 0.999, "animal", "dog")
    shelf.tag(rex=DOG, mutt={"animal": 0.99, "dog": 0.97, "retriever": 0.4})
    assert shelf.effective("rex") == {"animal": 0.99, "dog": 0.97, "retriever": 0.6}
    assert shelf.effective("mutt") == {}


def test_confirm_is_certain_and_implies_the_ancestors(shelf: Shelf) -> None:
    shelf.tag(felix={"animal": 0.3, "cat": 0.2, "dog": 0.1})
    _verdict(shelf, "felix", "cat", "confirm")
    assert shelf.effective("felix") == {"animal": 1.0, "cat": 1.0}
    sources = shelf.rows("SELECT DISTINCT source, model FROM effective_tags")
    assert sources == [("person", None)]


def test_reject_implies_the_descendants_and_what_stood_on_them(shelf: Shelf) -> None:
    _threshold(shelf, 0.999, "animal")
    shelf.tag(rex=DOG)
    _verdict(shelf, "rex", "dog", "reject")
    assert shelf.effective("rex") == {}


def test_rejecting_a_breed_leaves_the_dog(shelf: Shelf) -> None:
    shelf.tag(rex=DOG)
    _verdict(shelf, "rex", "retriever", "reject")
    assert shelf.effective("rex") == {"animal": 0.99, "dog": 0.97}
    assert shelf.counts() == shelf.counted()
    shelf.write("DELETE FROM verdicts")
    assert shelf.counts() == shelf.counted() == {"animal": 1, "dog": 1, "retriever": 1}


def test_the_surest_live_model_speaks_for_a_tag(shelf: Shelf) -> None:
    with shelf.database.writing() as connection:
        other = catalog.register_model(connection, entry("b" * 64, vocabulary="my-dogs"))
    shelf.tag(rex=DOG)
    second = Shelf(shelf.database, other)
    second.tag(rex={"dog": 0.99, "animal": 0.5})
    rows = shelf.rows("SELECT tag, confidence, model FROM effective_tags ORDER BY tag")
    assert rows == [
        ("animal", 0.99, shelf.model.name),
        ("dog", 0.99, other.name),
        ("retriever", 0.6, shelf.model.name),
    ]
    assert shelf.counts() == shelf.counted()


def test_a_candidate_is_not_seen_until_it_is_promoted(shelf: Shelf) -> None:
    shelf.tag(rex=DOG)
    with shelf.database.writing() as connection:
        candidate = catalog.register_model(connection, entry("b" * 64))
    Shelf(shelf.database, candidate).tag(rex={"animal": 0.8, "cat": 0.8})
    assert not candidate.live
    assert shelf.effective("rex") == {"animal": 0.99, "dog": 0.97, "retriever": 0.6}
    with shelf.database.writing() as connection:
        catalog.promote(connection, candidate)
    assert shelf.effective("rex") == {"animal": 0.8, "cat": 0.8}
    assert shelf.counts() == {"animal": 1, "cat": 1}
    with shelf.database.writing() as connection:
        counts.refresh(connection)
    assert shelf.counts() == {"animal": 1, "cat": 1}


def test_diff_tells_what_a_candidate_gains_loses_and_shifts(shelf: Shelf) -> None:
    shelf.tag(rex=DOG, pending_for_candidate=DOG)
    with shelf.database.writing() as connection:
        candidate = catalog.register_model(connection, entry("b" * 64))
    second = Shelf(shelf.database, candidate)
    second.scan("rex.jpg", "pending_for_candidate.jpg")
    lease = second.lease()
    from .conftest import outcome

    rex = next(ref for ref in second.claim(lease) if ref.uri.endswith("rex.jpg"))
    second.record(lease, outcome(rex.image_id, "rex", {"animal": 0.99, "cat": 0.8, "dog": 0.3}))
    rows = shelf.rows(
        "SELECT uri, tag, from_confidence, to_confidence, change FROM tag_diff "
        "WHERE from_model = :a AND to_model = :b ORDER BY tag",
        a=shelf.model.name,
        b=candidate.name,
    )
    uri = f"{ROOT}/rex.jpg"
    assert rows == [
        (uri, "cat", 0.1, 0.8, "gained"),
        (uri, "dog", 0.97, 0.3, "lost"),
        (uri, "retriever", 0.6, None, "lost"),
    ]


def test_status_info_labels_and_closure(shelf: Shelf) -> None:
    shelf.tag(rex=DOG)
    shelf.scan("rex.jpg", "new.jpg")
    status = shelf.rows("SELECT uri, model, outcome, reason, attempts FROM image_status ORDER BY uri")
    assert status == [
        (f"{ROOT}/new.jpg", shelf.model.name, "pending", None, 0),
        (f"{ROOT}/rex.jpg", shelf.model.name, "ok", None, 1),
    ]
    info = shelf.rows(
        "SELECT size, width, height, format, taken_at, vanished_at FROM image_info ORDER BY uri"
    )
    assert info == [(10, None, None, None, None, None), (10, 640, 480, "JPEG", "2020-01-02T03:04:05", None)]
    labels = shelf.rows("SELECT model, rank, label_key, label, confidence FROM label_scores ORDER BY rank")
    assert labels[0] == (shelf.model.name, 1, "n0", "animal", 0.9) and len(labels) == 5
    closure = shelf.rows(
        "SELECT ancestor, depth FROM tag_closure WHERE descendant = 'retriever' ORDER BY depth"
    )
    assert closure == [("retriever", 0), ("dog", 1), ("animal", 2)]


def test_vanished_images_are_left_out_of_tags_and_counts(shelf: Shelf) -> None:
    shelf.tag(rex=DOG, felix={"animal": 0.9})
    assert shelf.counts() == {"animal": 2, "dog": 1, "retriever": 1}
    shelf.scan("felix.jpg")
    assert shelf.effective("rex") == {}
    assert shelf.counts() == {"animal": 1}
    shelf.scan("felix.jpg", "rex.jpg")
    assert shelf.effective("rex")
    assert shelf.counts() == shelf.counted() == {"animal": 2, "dog": 1, "retriever": 1}
