from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tagger.data import derive
from tagger.errors import TaxonomyError
from tagger.scoring import TagScorer, membership, top_labels
from tagger.taxonomy import Tag, Taxonomy, forms, load_taxonomy, read_taxonomy
from tagger.values import Label, TagScore

IMAGENET = load_taxonomy()
KEYS = tuple(label.key for label in IMAGENET.labels)
TAGS = {tag.name: tag for tag in IMAGENET.tags}
BROAD = {"animal", "mammal"}  # above their descendants on purpose, see curation.toml


def made(
    parents: dict[str, tuple[str, ...]],
    labels: dict[str, str],
    aliases: dict[str, tuple[str, ...]] | None = None,
    hints: dict[str, tuple[str, ...]] | None = None,
) -> Taxonomy:
    tags = tuple(Tag(name, (aliases or {}).get(name, ()), above, 0.5) for name, above in parents.items())
    return Taxonomy("made", tuple(Label(key, key) for key in labels), tags, labels, hints or {})


# a beer bottle leads to "thing" by two ways
DIAMOND = made(
    {
        "thing": (),
        "beer": ("thing",),
        "bottle": ("thing",),
        "beer bottle": ("beer", "bottle"),
        "ale": ("beer",),
    },
    {"a": "beer bottle", "b": "bottle", "c": "ale"},
)


def batch(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def scores(tags: tuple[TagScore, ...]) -> dict[str, float]:
    return {tag.tag: tag.confidence for tag in tags}


# -- the graph --------------------------------------------------------------------------------


def test_closure_has_each_pair_once_with_the_fewest_steps() -> None:
    taxonomy = made({"a": (), "b": ("a",), "c": ("b", "a"), "d": ("c",)}, {"x": "d"})
    assert taxonomy.closure() == (
        ("a", "a", 0),
        ("a", "b", 1),
        ("a", "c", 1),
        ("a", "d", 2),
        ("b", "b", 0),
        ("b", "c", 1),
        ("b", "d", 2),
        ("c", "c", 0),
        ("c", "d", 1),
        ("d", "d", 0),
    )


def test_membership_is_by_label_and_tag() -> None:
    member = membership(DIAMOND)
    names = [tag.name for tag in DIAMOND.tags]
    assert member.shape == (3, 5)
    assert {names[i] for i in np.flatnonzero(member[0])} == {"thing", "beer", "bottle", "beer bottle"}
    assert {names[i] for i in np.flatnonzero(member[1])} == {"thing", "bottle"}


def test_digest_is_of_what_changes_scores_and_not_of_words_for_people() -> None:
    plain = made({"a": (), "b": ("a",)}, {"x": "b"})
    renamed = made({"a": (), "c": ("a",)}, {"x": "c"})
    flat = made({"a": (), "b": ()}, {"x": "b"})
    moved = made({"a": (), "b": ("a",)}, {"x": "a"})
    worded = made({"b": ("a",), "a": ()}, {"x": "b"}, aliases={"b": ("bee",)}, hints={"c": ("a",)})
    assert len({t.digest for t in (plain, renamed, flat, moved)}) == 4
    assert worded.digest == plain.digest
    assert len(plain.digest) == 64


@pytest.mark.parametrize(
    ("parents", "labels", "aliases", "said"),
    [
        ({"a": ("b",), "b": ("a",)}, {"x": "a"}, {}, "above themselves"),
        ({"a": ("nobody",)}, {"x": "a"}, {}, "nobody"),
        ({"a": (), "A": ()}, {"x": "a"}, {}, "two tags"),
        ({"a": (), "b": ()}, {"x": "a"}, {"a": ("c",), "b": ("c",)}, "two tags"),
        ({"a": (), "b": ()}, {"x": "a"}, {"a": ("b",)}, "two tags"),
        ({"a": ()}, {"x": "nobody"}, {}, "nobody"),
    ],
)
def test_broken_taxonomies_are_refused(
    parents: dict[str, tuple[str, ...]],
    labels: dict[str, str],
    aliases: dict[str, tuple[str, ...]],
    said: str,
) -> None:
    with pytest.raises(TaxonomyError, match=said):
        made(parents, labels, aliases)


def test_a_hint_is_no_word_of_a_tag_and_offers_tags_only() -> None:
    with pytest.raises(TaxonomyError, match="two tags"):
        made({"a": ()}, {"x": "a"}, {"a": ("c",)}, {"c": ("a",)})
    with pytest.raises(TaxonomyError, match="hints"):
        made({"a": ()}, {"x": "a"}, {}, {"c": ("nobody",)})


def test_labels_and_their_tags_must_match() -> None:
    tags = (Tag("a", (), (), 0.5),)
    with pytest.raises(TaxonomyError, match="y"):
        Taxonomy("made", (Label("x", "x"), Label("y", "y")), tags, {"x": "a"})
    with pytest.raises(TaxonomyError, match="twice"):
        Taxonomy("made", (Label("x", "x"), Label("x", "x")), tags, {"x": "a"})


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_is_a_confidence(threshold: float) -> None:
    with pytest.raises(TaxonomyError, match="threshold"):
        Taxonomy("made", (Label("x", "x"),), (Tag("a", (), (), threshold),), {"x": "a"})


@pytest.mark.parametrize("derived", ["", "[]", "{}", '{"tags": [{}], "labels": {}, "hints": {}}'])
def test_unreadable_files_are_said_to_be(derived: str) -> None:
    with pytest.raises(TaxonomyError, match="cannot be read"):
        read_taxonomy("made", "key\tname\nx\tx\n", derived)


def test_an_unknown_taxonomy_is_said_to_be() -> None:
    with pytest.raises(TaxonomyError, match="birds-of-mars"):
        load_taxonomy("birds-of-mars")


# -- scores -----------------------------------------------------------------------------------


def test_an_ancestor_sums_over_the_set_of_its_classes_and_not_over_the_ways() -> None:
    (tags,) = TagScorer(DIAMOND, "abc", 0.0, "softmax")(batch([0.5, 0.25, 0.125]))
    assert scores(tags) == {"thing": 0.875, "bottle": 0.75, "beer": 0.625, "beer bottle": 0.5, "ale": 0.125}


def test_a_sigmoid_head_takes_the_maximum() -> None:
    (tags,) = TagScorer(DIAMOND, "abc", 0.0, "sigmoid")(batch([0.5, 0.875, 0.75]))
    assert scores(tags) == {"thing": 0.875, "bottle": 0.875, "beer": 0.75, "beer bottle": 0.5, "ale": 0.75}


def test_tags_come_highest_first_and_then_by_name() -> None:
    (tags,) = TagScorer(DIAMOND, "abc", 0.0, "softmax")(batch([0.5, 0.0, 0.0]))
    assert [tag.tag for tag in tags] == ["beer", "beer bottle", "bottle", "thing", "ale"]


def test_the_floor_is_held_after_the_sum() -> None:
    score = TagScorer(DIAMOND, "abc", 0.25, "softmax")
    both, none, at = score(batch([0.125, 0.125, 0.0], [0.0625, 0.0625, 0.0625], [0.25, 0.0, 0.0]))
    assert set(scores(both)) == {"thing", "bottle"}
    assert none == ()
    assert set(scores(at)) == {"thing", "beer", "bottle", "beer bottle"}


def test_confidence_is_never_above_one() -> None:
    for kind in ("softmax", "sigmoid"):
        (tags,) = TagScorer(DIAMOND, "abc", 0.0, kind)(batch([1.0, 0.25, 1.0]))
        assert max(scores(tags).values()) == 1.0


def test_the_order_of_the_classes_is_the_model_s_own() -> None:
    (tags,) = TagScorer(DIAMOND, "cba", 0.0, "softmax")(batch([0.125, 0.25, 0.5]))
    assert scores(tags)["beer bottle"] == 0.5


def test_a_model_with_fewer_classes_gets_their_tags_only() -> None:
    (tags,) = TagScorer(DIAMOND, "b", 0.0, "softmax")(batch([0.5]))
    assert scores(tags) == {"bottle": 0.5, "thing": 0.5}


def test_labels_without_a_tag_are_named() -> None:
    with pytest.raises(TaxonomyError, match="n00000001"):
        TagScorer(IMAGENET, [*KEYS, "n00000001"], 0.05, "softmax")
    with pytest.raises(TaxonomyError, match=KEYS[0]):
        TagScorer(IMAGENET, [*KEYS, KEYS[0]], 0.05, "softmax")


SOFTMAX = TagScorer(IMAGENET, KEYS, 0.0, "softmax")
SIGMOID = TagScorer(IMAGENET, KEYS, 0.0, "sigmoid")


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (1, len(KEYS)), elements=st.floats(0.0, 1.0, width=32)), st.booleans())
def test_no_ancestor_is_below_its_descendant(probabilities: NDArray[np.float32], softmax: bool) -> None:
    if softmax:
        probabilities /= max(float(probabilities.sum()), 1.0)
    (tags,) = (SOFTMAX if softmax else SIGMOID)(probabilities)
    found = scores(tags)
    assert all(found[above] >= found[below] for above, below, _ in IMAGENET.closure())


def test_a_batch_is_scored_in_no_time() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.full(1000, 0.01), 64).astype(np.float32)
    score = TagScorer(IMAGENET, KEYS, 0.05, "softmax")
    score(probabilities)
    start = time.perf_counter()
    for _ in range(5):
        score(probabilities)
    assert (time.perf_counter() - start) / 5 < 0.5, "64 images at 300 images/s are 0.2 s of inference"


def test_top_labels_are_all_above_the_floor_and_five_at_least() -> None:
    low, high = top_labels(
        batch([0.02, 0.9, 0.01, 0.03, 0.02, 0.01, 0.01], [0.2, 0.1, 0.2, 0.2, 0.1, 0.1, 0.1]), 0.1
    )
    assert [label.index for label in low] == [1, 3, 0, 4, 2]
    assert low[0].confidence == pytest.approx(0.9)
    assert [label.index for label in high] == [0, 2, 3, 1, 4, 5, 6]
    assert [len(row) for row in top_labels(batch([0.7, 0.3]), 0.5)] == [2]


# -- the content ------------------------------------------------------------------------------


def test_every_class_of_imagenet_has_a_tag_and_a_name_of_its_own() -> None:
    assert len(KEYS) == 1000
    assert list(KEYS) == sorted(KEYS), "class order is the order of the WordNet ids"
    assert set(KEYS) == set(IMAGENET.tag_of_label)
    assert len({label.name.lower() for label in IMAGENET.labels}) == 1000


def test_words_are_lower_case_ascii_with_single_spaces() -> None:
    words = [word for tag in IMAGENET.tags for word in (tag.name, *tag.aliases)]
    assert [word for word in words if not word.isascii() or word != " ".join(word.lower().split())] == []


def test_no_two_tags_differ_only_in_number_or_hyphens() -> None:
    seen: dict[str, str] = {}
    for name in TAGS:
        for form in forms(name):
            assert seen.setdefault(form, name) == name


@pytest.mark.parametrize(
    ("tag", "above"),
    [
        ("golden retriever", {"retriever", "dog", "mammal", "animal"}),
        ("tabby cat", {"cat", "feline", "mammal", "animal"}),
        ("lion", {"big cat", "wild cat", "feline", "mammal", "animal"}),
        ("bald eagle", {"eagle", "bird of prey", "bird", "animal"}),
        ("sports car", {"car", "vehicle"}),
        ("beer bottle", {"beer", "drink", "bottle", "container"}),
        ("granny smith apple", {"apple", "fruit", "food"}),
        ("acoustic guitar", {"guitar", "string instrument", "musical instrument"}),
    ],
)
def test_what_a_tag_implies(tag: str, above: set[str]) -> None:
    assert IMAGENET.ancestors[tag].keys() == {tag} | above


def test_the_animals_of_wordnet_are_all_here() -> None:
    column = {tag.name: i for i, tag in enumerate(IMAGENET.tags)}
    sizes = membership(IMAGENET).sum(axis=0)
    assert {name: sizes[column[name]] for name in ("animal", "dog", "bird")} == {
        "animal": 398,
        "dog": 118,
        "bird": 59,
    }


def test_thresholds_rise_downwards() -> None:
    below = [
        (above, under)
        for above, under, _ in IMAGENET.closure()
        if above not in BROAD and TAGS[above].threshold > TAGS[under].threshold
    ]
    assert below == []
    assert all(0.05 <= tag.threshold <= 1 for tag in IMAGENET.tags)


@pytest.mark.parametrize(
    "tag", ["wig", "t-shirt", "suit", "website", "book cover", "comic book", "menu", "bridegroom", "envelope"]
)
def test_what_the_network_says_of_anything_counts_only_when_it_is_sure(tag: str) -> None:
    assert TAGS[tag].threshold >= 0.75


# -- the words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("automobile", "car"),
        ("puppy", "dog"),
        ("Puppies", "dog"),
        ("kitten", "cat"),
        ("Golden-Retrievers", "golden retriever"),
        ("plane", "airplane"),
        ("aeroplane", "airplane"),
        ("bike", "bicycle"),
        ("cell phone", "mobile phone"),
        ("couch", "sofa"),
        ("TV", "television"),
        ("hot-dogs", "hot dog"),
        ("hotdog", "hot dog"),
        ("buses", "bus"),
        ("geese", "goose"),
        ("wolves", "wolf"),
        ("butterflies", "butterfly"),
        ("foxes", "fox"),
        ("birds of prey", "bird of prey"),
        ("grey wolf", "gray wolf"),
        ("jack o lantern", "jack-o'-lantern"),
        ("canis lupus", "gray wolf"),
        ("sorrel", "horse"),
        ("consommé", "soup"),
        ("crane bird", "crane bird"),
        ("  Dog ", "dog"),
        ("dogg", None),
        ("", None),
        ("crane", None),
        ("Cranes", None),
        ("mice", None),
    ],
)
def test_resolve(text: str, tag: str | None) -> None:
    assert IMAGENET.resolve(text) == tag


def test_a_name_comes_before_an_alias() -> None:
    taxonomy = made({"cats": (), "dog": ()}, {"x": "dog"}, aliases={"dog": ("cat",)})
    assert taxonomy.resolve("cat") == "dog"
    assert taxonomy.resolve("cats") == "cats"
    assert made({"cat": (), "dog": ()}, {"x": "dog"}, {"dog": ("cats",)}).resolve("CATS") == "dog"


def test_a_word_alike_to_two_tags_is_none() -> None:
    taxonomy = made(
        {"hot dog": (), "dog": ()}, {"x": "dog"}, aliases={"hot dog": ("leaf",), "dog": ("leave",)}
    )
    assert taxonomy.resolve("leaves") is None


def test_suggest_offers_every_meaning_and_what_is_spelled_alike() -> None:
    assert set(IMAGENET.suggest("cranes")) >= {"crane bird", "construction crane"}
    assert IMAGENET.suggest("mouse")[0] == "computer mouse"
    assert IMAGENET.suggest("retreiver")[0] == "retriever"
    assert "african wild dog" in IMAGENET.suggest("dog wild african")
    assert IMAGENET.suggest("xyzzy") == []
    assert IMAGENET.suggest("") == []
    assert len(IMAGENET.suggest("dog", at_most=3)) == 3


# -- the derivation ---------------------------------------------------------------------------

wordnet = pytest.mark.skipif(not derive.WORDNET.exists(), reason="WordNet's database is not on this machine")


@wordnet
def test_derive_reproduces_the_file() -> None:
    written = (derive.FOLDER / "taxonomy.json").read_text(encoding="utf-8")
    assert derive.derive(derive.WORDNET, derive.FOLDER) == written


@wordnet
@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        ('n02084071 = "dog"', 'n00000001 = "dog"', "rungs are no synsets: n00000001"),
        ('"coyote" = ["mammal"]', '"coyotte" = ["mammal"]', "coyotte"),
        ('"coyote" = ["mammal"]', '"coyote" = ["wolf"]', "what WordNet says: coyote"),
        ('"cat" = ["kitten"', '"cat" = ["sofa", "kitten"', "aliases are tags: sofa"),
        ('tags = ["bird"]', 'tags = ["bird", "bird"]', "set twice: bird"),
    ],
)
def test_a_decision_that_does_nothing_is_refused(tmp_path: Path, found: str, put: str, said: str) -> None:
    (tmp_path / "labels.tsv").write_bytes((derive.FOLDER / "labels.tsv").read_bytes())
    curation = (derive.FOLDER / "curation.toml").read_text(encoding="utf-8")
    assert curation.count(found) == 1
    (tmp_path / "curation.toml").write_text(curation.replace(found, put), encoding="utf-8")
    with pytest.raises(TaxonomyError, match=said):
        derive.derive(derive.WORDNET, tmp_path)
