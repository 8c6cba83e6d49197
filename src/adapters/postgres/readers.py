"""The questions that are asked of the read models."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from adapters.postgres.database import Database
from application.ports.webhooks import Interest
from application.processes.settle import Message
from application.projections.attempts import AttemptRow
from application.projections.event_types import EventTypeRow
from application.projections.happenings import HappeningRow
from application.projections.metrics import MetricTotal
from application.projections.notifications import NotificationRow
from application.projections.subscriptions import SubscriptionRow
from application.projections.suppressions import SuppressionRow
from application.queries.notifications import ListNotifications
from application.queries.suppressions import ListSuppressions

R = TypeVar("R", bound=msgspec.Struct)

_NOTIFICATION = ", ".join(NotificationRow.__struct_fields__)
_ATTEMPT = ", ".join(AttemptRow.__struct_fields__)
_EVENT_TYPE = ", ".join(EventTypeRow.__struct_fields__)
_HAPPENING = ", ".join(HappeningRow.__struct_fields__)
_TOTAL = ", ".join(MetricTotal.__struct_fields__)
_SUBSCRIPTION = ", ".join(SubscriptionRow.__struct_fields__)

_FILTERS = {
    "status": "status = %(status)s",
    "channel": "channel = %(channel)s",
    "type": "type = %(type)s",
    "recipient": "recipient = %(recipient)s",
    "recipient_user_id": "recipient_user_id = %(recipient_user_id)s",
    "since": "created_at >= %(since)s",
    "until": "created_at < %(until)s",
    "before": "id < %(before)s",
}


class PostgresNotificationReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, id: UUID) -> NotificationRow | None:
        rows = await self._database.rows(
            f"SELECT {_NOTIFICATION} FROM view_notifications.rows WHERE id = %s AND tenant = %s", (id, tenant)
        )
        return _row(NotificationRow, rows[0]) if rows else None

    async def attempts(self, tenant: str, id: UUID) -> list[AttemptRow]:
        rows = await self._database.rows(
            f"SELECT {_ATTEMPT} FROM view_attempts.rows WHERE notification = %s AND tenant = %s ORDER BY call",
            (id, tenant),
        )
        return [_row(AttemptRow, row) for row in rows]

    async def page(self, tenant: str, query: ListNotifications) -> list[NotificationRow]:
        given = {name: value for name, value in msgspec.structs.asdict(query).items() if value is not None}
        wanted = "".join(f" AND {condition}" for name, condition in _FILTERS.items() if name in given)
        rows = await self._database.rows(
            f"SELECT {_NOTIFICATION} FROM view_notifications.rows WHERE tenant = %(tenant)s{wanted}"
            " ORDER BY id DESC LIMIT %(limit)s",
            {**given, "tenant": tenant},
        )
        return [_row(NotificationRow, row) for row in rows]

    async def totals(self) -> list[MetricTotal]:
        rows = await self._database.rows(f"SELECT {_TOTAL} FROM view_totals.rows ORDER BY channel, template, fact")
        return [_row(MetricTotal, row) for row in rows]

    async def positions(self) -> dict[str, int]:
        views = (
            "notifications",
            "attempts",
            "metrics",
            "totals",
            "receipts",
            "templates",
            "subscriptions",
            "suppressions",
            "happenings",
            "event_types",
            "kafka_parked",
        )
        union = " UNION ALL ".join(f"SELECT '{name}', position FROM view_{name}.position" for name in views)
        return {str(name): int(position) for name, position in await self._database.rows(union)}


class PostgresTemplateReader:
    """Implements the port TemplateReader of the queries about templates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def own(self, tenant: str, after: str, limit: int) -> Sequence[tuple[str, UUID]]:
        rows = await self._database.rows(
            'SELECT name, id FROM view_templates.rows WHERE tenant = %s AND name COLLATE "C" > %s'
            ' ORDER BY name COLLATE "C" LIMIT %s',
            (tenant, after, limit),
        )
        return [(str(name), id) for name, id in rows]

    async def count(self, tenant: str) -> int:
        ((count,),) = await self._database.rows("SELECT count(*) FROM view_templates.rows WHERE tenant = %s", (tenant,))
        return int(count)


class PostgresSubscriptionReader:
    """Implements the port SubscriptionReader of the queries about webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, id: UUID) -> SubscriptionRow | None:
        rows = await self._rows("id = %s AND tenant = %s AND state <> 'deleted'", (id, tenant))
        return rows[0] if rows else None

    async def page(self, tenant: str, before: UUID | None, limit: int) -> Sequence[SubscriptionRow]:
        return await self._rows(
            "tenant = %s AND id < coalesce(%s, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) AND state <> 'deleted'"
            " ORDER BY id DESC LIMIT %s",
            (tenant, before, limit),
        )

    async def interests(self) -> tuple[int, list[tuple[str, Interest]]]:
        """One statement, so that position and rows are of one moment, also while the view is made anew."""
        found = await self._database.rows(
            "SELECT seen.position, r.tenant, r.id, r.organization, r.event_types, r.filters"
            " FROM view_subscriptions.position seen LEFT JOIN view_subscriptions.rows r ON r.state <> 'deleted'"
        )
        position = int(found[0][0])
        return position, [(tenant, _row(Interest, values)) for _, tenant, *values in found if tenant is not None]

    async def position(self) -> int:
        ((position,),) = await self._database.rows("SELECT position FROM view_subscriptions.position")
        return int(position)

    async def troubled(self) -> Sequence[SubscriptionRow]:
        return await self._rows("state = 'active' AND (gone OR warned > 0 OR failing_since IS NOT NULL)", ())

    async def _rows(self, condition: str, values: tuple[Any, ...]) -> list[SubscriptionRow]:
        rows = await self._database.rows(
            f"SELECT {_SUBSCRIPTION} FROM view_subscriptions.rows WHERE {condition}", values
        )
        return [_row(SubscriptionRow, row) for row in rows]


class PostgresHappeningReader:
    """Implements the ports HappeningReader and FailedReader of the feed and of replays."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def after(self, tenant: str, position: int, limit: int) -> Sequence[HappeningRow]:
        rows = await self._database.rows(
            f"SELECT {_HAPPENING} FROM view_happenings.rows WHERE tenant = %s AND position > %s"
            " ORDER BY position LIMIT %s",
            (tenant, position, limit),
        )
        return [_row(HappeningRow, row) for row in rows]

    async def failed(self, tenant: str, subscription: UUID, since: datetime, limit: int) -> Sequence[UUID]:
        rows = await self._database.rows(
            "SELECT id FROM view_notifications.rows WHERE tenant = %s AND recipient = %s AND channel = 'webhook'"
            " AND status = 'failed' AND updated_at >= %s ORDER BY id LIMIT %s",
            (tenant, str(subscription), since, limit),
        )
        return [id for (id,) in rows]


class PostgresEventTypeReader:
    """Implements the port EventTypeReader of the catalogue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str, after: str, limit: int) -> Sequence[EventTypeRow]:
        rows = await self._database.rows(
            f"SELECT {_EVENT_TYPE} FROM view_event_types.rows WHERE tenant = %s AND NOT removed"
            ' AND name COLLATE "C" > %s ORDER BY name COLLATE "C" LIMIT %s',
            (tenant, after, limit),
        )
        return [_row(EventTypeRow, row) for row in rows]

    async def first_names(self, limit: int) -> Sequence[str]:
        rows = await self._database.rows(
            "SELECT name FROM view_event_types.rows GROUP BY name ORDER BY min(created_at), name LIMIT %s", (limit,)
        )
        return [str(name) for (name,) in rows]


_SUPPRESSION = ", ".join(SuppressionRow.__struct_fields__)


class PostgresSuppressionReader:
    """Implements the port SuppressionReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str, query: ListSuppressions) -> list[SuppressionRow]:
        wishes = {"channel": query.channel, "address_digest": query.address_digest, "id > ": query.after}
        given = {name: value for name, value in wishes.items() if value is not None}
        wanted = "".join(f" AND {name} {'' if name.endswith('> ') else '='} %s" for name in given)
        ground = " AND entries @> %s::jsonb" if query.ground else ""
        values = [*given.values(), *([f'[{{"ground": "{query.ground}"}}]'] if query.ground else [])]
        rows = await self._database.rows(
            f"SELECT {_SUPPRESSION} FROM view_suppressions.rows WHERE tenant = %s AND listed{wanted}{ground}"
            " ORDER BY id LIMIT %s",
            (tenant, *values, query.limit),
        )
        return [_row(SuppressionRow, row) for row in rows]

    async def count(self, tenant: str) -> int:
        ((count,),) = await self._database.rows(
            "SELECT count(*) FROM view_suppressions.rows WHERE tenant = %s AND listed", (tenant,)
        )
        return int(count)


_ONE_OF = "(provider, provider_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"


class PostgresReceiptsReader:
    """Implements the port ReceiptsReader of the settlement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notifications_of(self, messages: Sequence[Message]) -> dict[Message, UUID]:
        rows = await self._database.rows(
            f"SELECT provider, provider_id, id FROM view_notifications.rows WHERE {_ONE_OF}", _columns(messages)
        )
        return {(provider, provider_id): id for provider, provider_id, id in rows}

    async def receipts_of(self, messages: Sequence[Message]) -> list[UUID]:
        rows = await self._database.rows(
            f"SELECT id FROM view_receipts.rows WHERE {_ONE_OF} AND notification IS NULL ORDER BY position",
            _columns(messages),
        )
        return [id for (id,) in rows]


class PostgresPlace:
    """Where a process that is not a projection stands in the log."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process

    async def position(self) -> int:
        rows = await self._database.rows("SELECT position FROM process_positions WHERE process = %s", (self._process,))
        return int(rows[0][0]) if rows else 0

    async def move(self, position: int) -> None:
        await self._database.rows(
            "INSERT INTO process_positions (process, position) VALUES (%s, %s)"
            " ON CONFLICT (process) DO UPDATE SET position = excluded.position",
            (self._process, position),
        )


def _columns(messages: Sequence[Message]) -> tuple[list[str], list[str]]:
    return [provider for provider, _ in messages], [id for _, id in messages]


def _row(kind: type[R], values: Sequence[Any]) -> R:
    return msgspec.convert(dict(zip(kind.__struct_fields__, values, strict=True)), kind, strict=False)
