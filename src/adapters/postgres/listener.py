"""Hearing what PostgreSQL notifies of on one channel."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import psycopg

from adapters.postgres.database import patient

_QUIET_SECONDS = 10.0
_LONGEST_BACKOFF = 2.0


async def listen(conninfo: str, channel: str, ring: Callable[[], None], *, name: str) -> None:
    """Call `ring` at the start and at each notice, until cancelled; `name` is shown in pg_stat_activity.

    A broken connection is made again with back-off, and rings, for something may have been missed.
    """
    backoff = 0.05
    while True:
        with suppress(psycopg.OperationalError, OSError, TimeoutError):
            async with await psycopg.AsyncConnection.connect(
                patient(conninfo), autocommit=True, application_name=name
            ) as connection:
                await connection.execute(f"LISTEN {channel}")
                backoff = 0.05
                await _ring_on_notice(connection, ring)
        ring()
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, _LONGEST_BACKOFF)


async def _ring_on_notice(connection: psycopg.AsyncConnection, ring: Callable[[], None]) -> None:
    while True:
        ring()
        notices = [notice async for notice in connection.notifies(timeout=_QUIET_SECONDS, stop_after=1)]
        if not notices:
            await asyncio.wait_for(connection.execute("SELECT 1"), _QUIET_SECONDS)
