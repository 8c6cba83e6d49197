"""The webhook subscriptions, and how their endpoints are getting on."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.filters import Filter
from domain.notification import Notification
from domain.subscription import DisabledFor, SubscriptionState, Terms, WebhookSubscription
from domain.vocabulary import Reason


class SubscriptionRow(msgspec.Struct, kw_only=True):
    """`sent` and `failed` count attempts; `failures` are those since the last success, the first at `failing_since`.

    What was called before `clean_since`, when it was resumed or got another url, is no failure of these.
    `well_since` is the first success that no failure came after, `warned_at` stays when a warning is taken back.
    `version` is that of the last event of its own.
    """

    id: UUID
    tenant: str
    name: str
    organization: str | None
    event_types: tuple[str, ...]
    filters: tuple[Filter, ...]
    state: SubscriptionState = SubscriptionState.ACTIVE
    disabled_for: DisabledFor | None = None
    created_at: datetime
    updated_at: datetime
    last_triggered_at: datetime | None = None
    last_success_at: datetime | None = None
    sent: int = 0
    failed: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    last_failure: Reason | None = None
    gone: bool = False
    clean_since: datetime | None = None
    well_since: datetime | None = None
    warned: int = 0
    warned_at: datetime | None = None
    version: int
    position: int


class WebhookSubscriptions(Projection[SubscriptionRow]):
    """One row per subscription, also of those that were deleted."""

    name = "subscriptions"
    topics: Sequence[str] = (
        *(
            each.TOPIC
            for each in (
                WebhookSubscription.Created,
                WebhookSubscription.Updated,
                WebhookSubscription.SecretRotated,
                WebhookSubscription.Paused,
                WebhookSubscription.Resumed,
                WebhookSubscription.Warned,
                WebhookSubscription.Recovered,
                WebhookSubscription.Disabled,
                WebhookSubscription.Deleted,
            )
        ),
        Notification.Sent.TOPIC,
        Notification.Failed.TOPIC,
    )
    begins: Sequence[str] = (WebhookSubscription.Created.TOPIC,)
    row = SubscriptionRow
    key_columns = ("id",)
    personal = False
    indexes: Mapping[str, str] = MappingProxyType(
        {
            "newest": "(tenant, id DESC)",
            "troubled": "(id) WHERE state = 'active' AND (gone OR warned > 0 OR failing_since IS NOT NULL)",
        }
    )

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event: Any = recorded.event
        if isinstance(event, Notification.Event):
            return [(event.subscription,)] if event.subscription else []  # type: ignore[attr-defined]
        return [(event.originator_id,)]

    def fold(self, key: tuple[Any, ...], row: SubscriptionRow | None, recorded: Recorded) -> SubscriptionRow:
        event: Any = recorded.event
        if isinstance(event, WebhookSubscription.Created):
            row = _created(event, recorded.position)
        assert row is not None
        _apply(row, event)
        if isinstance(event, WebhookSubscription.Event):
            row.version = event.originator_version
        row.position = recorded.position
        return row


def _created(event: Any, position: int) -> SubscriptionRow:
    return SubscriptionRow(
        id=event.originator_id,
        tenant=event.tenant,
        **_terms(event.terms),
        created_at=event.timestamp,
        updated_at=event.timestamp,
        version=event.originator_version,
        position=position,
    )


def _terms(terms: Terms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in ("name", "organization", "event_types", "filters")}


def _apply(row: SubscriptionRow, event: Any) -> None:
    match event:
        case Notification.Sent():
            row.sent += 1
            row.last_triggered_at = row.last_success_at = event.timestamp
            row.well_since = row.well_since or event.timestamp
            _forgive(row)
        case Notification.Failed():
            if event.call:
                _fail(row, event)
        case WebhookSubscription.Updated():
            for name, value in _terms(event.terms).items():
                setattr(row, name, value)
            row.updated_at = event.timestamp
            if event.moved:
                _begin_again(row, event.timestamp)
        case WebhookSubscription.Paused():
            row.state = SubscriptionState.PAUSED
        case WebhookSubscription.Resumed():
            row.state, row.disabled_for = SubscriptionState.ACTIVE, None
            _begin_again(row, event.timestamp)
        case WebhookSubscription.Warned():
            row.warned, row.warned_at = event.share, event.timestamp
        case WebhookSubscription.Recovered():
            row.warned = 0
        case WebhookSubscription.Disabled():
            row.state, row.disabled_for = SubscriptionState.DISABLED, event.reason
        case WebhookSubscription.Deleted():
            row.state = SubscriptionState.DELETED


def _fail(row: SubscriptionRow, event: Any) -> None:
    row.failed += 1
    row.last_triggered_at = event.timestamp
    if row.clean_since and event.timestamp - timedelta(milliseconds=event.milliseconds or 0) < row.clean_since:
        return
    row.failures += 1
    row.last_failure = event.reason
    row.failing_since, row.well_since = row.failing_since or event.timestamp, None
    row.gone = row.gone or event.reason is Reason.ENDPOINT_GONE


def _begin_again(row: SubscriptionRow, now: datetime) -> None:
    row.warned, row.clean_since = 0, now
    _forgive(row)


def _forgive(row: SubscriptionRow) -> None:
    row.failures, row.failing_since, row.last_failure, row.gone = 0, None, None, False
