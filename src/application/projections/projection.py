"""What a projection is: which events it reads, and how one of them changes the row it belongs to."""

from collections.abc import Mapping, Sequence
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


def folded(
    projection: Projection[R], known: dict[tuple[Any, ...], R], events: Sequence[Recorded]
) -> dict[tuple[Any, ...], R]:
    """The rows that a batch of events changed, starting from those `known` before."""
    changed: dict[tuple[Any, ...], R] = {}
    for recorded in events:
        for key in projection.keys(recorded):
            row = changed[key] if key in changed else known.get(key)
            changed[key] = projection.fold(key, row, recorded)
    return changed


def keys_of(projection: Projection[Any], events: Sequence[Recorded]) -> set[tuple[Any, ...]]:
    return {key for recorded in events for key in projection.keys(recorded)}
