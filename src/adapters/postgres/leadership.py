"""Being the only one: an advisory lock held by a connection of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from adapters.postgres.database import patient

_ASK_EVERY = 1.0
_NAMESPACE = 0x0CA7


class LeadershipLostError(Exception):
    """The connection that held the lock is gone: somebody else may lead now."""


@asynccontextmanager
async def leading(conninfo: str, role: str) -> AsyncIterator[None]:
    """Wait until no other process leads in this role, then lead for the length of the block.

    When the connection breaks, the block is cancelled and LeadershipLostError is raised.
    """
    async with await psycopg.AsyncConnection.connect(
        patient(conninfo), autocommit=True, application_name=f"carillon {role}"
    ) as connection:
        while not await _try(connection, role):  # noqa: ASYNC110 - the lock is another process's
            await asyncio.sleep(_ASK_EVERY)
        task = asyncio.current_task()
        assert task is not None
        asked_before, lost = task.cancelling(), _Loss()
        watch = asyncio.create_task(_watch(connection, task, lost), name=f"leadership of {role}")
        try:
            yield
        except asyncio.CancelledError:
            if lost.cancellations and lost.take_back(task) <= asked_before:
                raise LeadershipLostError(role) from None
            raise  # somebody else wants it to end as well
        finally:
            watch.cancel()


class _Loss:
    """How often the leader was cancelled because it leads no more."""

    def __init__(self) -> None:
        self.cancellations = 0

    def take_back(self, leader: "asyncio.Task[None]") -> int:
        """Answers how many wishes of others that it end are left."""
        for _ in range(self.cancellations):
            leader.uncancel()
        return leader.cancelling()


async def _try(connection: psycopg.AsyncConnection, role: str) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_NAMESPACE, role))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _watch(connection: psycopg.AsyncConnection, leader: "asyncio.Task[None]", lost: _Loss) -> None:
    """Cancels the leader until it has stopped: a cancellation can be lost on the way (see `adapters.stopping`)."""
    try:
        while True:
            await asyncio.sleep(_ASK_EVERY)
            await asyncio.wait_for(connection.execute("SELECT 1"), 5)
    except (psycopg.Error, TimeoutError):
        while True:
            lost.cancellations += 1
            leader.cancel()
            await asyncio.sleep(_ASK_EVERY)
