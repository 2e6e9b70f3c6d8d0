"""What is counted is shown under its name, whole, and to whoever asks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagger.errors import SettingsError
from tagger.metering import Meter, Stage
from tagger.values import OutcomeKind
from worker.metrics import ChunkResult, Endpoint, Metrics, RunSample, serve

REPOSITORY = Path(__file__).parents[3]
RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yml"
GUIDE = REPOSITORY / "docs" / "monitoring.md"
RUN = RunSample(12, "enqueue", True, pending=70, done=25, failed=5, last_progress=1_000_000.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("worker")


@contextmanager
def _served(metrics: Metrics, alive: Callable[[], bool] = lambda: True) -> Iterator[Endpoint]:
    endpoint = serve(0, metrics, alive, "127.0.0.1")
    try:
        yield endpoint
    finally:
        endpoint.close()


def _get(endpoint: Endpoint, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}{page}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as fault:
        with fault:
            return fault.code, fault.read().decode()


def _all_told(metrics: Metrics) -> None:
    """Everything at least once."""
    metrics.ready("lite0", "openvino", "CPU", "bf16")
    metrics.refused("tagger.enqueue")
    metrics.observe_queue({"tagger.images": 3})
    metrics.observe_wanted({"free": 70})
    metrics.observe_workers(2)
    metrics.observe_runs([RUN])


def test_it_is_a_meter(metrics: Metrics) -> None:
    meter: Meter = metrics
    meter.spent(Stage.PREDICT, 0.8, 8)
    meter.spent(Stage.READ, 0.5)
    meter.batch(6, 8)
    meter.halved()
    meter.died()
    meter.timed_out()
    value = metrics.registry.get_sample_value
    assert value("tagger_stage_seconds_count", {"stage": "predict"}) == 8
    assert value("tagger_stage_seconds_sum", {"stage": "predict"}) == pytest.approx(0.8)
    assert value("tagger_stage_seconds_bucket", {"stage": "predict", "le": "0.25"}) == 8
    assert value("tagger_stage_seconds_count", {"stage": "read"}) == 1
    assert value("tagger_stage_seconds_count", {"stage": "write"}) == 0
    assert value("tagger_batches_total") == 1
    assert value("tagger_batch_fill_ratio_sum") == 0.75
    assert value("tagger_batches_halved_total") == 1
    assert value("tagger_loading_deaths_total") == 1
    assert value("tagger_loading_timeouts_total") == 1


def test_outcomes_chunks_and_trouble_are_counted(metrics: Metrics) -> None:
    metrics.written({OutcomeKind.OK: 100, OutcomeKind.CORRUPT: 2}, "lite0")
    metrics.written({OutcomeKind.OK: 1}, "lite0")
    metrics.chunk(ChunkResult.HANDED_BACK, 3.0)
    metrics.refused("tagger.enqueue")
    metrics.lease_lost()
    metrics.write_failed()
    value = metrics.registry.get_sample_value
    assert value("tagger_images_total", {"outcome": "ok", "model": "lite0"}) == 101
    assert value("tagger_images_total", {"outcome": "corrupt", "model": "lite0"}) == 2
    assert value("tagger_chunks_total", {"result": "handed_back"}) == 1
    assert value("tagger_chunks_total", {"result": "done"}) == 0
    assert value("tagger_chunk_seconds_sum") == 3.0
    assert value("tagger_messages_refused_total", {"task": "tagger.enqueue"}) == 1
    assert value("tagger_leases_lost_total") == 1
    assert value("tagger_write_failures_total") == 1


def test_the_first_of_a_kind_can_be_seen_by_a_rate() -> None:
    metrics = Metrics("worker", ["tagger.enqueue"])
    metrics.ready("lite0", "openvino", "CPU", "bf16")
    value = metrics.registry.get_sample_value
    assert value("tagger_messages_refused_total", {"task": "tagger.enqueue"}) == 0
    for kind in OutcomeKind:
        assert value("tagger_images_total", {"outcome": kind.value, "model": "lite0"}) == 0


def test_a_run_that_is_over_is_shown_no_more(metrics: Metrics) -> None:
    metrics.observe_runs([RUN, RunSample(13, "scan", False, 1, 0, 0, 5.0)])
    value = metrics.registry.get_sample_value
    assert value("tagger_run_images", {"run": "12", "kind": "enqueue", "state": "pending"}) == 70
    assert value("tagger_run_images", {"run": "12", "kind": "enqueue", "state": "failed"}) == 5
    assert value("tagger_run_active", {"run": "12"}) == 1
    assert value("tagger_run_active", {"run": "13"}) == 0
    assert value("tagger_run_last_progress_timestamp_seconds", {"run": "12"}) == 1_000_000.0
    metrics.observe_runs([])
    assert value("tagger_run_active", {"run": "12"}) is None


def test_who_did_not_look_says_nothing_of_the_whole(metrics: Metrics) -> None:
    """A worker that knows of no workers must not claim that there are none."""
    value = metrics.registry.get_sample_value
    assert value("tagger_workers") is None
    before = time.time()
    metrics.observe_workers(0)
    assert value("tagger_workers") == 0
    assert value("tagger_observed_timestamp_seconds", {"what": "workers"}) >= before  # type: ignore[operator]
    assert value("tagger_observed_timestamp_seconds", {"what": "queue"}) is None


def test_memory_counts_what_the_loading_processes_hold(metrics: Metrics) -> None:
    labels = {"device": "cpu", "kind": "resident"}
    before = metrics.registry.get_sample_value("tagger_device_memory_bytes", labels)
    hold = "x = bytearray(50_000_000); x[::4096] = b'1' * len(x[::4096]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        after = metrics.registry.get_sample_value("tagger_device_memory_bytes", labels)
        child.communicate(b"\n")
    assert before is not None and after is not None and after > before + 45_000_000


def test_asking_imports_no_torch_and_starts_no_cuda() -> None:
    code = (
        "import sys; from worker.metrics import Metrics; from prometheus_client import generate_latest\n"
        "generate_latest(Metrics('worker').registry)\n"
        "sys.exit('torch' in sys.modules or 'celery' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_many_threads_lose_nothing(metrics: Metrics) -> None:
    def tell() -> None:
        for _ in range(2000):
            metrics.spent(Stage.LOAD, 0.01)
            metrics.batch(8, 8)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.registry.get_sample_value("tagger_stage_seconds_count", {"stage": "load"}) == 8000
    assert metrics.registry.get_sample_value("tagger_batches_total") == 8000


def test_numbers_are_served(metrics: Metrics) -> None:
    _all_told(metrics)
    with _served(metrics) as endpoint:
        status, text = _get(endpoint, "/metrics")
    assert status == 200
    assert 'tagger_queue_messages{queue="tagger.images"} 3.0' in text
    assert 'tagger_role{role="worker"} 1.0' in text
    assert "tagger_process_resident_memory_bytes" in text or sys.platform != "linux"


def test_health_is_what_it_is_at_the_moment(metrics: Metrics) -> None:
    alive = True
    with _served(metrics, lambda: alive) as endpoint:
        assert _get(endpoint, "/healthz") == (200, "alive\n")
        alive = False
        assert _get(endpoint, "/healthz") == (503, "not alive\n")
        assert _get(endpoint, "/")[0] == 404


def test_a_port_in_use_is_told(metrics: Metrics) -> None:
    with (
        _served(metrics) as endpoint,
        pytest.raises(SettingsError, match=rf"port {endpoint.port} \(TAGGER_METRICS_PORT\).*in use"),
    ):
        serve(endpoint.port, metrics, lambda: True, "127.0.0.1")


def test_a_closed_port_is_free_again(metrics: Metrics) -> None:
    with _served(metrics) as endpoint:
        port = endpoint.port
        _get(endpoint, "/healthz")
    serve(port, metrics, lambda: True, "127.0.0.1").close()


def test_a_port_that_is_none_is_told(metrics: Metrics) -> None:
    with pytest.raises(SettingsError, match="70000"):
        serve(70000, metrics, lambda: True)


# -- the rules and the guide speak of what there is ---------------------------------------


def _shown() -> set[str]:
    """Every name that a process may show: of families, and of their samples."""
    metrics = Metrics("beat")
    _all_told(metrics)
    families = list(metrics.registry.collect())
    samples = {sample.name for family in families for sample in family.samples}
    return samples | {family.name for family in families if family.type == "histogram"}


def _named(page: Path) -> set[str]:
    return set(re.findall(r"\btagger_[a-z_]+\b(?![.*])", page.read_text()))


def test_the_rules_name_only_what_is_shown() -> None:
    named = _named(RULES)
    assert "tagger_images_total" in named
    assert named <= _shown()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Prometheus")
def test_the_rules_tell_the_stories_that_they_should() -> None:
    done = subprocess.run(["promtool", "test", "rules", RULES.with_name("alerts_test.yml")], check=False)
    assert done.returncode == 0


def test_the_guide_names_all_that_is_shown_and_nothing_else() -> None:
    suffixes = re.compile("_(bucket|sum|count|created)$")
    shown = {name for name in _shown() if not suffixes.search(name)}
    own = {name for name in shown if not name.startswith("tagger_process_")}
    assert own <= _named(GUIDE) <= _shown()


def test_every_alert_is_in_the_guide_with_what_to_do() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `Tagger")]
    assert [row.split("`")[1] for row in rows] == alerts
