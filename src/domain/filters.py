"""Which happenings a subscription is for. The language is closed and small, so that all of it can be known by heart."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

MOST_FILTERS = 20
MOST_VALUES = 50

Plain = str | int | float | bool | None
"""What can be compared with one word."""

_TYPE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What one place of the payload must hold: one of `any_of`, or, where that is None, anything (or nothing).

    `path` is the names of fields joined by dots; a place inside a list cannot be named.
    """

    path: str
    any_of: tuple[Plain, ...] | None = None
    exists: bool = True

    def lets_through(self, data: Any) -> bool:
        found = _found(data, self.path)
        if self.any_of is None:
            return bool(found) is self.exists
        return any(_same(value, wanted) for value in found for wanted in self.any_of)


def is_event_type(name: str) -> bool:
    """Segments of letters, figures and underscores joined by dots (Standard Webhooks, payload)."""
    return len(name) <= 100 and all(segment and _TYPE.issuperset(segment) for segment in name.split("."))


def is_pattern(name: str) -> bool:
    """An event type, `*` for all, or the beginning of one followed by `.*`."""
    return name == "*" or is_event_type(name.removesuffix(".*"))


def matches(pattern: str, type: str) -> bool:
    """`interview.*` is for whatever begins with `interview.`, however many segments follow."""
    if pattern.endswith("*"):
        return type.startswith(pattern[:-1])
    return pattern == type


def wants(patterns: Sequence[str], filters: Sequence[Filter], type: str, data: Mapping[str, Any]) -> bool:
    """One pattern fits the type, and every filter lets the payload through."""
    return any(matches(pattern, type) for pattern in patterns) and all(each.lets_through(data) for each in filters)


def _found(data: Any, path: str) -> list[Any]:
    """What is at this place, in a list of one; nothing where there is no such place."""
    for name in path.split("."):
        if not isinstance(data, Mapping) or name not in data:
            return []
        data = data[name]
    return [data]


def _same(value: Any, wanted: Plain) -> bool:
    """As JSON has it: true is not 1, but 1.0 is."""
    return value == wanted and isinstance(value, bool) is isinstance(wanted, bool)
