"""Hearing what PostgreSQL notifies of."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import psycopg
from psycopg.sql import SQL, Identifier

from adapters.postgres.database import patient

Heard = Callable[[Sequence[psycopg.Notify]], None]
"""Takes the notices; none where some may have been missed."""

_QUIET_SECONDS = 10.0
_LONGEST_BACKOFF = 2.0


async def listen(
    conninfo: str,
    channels: Collection[str],
    heard: Heard,
    *,
    name: str,
    rest: float = 0.0,
    lock: tuple[int, str] | None = None,
) -> None:
    """Call `heard` at the start and whenever there are notices, until cancelled; `name` is shown in pg_stat_activity.

    A broken connection is made again with back-off. After notices nobody listens for `rest` seconds: to be woken by
    each costs more than to hear of several at once. For as long as somebody listens the `lock` is held, shared: two
    words of an advisory lock, of which the second is hashed.
    """
    backoff = 0.05
    while True:
        with suppress(psycopg.OperationalError, OSError, TimeoutError):
            async with await psycopg.AsyncConnection.connect(
                patient(conninfo), autocommit=True, application_name=name
            ) as connection:
                for channel in channels:
                    await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
                if lock:
                    await connection.execute("SELECT pg_advisory_lock_shared(%s, hashtext(%s))", lock)
                backoff = 0.05
                heard(())
                await _listen(connection, heard, rest)
        heard(())
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, _LONGEST_BACKOFF)


async def _listen(connection: psycopg.AsyncConnection, heard: Heard, rest: float) -> None:
    while True:
        notices = [notice async for notice in connection.notifies(timeout=_QUIET_SECONDS, stop_after=1)]
        if notices:
            heard(notices)
            await asyncio.sleep(rest)
        else:
            await asyncio.wait_for(connection.execute("SELECT 1"), _QUIET_SECONDS)
