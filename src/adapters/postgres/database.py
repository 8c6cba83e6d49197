"""Connections, and what a lost one means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.ports import StoreUnavailableError

_STATEMENT_SECONDS = 30
_TRUSTED_SECONDS = 1.0
RECONNECT_SECONDS = 5.0
"""For how long a pool tries to replace one lost connection: as long as a caller waits. The next one makes it try again.

Its pauses double: with more patience it would stay blind for as long again as the database was away.
"""


class PooledConnection(psycopg.AsyncConnection[Any]):
    """A connection that remembers when it was last known to answer (seconds of the monotonic clock)."""

    answered_at = 0.0


async def _check(connection: PooledConnection) -> None:
    """Once a second at most: asking before every statement would double the round trips."""
    if monotonic() - connection.answered_at > _TRUSTED_SECONDS:
        await AsyncConnectionPool.check_connection(connection)
        connection.answered_at = monotonic()


def open_pool(conninfo: str, *, most: int, name: str = "carillon") -> AsyncConnectionPool[Any]:
    """A pool, not yet opened, of autocommitting connections. A caller waits 5 s for one, then is told."""
    return AsyncConnectionPool(
        conninfo,
        connection_class=PooledConnection,
        kwargs={"autocommit": True, "application_name": name, "options": f"-c statement_timeout={_STATEMENT_SECONDS}s"},
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
        """Raises StoreUnavailableError when the database does not answer or the connection breaks meanwhile."""
        try:
            async with self.pool.connection() as connection:
                yield connection
        except psycopg.errors.LockNotAvailable:  # it does answer, and only who sets a lock_timeout is told so
            raise
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise StoreUnavailableError(type(error).__name__) from error

    async def rows(
        self, query: str | SQL | Composed, values: Any = (), *, binary: bool = True
    ) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            cursor = await connection.execute(query, values, prepare=True, binary=binary)
            return await cursor.fetchall() if cursor.description else []
