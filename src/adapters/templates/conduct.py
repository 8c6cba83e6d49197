"""What the renders of tenants have cost within the last minute, and what that means for the next one."""

from collections import OrderedDict
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")

SLOW_SECONDS = 0.1
"""Of computing time: a render of more is slow."""
MOST_SLOW_SECONDS = 10.0
"""Of computing time, which the slow renders of one tenant may take within a minute."""
MOST_STOPS = 2
WINDOW_SECONDS = 60.0
_MOST_REMEMBERED = 10_000


class Standing(IntEnum):
    """What a job is expected to take; the later, the fewer processes are for it."""

    QUICK = 0
    NEW = 1
    SLOW = 2


class Conduct:
    """Of tenants and of versions. `now` is in seconds, by any clock that only goes forward."""

    def __init__(self) -> None:
        self._rendered: OrderedDict[str, None] = OrderedDict()
        self._slow: OrderedDict[str, list[tuple[float, float]]] = OrderedDict()
        self._stops: OrderedDict[str, list[tuple[float, float]]] = OrderedDict()

    def spent(self, tenant: str, version: str | None, seconds: float, now: float) -> None:
        """A job took so much computing time; without a version, it was none that renders."""
        if seconds > SLOW_SECONDS:
            _remember(self._slow, tenant, [*_lately(self._slow, tenant, now), (now, seconds)])
        elif version:
            _remember(self._rendered, version, None)

    def stopped(self, version: str, now: float) -> None:
        """It took more than a render may."""
        _remember(self._stops, version, [*_lately(self._stops, version, now), (now, 0.0)])

    def standing(self, tenant: str, version: str | None, now: float) -> Standing:
        """Quick is only what was seen to be: this version, of a tenant none of whose renders was slow of late."""
        if _lately(self._slow, tenant, now):
            return Standing.SLOW
        return Standing.QUICK if version in self._rendered else Standing.NEW

    def tenant_waits(self, tenant: str, now: float) -> float:
        """Seconds until there is time again for the tenant; 0 while there is."""
        slow = _lately(self._slow, tenant, now)
        used, wait = sum(seconds for _, seconds in slow), 0.0
        for moment, seconds in slow:  # the oldest is forgotten first
            if used < MOST_SLOW_SECONDS:
                break
            used, wait = used - seconds, moment + WINDOW_SECONDS - now
        return wait

    def version_waits(self, version: str, now: float) -> float:
        """Seconds until the version is tried again; 0 when it may be."""
        stops = _lately(self._stops, version, now)
        return stops[-MOST_STOPS][0] + WINDOW_SECONDS - now if len(stops) >= MOST_STOPS else 0.0


def _lately(book: OrderedDict[str, list[tuple[float, float]]], key: str, now: float) -> list[tuple[float, float]]:
    return [(moment, seconds) for moment, seconds in book.get(key, ()) if moment > now - WINDOW_SECONDS]


def _remember(book: OrderedDict[str, T], key: str, value: T) -> None:
    book[key] = value
    book.move_to_end(key)
    if len(book) > _MOST_REMEMBERED:
        book.popitem(last=False)
