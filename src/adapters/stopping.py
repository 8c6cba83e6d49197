"""Ending tasks, for certain."""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

_ASK_AGAIN = 2.0


async def finished(tasks: Collection["asyncio.Task[Any]"], patience: float) -> None:
    """Let these and those that they begin come to their end, for so many seconds: `tasks` are those still under way."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while running := {task for task in tasks if not task.done()}:
                await asyncio.wait(running)


@asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do these for as long as the block lasts."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        await stopped(*tasks)


async def together(*works: Coroutine[Any, Any, Any]) -> None:
    """Do these side by side, until all have ended or one fails; then, or when cancelled, the others are stopped.

    Each cancellation of who waits here is passed on to all of them, where a TaskGroup passes on the first one only. So
    whoever uses `stopped` ends them for certain, though one of them may miss a cancellation.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await stopped(*tasks)


async def stopped(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel these and return when all have ended, whatever they ended with.

    They are asked again every two seconds: a cancellation can be lost on the way, as `asyncio.wait_for` before
    Python 3.12 loses one that comes in the moment in which what it waits for is done (the pool of psycopg uses it).
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        ended, waiting = await asyncio.wait(waiting, timeout=_ASK_AGAIN)
        for task in ended:
            if not task.cancelled():
                task.exception()  # seen, so that the loop does not complain
