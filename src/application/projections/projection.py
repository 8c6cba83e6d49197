"""What a projection is: which events it reads, and how one of them changes the row it belongs to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from application.ports import Recorded

R = TypeVar("R", bound=msgspec.Struct)


class Projection(Protocol[R]):
    """Turns events into rows; pure, so that folding the log again gives the same rows.

    `key_columns` are the fields of `row` that make up its key, `indexes` what lists of rows are searched by
    (name and SQL index definition).
    """

    @property
    def name(self) -> str: ...

    @property
    def topics(self) -> Sequence[str]: ...

    @property
    def begins(self) -> Sequence[str]:
        """The topics of events before which there is no row of their key, so that none is looked up."""

    @property
    def row(self) -> type[R]: ...

    @property
    def key_columns(self) -> tuple[str, ...]: ...

    @property
    def indexes(self) -> Mapping[str, str]: ...

    @property
    def personal(self) -> bool:
        """Whether it looks at personal data."""

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        """The keys of the rows that this event touches."""

    def fold(self, key: tuple[Any, ...], row: R | None, recorded: Recorded) -> R:
        """The row as it is after this event; it may be the same object, changed."""


Touched = tuple[tuple[Any, ...], Recorded]
"""The key of a row, and an event that changes it."""


def touched(projection: Projection[Any], events: Sequence[Recorded]) -> list[Touched]:
    """Every row that each of these events touches, in the order of the events."""
    return [(key, recorded) for recorded in events for key in projection.keys(recorded)]


def begun(projection: Projection[Any], touched: Iterable[Touched]) -> set[tuple[Any, ...]]:
    """The keys of the rows that these events begin."""
    return {key for key, recorded in touched if topic_of(recorded) in projection.begins}


def topic_of(recorded: Recorded) -> str:
    topic: str = type(recorded.event).TOPIC  # type: ignore[attr-defined]
    return topic


def folded(
    projection: Projection[R], known: Mapping[tuple[Any, ...], R], touched: Iterable[Touched]
) -> dict[tuple[Any, ...], R]:
    """The rows that a batch of events changed, starting from those `known` before."""
    changed: dict[tuple[Any, ...], R] = {}
    for key, recorded in touched:
        row = changed[key] if key in changed else known.get(key)
        changed[key] = projection.fold(key, row, recorded)
    return changed
