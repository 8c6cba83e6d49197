"""Waiting for a writer that may never answer."""

import asyncio
from collections.abc import Sequence

import pytest

from adapters import group_commit
from adapters.group_commit import Append, GroupCommit
from application.ports.log import StoreUnavailableError

NOTHING = Append([], [], [])


class Writer:
    """Writes nothing until it may; answers with how much it was ever told to write."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.begun = 0
        self.lots: list[int] = []

    async def __call__(self, appends: Sequence[Append]) -> list[int | Exception]:
        self.begun += len(appends)
        self.lots.append(len(appends))
        await self.may.wait()
        return [self.begun] * len(appends)


async def test_who_waits_for_a_writer_that_does_not_answer_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(group_commit, "_LOOK_EVERY", 0.02)
    writer = Writer()
    commit = GroupCommit(writer)
    begun = asyncio.create_task(commit.put(NOTHING))
    await asyncio.sleep(0.01)
    for waiting in (begun, commit.put(NOTHING), commit.put(NOTHING)):
        with pytest.raises(StoreUnavailableError):
            await waiting
    writer.may.set()
    assert await commit.put(NOTHING) == 2  # what nobody waits for any more was not even begun
    await commit.close()


async def test_a_caller_who_goes_away_leaves_the_others_their_answers() -> None:
    writer = Writer()
    commit = GroupCommit(writer)
    waiting = [asyncio.create_task(commit.put(NOTHING)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    writer.may.set()
    assert await waiting[0] > 0
    assert await waiting[2] > 0
    await commit.close()


async def test_what_is_not_urgent_waits_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_COMPANY_SECONDS", 0.1)
    writer = Writer()
    writer.may.set()
    commit = GroupCommit(writer)
    first = asyncio.create_task(commit.put(NOTHING, urgent=False))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(commit.put(NOTHING, urgent=False))
    await asyncio.gather(first, second)
    third = asyncio.create_task(commit.put(NOTHING, urgent=False))
    await asyncio.sleep(0.01)
    await asyncio.gather(third, commit.put(NOTHING))
    assert writer.lots == [2, 2]
    await commit.close()


async def test_what_is_not_urgent_is_written_before_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_COMPANY_SECONDS", 60)
    writer = Writer()
    writer.may.set()
    commit = GroupCommit(writer)
    waiting = asyncio.create_task(commit.put(NOTHING, urgent=False))
    await asyncio.sleep(0)
    await commit.close()
    assert await waiting == 1
