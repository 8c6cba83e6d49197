"""Places in a queue, kept as counters of periods by the clock."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from weakref import WeakValueDictionary

from application.ports.rate_limiter import Place
from domain.limits import Window

MOST_EXACT = 1_000
"""Of windows that allow no more, the time of each place is kept; of others it is taken to be evenly spread."""

_LONGEST = 366 * 86_400.0
_SPARE = 60


class Counters(Protocol):
    """What a storage of the library `limits` does: counters that are forgotten after `expiry` seconds."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int: ...

    async def get(self, key: str) -> int: ...


class CountingRateLimiter:
    """Implements the port RateLimiter.

    Each period of a window has as many places as that allows. The n-th of them comes no earlier than a window's length
    after the place as many before it, which is in the period before: what that rule comes to is a sliding window, and
    who waits is spread over the period as those before were. A place is taken by counting one up, so no two take the
    same. A period that one window leaves because of another stays with a place unused; nobody else could have had it.

    After `lag` seconds another process has kept the time of a place that it has just taken.
    """

    def __init__(self, counters: Counters, lag: float = 0.0) -> None:
        self._counters = counters
        self._lag = lag
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, key: str, windows: Sequence[Window], now: datetime, latest: datetime | None = None) -> Place:
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:  # or the times of places would be looked for before they are kept
            return await self._take(key, windows, now, latest)

    async def _take(self, key: str, windows: Sequence[Window], now: datetime, latest: datetime | None) -> Place:
        if latest is not None:
            ahead = await _Queue(self._counters, self._lag, key, now, self._look).place(windows)
            if ahead.at > latest:
                return ahead
        queue = _Queue(self._counters, self._lag, key, now, self._counters.incr)
        place = await queue.place(windows)
        await queue.keep(place.at)
        return place

    async def close(self) -> None: ...

    async def _look(self, key: str, expiry: int) -> int:
        return await self._counters.get(key) + 1


class _Queue:
    """One look for a place under several windows. `step` answers which one of a period it would be, or is."""

    def __init__(
        self, counters: Counters, lag: float, key: str, now: datetime, step: Callable[[str, int], Awaitable[int]]
    ) -> None:
        self._counters = counters
        self._lag = lag
        self._key = key
        self._now = now
        self._start = now.timestamp()
        self._step = step
        self._entered: dict[Window, tuple[int, int]] = {}

    async def place(self, windows: Sequence[Window]) -> Place:
        """The first moment at which all of them have room: where one says later, those before it are asked again."""
        at, made_by = self._start, None
        while window := self._outside(windows, at):
            moment = await self._enter(window, at)
            if moment > at:
                at, made_by = moment, window.name
        return Place(datetime.fromtimestamp(at, UTC) if made_by else self._now, made_by)

    async def keep(self, at: datetime) -> None:
        """Remember when this place is, for whoever has to come a window's length after it."""
        for window, (period, nth) in self._entered.items():
            if nth <= window.count <= MOST_EXACT:
                late = int((at.timestamp() - period * window.seconds) * 1000) + 1
                await self._counters.incr(self._time(window, period, nth), self._expiry(window, period), late)

    def _outside(self, windows: Sequence[Window], at: float) -> Window | None:
        return next((each for each in windows if self._entered.get(each, (None,))[0] != each.period(at)), None)

    async def _enter(self, window: Window, at: float) -> float:
        """The first moment from `at` on at which this window has room."""
        period = window.period(at)
        last = max(period, window.period(self._start + _LONGEST))
        while True:
            nth = await self._step(self._count(window, period), self._expiry(window, period))
            if nth <= window.count or period >= last:
                break
            period = await self._open(window, period, last)
        self._entered[window] = period, nth
        start = float(period * window.seconds)
        if nth > window.count:  # a year's queue: nobody is sent further away
            return max(at, start)
        before = min(window.count, await self._counters.get(self._count(window, period - 1)))
        follows = nth - window.count + before
        if follows < 1:
            return max(at, start)
        if window.count > MOST_EXACT:
            return max(at, start + (follows - 1) / before * window.seconds)
        return max(at, start + await self._offset(window, period - 1, follows))

    async def _offset(self, window: Window, period: int, nth: int) -> float:
        """How long after its beginning the period's n-th place is; where it was left unused, the last used before it.

        Those left unused are the last ones.
        """
        known = await self._counters.get(self._time(window, period, nth))
        if not known and self._lag:
            await asyncio.sleep(self._lag)
            known = await self._counters.get(self._time(window, period, nth))
        if known:
            return known / 1000
        used, unused, offset = 0, nth, 0
        while unused - used > 1:
            middle = (used + unused) // 2
            if known := await self._counters.get(self._time(window, period, middle)):
                used, offset = middle, known
            else:
                unused = middle
        return offset / 1000

    async def _open(self, window: Window, full: int, last: int) -> int:
        """A period after the `full` one that has room: the first, as they fill in order; or the last."""
        low, high = full, full + 1
        while high < last and await self._is_full(window, high):
            low, high = high, min(last, high + 2 * (high - full))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await self._is_full(window, middle) else (low, middle)
        return high

    async def _is_full(self, window: Window, period: int) -> bool:
        return await self._counters.get(self._count(window, period)) >= window.count

    def _count(self, window: Window, period: int) -> str:
        return f"{self._key}:{window.seconds}:{period}"

    def _time(self, window: Window, period: int, nth: int) -> str:
        return f"{self._key}:{window.seconds}:{period}:{nth}"

    def _expiry(self, window: Window, period: int) -> int:
        """Until the period after it is over."""
        return int((period + 2) * window.seconds - self._start) + _SPARE
