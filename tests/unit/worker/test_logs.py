"""What is logged says of what it is, in one line, and never tells a password."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
from celery import Celery, signals
from celery.utils.log import get_task_logger

from tagger.errors import SettingsError, masked
from worker import logs

LOG = logging.getLogger("worker.tasks")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_record_is_an_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    LOG.info("two\nlines of %s", "text", extra={"image": 7})
    (line,) = _lines(capsys)
    assert line.pop("time").endswith("Z")  # type: ignore[attr-defined]
    assert line == {"level": "INFO", "logger": "worker.tasks", "message": "two\nlines of text", "image": 7}


def test_time_is_utc(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    record = logging.makeLogRecord({"created": 86400.25, "levelno": logging.INFO, "msg": "x"})
    logging.getLogger().handle(record)
    assert _lines(capsys)[0]["time"] == "1970-01-02T00:00:00.250Z"


def test_context_is_on_every_record_inside(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.context(run=12, model="efficientnet-lite0"):
        with logs.context(chunk="c-1", image=3):
            logging.getLogger("kombu.connection").warning("gone")
        LOG.info("chunk done", extra={"images": [1, 2]})
    LOG.info("idle")
    inner, outer, idle = _lines(capsys)
    assert (inner["run"], inner["chunk"], inner["image"]) == (12, "c-1", 3)
    assert outer["run"] == 12 and "chunk" not in outer and outer["images"] == [1, 2]
    assert not {"run", "model"} & idle.keys()


def test_threads_started_inside_say_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.context(run=12):
        call = logs.carried(LOG.info)
        threads = [threading.Thread(target=call, args=(str(number),)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["run"] for line in _lines(capsys)] == [12, 12]


def test_context_cannot_hide_what_every_record_has(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.context(level="fine", logger="me"):
        LOG.error("not fine")
    (line,) = _lines(capsys)
    assert (line["level"], line["logger"]) == ("ERROR", "worker.tasks")


def test_an_exception_stays_in_its_field(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise ValueError("postgresql://tagger:s3cret@db/tagger")
    except ValueError:
        LOG.exception("failed")
    (line,) = _lines(capsys)
    trace = str(line["exception"])
    assert trace.startswith("Traceback") and "ValueError: postgresql://tagger:***@db/tagger" in trace


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("to redis://:s3cret@broker:6379/0 now", "to redis://:***@broker:6379/0 now"),
        ("rediss://u:s3cret@a;rediss://u:s3cret@b", "rediss://u:***@b"),
        ("postgresql+psycopg://u:s3/cr@et@db/x?a=b", "postgresql+psycopg://u:***@db/x?a=b"),
        ("https://u:s3cret@host/a.jpg", "https://u:***@host/a.jpg"),
        ("host=db user=u password=s3cret port=1", "host=db user=u password=*** port=1"),
        ("password = 's3 cret' port=1", "password = *** port=1"),
    ],
)
@pytest.mark.parametrize("form", ["json", "text"])
def test_passwords_are_masked(
    said: str, written: str, form: logs.Format, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(form)
    with logs.context(broker=said):
        LOG.warning("broker %s", said, extra={"places": [said]})
    told = capsys.readouterr().err
    assert written in told
    assert "s3" not in told and "cret" not in told


@pytest.mark.parametrize(
    "said", ["https://host:8080/a@b.jpg", "redis://broker:6379/0", "file:///a:b@c.jpg", "s3://bucket/a:b@c"]
)
def test_what_is_no_password_is_left_alone(said: str) -> None:
    assert masked(said) == said


def test_text_has_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    with logs.context(run=12, place="my photos", images=[1, 2], none=None):
        LOG.info("chunk done")
    told = capsys.readouterr().err
    assert told.endswith('Z INFO worker.tasks chunk done run=12 place="my photos" images=[1,2] none=null\n')


def test_no_file_name_forges_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    LOG.info("read %s", "a.jpg\n2026-01-01T00:00:00Z ERROR root \x1b[31mall is lost")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("read a.jpg") and second.startswith("    2026") and "\x1b" not in second


@pytest.mark.parametrize("value", [float("nan"), "\udcff", b"x", 10**30, [float("inf")]], ids=ascii)
def test_any_value_can_be_written(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.context(value=value):
        LOG.info("%s", value)
    assert "value" in _lines(capsys)[0]


def test_a_word_of_a_million_letters_is_cut_and_quickly(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    LOG.info("://a:" * 20_000 + "end")
    (line,) = _lines(capsys)
    assert len(str(line["message"])) < 11_000 and str(line["message"]).endswith("end")


def test_messages_that_celery_adds_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    LOG.info("received", extra={"data": {"args": ["x"]}})
    assert "data" not in _lines(capsys)[0]


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logs.configure("json", "warning")
    LOG.info("quiet")
    LOG.warning("loud")
    assert [line["message"] for line in _lines(capsys)] == ["loud"]


def test_an_unknown_level_is_told() -> None:
    with pytest.raises(SettingsError, match="LOUD"):
        logs.configure("json", "LOUD")


def test_warnings_are_records_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # catch_warnings put another way to show them in place
        logging.captureWarnings(True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "old way" in str(_lines(capsys)[0]["message"])


def test_what_nobody_caught_is_a_record() -> None:
    code = (
        "import threading; from worker import logs; logs.configure('json')\n"
        "def fail(): raise ValueError('redis://:s3cret@host')\n"
        "thread = threading.Thread(target=fail, name='beat'); thread.start(); thread.join(); fail()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    thread, main = (json.loads(line) for line in done.stderr.splitlines())
    assert "beat" in thread["message"] and "ValueError" in main["exception"]
    assert done.returncode == 1 and "s3cret" not in done.stderr


@pytest.fixture
def celery() -> Iterator[Celery]:
    app = Celery("test", set_as_current=False)
    app.conf.worker_hijack_root_logger = False
    signals.setup_logging.connect(logs.already_configured)
    names = [None, "celery", "celery.task", "celery.worker"]
    before = {name: (list(logging.getLogger(name).handlers), logging.getLogger(name).level) for name in names}
    app.log.already_setup = type(app.log)._setup = False
    yield app
    type(app.log)._setup = False
    signals.setup_logging.disconnect(logs.already_configured)
    for name, (handlers, level) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).setLevel(level)


def test_celery_writes_as_we_do(celery: Celery, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    celery.log.setup(loglevel="INFO", redirect_stdouts=False)
    with logs.context(chunk="c-1"):
        get_task_logger("worker.tasks.images").info("from a task")
        logging.getLogger("celery.worker").info("from the worker")
    lines = _lines(capsys)
    assert [line["message"] for line in lines] == ["from a task", "from the worker"]
    assert all(line["chunk"] == "c-1" for line in lines)
