"""Connections, and what a lost one means."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Composed
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.ports.log import StoreUnavailableError

RV = TypeVar("RV")

_STATEMENT_SECONDS = 30
_LOCK_SECONDS = 10
"""After which who waits for a lock is told: for as long an append tries, and its callers wait half as long again."""
_ANSWER_SECONDS = _STATEMENT_SECONDS + 5.0
"""After which a server is taken for frozen: one that works would have ended the statement before."""
_CHECK_SECONDS = 3.0
_TRUSTED_SECONDS = 1.0
RECONNECT_SECONDS = 5.0
"""For how long a pool tries to replace one lost connection: as long as a caller waits. The next one makes it try again.

Its pauses double: with more patience it would stay blind for as long again as the database was away.
"""


_NETWORK = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def network_patience(conninfo: str) -> dict[str, int]:
    """Connection parameters by which a lost network is found out; none that was given. A unix socket has none."""
    given = conninfo_to_dict(conninfo)
    return {name: value for name, value in _NETWORK.items() if name not in given}


def patient(conninfo: str) -> str:
    """The same with the parameters of `network_patience`."""
    return make_conninfo(conninfo, **network_patience(conninfo))


class PooledConnection(psycopg.AsyncConnection[Any]):
    """A connection that remembers when it was last known to answer (seconds of the monotonic clock).

    It does not wait for ever: whoever gives up in the middle of a statement closes it, for nobody could tell any more
    whose answer would come next. The library would first ask the server to cancel, which may be what does not answer.
    """

    answered_at = 0.0
    patience: float | None = None

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            async with asyncio.timeout(self.patience or _ANSWER_SECONDS):
                return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from None
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


async def _check(connection: PooledConnection) -> None:
    """Once a second at most: asking before every statement would double the round trips."""
    if monotonic() - connection.answered_at > _TRUSTED_SECONDS:
        connection.patience = _CHECK_SECONDS
        await AsyncConnectionPool.check_connection(connection)
        connection.patience = None
        connection.answered_at = monotonic()


def open_pool(conninfo: str, *, most: int, name: str = "carillon", **settings: str) -> AsyncConnectionPool[Any]:
    """A pool, not yet opened, of autocommitting connections. A caller waits 5 s for one, then is told.

    `settings` are the server's, such as `lock_timeout`, and go before those that the address itself gives.
    """
    wanted = {"statement_timeout": f"{_STATEMENT_SECONDS}s", "lock_timeout": f"{_LOCK_SECONDS}s", **settings}
    given = conninfo_to_dict(conninfo).get("options") or ""
    return AsyncConnectionPool(
        conninfo,
        connection_class=PooledConnection,
        kwargs={
            "autocommit": True,
            "application_name": name,
            "options": " ".join([*(f"-c {name}={value}" for name, value in wanted.items()), str(given)]).strip(),
            **network_patience(conninfo),
        },
        min_size=1,
        max_size=most,
        timeout=5,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        check=_check,
    )


class Database:
    """A pool whose failures are ours."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self.pool = pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Raises StoreUnavailableError when the database does not answer in time or the connection breaks meanwhile."""
        try:
            async with self.pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise StoreUnavailableError(type(error).__name__) from error

    async def rows(
        self, query: str | SQL | Composed, values: Any = (), *, binary: bool = True
    ) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            cursor = await connection.execute(query, values, prepare=True, binary=binary)
            return await cursor.fetchall() if cursor.description else []
