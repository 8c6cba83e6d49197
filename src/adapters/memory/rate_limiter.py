"""Places in the queues of this process."""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice

import msgspec

from application.ports.rate_limiter import KEPT, LONGEST_WAIT, MOST_EXACT, REMEMBERED, Line, Place
from domain.limits import Window

_TICK = timedelta(microseconds=1)
_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKED_AT = 20
"""For each place that is taken, so many entries are looked at whether they are over: more than are added."""


class MemoryRateLimiter:
    """Implements the port RateLimiter. What `RedisRateLimiter` asks Redis to do is the same, step by step.

    Keys and holders are known by their hashes, which this process has to itself: they are most of what is kept.
    """

    def __init__(self) -> None:
        self._queues: dict[int, _Queue] = {}
        self._held: dict[int, dict[int, int]] = {}
        self._now = 0
        self._round = self._sweep()

    async def take(self, holder: str, lines: Sequence[Line], now: datetime, latest: datetime | None = None) -> Place:
        self._now = start = _ticks(now)
        holds = [held for held in self._held.values() if hash(holder) in held]
        if any(start - KEPT // _TICK <= held[hash(holder)] <= start for held in holds):
            return Place(now)
        queues = [self._queues.get(hash(line.key)) or _Queue() for line in lines]
        for held in holds:
            given_back = held.pop(hash(holder))
            for queue in queues:
                queue.give_back(given_back)
        turn, line, window = _first(lines, queues, start)
        late = (latest is not None and turn > _ticks(latest)) or (line and not line.waits)
        if not late:
            for each, queue in zip(lines, queues, strict=True):
                queue.take(turn, each.windows, start)
                self._queues[hash(each.key)] = queue
            kept = max((_kept(each.windows) for each in lines), default=0)
            self._held.setdefault(max(kept, REMEMBERED // _TICK), {})[hash(holder)] = turn
        for _ in islice(self._round, _LOOKED_AT):
            pass
        if line is None or window is None:
            return Place(now)
        return Place(_EPOCH + turn * _TICK, line.name, window.name)

    async def close(self) -> None: ...

    def _sweep(self) -> Iterator[None]:
        """Look through everything again and again, an entry at a time."""
        while True:
            for key in list(self._queues):
                if self._queues[key].is_over(self._now):
                    del self._queues[key]
                yield
            for kept, held in list(self._held.items()):
                for holder in list(held):
                    if held[holder] + kept < self._now:
                        del held[holder]
                    yield
            yield


class _Full(msgspec.Struct, frozen=True):
    """Before `until` there is no room under these windows, as this one of them says."""

    until: int
    windows: list[Window]
    window: Window


class _Queue(msgspec.Struct, gc=False):
    """When its places are: all of the time that the longest window needs, where that allows few, else how many of each
    period by the clock. There are many, and no circles among them: the garbage collector need not look at each."""

    places: "array[int]" = msgspec.field(default_factory=partial(array, "q"))
    counts: dict[tuple[int, int], int] | None = None
    full: _Full | None = None
    ends: int = 0

    def is_over(self, now: int) -> bool:
        return self.ends < now

    def alone(self, windows: Sequence[Window], start: int, cap: int) -> tuple[int, Window | None]:
        """The first moment at which this one has room. It is looked for behind those that wait."""
        full = self.full
        if full is None or full.until <= start or full.windows != windows:
            full = None
        turn, window = self.first(windows, full.until if full else start, cap)
        window = window or (full.window if full else None)
        self.full = _Full(turn, list(windows), window) if window else None
        return turn, window

    def first(self, windows: Sequence[Window], turn: int, cap: int) -> tuple[int, Window | None]:
        """The first moment from this one on at which all of these windows have room, and which one it waited for."""
        made_by = None
        while turn < cap:
            for window in windows:
                if (later := self._after(window, turn)) > turn:
                    turn, made_by = min(later, cap), window
                    break
            else:
                break
        return turn, made_by

    def take(self, turn: int, windows: Sequence[Window], start: int) -> None:
        if kept := _kept(windows):
            del self.places[: bisect_right(self.places, start - kept)]
            insort(self.places, turn)
        for window in windows:
            if window.count > MOST_EXACT:
                self._count(window.seconds, turn, start)
        ends = turn + max((_lasts(each) for each in windows), default=0)
        self.ends = max(self.ends, ends)

    def give_back(self, turn: int) -> None:
        at = bisect_left(self.places, turn)
        if at < len(self.places) and self.places[at] == turn:
            del self.places[at]
        for span, period in list(self.counts or {}):
            if turn // span == period and self.counts:
                self.counts[span, period] = max(0, self.counts[span, period] - 1)
        if self.full and turn < self.full.until:
            self.full = _Full(turn, self.full.windows, self.full.window)

    def _after(self, window: Window, turn: int) -> int:
        """This moment, or a later one before which the window has no room for it."""
        span = window.seconds * _SECOND
        if window.count > MOST_EXACT:
            return self._spread(window.count, span, turn)
        lowest = bisect_right(self.places, turn - span)
        highest = bisect_left(self.places, turn + span) - window.count
        for first in range(highest, lowest - 1, -1):
            if self.places[first + window.count - 1] - self.places[first] < span:
                return self.places[first] + span
        return turn

    def _spread(self, count: int, span: int, turn: int) -> int:
        """The n-th place of a period is a window's length after the one as many before it, in the period before."""
        period, counts = turn // span, self.counts or {}
        nth = counts.get((span, period), 0) + 1
        if nth > count:
            return (period + 1) * span
        before = min(count, counts.get((span, period - 1), 0))
        follows = nth - count + before
        return max(turn, period * span + (follows - 1) * span // before) if follows > 0 else turn

    def _count(self, seconds: int, turn: int, start: int) -> None:
        span = seconds * _SECOND
        counts = self.counts = self.counts or {}
        if (span, turn // span) not in counts:
            for each in [(of, period) for of, period in counts if of == span and period < start // span - 1]:
                del counts[each]
        counts[span, turn // span] = counts.get((span, turn // span), 0) + 1


def _first(lines: Sequence[Line], queues: Sequence[_Queue], start: int) -> tuple[int, Line | None, Window | None]:
    """The first moment at which all have room: where one says later, the others are asked again."""
    cap = start + LONGEST_WAIT // _TICK
    turn, by, window = start, None, None
    for line, queue in zip(lines, queues, strict=True):
        alone, made_by = queue.alone(line.windows, start, cap)
        if alone > turn:
            turn, by, window = alone, line, made_by
    settled = 0
    while settled < len(lines):
        settled = 0
        for line, queue in zip(lines, queues, strict=True):
            later, made_by = queue.first(line.windows, turn, cap)
            if later > turn:
                turn, by, window = later, line, made_by
            else:
                settled += 1
    return turn, by, window


def _lasts(window: Window) -> int:
    """How long a place has to be known of: until its period and the next are over, or as long as its time is needed."""
    return (2 if window.count > MOST_EXACT else 1) * window.seconds * _SECOND


def _kept(windows: Sequence[Window]) -> int:
    """How long the time of a place has to be known."""
    return max((each.seconds for each in windows if each.count <= MOST_EXACT), default=0) * _SECOND


def _ticks(at: datetime) -> int:
    return (at - _EPOCH) // _TICK
