"""What was measured, and how it is told: a table for people, JSON for programs."""

import os
import platform
from datetime import UTC, datetime

import msgspec
import psutil


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing measured. `ratio` is to `limit`, which was measured in the same run."""

    name: str
    value: float
    unit: str
    limit: str = ""
    ratio: float | None = None


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured: cores and memory (GB) as the system tells them."""

    cores: int
    memory: float
    system: str
    python: str

    @classmethod
    def this(cls) -> "Machine":
        memory = round(psutil.virtual_memory().total / 1024**3, 1)
        return cls(os.cpu_count() or 0, memory, f"{platform.system()} {platform.machine()}", platform.python_version())


class Report(msgspec.Struct):
    """Everything one run measured, by part, in the order of measuring."""

    parts: dict[str, list[Figure]] = {}
    machine: Machine = msgspec.field(default_factory=Machine.this)
    date: str = msgspec.field(default_factory=lambda: datetime.now(UTC).date().isoformat())


def against(name: str, value: float, unit: str, **limits: float) -> list[Figure]:
    """The same figure once for each limit; a limit's name is told with spaces."""
    if not limits:
        return [Figure(name, value, unit)]
    return [Figure(name, value, unit, limit.replace("_", " "), value / most) for limit, most in limits.items()]


def table(figures: list[Figure]) -> str:
    width = max(len(figure.name) for figure in figures)
    return "\n".join(f"  {figure.name:<{width}}  {_number(figure.value):>10} {_unit(figure)}" for figure in figures)


def _unit(figure: Figure) -> str:
    return figure.unit if figure.ratio is None else f"{figure.unit:<16} {figure.ratio:6.2f} of {figure.limit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
