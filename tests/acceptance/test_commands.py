"""The other commands, as people and programs use them."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tagger.cli import app
from tagger.store.session import Database

from .conftest import TAGGER, Tagger

Ask = Callable[[str, str], list[tuple[Any, ...]]]


def test_every_command_is_in_the_readme_and_all_in_it_are_commands() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shell = [line for block in re.findall(r"```sh\n(.+?)```", readme, re.S) for line in block.splitlines()]
    shown = {found[1] for line in shell if (found := re.match(r"(?:\.venv/bin/)?tagger ([a-z]+)", line))}
    there = {command.name for command in app.registered_commands} | {
        group.name for group in app.registered_groups
    }
    assert shown <= there
    assert {name for name in there if f"tagger {name}" not in readme} == set()


def test_search_knows_other_words_and_exits_like_grep(tagger: Tagger, tagged: Path) -> None:
    assert "domestic_dog.jpg" in tagger("search", "puppy")
    assert "vehicle.jpg" in tagger("search", "vehicle") + tagger("search", "automobile")
    assert tagger("search", "dog", "--paths") == f"{tagged / 'trip' / 'domestic_dog.jpg'}\n"
    (hit,) = tagger.json("search", "dogs", "--min", "0.5")
    assert hit["tag"] == "dog" and hit["confidence"] >= 0.5
    assert tagger("search", "golden", "retriever", code=1)
    assert "did you mean" in tagger("search", "dogg", code=1)


def test_the_hint_at_the_end_names_the_database_wherever_that_was_named(
    tagger: Tagger, photos: Path, tmp_path: Path
) -> None:
    db = tmp_path / "other.db"
    before = tagger("--db", db, "tag", photos / "trip" / "domestic_dog.jpg")
    behind = tagger("tag", photos / "trip" / "domestic_dog.jpg", "--db", db)
    for said in (before, behind):
        assert f"tagger tags --db {db}" in " ".join(said.split())


def test_a_search_is_an_expression(tagger: Tagger, tagged: Path) -> None:

    def found(expression: str, *more: str) -> set[str]:
        return {hit["uri"].rpartition("/")[2] for hit in tagger.json("search", expression, *more)}

    dog, cat, bird, car = "domestic_dog.jpg", "ocelot.jpg", "prairie_falcon.jpg", "vehicle.jpg"
    assert found("dog OR car") == {dog, car}
    assert found("animal AND NOT (dog OR feline)") == found("animal -dog -feline") == {bird}
    assert found("*dog* | felin?") == {dog, cat}
    assert found("path:trip/* NOT animal") == {car, "denali.webp"}
    assert found("format:webp OR puppy") == {"denali.webp", dog}
    assert found("NOT animal size>1KB", "--limit", "1") < {car, "denali.webp"}
    assert found("animal>=0.9 animal<=1") <= {dog, cat, bird}
    for text, code in (("dgo", 1), ("dog AND", 2), ("dog>=2", 2), ("taken:soon", 2), ("x" * 30_000, 2)):
        said = tagger("search", text, code=code)
        assert "^" in said and len(said) < 500
    assert tagger.json("confirm", "dog", "--where", "feline OR car") == {"new": 2, "taken_back": 0}
    assert found("dog=1") == {cat, car}
    assert "album_wild_ones" in tagger("album", "save", "wild ones", "animal NOT dog>=0.99")
    assert found("path:trip", "--album", "wild ones") == found("(animal NOT dog>=0.99) path:trip")
    assert [album["name"] for album in tagger.json("album", "list")] == ["wild ones"]
    assert tagger.rows("SELECT COUNT(*) FROM album_wild_ones") == [(len(found("animal NOT dog>=0.99")),)]
    tagger("album", "remove", "wild ones")
    assert "no album" in tagger("search", "--album", "wild ones", code=1)
    lines = tagger("search", "dog OR path:denali", "--csv").splitlines()
    assert lines[0] == "uri,tag,confidence,source,model" and len(lines) == 5
    assert any(line.endswith("denali.webp,,1.0,,") for line in lines)


def test_a_search_for_several_tags_and_without_some(tagger: Tagger, tagged: Path) -> None:
    dogs = {hit["uri"] for hit in tagger.json("search", "dog")}
    assert {hit["uri"] for hit in tagger.json("search", "dog", "animal")} == dogs
    others = {hit["uri"] for hit in tagger.json("search", "animal", "--not", "puppy")}
    assert others and not others & dogs
    assert others | dogs == {hit["uri"] for hit in tagger.json("search", "animal")}
    assert tagger.json("search", "animal", "--offset", "1") == tagger.json("search", "animal")[1:]
    assert "with animal AND NOT dog" in tagger("search", "animal", "--not", "dog")
    assert "did you mean" in tagger("search", "animal", "--not", "dogg", code=1)


def test_show_tags_and_status(tagger: Tagger, tagged: Path) -> None:
    out = tagger("show", tagged / "trip" / "domestic_dog.jpg")
    assert "dog" in out and "JPEG" in out
    shown = tagger.json("show", "domestic_dog.jpg")
    assert len(shown["labels"]) >= 5 and shown["width"] > shown["height"] > 100
    assert "not in this database" in tagger("show", "nowhere.jpg", code=1)
    counts = {row["tag"]: row["images"] for row in tagger.json("tags")}
    assert counts == dict(tagger.rows("SELECT tag, COUNT(*) FROM effective_tags GROUP BY tag"))
    status = tagger.json("status")
    assert status["present"] == 7 and {row[2] for row in status["outcomes"]} == {
        "ok",
        "corrupt",
        "unsupported",
    }
    assert "corrupt" in tagger("status")


def test_forget_leaves_no_trace(tagger: Tagger, tagged: Path) -> None:
    assert tagger.json("forget", tagged / "trip", "--yes") == {"forgotten": 5}
    assert {row[0].rsplit("/", 1)[1] for row in tagger.rows("SELECT uri FROM image_info")} == {
        "broken.jpg",
        "note.unknown",
    }
    assert tagger.json("tags") == []
    assert "nothing is known" in tagger("forget", tagged / "trip", code=1)


def test_a_link_is_shown_and_forgotten_itself(tagger: Tagger, tmp_path: Path, photos: Path) -> None:
    """And not the photo that it leads to; one to a folder stands for the folder."""
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "real.jpg").write_bytes((photos / "trip" / "ocelot.jpg").read_bytes())
    (folder / "link.jpg").symlink_to("real.jpg")
    (tmp_path / "elsewhere").symlink_to(folder)
    tagger("tag", folder)
    assert tagger.json("show", folder / "link.jpg")["uri"].endswith("/link.jpg")
    assert tagger.json("forget", folder / "link.jpg", "--yes") == {"forgotten": 1}
    assert [uri.rsplit("/", 1)[1] for (uri,) in tagger.rows("SELECT uri FROM image_info")] == ["real.jpg"]
    assert tagger.json("forget", tmp_path / "elsewhere", "--yes") == {"forgotten": 1}


def test_a_run_of_tag_shows_what_failed_in_it_and_why(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos)
    (photos / "later.jpg").write_text("no picture at all")
    tagger("tag", photos)
    first, second = (tagger.json("run", "show", run) for run in ("1", "2"))
    failed = {row["uri"].rsplit("/", 1)[1]: row["outcome"] for row in first["failures"]}
    assert failed == {"broken.jpg": "corrupt", "note.unknown": "unsupported"}
    assert first["outcomes"] == {"tagged": 5, "corrupt": 1, "unsupported": 1}
    assert second["outcomes"] == {"unsupported": 1} and "later.jpg" in second["failures"][0]["uri"]
    for run in (first, second):
        for number in ("done", "failed"):
            assert sum(tick[number] for tick in run["throughput"]) == run[number]
    assert re.search(r"Throughput [▁▂▃▄▅▆▇█]+ peak [\d,.]+ images/s\n", tagger("run", "show", "1"))


def test_a_run_is_named_by_its_folders_with_a_slash_and_its_files_without(
    tagger: Tagger, photos: Path
) -> None:
    photo, note = photos / "trip" / "domestic_dog.jpg", photos / "note.txt"
    note.write_text("hello\n")
    tagger("tag", photo, note)
    tagger("tag", photos)
    files, folder = (tagger.json("run", "show", run) for run in ("1", "2"))
    assert files["places"] == sorted([photo.as_uri(), note.as_uri()])
    assert folder["places"] == [f"{photos.as_uri()}/"]
    assert files["outcomes"] == {"tagged": 1, "unsupported": 1}, "these are found by their places"
    for listing in (tagger("status"), tagger("run", "list")):
        assert "domestic_dog.jpg" in listing and ".jpg/" not in listing and ".txt/" not in listing


def test_the_database_commands(tagger: Tagger, photos: Path, tmp_path: Path) -> None:
    assert tagger("db", "path").strip() == str(tmp_path / "tagger.db")
    assert "run `tagger tag PATH` first" in tagger("search", "dog", code=3)
    assert "went from nothing to version" in tagger("db", "upgrade")
    tagger("tag", photos)
    copy = tmp_path / "copy.db"
    tagger("db", "backup", copy)
    assert "domestic_dog.jpg" in tagger("search", "dog", "--db", copy)
    assert "domestic_dog.jpg" in tagger("--db", str(copy), "search", "dog")


def test_models_lists_what_there_is(tagger: Tagger, photos: Path) -> None:
    names = [row["name"] for row in tagger.json("models")["models"]]
    assert names[:3] == ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
    assert "did you mean efficientnet-lite1" in tagger(
        "tag", photos, "--model", "efficientnet-lite11", code=3
    )


def test_another_model_tags_beside_and_is_promoted(tagger: Tagger, tagged: Path) -> None:
    before = tagger.rows("SELECT * FROM effective_tags ORDER BY image_id, tag")
    report = tagger.json("tag", tagged, "--model", "efficientnet-lite1")
    assert not report["live"] and report["tagged"] == 7
    assert tagger.rows("SELECT * FROM effective_tags ORDER BY image_id, tag") == before
    tagger("models", "promote", report["model"])
    assert tagger.rows("SELECT DISTINCT model FROM effective_tags") == [(report["model"],)]
    assert tagger.json("tag", tagged)["model"] == report["model"], "the live model is the default"


def test_the_doctor_finds_what_is_wrong_and_how_to_mend_it(tagger: Tagger) -> None:
    findings = tagger.json("doctor")
    assert {finding["subject"] for finding in findings} >= {
        "database",
        "broker",
        "devices",
        "weights",
        "codecs",
    }
    wrong = {"TAGGER_BROKER_URL": "redis://127.0.0.1:1/0", "TAGGER_MODEL": "efficientnet-lite9"}
    out = Tagger({**tagger.env, **wrong}, tagger.folder)("doctor", code=1)
    assert "does not answer" in out and "to mend" in out
    assert "'efficientnet-lite9'" in out and "correct TAGGER_MODEL: efficientnet-lite0, " in out


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("tag", "/nowhere/at/all"), "/nowhere/at/all is not there", 3),
        (("tag",), "Missing argument", 2),
        (("tag", "x", "--threads", "0"), "--threads", 2),
        (("search", "dog", "--db", "mysql://x/y"), "postgresql", 3),
        (("search", "dog", "--db", "postgresql://nobody@127.0.0.1:1/x"), "does not answer", 3),
    ],
)
def test_wrong_use_is_answered_with_what_to_do(
    tagger: Tagger, arguments: tuple[str, ...], said: str, code: int
) -> None:
    out = tagger(*arguments, code=code)
    assert said in out and "Traceback" not in out


@pytest.mark.parametrize("command", [("status",), ("doctor",), ("search", "dog"), ("tag", ".")])
def test_a_damaged_database_is_named_as_such(tagger: Tagger, command: tuple[str, ...]) -> None:
    (tagger.folder / "tagger.db").write_bytes(b"no database" * 1000)
    out = tagger(*command, code=1 if command == ("doctor",) else 3)
    assert "no SQLite database, or a damaged one" in out and "Traceback" not in out


def test_forgetting_must_be_meant(tagger: Tagger, tagged: Path) -> None:
    assert "7 photos would be forgotten: say --yes" in tagger("forget", tagged, code=2)
    assert tagger("forget", tagged, "--json", code=2)
    with sqlite3.connect(tagger.folder / "tagger.db") as connection:
        connection.execute(
            "INSERT INTO verdicts (image_id, tag_id, verdict, decided_at) "
            "SELECT i.id, t.id, 'confirm', CURRENT_TIMESTAMP FROM images i, tags t "
            "WHERE i.uri LIKE '%ocelot.jpg' AND t.name = 'cat'"
        )
    connection.close()
    assert "7 photos and 1 verdict of people" in tagger("forget", tagged, code=2)
    assert tagger.json("forget", tagged, "--yes") == {"forgotten": 7}


def test_settings_that_cannot_be_used_are_named(tagger: Tagger) -> None:
    odd = Tagger({**tagger.env, "TAGGER_MAX_PIXELS": "many"}, tagger.folder)
    out = odd("status", code=3)
    assert "TAGGER_MAX_PIXELS='many'" in out and "Traceback" not in out


def test_both_databases_hold_the_same_library(
    tagger: Tagger, tagged: Path, postgresql: Database, rows: Ask
) -> None:
    server = postgresql.engine.url.render_as_string(hide_password=False)
    tagger("tag", tagged, "--db", server)
    file = str(tagger.folder / "tagger.db")
    queries = {
        "effective_tags": ("uri, tag, source, model", "confidence"),
        "label_scores": ("uri, model, rank, label_key, label", "confidence"),
        "image_status": ("uri, model, outcome, reason, attempts", "0"),
        "image_info": ("uri, size, width, height, format, taken_at, vanished_at", "0"),
        "tag_counts": ("tag, images", "0"),
        "tag_closure": ("ancestor, descendant, depth", "0"),
        "tag_diff": ("uri, tag, from_model, to_model, change", "0"),
    }
    for view, (columns, number) in queries.items():
        query = f"SELECT {columns}, {number} FROM {view} ORDER BY {columns}"
        here, there = rows(file, query), rows(server, query)
        assert [row[:-1] for row in here] == [row[:-1] for row in there], view
        assert all(abs(a[-1] - b[-1]) < 1e-4 for a, b in zip(here, there, strict=True)), view


def test_json_is_json_and_nothing_else(tagger: Tagger, tagged: Path) -> None:
    for arguments in (("tags",), ("status",), ("models",), ("show", "ocelot.jpg"), ("search", "animal")):
        json.loads(tagger(*arguments, "--json"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("tags",), ("db", "path"), ("models", "--json"), ("--help",)])
def test_output_that_cannot_be_written_is_an_error(tagger: Tagger, arguments: tuple[str, ...]) -> None:
    tagger("db", "upgrade")
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [*TAGGER, *arguments], env=tagger.env, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert run.returncode == 3
    assert run.stderr.decode() == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [("tags",), ("db", "path"), ("models", "--json"), ("--help",)])
def test_a_reader_that_has_gone_is_no_error(tagger: Tagger, arguments: tuple[str, ...]) -> None:
    tagger("db", "upgrade")
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [*TAGGER, *arguments], env=tagger.env, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, b"")
