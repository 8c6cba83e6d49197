"""Ending tasks, for certain."""

import asyncio

import pytest

from adapters import stopping
from adapters.stopping import stopped


async def forever() -> None:
    await asyncio.Event().wait()


async def deaf_to_the_first() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        await forever()


async def failing() -> None:
    try:
        await forever()
    finally:
        raise ConnectionError


async def test_whoever_misses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_ASK_AGAIN", 0.01)
    tasks = [asyncio.create_task(each()) for each in (forever, deaf_to_the_first, failing)]
    await asyncio.sleep(0)
    await asyncio.wait_for(stopped(*tasks), 5)
    assert all(task.done() for task in tasks)


async def test_nothing_to_stop_is_nothing_to_wait_for() -> None:
    await stopped()
