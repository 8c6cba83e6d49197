"""The roles of Carillon as processes of their own, on a PostgreSQL, a Redis and providers that can be broken."""

import asyncio
import base64
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec
import psycopg

from adapters.embedded_postgres import EmbeddedPostgres
from tests.faults.history import Arrival, Event
from tests.faults.process import BARE, Process
from tests.faults.redis import RedisServer
from tests.faults.waiting import until

Provider = Literal["resend", "smtp"]

LEASE, DEADLINE = 3.0, 1.0  # seconds
CONCURRENCY = 50
TENANTS = ("acme", "globex")
FULL_SET = ("api", "dispatcher", "projector", "worker", "worker")

_LATENCY_MS = 40  # of the providers, so that there are always calls on their way
_CARILLON = (sys.executable, "-m", "entrypoints")
_LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'carillon listener' AND datname = 'carillon'"


class Role(Process):
    """A role of Carillon; `provider` is the one it was told of."""

    kind: str
    provider: Provider

    @property
    def signature(self) -> str:
        """The end of what events name as their cause."""
        return f":{self.pid}"


class Cluster:
    """Use `running()`. Nothing is left of it at the end, whatever happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder)
        self.redis = RedisServer(folder, folder / "redis.log")
        self.processes: list[Process] = []
        self.api_keys: dict[str, str] = {}
        self._conninfo = ""
        self._numbers = count(1)
        self._providers: dict[Provider, Mapping[str, str]] = {}
        self._arrivals: dict[Provider, list[Arrival]] = {"resend": [], "smtp": []}
        self._read: dict[Provider, int] = {"resend": 0, "smtp": 0}
        self._master_key = base64.b64encode(os.urandom(32)).decode()

    @property
    def roles(self) -> list[Role]:
        return [each for each in self.processes if isinstance(each, Role) and each.alive]

    def all_of(self, kind: str) -> list[Role]:
        return [role for role in self.roles if role.kind == kind]

    def one(self, kind: str) -> Role:
        (role,) = self.all_of(kind)
        return role

    @property
    def address(self) -> str | None:
        """Where the API answers now, None while it does not."""
        for role in self.all_of("api"):
            if match := re.search(r"answers on (http\S+)", role.said):
                return match[1]
        return None

    async def set_up(self) -> None:
        self._conninfo = self.postgres.start()
        await self.redis.start()
        await self._start_providers()
        await self.carillon("migrate")
        texts = await asyncio.gather(*(self.carillon("keys", "create", "--tenant", tenant) for tenant in TENANTS))
        self.api_keys = {tenant: text.strip() for tenant, text in zip(TENANTS, texts, strict=True)}

    def tear_down(self) -> None:
        for process in self.processes:
            process.kill()
        if self.redis.process:
            self.redis.process.kill()
        self.postgres.stop()

    def start(self, kind: str, provider: Provider = "resend", *, program: Sequence[str] = _CARILLON) -> Role:
        """Start a role; it is ready once `ready()` says that all are."""
        name = f"{kind}-{next(self._numbers)}"
        role = Role(name, [*program, kind], self._environment(provider), self.folder / f"{name}.log")
        role.kind, role.provider = kind, provider
        self.processes.append(role)
        return role

    async def ready(self, within: float = 60.0) -> None:
        """Every role that was started listens, and the API has said where."""

        async def all_listen() -> bool:
            self.check_that_all_live()
            return len(await self.query(_LISTENERS)) == len(self.roles)

        await until(all_listen, "all roles listen", within)
        if self.all_of("api"):
            await until(lambda: self.address, "the API answers", within)

    def check_that_all_live(self) -> None:
        ended = [each for each in self.processes if not each.alive and not each.dismissed]
        assert not ended, "\n".join(f"{each.name} ended:\n{each.last_lines}" for each in ended)

    async def full_set(self, provider: Provider = "resend") -> None:
        """One of each role and two workers, all of them for this provider."""
        for role in self.roles:
            role.resume()
            if role.kind in ("dispatcher", "worker") and role.provider != provider:
                role.kill()
        missing = list(FULL_SET)
        for role in self.roles:
            if role.kind in missing:
                missing.remove(role.kind)
            else:
                role.kill()
        for kind in missing:
            self.start(kind, provider)
        await self.ready()

    async def carillon(self, *arguments: str) -> str:
        """What the command line says to this; fails when the command does."""
        process = await asyncio.create_subprocess_exec(
            *_CARILLON,
            *arguments,
            env={**BARE, **self._environment("resend")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"carillon {' '.join(arguments)}: {out.decode()}{err.decode()}"
        return out.decode()

    def crash_postgres(self) -> None:
        """As by `kill -9` of the server; `postgres.restart()` brings it back."""
        first_line, *_ = (self.folder / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        os.kill(int(first_line), signal.SIGQUIT)

    async def query(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Ask the database behind Carillon's back, once it answers."""

        async def asked() -> list[list[tuple[Any, ...]]] | None:
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    cursor = await connection.execute(statement, values)
                    return [await cursor.fetchall() if cursor.description else []]
            except psycopg.OperationalError:
                return None

        return (await until(asked, "the database answers"))[0]

    async def listen(self) -> psycopg.AsyncConnection[Any]:
        """A connection that hears when the log grows."""
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        await connection.execute("LISTEN stored_events")
        return connection

    async def cut_listeners(self) -> int:
        return len(await self.query(f"SELECT pg_terminate_backend(pid) FROM ({_LISTENERS}) listeners"))

    async def head(self) -> int:
        ((head,),) = await self.query("SELECT coalesce(max(notification_id), 0) FROM stored_events")
        return int(head)

    async def projected(self) -> int:
        """The position that all read models have reached."""
        views = ("notifications", "attempts", "metrics", "receipts", "templates")
        union = " UNION ALL ".join(f"SELECT position FROM view_{view}.position" for view in views)
        ((position,),) = await self.query(f"SELECT min(position) FROM ({union}) positions")
        return int(position)

    async def events(self, after: int) -> list[Event]:
        rows = await self.query(
            "SELECT notification_id, originator_id::text, topic,"
            " e->>'tenant', e->>'by', e->>'correlation_id', e->>'reason'"
            " FROM stored_events, LATERAL (SELECT convert_from(state, 'UTF8')::jsonb) AS s (e)"
            " WHERE notification_id > %s AND topic LIKE 'notification.%%' ORDER BY notification_id",
            (after,),
        )
        return [Event(*row) for row in rows]

    async def calls_on_their_way(self, worker: Role) -> set[str]:
        """What this worker has announced in the log to call for, and of which nothing more is known."""
        rows = await self.query(
            "SELECT originator_id::text FROM stored_events r WHERE r.topic = 'notification.rendered'"
            " AND convert_from(r.state, 'UTF8')::jsonb->>'by' LIKE %s AND NOT EXISTS ("
            "  SELECT FROM stored_events n WHERE n.originator_id = r.originator_id"
            "  AND n.originator_version > r.originator_version)",
            (f"%{worker.signature}",),
        )
        return {id for (id,) in rows}

    async def skip_the_wait(self) -> None:
        """Make everything due that waits for its time, so that nobody has to wait a minute for a retry."""
        await self.query(
            "UPDATE schedule SET due_at = now(), rank_at = now() WHERE lease_until IS NULL AND due_at > now()"
        )

    def arrivals(self, provider: Provider) -> list[Arrival]:
        """Everything that ever arrived at this provider; read on from where it was read before."""
        known = self._arrivals[provider]
        with self._arrivals_file(provider).open("rb") as file:
            file.seek(self._read[provider])
            for line in file:
                if line.endswith(b"\n"):
                    known.append(msgspec.json.decode(line, type=Arrival))
                    self._read[provider] += len(line)
        return known

    async def _start_providers(self) -> None:
        told = {
            "resend": ["-m", "tests.fakes.resend", "--fast"],
            "smtp": ["-m", "tests.faults.smtp"],
        }
        for name, module in told.items():
            self._arrivals_file(name).touch()
            options = ["--log", str(self._arrivals_file(name)), "--latency-ms", str(_LATENCY_MS)]
            self.processes.append(Process(name, [sys.executable, *module, *options], {}, self.folder / f"{name}.log"))
        resend, smtp = self.processes
        url = (await resend.says(r"(http://\S+)\n"))[1]
        host, port = (await smtp.says(r"smtp://(\S+):(\d+)\n")).groups()
        self._providers = {
            "resend": {"RESEND_API_KEY": "re_test", "RESEND_BASE_URL": url},
            "smtp": {"SMTP_HOST": host, "SMTP_PORT": port, "SMTP_STARTTLS": "no"},
        }

    def _arrivals_file(self, provider: str) -> Path:
        return self.folder / f"{provider}.jsonl"

    def _environment(self, provider: Provider) -> dict[str, str]:
        return {
            "HOST": "127.0.0.1",
            "PORT": "0",
            "CARILLON_DATA": str(self.folder),
            "CARILLON_MASTER_KEY": self._master_key,
            "DATABASE_URL": self._conninfo,
            "REDIS_URL": self.redis.url,
            "EMAIL_PROVIDER": provider,
            "EMAIL_CONCURRENCY": str(CONCURRENCY),
            "EMAIL_DEADLINE_MS": f"{DEADLINE * 1000:.0f}",
            "LEASE_MS": f"{LEASE * 1000:.0f}",
            "DISPATCH_WINDOW": "200",
            "RESEND_PER_SECOND": "100000",
            "RESEND_PER_DAY": "100000000",
            **self._providers[provider],
        }


@asynccontextmanager
async def running() -> AsyncIterator[Cluster]:
    # A short path of our own: sockets are in it, and PostgreSQL, which never runs as root, must be able to pass.
    with tempfile.TemporaryDirectory(prefix="carillon-faults-") as folder:
        cluster = Cluster(Path(folder))
        async with AsyncExitStack() as stack:
            stack.callback(cluster.tear_down)
            await cluster.set_up()
            yield cluster
