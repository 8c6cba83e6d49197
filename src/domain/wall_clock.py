"""Moments at which clocks on the wall show something, over the nights in which they are put forward and back."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_NOTHING = timedelta(0)


class QuietHours(msgspec.Struct, frozen=True):
    """From `starts` until just before `ends` by the reader's clock, over midnight where it ends before it starts."""

    starts: time
    ends: time

    def __post_init__(self) -> None:
        if self.starts == self.ends:
            raise ValueError("quiet hours must end at another time than they start")

    def cover(self, shown: time) -> bool:
        if self.starts < self.ends:
            return self.starts <= shown < self.ends
        return shown >= self.starts or shown < self.ends

    def over(self, now: datetime, zone: ZoneInfo) -> datetime:
        """The first moment from `now` on that is not quiet there."""
        shown = _shown(now, zone)
        if not self.cover(shown):
            return now
        end = now + _until(self.ends, shown)
        change = _change(zone, now, end)
        return end if change is None else self.over(change, zone)


def next_time(wanted: time, now: datetime, zone: ZoneInfo) -> datetime:
    """The first moment from `now` on when clocks there show `wanted`, or are put forward past it."""
    shown = _shown(now, zone)
    moment = now + _until(wanted, shown)
    change = _change(zone, now, moment)
    if change is None:
        return moment
    return change if _is_skipped(wanted, change, zone) else next_time(wanted, change, zone)


def next_day(weekday: int, wanted: time, now: datetime, zone: ZoneInfo) -> datetime:
    """The same on that day of the week, 0 being Monday."""
    moment = next_time(wanted, now, zone)
    while _date(moment, zone).weekday() != weekday:
        moment = next_time(wanted, moment + _SECOND, zone)
    return moment


def _is_skipped(wanted: time, change: datetime, zone: ZoneInfo) -> bool:
    before, after = (change - _SECOND).astimezone(zone), change.astimezone(zone)
    jump = (after.utcoffset() or _NOTHING) - (before.utcoffset() or _NOTHING)
    return _NOTHING < _until(wanted, before.time()) <= jump + _SECOND


def _shown(moment: datetime, zone: ZoneInfo) -> time:
    return moment.astimezone(zone).time()


def _date(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def _until(wanted: time, shown: time) -> timedelta:
    return (_since_midnight(wanted) - _since_midnight(shown)) % _DAY


def _since_midnight(shown: time) -> timedelta:
    return timedelta(hours=shown.hour, minutes=shown.minute, seconds=shown.second, microseconds=shown.microsecond)


def _change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """When clocks are changed after `start` and not after `end`, to the second; there is no day with two changes."""
    offset = start.astimezone(zone).utcoffset()
    if end.astimezone(zone).utcoffset() == offset:
        return None
    start = start.replace(microsecond=0)
    while end - start > _SECOND:
        middle = start + (end - start) // 2
        middle = middle.replace(microsecond=0) if middle.replace(microsecond=0) > start else start + _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            start = middle
        else:
            end = middle
    return end.replace(microsecond=0)
