"""Who may go when, whichever way the counting is kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import pytest

from adapters.memory.counters import MemoryCounters
from adapters.rate_limiter import MOST_EXACT, CountingRateLimiter
from adapters.redis_rate_limiter import RedisRateLimiter
from application.ports.rate_limiter import Place, RateLimiter
from domain.limits import Rates, Window

EARLY = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=each) for each in (1, 60, 3600, 86400))
THREE_A_MINUTE = Rates(per_minute=3).windows()


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield CountingRateLimiter(MemoryCounters())
        return

    def lost(error: Exception) -> None:
        pytest.fail(f"it was counted elsewhere: {error}")

    limiter = RedisRateLimiter(request.getfixturevalue("redis_url"), lost)
    yield limiter
    await limiter.close()


@pytest.fixture
def key() -> str:
    return f"acme:{uuid4().hex}"


async def taken(limiter: RateLimiter, key: str, windows: Sequence[Window], times: Sequence[datetime]) -> list[Place]:
    return [await limiter.take(key, windows, at) for at in times]


def most_in(length: timedelta, places: Sequence[Place]) -> int:
    """How many places the fullest stretch of this length has."""
    times = sorted(place.at for place in places)
    return max(sum(begin <= each < begin + length for each in times) for begin in times)


async def test_while_there_is_room_it_is_now(limiter, key):
    assert await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3) == [Place(EARLY)] * 3


async def test_without_windows_it_is_now(limiter, key):
    assert await taken(limiter, key, [], [EARLY] * 3) == [Place(EARLY)] * 3


async def test_who_is_one_too_many_comes_as_long_after_the_first_of_them_as_the_window_is(limiter, key):
    late = datetime(2026, 3, 1, 12, 0, 58, tzinfo=UTC)
    places = await taken(limiter, key, THREE_A_MINUTE, [EARLY, late, late, late, late])
    assert [each.at for each in places[:3]] == [EARLY, late, late]
    assert [each.window for each in places[3:]] == ["per_minute"] * 2
    assert timedelta(0) <= places[3].at - (EARLY + MINUTE) < timedelta(milliseconds=2)
    assert timedelta(0) <= places[4].at - (late + MINUTE) < timedelta(milliseconds=2)


async def test_once_the_window_has_passed_there_is_room_again(limiter, key):
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3)
    later = EARLY + MINUTE + SECOND
    assert await taken(limiter, key, THREE_A_MINUTE, [later] * 3) == [Place(later)] * 3


async def test_who_comes_later_stands_behind_those_that_wait(limiter, key):
    """Nobody overtakes: new ones would else take the places that older ones wait for."""
    times = [EARLY + SECOND * n for n in range(30)]
    places = [each.at for each in await taken(limiter, key, THREE_A_MINUTE, times)]
    assert places == sorted(places)
    assert all(place >= came for place, came in zip(places, times, strict=True))


@pytest.mark.parametrize("seed", range(8))
async def test_no_stretch_of_time_sees_more_than_it_allows(limiter, key, seed):
    """Of whichever windows, wherever the stretch begins, for those that come in crowds and one by one."""
    dice = Random(seed)
    rates = Rates(
        per_minute=dice.choice([None, 1, 2, 5, 9]),
        per_hour=dice.choice([None, 3, 11, 30]),
        per_day=dice.choice([None, 24, 40]),
        burst=dice.choice([None, 1, 2]),
    )
    now, places = EARLY + MINUTE * dice.uniform(0, 3000), []
    for _ in range(120):
        now += dice.choice([timedelta(0), timedelta(0), SECOND * dice.random(), MINUTE * dice.random(), HOUR / 7])
        places.append(await limiter.take(key, rates.windows(), now))
        assert places[-1].at >= now
    for name, length in (("per_minute", MINUTE), ("per_hour", HOUR), ("per_day", DAY), ("burst", SECOND)):
        if count := getattr(rates, name):
            assert most_in(length, places) <= count, name


async def test_all_that_is_allowed_goes_out(limiter, key):
    """Those that wait have no more room between them than they need."""
    places = await taken(limiter, key, Rates(per_minute=5).windows(), [EARLY] * 50)
    assert max(each.at for each in places) - EARLY < 9 * MINUTE + SECOND


async def test_those_that_wait_do_not_all_come_at_once(limiter, key):
    """What was spread stays spread, and what came in one moment is as far apart as the window is long."""
    spread = [EARLY + SECOND * 12 * n for n in range(5)]
    windows = Rates(per_minute=5).windows()
    await taken(limiter, key, windows, spread)
    waiting = await taken(limiter, key, windows, [spread[-1]] * 20)
    assert most_in(10 * SECOND, waiting) == 1


async def test_each_key_has_a_queue_of_its_own(limiter, key):
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 5)
    assert await limiter.take(f"{key}:other", THREE_A_MINUTE, EARLY) == Place(EARLY)


async def test_a_place_that_would_be_too_late_is_told_and_not_taken(limiter, key):
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3)
    for _ in range(5):
        assert (await limiter.take(key, THREE_A_MINUTE, EARLY, latest=EARLY)).at > EARLY
    in_time = await limiter.take(key, THREE_A_MINUTE, EARLY, latest=EARLY + 2 * MINUTE)
    assert timedelta(0) <= in_time.at - (EARLY + MINUTE) < timedelta(milliseconds=2)


async def test_of_many_at_the_same_moment_no_more_go_than_may(limiter, key):
    windows = Rates(per_hour=40, per_minute=10).windows()
    places = await asyncio.gather(*(limiter.take(key, windows, EARLY) for _ in range(60)))
    assert sum(place.at == EARLY for place in places) == 10
    assert most_in(HOUR, places) <= 40


async def test_who_changes_the_windows_begins_with_what_was_counted_of_the_same_length(limiter, key):
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3)
    assert (await limiter.take(key, Rates(per_minute=4).windows(), EARLY)).at == EARLY
    assert (await limiter.take(key, Rates(per_minute=4).windows(), EARLY)).at > EARLY
    assert (await limiter.take(key, Rates(per_hour=1).windows(), EARLY)).at == EARLY


async def test_a_window_of_more_than_a_thousand_holds_about_as_well(limiter, key):
    count = MOST_EXACT + 1
    windows = Rates(per_minute=count).windows()
    places = await taken(limiter, key, windows, [EARLY] * (count + 200))
    assert sum(place.at == EARLY for place in places) == count
    assert all(EARLY + 50 * SECOND < place.at < EARLY + 2 * MINUTE for place in places[count:])


async def test_nobody_waits_for_longer_than_a_year(limiter, key):
    windows = [Window("per_day", 1, 30 * 86_400)]
    places = await taken(limiter, key, windows, [EARLY] * 40)
    assert max(place.at for place in places) <= EARLY + 396 * DAY
    assert places[12].at > EARLY + 300 * DAY
