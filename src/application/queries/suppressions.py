"""Looking through the suppression list."""

import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from io import StringIO
from typing import Annotated, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from application.projections.suppressions import ListedFor, SuppressionRow
from domain.vocabulary import Channel, Ground

_AT_ONCE = 1_000
_COLUMNS = ("channel", "address", "ground", "category", "since", "until", "source")
"""Of a file: the first two are needed to read one, `since` and `source` are only written."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_TEXT = "'"
"""What a spreadsheet takes to say that no formula follows."""


class ListSuppressions(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of their ids, after the one that the last page ended with."""

    channel: Channel | None = None
    ground: Ground | None = None
    address_digest: str | None = None
    after: UUID | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class SuppressedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """`address` is null once its person was forgotten: it stays on the list by its digest."""

    id: UUID
    channel: Channel
    address: str | None
    entries: list[ListedFor]
    updated_at: datetime


class SuppressionPage(msgspec.Struct, frozen=True):
    suppressions: list[SuppressedAddress]
    next_cursor: UUID | None


class SuppressionReader(Protocol):
    """The read model of the list: of one tenant, what is on it."""

    async def page(self, tenant: str, query: ListSuppressions) -> list[SuppressionRow]: ...

    async def count(self, tenant: str) -> int: ...


async def list_suppressions(query: ListSuppressions, tenant: str, *, reader: SuppressionReader) -> SuppressionPage:
    rows = await reader.page(tenant, msgspec.structs.replace(query, limit=query.limit + 1))
    shown = rows[: query.limit]
    return SuppressionPage([_shown(row) for row in shown], shown[-1].id if len(rows) > query.limit else None)


async def export(tenant: str, *, reader: SuppressionReader) -> AsyncIterator[str]:
    """The whole list as CSV, a line for each reason; what has no address any more cannot be written down."""
    yield _written([_COLUMNS])
    query: ListSuppressions | None = ListSuppressions(limit=_AT_ONCE)
    while query:
        rows = await reader.page(tenant, query)
        yield _written(line for row in rows if row.address for line in _lines(row))
        query = msgspec.structs.replace(query, after=rows[-1].id) if len(rows) == _AT_ONCE else None


def _shown(row: SuppressionRow) -> SuppressedAddress:
    return SuppressedAddress(**{name: getattr(row, name) for name in SuppressedAddress.__struct_fields__})


def _lines(row: SuppressionRow) -> list[list[str]]:
    return [
        [
            row.channel,
            row.address or "",
            each.ground,
            each.category or "",
            each.since.isoformat(),
            each.until.isoformat() if each.until else "",
            each.source,
        ]
        for each in row.entries
    ]


def as_text(cell: str) -> str:
    """What a spreadsheet would take for a formula is not one in it; and what looks as if this had been done, too."""
    return _TEXT + cell if cell.removeprefix(_TEXT).startswith((*_FORMULAS, _TEXT)) else cell


def of_text(cell: str) -> str:
    """What `as_text` was given."""
    bare = cell.removeprefix(_TEXT)
    return bare if bare.startswith((*_FORMULAS, _TEXT)) else cell


def _written(rows: Iterable[Sequence[str]]) -> str:
    file = StringIO(newline="")
    csv.writer(file).writerows([as_text(cell) for cell in row] for row in rows)
    return file.getvalue()
