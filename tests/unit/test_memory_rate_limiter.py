"""What places in memory cost, and that they are forgotten in time."""

import itertools
from datetime import timedelta

from adapters.memory.rate_limiter import _LOOKED_AT, MemoryRateLimiter
from application.ports.rate_limiter import MOST_EXACT, Line
from domain.limits import Rates
from tests.examples import NOON

DAY = timedelta(days=1)
READERS = 500


async def used(limiter: MemoryRateLimiter, rates: Rates) -> None:
    for n in range(READERS):
        await limiter.take(f"{n}/1", [Line(f"acme:{n}", rates.windows())], NOON)


def entries(limiter: MemoryRateLimiter) -> int:
    return len(limiter._queues) + sum(map(len, limiter._held.values()))


async def test_a_reader_is_one_entry_and_a_message_another_however_many_windows_there_are():
    limiter = MemoryRateLimiter()
    await used(limiter, Rates(per_day=5, per_hour=4, per_minute=3, burst=2))
    assert entries(limiter) == 2 * READERS


async def test_what_is_over_is_forgotten_a_few_at_a_time():
    """As often as somebody takes a place: nobody waits until all have been looked through."""
    limiter = MemoryRateLimiter()
    await used(limiter, Rates(per_day=5, per_hour=2))
    there = [entries(limiter)]
    for n in range(100):
        await limiter.take(f"late-{n}/1", [Line("late", Rates(per_hour=1).windows())], NOON + 2 * DAY)
        there.append(entries(limiter))
    assert all(before - after < _LOOKED_AT for before, after in itertools.pairwise(there))
    assert there[-1] == 1 + 100


async def test_what_may_still_count_is_not_forgotten():
    limiter = MemoryRateLimiter()
    line = [Line("acme", Rates(per_day=1).windows())]
    await limiter.take("it/1", line, NOON)
    for n in range(100):
        await limiter.take(f"{n}/1", [Line("other", Rates(per_hour=1).windows())], NOON + DAY - timedelta(seconds=1))
    assert (await limiter.take("next/1", line, NOON + DAY - timedelta(seconds=1))).at == NOON + DAY


async def test_of_windows_that_allow_many_only_numbers_are_kept():
    limiter = MemoryRateLimiter()
    for n in range(100):
        line = Line("acme", Rates(per_minute=MOST_EXACT + 1).windows())
        await limiter.take(f"{n}/1", [line], NOON + n * timedelta(minutes=1))
    (queue,) = limiter._queues.values()
    assert (len(queue.places), len(queue.counts or {})) == (0, 2)
