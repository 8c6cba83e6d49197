"""What one follower of the log leaves for another."""

import json
from uuid import uuid4

import pytest

from adapters.postgres import lately_read
from adapters.postgres.lately_read import LatelyRead, Row, entry_of
from domain.chain import Entry


def rows(*positions: int) -> list[Row]:
    return [(uuid4(), 1, "notification.sent", json.dumps({"tenant": "acme"}).encode(), each) for each in positions]


class Log:
    """Answers from what it holds, and counts how often it was asked."""

    def __init__(self, held: list[Row]) -> None:
        self.held = held
        self.asked = 0

    async def entries(self, after: int, limit: int) -> list[Entry]:
        self.asked += 1
        return [entry_of(row) for row in self.held if row[4] > after][:limit]


async def followed(log: Log) -> LatelyRead:
    """What nobody asks for is not kept."""
    lately = LatelyRead(log)
    lately.keep(0, log.held)
    await lately.entries(0, 1)
    assert log.asked == 1
    log.asked = 0
    return lately


async def test_what_was_read_in_one_stretch_is_not_read_again() -> None:
    held = rows(1, 2, 5, 6, 9)
    log = Log(held)
    lately = await followed(log)
    lately.keep(0, held[:3])
    lately.keep(5, held[3:])
    assert [entry.position for entry in await lately.entries(0, 3)] == [1, 2, 5]
    assert [entry.position for entry in await lately.entries(5, 3)] == [6, 9]
    assert log.asked == 0


async def test_what_lies_before_or_after_the_stretch_is_read_from_the_log() -> None:
    held = rows(1, 2, 3, 4, 5)
    log = Log(held)
    lately = await followed(log)
    lately.keep(2, held[2:4])
    assert [entry.position for entry in await lately.entries(1, 10)] == [2, 3, 4, 5]
    assert [entry.position for entry in await lately.entries(4, 10)] == [5]
    assert log.asked == 2


async def test_a_stretch_that_does_not_follow_on_the_last_one_replaces_it() -> None:
    held = rows(1, 2, 3, 4, 5)
    log = Log(held)
    lately = await followed(log)
    lately.keep(0, held[:2])
    lately.keep(3, held[3:])
    assert [entry.position for entry in await lately.entries(2, 10)] == [3, 4, 5]
    assert log.asked == 1


async def test_no_more_is_kept_than_fits_and_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    held = rows(*range(1, 5_001))
    monkeypatch.setattr(lately_read, "_MOST_KEPT", 3_000 * len(held[0][3]))
    log = Log(held)
    lately = await followed(log)
    lately.keep(0, held[:2_500])
    lately.keep(2_500, held[2_500:])
    assert len(await lately.entries(0, 5_000)) == 5_000
    assert [entry.position for entry in await lately.entries(2_000, 2)] == [2_001, 2_002]
    assert log.asked == 1


async def test_of_large_events_few_are_kept() -> None:
    log = Log([(*row[:3], row[3] + b" " * (1 << 20), row[4]) for row in rows(*range(1, 31))])
    lately = await followed(log)
    for place, row in enumerate(log.held):
        lately.keep(place, [row])
    kept = sum(len(row[3]) for row in lately._rows)
    assert (len(lately._rows), kept) == (7, lately._size)
    assert [entry.position for entry in await lately.entries(23, 1)] == [24]
    assert log.asked == 0


async def test_one_event_that_does_not_fit_is_not_kept_and_those_after_it_are(monkeypatch: pytest.MonkeyPatch) -> None:
    held = rows(1, 2, 3)
    log = Log(held)
    lately = await followed(log)
    monkeypatch.setattr(lately_read, "_MOST_KEPT", len(held[0][3]) - 1)
    lately.keep(0, held[:2])
    monkeypatch.undo()
    lately.keep(2, held[2:])
    assert [entry.position for entry in await lately.entries(2, 9)] == [3]
    assert log.asked == 0


async def test_who_has_caught_up_leaves_nothing_behind() -> None:
    held = rows(1, 2, 5)
    log = Log(held)
    lately = await followed(log)
    lately.keep(0, held)
    assert await lately.entries(5, 9) == []
    assert (lately._rows, lately._size) == ([], 0)
    lately.keep(5, later := rows(8, 9))
    assert [entry.position for entry in await lately.entries(5, 9)] == [row[4] for row in later]
    assert log.asked == 1
