"""What a projection is: which events it reads, and how one of them changes the row it belongs to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from application.ports.log import Recorded

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

    def concluded(self, row: R) -> R:
        """The row with what follows from the rest of it, once no more events are at hand; it may be the same object."""
        return row


Touched = Mapping[tuple[Any, ...], Sequence[Recorded]]
"""By the key of a row, the events that change it, in their order."""


def touched(projection: Projection[Any], events: Iterable[Recorded]) -> Touched:
    """Every row that these events touch."""
    rows: dict[tuple[Any, ...], list[Recorded]] = {}
    for recorded in events:
        for key in projection.keys(recorded):
            rows.setdefault(key, []).append(recorded)
    return rows


def begun(projection: Projection[Any], touched: Touched) -> set[tuple[Any, ...]]:
    """The keys of the rows that these events begin."""
    return {key for key, (first, *_) in touched.items() if topic_of(first) in projection.begins}


def topic_of(recorded: Recorded) -> str:
    topic: str = type(recorded.event).TOPIC  # type: ignore[attr-defined]
    return topic


def folded(projection: Projection[R], known: Mapping[tuple[Any, ...], R], touched: Touched) -> dict[tuple[Any, ...], R]:
    """The rows that a batch of events changed, starting from those `known` before."""
    changed: dict[tuple[Any, ...], R] = {}
    for key, events in touched.items():
        row = known.get(key)
        for recorded in events:
            row = projection.fold(key, row, recorded)
        assert row is not None
        changed[key] = projection.concluded(row)
    return changed
