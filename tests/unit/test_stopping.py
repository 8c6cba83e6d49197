"""Ending tasks, for certain."""

import asyncio

import pytest

from adapters import stopping
from adapters.stopping import stopped, together


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


async def test_those_who_work_together_end_even_if_one_misses_the_first_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping, "_ASK_AGAIN", 0.01)
    working = asyncio.create_task(together(forever(), deaf_to_the_first()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stopped(working)
    assert working.cancelled()


async def test_where_one_fails_the_others_are_stopped() -> None:
    ended = []

    async def telling() -> None:
        try:
            await forever()
        finally:
            ended.append(True)

    async def failing_at_once() -> None:
        await asyncio.sleep(0)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await together(telling(), failing_at_once())
    assert ended == [True]
