"""Carillon on a machine whose clock is wrong: CLOCK_AHEAD=600 python -m tests.faults.skewed worker

Every module of ours that asks the machine for the time is told one that is so many seconds ahead. What it takes for
the passing of time (the monotonic clock) stays right, as it does where somebody sets a clock wrong.
"""

import os
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from time import time_ns

from entrypoints import cli

_AHEAD = timedelta(seconds=float(os.environ.pop("CLOCK_AHEAD", "0")))
_OURS = ("domain", "application", "adapters", "entrypoints")


class _Skewed(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + _AHEAD


def _skewed_ns() -> int:
    return time_ns() + int(_AHEAD.total_seconds() * 1e9)


def skew() -> list[str]:
    """Answers the modules that were misled."""
    misled = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in _OURS or not module.__file__:
            continue
        if "datetime.now(" in Path(module.__file__).read_text():
            module.datetime = _Skewed  # type: ignore[attr-defined]
            misled.append(name)
        if hasattr(module, "time_ns"):
            module.time_ns = _skewed_ns
    return misled


if __name__ == "__main__":
    assert skew(), "somebody asks the machine"
    cli.main()
