"""Connections, and what a lost one means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.ports import StoreUnavailableError

_STATEMENT_SECONDS = 30


def open_pool(conninfo: str, *, most: int, name: str = "carillon") -> AsyncConnectionPool:
    """A pool, not yet opened, of autocommitting connections. A caller waits 5 s for one, then is told."""
    return AsyncConnectionPool(
        conninfo,
        kwargs={"autocommit": True, "application_name": name, "options": f"-c statement_timeout={_STATEMENT_SECONDS}s"},
        min_size=1,
        max_size=most,
        timeout=5,
        open=False,
        check=AsyncConnectionPool.check_connection,
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
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise StoreUnavailableError(type(error).__name__) from error

    async def rows(
        self, query: str | SQL | Composed, values: Any = (), *, binary: bool = True
    ) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            cursor = await connection.execute(query, values, prepare=True, binary=binary)
            return await cursor.fetchall() if cursor.description else []
