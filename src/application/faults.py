"""What is wrong with values that callers give, whichever way they came in."""

import re
from typing import Any
from zoneinfo import ZoneInfo

MOST_LEVELS = 32
"""Of objects and lists within each other: a deeper value might be stored and never be read again."""

NUL_FAULT = "must not hold a NUL character"

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def fault_of(value: Any) -> str | None:
    """Why the database would refuse it or could not give it back, or None.

    Level by level, so that no depth is too much for the look itself.
    """
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        inside: list[Any] = []
        for each in level:
            match each:
                case str() if "\0" in each:
                    return NUL_FAULT
                case int() if not -(2**63) <= each < 2**64:
                    return "must not hold a whole number of more than 64 bits"
                case dict():
                    inside += each
                    inside += each.values()
                case list():
                    inside += each
        if not inside:
            return None
        level = inside
    return f"must not be nested deeper than {MOST_LEVELS} levels"


def is_locale(name: str) -> bool:
    """Whether it has the form of a language tag."""
    return _LOCALE.fullmatch(name) is not None


def is_time_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
