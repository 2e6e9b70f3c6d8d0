"""Settings: what cannot be used is refused under its variable's name, before anything begins."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from tagger.errors import SettingsError
from tagger.settings import Settings, load_settings
from worker.app import make_app


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TAGGER_SCAN_CRON", "often", "Wrong number of fields"),
        ("TAGGER_SCAN_CRON", "61 * * * *", "Bad minute"),
        ("TAGGER_SCAN_CRON", "0 0 30 2 *", "Bad day-of-month"),
        ("TAGGER_REINDEX_CRON", "@daily", "five fields such as 30 2"),
        ("TAGGER_BULK_HOURS", "22:00", "two times with a dash"),
        ("TAGGER_BULK_HOURS", "22-6", "time format"),
        ("TAGGER_BULK_HOURS", "22:00-24:00", "hour value"),
        ("TAGGER_BULK_HOURS", "22:00-22:00", "two different times"),
        ("TAGGER_BULK_HOURS", "22:00Z-06:00Z", "without a zone"),
        ("TAGGER_BULK_HOURS", "22:00-06:00-01:00", "without a zone"),
        ("TAGGER_VISIBILITY_TIMEOUT", "nan", "finite"),
        ("TAGGER_VISIBILITY_TIMEOUT", "inf", "finite"),
        ("TAGGER_METRICS_PORT", "65001", "65000"),
        ("TAGGER_METRICS_PORT", "-1", "greater than or equal to 0"),
        ("TAGGER_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("TAGGER_MAX_SECONDS", "nan", "less than or equal"),
        ("TAGGER_THREADS", "0", "greater than or equal to 1"),
        ("TAGGER_THUMBNAIL_BYTES", "-1", "greater than or equal to 0"),
        ("TAGGER_ENGINE", "abacus", "TAGGER_ENGINE"),
        ("TAGGER_PROXIES", "proxy", "does not appear to be an IPv4 or IPv6 network"),
        ("TAGGER_PROXIES", "10.0.0.5,10.0.0.5/16", "has host bits set"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert variable in str(refusal.value)
    assert said in str(refusal.value)


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_SCAN_CRON", "x")
    monkeypatch.setenv("TAGGER_BULK_HOURS", "y")
    with pytest.raises(SettingsError, match=r"(?s)TAGGER_SCAN_CRON.*TAGGER_BULK_HOURS"):
        load_settings()


@pytest.mark.parametrize(
    "variable", ["DATABASE_URL", "BROKER_URL", "SCAN_CRON", "REINDEX_CRON", "BULK_HOURS", "MODEL"]
)
def test_an_empty_variable_is_none_as_in_a_compose_file(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(f"TAGGER_{variable}", "")
    assert getattr(load_settings(), variable.lower()) is None


@pytest.mark.parametrize(
    "token", ["fifteen-letters", "sixteen letters!", "sixteen-letters\n", "sixteen-lettärs"]
)
def test_a_token_is_long_and_plain_and_never_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("TAGGER_TOKEN", token)
    with pytest.raises(SettingsError, match=r"TAGGER_TOKEN=\*\*\*: .*openssl rand") as refusal:
        load_settings()
    assert token not in str(refusal.value)
    assert "letters-enough" not in repr(load_settings(token="letters-enough-16"))


def test_proxies_are_those_of_this_machine_or_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().proxies == ("127.0.0.1", "::1")
    monkeypatch.setenv("TAGGER_PROXIES", "10.0.0.5, 172.18.0.0/16")
    assert load_settings().proxies == ("10.0.0.5", "172.18.0.0/16")


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    undocumented = {name for name in Settings.model_fields if f"`TAGGER_{name.upper()}`" not in page}
    assert not undocumented


@pytest.mark.parametrize(
    ("hours", "within", "without"),
    [
        ("09:00-17:00", ["09:00", "12:30", "16:59"], ["08:59", "17:00", "00:00", "23:59"]),
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("00:00-06:00", ["00:00", "05:59"], ["06:00", "23:59"]),
        ("22:00-00:00", ["22:00", "23:59"], ["00:00", "21:59"]),
        (" 22:30 - 06:15 ", ["22:30", "06:14"], ["22:29", "06:15"]),
    ],
)
def test_bulk_hours_begin_at_their_first_minute_and_may_go_over_midnight(
    hours: str, within: list[str], without: list[str]
) -> None:
    settings = load_settings(bulk_hours=hours)
    assert all(settings.is_bulk_hour(time.fromisoformat(moment)) for moment in within)
    assert not any(settings.is_bulk_hour(time.fromisoformat(moment)) for moment in without)


def test_without_hours_bulk_work_always_runs() -> None:
    settings = load_settings()
    assert all(settings.is_bulk_hour(time(hour)) for hour in range(24))


def test_cron_expressions_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_SCAN_CRON", "*/15 * * * MON-FRI")
    assert load_settings().scan_cron == "*/15 * * * MON-FRI"


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_METRICS_PORT", "9000")
    assert load_settings(metrics_port=9001).metrics_port == 9001
    assert load_settings(metrics_port=None).metrics_port == 9000


def test_messages_must_not_come_back_while_a_chunk_is_worked_on() -> None:
    with pytest.raises(SettingsError, match="TAGGER_VISIBILITY_TIMEOUT=60: 600 seconds at least"):
        make_app(load_settings(broker_url="redis://broker", visibility_timeout=60.0))
    assert make_app(load_settings(broker_url="redis://broker", visibility_timeout=600.0))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:s3cret@broker:port/0", "Port could not be cast"),
        ("redis://:s3cret@broker:99999/0", "Port out of range"),
        ("localhost:6379", "no address of a Redis"),
        ("redis:///0", "no address of a Redis"),
        ("amqp://:s3cret@broker", "no address of a Redis"),
    ],
)
def test_a_broker_is_an_address_and_its_password_is_not_shown(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refusal:
        load_settings(broker_url=url)
    assert "TAGGER_BROKER_URL" in str(refusal.value) and "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_each_is_documented(field: str) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert f"| `TAGGER_{field.upper()}` |" in documented


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("THREADS", "BROKER_URL", "SCAN_CRON", "BULK_HOURS", "METRICS_PORT", "ROOTS"):
        monkeypatch.setenv(f"TAGGER_{name}", "")
    assert load_settings() == Settings()
