"""A person corrects tags, and lets another model take over, look by look."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import Tagger


def _tags(tagger: Tagger, photo: str) -> dict[str, tuple[float, str]]:
    found = tagger.json("show", photo)["tags"]
    return {tag["tag"]: (round(tag["confidence"], 3), tag["source"]) for tag in found}


def test_a_word_outlives_the_model(tagger: Tagger, tagged: Path) -> None:
    assert "dog" in _tags(tagger, "domestic_dog.jpg")
    assert tagger("reject", "domestic_dog.jpg", "dog").strip() == "Noted 1 verdict."
    assert tagger("confirm", "domestic_dog.jpg", "cat").strip() == "Noted 1 verdict."
    assert "rejected by a person: dog" in tagger("show", "domestic_dog.jpg")
    held = _tags(tagger, "domestic_dog.jpg")
    assert "dog" not in held
    assert held["cat"] == held["animal"] == (1.0, "person")
    tagger("search", "dog", code=1)
    tagger("tag", tagged, "--model", "efficientnet-lite1")
    version = next(
        each["name"] for each in tagger.json("models")["versions"] if each["spec"] == "efficientnet-lite1"
    )
    tagger("models", "promote", version)
    later = _tags(tagger, "domestic_dog.jpg")
    assert "dog" not in later and later["cat"] == (1.0, "person")
    assert tagger("reject", "domestic_dog.jpg", "dog", "--undo").strip() == "Took back 1 verdict."
    assert "dog" in _tags(tagger, "domestic_dog.jpg")


def test_many_are_corrected_at_once_from_a_search_and_from_a_table(tagger: Tagger, tagged: Path) -> None:
    dogs = tagger.json("search", "dog")
    assert tagger.json("reject", "animal", "--where", "dog") == {"new": len(dogs), "taken_back": 0}
    tagger("search", "dog", code=1)
    table = tagger.folder / "said.csv"
    table.write_text("image,tag,verdict\ndomestic_dog.jpg,animal,none\ndomestic_dog.jpg,dog,confirm\n")
    tagger("confirm", "--csv", table)
    assert [hit["confidence"] for hit in tagger.json("search", "dog")] == [1.0]
    table.write_text("image,tag\ndomestic_dog.jpg,cat\nnobody.jpg,cat\n")
    assert "nobody.jpg is not in this database" in tagger("confirm", "--csv", table, code=1)
    assert "cat" not in _tags(tagger, "domestic_dog.jpg")
    kept = tagger("verdicts", "--csv")
    assert kept.splitlines()[0] == "uri,tag,verdict" and len(kept.splitlines()) == 2
    assert tagger.json("reject", "car", "--where", "car") == {"new": 1, "taken_back": 0}
    assert len(tagger.json("verdicts", "car")) == 1
    assert tagger.json("reject", "car", "--undo", "--all") == {"new": 0, "taken_back": 1}
    assert len(tagger.json("search", "car")) == 1
    tagger("confirm", "dog", "--undo", "--all")
    assert tagger.json("verdicts", code=1) == []
    table.write_text(kept)
    tagger("confirm", "--csv", table)
    assert [said["tag"] for said in tagger.json("verdicts")] == ["dog"]


def test_wrong_use_of_words_is_answered(tagger: Tagger, tagged: Path) -> None:
    tagger = Tagger({**tagger.env, "COLUMNS": "250"}, tagger.folder)  # so that no message is broken up
    assert "name photos and, last, the tag" in tagger("confirm", "dog", code=2)
    assert "did you mean" in tagger("confirm", "domestic_dog.jpg", "retreiver", code=1)
    assert "a tag of your own: --new" in tagger("confirm", "domestic_dog.jpg", "our rex", code=1)
    assert "the tag comes last" in tagger("confirm", "dog", tagged / "broken.jpg", code=2)
    assert "finds no photo" in tagger("confirm", "dog", "--where", "sofa", code=1)
    assert "say which photos of --where" in tagger("confirm", "x.jpg", "dog", "--limit", "2", code=2)
    assert "--undo --all" in tagger("reject", "dog", "--where", "dog", "--undo", code=2)
    assert "Took back 0" in tagger("reject", "domestic_dog.jpg", "dog", "--undo", code=1)
    tagger("confirm", "domestic_dog.jpg", "our rex", "--new")
    assert len(tagger.json("search", "our", "rex")) == 1


def test_another_version_is_tried_on_some_compared_promoted_and_taken_back(
    tagger: Tagger, tagged: Path
) -> None:
    env = {"TAGGER_ROOTS": str(tagged)}
    other = Tagger({**tagger.env, **env}, tagger.folder)
    plan = other.json("reindex", "--model", "efficientnet-lite1", "--missing", "--dry-run")
    assert plan["wanted"] == plan["there"] + plan["wanted"] > 0
    some = other.json("reindex", "--model", "efficientnet-lite1", "--where", "dog", "--dry-run")
    assert 0 < some["wanted"] < plan["wanted"]
    assert len(tagger.json("models")["versions"]) == 1, "a dry run writes nothing"
    few = other.json("reindex", "--model", "efficientnet-lite1", "--limit", "1")
    assert few["wanted"] == 1
    assert "still wants images" in tagger("models", "prune", "efficientnet-lite1", "--yes", code=3)
    tagger("tag", tagged, "--model", "efficientnet-lite1")
    old, new = (each["name"] for each in tagger.json("models")["versions"])
    found = tagger.json("models", "diff", old, new)
    assert found["images"] > 0 and found["tags"] and found["examples"]
    assert "Gained" in tagger("models", "diff", old, new)
    before = tagger.json("tags")
    tagger("models", "promote", new)
    assert tagger.json("tags") != before
    assert f"{old} is live again" in tagger("models", "rollback")
    assert tagger.json("tags") == before
    assert "say --yes" in tagger("models", "prune", new, code=2)
    assert "is live" in tagger("models", "prune", old, code=3)
    tagger("models", "prune", new, "--yes")
    assert [each["name"] for each in tagger.json("models")["versions"]] == [old]
    assert tagger.json("tags") == before


def test_thresholds_are_data(tagger: Tagger, tagged: Path) -> None:
    before = len(tagger.json("search", "animal"))
    assert tagger("thresholds", "set", "animal", "1").startswith(
        "animal counts from 1 on, as efficientnet-lite0@"
    )
    assert len(tagger.json("search", "animal")) <= before
    (threshold,) = tagger.json("thresholds", "list", "animal")
    assert (threshold["tag"], threshold["threshold"]) == ("animal", 1.0)
    assert "the floor" in tagger("thresholds", "set", "animal", "0.01", code=3)
    assert "confirm and reject some first" in tagger("thresholds", "fit", "--precision", "0.95", code=1)
    assert "did you mean" in tagger("thresholds", "list", "animl", code=1)


def test_a_model_whose_weights_cannot_be_had_leaves_no_trace(tagger: Tagger, photos: Path) -> None:
    nowhere = {"TORCH_HOME": str(tagger.folder / "torch"), "https_proxy": "http://127.0.0.1:9"}
    offline = Tagger({**tagger.env, **nowhere}, tagger.folder)
    assert "save it as" in offline("tag", photos, "--model", "alexnet", code=3)
    assert tagger.json("models")["versions"] == []
    assert tagger.json("tag", photos)["live"]
    assert "save it as" in offline("tag", photos, "--model", "alexnet", code=3)
    assert len(tagger.json("models")["versions"]) == 1
