"""What a role does when its work fails, again and again."""

import asyncio

import pytest

from adapters.memory.troubles import MemoryTroubles
from entrypoints import kafka_roles, roles
from tests.fakes.chance import SetClock


async def test_what_fails_begins_again_after_pauses_that_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            raise asyncio.CancelledError

    async def failing() -> None:
        raise ConnectionError

    monkeypatch.setattr(roles.asyncio, "sleep", slept)
    with pytest.raises(asyncio.CancelledError):
        await roles.supervised("dispatcher", failing)
    assert pauses == [0.5, 1, 2, 4, 5, 5]


async def test_a_process_takes_back_the_trouble_that_it_told_and_no_other_s() -> None:
    troubles = MemoryTroubles(SetClock())
    mine, other = kafka_roles.Trouble(troubles, "consumer"), kafka_roles.Trouble(troubles, "consumer")
    await mine.tell("the brokers do not let us be in the group")
    await other.over()
    assert await troubles.known() == {"consumer": "the brokers do not let us be in the group"}
    await mine.over()
    assert await troubles.known() == {}


async def test_work_that_ends_by_itself_is_not_begun_again():
    """As that of a dispatcher which was asked to stop."""
    begun = []

    async def ending() -> None:
        begun.append(True)

    async with asyncio.timeout(5):
        await roles.supervised("dispatcher", ending)
    assert begun == [True]
