"""What was measured."""

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
import psutil


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing measured. `ratio` is to `limit`, which was measured in the same run.

    Of several runs, `value` and `ratio` are the medians, and `lowest` and `highest` the outermost values.
    """

    name: str
    value: float
    unit: str
    limit: str = ""
    ratio: float | None = None
    lowest: float | None = None
    highest: float | None = None


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured: processor, cores and memory (GB) as the system tells them."""

    cpu: str
    cores: int
    memory: float
    system: str
    python: str

    @classmethod
    def this(cls) -> "Machine":
        memory = round(psutil.virtual_memory().total / 1024**3, 1)
        system = f"{platform.system()} {platform.machine()}"
        return cls(_processor(), os.cpu_count() or 0, memory, system, platform.python_version())


class Report(msgspec.Struct):
    """What the runs measured, by part, in the order of measuring."""

    runs: list[dict[str, list[Figure]]] = []
    machine: Machine = msgspec.field(default_factory=Machine.this)
    postgresql: str = ""
    date: str = msgspec.field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @property
    def parts(self) -> Mapping[str, list[Figure]]:
        """That of all runs together."""
        return {part: middle([run[part] for run in self.runs]) for part in self.runs[0]}


def middle(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Of each figure the median of these runs, with the lowest and the highest; of one run what it measured."""
    return [_middle(same) for same in zip(*runs, strict=True)] if len(runs) > 1 else list(runs[0])


def _middle(same: Sequence[Figure]) -> Figure:
    values = [figure.value for figure in same]
    ratios = [figure.ratio for figure in same if figure.ratio is not None]
    return msgspec.structs.replace(
        same[0],
        value=median(values),
        ratio=median(ratios) if ratios else None,
        lowest=min(values),
        highest=max(values),
    )


_AT_A_RATE = re.compile(r"at ([\d,]+)/s, (.*)")


def by_rate(figures: Sequence[Figure]) -> dict[int, dict[str, Figure]]:
    """Of those that are named after an offered rate: for each rate what was measured at it."""
    found: dict[int, dict[str, Figure]] = {}
    for figure in figures:
        if match := _AT_A_RATE.fullmatch(figure.name):
            found.setdefault(int(match[1].replace(",", "")), {})[match[2]] = figure
    return found


def against(name: str, value: float, unit: str, **limits: float) -> list[Figure]:
    """The same figure once for each limit; a limit's name is told with spaces."""
    if not limits:
        return [Figure(name, value, unit)]
    return [Figure(name, value, unit, limit.replace("_", " "), value / most) for limit, most in limits.items()]


def _processor() -> str:
    """As Linux names it, where it does."""
    file = Path("/proc/cpuinfo")
    return next(_models(file.read_text()), "") if file.exists() else platform.processor()


def _models(text: str) -> Iterator[str]:
    return (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
