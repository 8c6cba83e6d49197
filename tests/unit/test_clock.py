"""The clock of a process is the database's, whatever the machine believes."""

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from adapters.postgres import clock as clock_module
from adapters.postgres.clock import PostgresClock
from application.ports.log import StoreUnavailableError

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Clockwork:
    """A database that says what time it is, and the seconds that pass in this process."""

    def __init__(self) -> None:
        self.says = NOON
        self.passed = 1000.0
        self.takes = 0.0
        self.away = False

    async def rows(self, _: Any) -> list[tuple[datetime]]:
        if self.away:
            raise StoreUnavailableError
        self.passed += self.takes
        return [(self.says.astimezone(timezone(timedelta(hours=2))),)]

    def monotonic(self) -> float:
        return self.passed


@pytest.fixture
def clockwork(monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    work = Clockwork()
    monkeypatch.setattr(clock_module, "monotonic", work.monotonic)
    return work


@pytest.fixture
async def clock(clockwork: Clockwork) -> PostgresClock:
    clock: PostgresClock = PostgresClock(clockwork)  # type: ignore[arg-type]
    await clock.ask()
    return clock


async def test_it_says_what_the_database_says_and_goes_on_from_there(clock, clockwork):
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC
    clockwork.passed += 90
    assert clock.now() == NOON + 90 * SECOND


@pytest.mark.parametrize("by", [-600, -1, 1, 600])
async def test_it_follows_when_the_database_says_otherwise(clock, clockwork, by):
    clockwork.says = NOON + by * SECOND
    await clock.ask()
    assert clock.now() == NOON + by * SECOND


async def test_it_does_not_jump_for_a_question_that_took_long(clock, clockwork):
    clockwork.takes = 0.5
    await clock.ask()
    assert clock.now() == NOON + 0.5 * SECOND
    clockwork.says = NOON + 0.5 * SECOND
    await clock.ask()
    assert clock.now() == NOON + SECOND


async def test_it_takes_the_middle_of_a_question_for_when_it_was_answered(clockwork):
    clockwork.takes = 2.0
    clock: PostgresClock = PostgresClock(clockwork)  # type: ignore[arg-type]
    await clock.ask()
    assert clock.now() == NOON + SECOND


async def test_it_goes_on_while_the_database_is_away(clock, clockwork, monkeypatch):
    monkeypatch.setattr(clock_module, "_ASK_EVERY", 0.0)
    await clock.start()
    clockwork.away = True
    clockwork.passed += 30
    assert clock.now() == NOON + 30 * SECOND
    await clock.close()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="a system that counts sleep by another clock")
async def test_it_goes_on_while_the_machine_sleeps(monkeypatch):
    asleep = {time.CLOCK_BOOTTIME: 0.0}
    monkeypatch.setattr(clock_module.time, "clock_gettime", lambda clock: 1000.0 + asleep.get(clock, 0.0))
    clock: PostgresClock = PostgresClock(Clockwork())  # type: ignore[arg-type]
    await clock.ask()
    asleep[time.CLOCK_BOOTTIME] = 3600.0
    assert clock.now() == NOON + 3600 * SECOND


async def test_it_cannot_start_without_the_database(clockwork):
    clockwork.away = True
    with pytest.raises(StoreUnavailableError):
        await PostgresClock(clockwork).start()  # type: ignore[arg-type]
