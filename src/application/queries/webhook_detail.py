"""Subscriptions as their owners see them: what they are for, and how their endpoints are getting on."""

from datetime import datetime
from uuid import UUID

import msgspec

from application.caller import Caller
from application.ports.log import EventStore
from application.ports.time_and_chance import Clock
from application.ports.webhooks import WebhookSecrets
from application.projections.subscriptions import SubscriptionRow
from application.queries.webhooks import SubscriptionReader
from application.subscriptions import own_subscription
from application.webhooks import Webhook, described
from domain.subscription import WebhookSubscription
from domain.vocabulary import Reason


class WebhookDetail(Webhook, frozen=True, kw_only=True):
    """The same with its record: `sent` and `failed` count calls, `failure_count` those since the last success."""

    last_triggered_at: datetime | None = None
    last_success_at: datetime | None = None
    sent: int = 0
    failed: int = 0
    failure_count: int = 0
    failing_since: datetime | None = None
    last_failure: Reason | None = None


async def get_webhook(
    id: UUID, caller: Caller, *, events: EventStore, reader: SubscriptionReader, secrets: WebhookSecrets, clock: Clock
) -> WebhookDetail:
    """What it is comes from the log, its record from the read model. Raises NotFoundError."""
    subscription = await own_subscription(id, caller, events)
    return _detail(subscription, await reader.get(caller.tenant, id), secrets, clock.now())


async def list_webhooks(
    before: UUID | None,
    limit: int,
    caller: Caller,
    *,
    events: EventStore,
    reader: SubscriptionReader,
    secrets: WebhookSecrets,
    clock: Clock,
) -> list[WebhookDetail]:
    """Newest first, those before the one that the last page ended with."""
    rows = await reader.page(caller.tenant, before, limit)
    known = await events.get_many(WebhookSubscription, [row.id for row in rows])
    return [_detail(known[row.id], row, secrets, clock.now()) for row in rows if not known[row.id].is_deleted]


def _detail(
    subscription: WebhookSubscription, row: SubscriptionRow | None, secrets: WebhookSecrets, now: datetime
) -> WebhookDetail:
    said = msgspec.structs.asdict(described(subscription, secrets, now))
    if row is None:
        return WebhookDetail(**said)
    return WebhookDetail(
        **said,
        last_triggered_at=row.last_triggered_at,
        last_success_at=row.last_success_at,
        sent=row.sent,
        failed=row.failed,
        failure_count=row.failures,
        failing_since=row.failing_since,
        last_failure=row.last_failure,
    )
