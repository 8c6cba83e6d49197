"""Quiet hours and local times over the nights in which clocks are put forward and back."""

from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.wall_clock import QuietHours, next_day, next_time

MINUTE = timedelta(minutes=1)
NIGHT = QuietHours(time(22), time(7))
WEEKS = {
    "Europe/Berlin": datetime(2026, 3, 26, tzinfo=UTC),  # forward, at two
    "America/New_York": datetime(2026, 10, 29, tzinfo=UTC),  # back, at two
    "Australia/Lord_Howe": datetime(2026, 4, 2, tzinfo=UTC),  # back, by half an hour
    "America/Santiago": datetime(2026, 9, 3, tzinfo=UTC),  # forward, at midnight
    "Africa/Casablanca": datetime(2026, 2, 12, tzinfo=UTC),  # back, for Ramadan
    "Asia/Kolkata": datetime(2026, 3, 26, tzinfo=UTC),  # never
}
HOURS = [
    NIGHT,
    QuietHours(time(2), time(2, 30)),
    QuietHours(time(23, 30), time(0, 15)),
    QuietHours(time(2, 45), time(2)),
]


@cache
def minutes(name: str, days: int) -> list[tuple[datetime, time]]:
    """Each minute from the beginning of that week, and what clocks show there."""
    zone = ZoneInfo(name)
    moments = (WEEKS[name] + n * MINUTE for n in range(days * 24 * 60))
    return [(moment, moment.astimezone(zone).time()) for moment in moments]


@pytest.mark.parametrize("hours", HOURS, ids=lambda hours: f"{hours.starts:%H%M}-{hours.ends:%H%M}")
@pytest.mark.parametrize("name", WEEKS)
def test_every_minute_of_the_week_waits_for_the_first_that_is_not_quiet(name, hours):
    zone, week = ZoneInfo(name), minutes(name, 9)
    awake, until = week[-1][0], WEEKS[name] + timedelta(days=7)
    for moment, shown in reversed(week):
        awake = awake if hours.cover(shown) else moment
        if moment < until:
            assert hours.over(moment, zone) == awake


@pytest.mark.parametrize("wanted", [time(2, 30), time(0, 30), time(9)], ids=lambda wanted: f"{wanted:%H%M}")
@pytest.mark.parametrize("name", WEEKS)
def test_a_local_time_comes_once_a_day_also_where_clocks_skip_it(name, wanted):
    zone = ZoneInfo(name)
    moment, found = WEEKS[name], []
    while (moment := next_time(wanted, moment, zone)) < WEEKS[name] + timedelta(days=7):
        found.append(moment.astimezone(zone))
        moment += timedelta(hours=3)  # past the hour that comes twice
    days = [each.date() for each in found]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert len(days) >= 6
    late = [each for each in found if each.time() != wanted]
    assert all(wanted < each.time() <= time(wanted.hour + 1, 0) for each in late)
    assert len(late) <= 1


def test_where_clocks_skip_the_end_of_the_quiet_it_ends_with_the_skip():
    berlin = ZoneInfo("Europe/Berlin")
    midnight = datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert QuietHours(time(23), time(2, 30)).over(midnight, berlin) == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_a_night_is_an_hour_longer_when_clocks_are_put_back():
    zone = ZoneInfo("America/New_York")
    for day, hours in ((30, 9), (31, 10)):
        starts = datetime(2026, 10, day, 22, tzinfo=zone)
        ends = NIGHT.over(starts.astimezone(UTC), zone)
        assert ends - starts.astimezone(UTC) == timedelta(hours=hours)
        assert ends.astimezone(zone).time() == time(7)


def test_mondays():
    zone = ZoneInfo("Europe/Berlin")
    for hour, day in ((6, 2), (7, 2), (8, 2), (9, 9)):
        found = next_day(0, time(9), datetime(2026, 3, 2, hour, tzinfo=UTC), zone).astimezone(zone)
        assert (found.weekday(), found.time(), found.day) == (0, time(9), day)


def test_quiet_hours_that_never_end_are_refused():
    with pytest.raises(ValueError, match="another time"):
        QuietHours(time(7), time(7))


@given(
    st.timedeltas(timedelta(0), timedelta(days=3650)).map(lambda since: datetime(2024, 1, 1, tzinfo=UTC) + since),
    st.sampled_from([*WEEKS, "Pacific/Apia", "Asia/Gaza", "America/St_Johns"]),
    st.times(),
    st.times(),
)
def test_quiet_hours_end_outside_of_them_and_soon(now, name, starts, ends):
    if starts == ends:
        return
    hours, zone = QuietHours(starts, ends), ZoneInfo(name)
    awake = hours.over(now, zone)
    assert not hours.cover(awake.astimezone(zone).time())
    assert now <= awake <= now + timedelta(hours=26)
