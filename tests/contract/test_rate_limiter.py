"""Who may go when, whichever way the counting is kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import pytest

from adapters.memory.rate_limiter import MemoryRateLimiter
from adapters.redis_rate_limiter import RedisRateLimiter
from application.ports.rate_limiter import MOST_EXACT, Line, Place, RateLimiter
from domain.limits import Rates, Window

EARLY = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=each) for each in (1, 60, 3600, 86400))
THREE_A_MINUTE = Rates(per_minute=3).windows()


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield MemoryRateLimiter()
        return

    def lost(error: Exception) -> None:
        pytest.fail(f"it was counted elsewhere: {error}")

    limiter = RedisRateLimiter(request.getfixturevalue("redis_url"), lost)
    yield limiter
    await limiter.close()


@pytest.fixture
def key() -> str:
    return f"acme:{uuid4().hex}"


async def take(
    limiter: RateLimiter, key: str, windows: Sequence[Window], now: datetime, latest: datetime | None = None
) -> Place:
    """For somebody who has never asked before."""
    return await limiter.take(uuid4().hex, [Line(key, windows)], now, latest)


async def taken(limiter: RateLimiter, key: str, windows: Sequence[Window], times: Sequence[datetime]) -> list[Place]:
    return [await take(limiter, key, windows, at) for at in times]


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
        places.append(await take(limiter, key, rates.windows(), now))
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
    assert await take(limiter, f"{key}:other", THREE_A_MINUTE, EARLY) == Place(EARLY)


async def test_a_place_that_would_be_too_late_is_told_and_not_taken(limiter, key):
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3)
    for _ in range(5):
        assert (await take(limiter, key, THREE_A_MINUTE, EARLY, latest=EARLY)).at > EARLY
    in_time = await take(limiter, key, THREE_A_MINUTE, EARLY, latest=EARLY + 2 * MINUTE)
    assert timedelta(0) <= in_time.at - (EARLY + MINUTE) < timedelta(milliseconds=2)


async def test_of_many_at_the_same_moment_no_more_go_than_may(limiter, key):
    windows = Rates(per_hour=40, per_minute=10).windows()
    places = await asyncio.gather(*(take(limiter, key, windows, EARLY) for _ in range(60)))
    assert sum(place.at == EARLY for place in places) == 10
    assert most_in(HOUR, places) <= 40


async def test_who_changes_the_windows_begins_with_what_was_taken_under_the_old_ones(limiter, key):
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3)
    assert (await take(limiter, key, Rates(per_minute=4).windows(), EARLY)).at == EARLY
    assert (await take(limiter, key, Rates(per_minute=4).windows(), EARLY)).at > EARLY
    assert (await take(limiter, key, Rates(burst=9).windows(), EARLY)).at == EARLY, "nobody stands in the old queue"


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


# Who asks again


async def test_who_asks_again_has_the_place_that_was_not_used(limiter, key):
    one_an_hour = [Line(key, Rates(per_hour=1).windows())]
    for after in (0, 1, 59):
        assert await limiter.take("it/1", one_an_hour, EARLY + SECOND * after) == Place(EARLY + SECOND * after)
    assert (await limiter.take("other/1", one_an_hour, EARLY)).at == EARLY + HOUR


async def test_another_generation_is_somebody_else(limiter, key):
    one_an_hour = [Line(key, Rates(per_hour=1).windows())]
    assert (await limiter.take("it/1", one_an_hour, EARLY)).at == EARLY
    assert (await limiter.take("it/2", one_an_hour, EARLY)).at == EARLY + HOUR


@pytest.mark.parametrize("rates", [Rates(per_day=1), Rates(per_day=MOST_EXACT + 1)])
async def test_who_comes_long_after_the_place_gives_it_back_for_the_next_one(limiter, key, rates):
    line = [Line(key, rates.windows())]
    await taken(limiter, key, rates.windows(), [EARLY] * ((rates.per_day or 0) - 1))
    late = EARLY + HOUR
    assert await limiter.take("it/1", line, EARLY) == Place(EARLY)
    assert await limiter.take("it/1", line, late, latest=late) == Place(late), "its own place is not in its way"
    assert (await take(limiter, key, rates.windows(), late)).at > late, "and counts once"


async def test_who_asks_again_while_waiting_waits_for_the_same_place(limiter, key):
    line = [Line(key, THREE_A_MINUTE)]
    await taken(limiter, key, THREE_A_MINUTE, [EARLY] * 3)
    waiting = [await limiter.take(f"{n}/1", line, EARLY) for n in range(10)]
    again = [await limiter.take(f"{n}/1", line, EARLY + SECOND) for n in range(10)]
    assert again == waiting


async def test_a_place_that_was_given_back_is_free_for_others(limiter, key):
    line = [Line(key, Rates(per_hour=1).windows())]
    await limiter.take("first/1", line, EARLY)
    assert (await limiter.take("it/1", line, EARLY)).at == EARLY + HOUR
    assert (await limiter.take("it/1", line, EARLY + SECOND, latest=EARLY + SECOND)).at == EARLY + HOUR
    assert (await limiter.take("other/1", line, EARLY + SECOND)).at == EARLY + HOUR


# Several lines at once


async def test_a_moment_is_one_that_all_lines_have_room_at(limiter, key):
    """A tenant's hour is used up, and one reader gets a message each minute: they do not meet at its end."""
    hour, minute = Rates(per_hour=60).windows(), Rates(per_minute=1).windows()
    await taken(limiter, key, hour, [EARLY] * 60)
    lines = [Line(f"{key}:jane", minute, "user"), Line(key, hour, "tenant")]
    places = [await limiter.take(f"{n}/1", lines, EARLY + MINUTE * n) for n in range(10)]
    assert [each.at for each in places] == [EARLY + HOUR + MINUTE * n for n in range(10)]
    assert [each.line for each in places] == ["tenant"] + ["user"] * 9
    assert {each.window for each in places} == {"per_hour", "per_minute"}


async def test_who_waits_because_of_another_line_holds_nobody_up(limiter, key):
    tenant = Rates(per_minute=5).windows()
    jane = [Line(f"{key}:jane", Rates(per_hour=1).windows()), Line(key, tenant)]
    places = [await limiter.take(f"{n}/1", jane, EARLY) for n in range(10)]
    assert [each.at for each in places] == [EARLY + HOUR * n for n in range(10)]
    assert await taken(limiter, key, tenant, [EARLY] * 4) == [Place(EARLY)] * 4


async def test_where_nobody_waits_in_one_of_them_no_place_is_taken_in_any(limiter, key):
    jane = Line(f"{key}:jane", Rates(per_hour=1).windows(), "user", waits=False)
    tenant = Line(key, Rates(per_hour=2).windows(), "tenant")
    assert (await limiter.take("0/1", [jane, tenant], EARLY)) == Place(EARLY)
    for n in range(1, 5):
        assert (await limiter.take(f"{n}/1", [jane, tenant], EARLY)).line == "user"
    max_ = Line(f"{key}:max", Rates(per_hour=1).windows(), "user", waits=False)
    assert (await limiter.take("5/1", [max_, tenant], EARLY)) == Place(EARLY)
    eva = Line(f"{key}:eva", Rates(per_hour=1).windows(), "user", waits=False)
    assert (await limiter.take("6/1", [eva, tenant], EARLY)) == Place(EARLY + HOUR, "tenant", "per_hour")
    assert (await limiter.take("7/1", [eva, tenant], EARLY)).line == "user", "that place is taken"


@pytest.mark.parametrize("seed", range(6))
async def test_no_line_sees_more_than_it_allows_whoever_stands_in_which(limiter, key, seed):
    """Some are asked for again, early or late: what counts is the place that each had last."""
    dice = Random(seed)
    tenant = Rates(per_minute=dice.choice([3, 9]), per_hour=dice.choice([None, 40]))
    user = Rates(burst=1, per_minute=dice.choice([None, 2]), per_hour=dice.choice([3, 7]))
    now, places, of = EARLY, dict[str, Place](), dict[str, str]()
    for n in range(150):
        now += dice.choice([timedelta(0), timedelta(0), SECOND * dice.random(), MINUTE * dice.random(), HOUR / 30])
        holder = dice.choice(list(places)) if n > 20 and dice.random() < 0.2 else f"{n}/1"
        reader = of.setdefault(holder, dice.choice(["jane", "max", "eva"]))
        lines = [Line(f"{key}:{reader}", user.windows()), Line(key, tenant.windows())]
        before = places.get(holder)
        place = await limiter.take(holder, lines, now)
        if not (before and now - MINUTE <= before.at <= now):
            places[holder] = place
    for rates, those in (
        (tenant, list(places.values())),
        *((user, [places[each] for each in of if of[each] == reader]) for reader in set(of.values())),
    ):
        for window in rates.windows():
            assert most_in(SECOND * window.seconds, those) <= window.count, window


async def test_of_many_at_once_in_several_lines_no_more_go_than_may(limiter, key):
    async def asks(n: int) -> Place:
        user = Line(f"{key}:{n % 5}", Rates(per_minute=2).windows(), "user")
        return await limiter.take(f"{n}/1", [user, Line(key, Rates(per_minute=7).windows(), "tenant")], EARLY)

    places = await asyncio.gather(*(asks(n) for n in range(60)))
    assert sum(place.at == EARLY for place in places) == 7
    assert most_in(MINUTE, places) == 7
    assert all(most_in(MINUTE, places[n::5]) <= 2 for n in range(5))
