"""When an endpoint that fails is left in peace: others need not wait for it, and it wastes no attempts."""

from collections import deque
from collections.abc import Hashable
from datetime import datetime, timedelta

import msgspec

REST = timedelta(minutes=1)
PROVEN_FOR = timedelta(minutes=5)
"""How long a success speaks for an endpoint. Those without have few places, which they share."""
SLOW_AFTER = timedelta(seconds=3)
"""An endpoint that lets a call wait for longer may have died: it shares places with its like for as long as it does."""
_FEWEST_CALLS = 10
_MOST_CALLS = 100
_SHARE = 0.7
_TIMEOUTS = 3
_MOST_LANES = 10_000


class _Heard(msgspec.Struct, frozen=True):
    at: datetime
    ok: bool
    timed_out: bool


class Breaker:
    """The last calls of each lane, of five minutes and a hundred at the most.

    It trips when at least ten calls were heard of and 70 % of them failed, and after three timeouts in a row, or one
    where nothing has succeeded: each of those has kept a place from others for as long as a thousand good calls.
    """

    def __init__(self) -> None:
        self._lanes: dict[Hashable, deque[_Heard]] = {}

    def heard(self, lane: Hashable, now: datetime, *, ok: bool, timed_out: bool = False) -> bool:
        """Take in what a call came to; True when the lane should rest, and then all of it is forgotten."""
        calls = self._lanes.setdefault(lane, deque(maxlen=_MOST_CALLS))
        calls.append(_Heard(now, ok, timed_out))
        while calls[0].at < now - PROVEN_FOR:
            calls.popleft()
        if not ok and _is_enough(calls):
            del self._lanes[lane]
            return True
        if len(self._lanes) > _MOST_LANES:
            self._forget(now)
        return False

    def _forget(self, now: datetime) -> None:
        """Those that nothing was heard of lately; if that is not enough, all of them: they begin anew."""
        since = now - PROVEN_FOR
        self._lanes = {lane: calls for lane, calls in self._lanes.items() if calls[-1].at >= since}
        if len(self._lanes) > _MOST_LANES / 2:
            self._lanes = {}


def _is_enough(calls: deque[_Heard]) -> bool:
    if calls[-1].timed_out and not any(each.ok for each in calls):
        return True
    if len(calls) >= _TIMEOUTS and all(calls[-n].timed_out for n in range(1, _TIMEOUTS + 1)):
        return True
    failed = sum(not each.ok for each in calls)
    return len(calls) >= _FEWEST_CALLS and failed >= _SHARE * len(calls)
