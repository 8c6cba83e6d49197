"""Trying out an endpoint: one signed call, now, and what it came to."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application import message
from application.caller import Caller
from application.commands.webhooks import own_subscription
from application.ports import Clock, Dice, EventStore, WebhookRequest, WebhookSender
from application.queries.webhook_deliveries import Sign, by_curl
from domain.happening import Happening
from domain.outcomes import Accepted
from domain.personal import Endpoint, Payload, Response
from domain.subscription import WebhookSubscription
from domain.vocabulary import Reason

TEST_TYPE = "webhook.test"


class WebhookTest(msgspec.Struct, frozen=True, kw_only=True):
    """`response` is null when nothing was answered; `reason_code` says why it was not taken."""

    taken: bool
    reason_code: Reason | None
    error_message: str | None
    response: Response | None
    curl: str


async def try_webhook(
    id: UUID,
    caller: Caller,
    *,
    events: EventStore,
    sender: WebhookSender,
    sign: Sign,
    clock: Clock,
    dice: Dice,
) -> WebhookTest:
    """Send a `webhook.test`, also to one that is paused or disabled. It is kept nowhere. Raises NotFoundError."""
    subscription = await own_subscription(id, caller, events)
    endpoint, now = subscription.endpoint, clock.now()
    assert isinstance(endpoint, Endpoint)
    happening = _happening(subscription, f"evt_{dice.id().hex}", caller, now)
    event_id, body, secrets = happening.event_id, message.webhook(happening), endpoint.secrets_at(now)
    request = WebhookRequest(id=event_id, url=endpoint.url, headers=endpoint.headers, body=body, secrets=secrets)
    call = await sender.send(request, now)
    outcome: Any = call.outcome
    return WebhookTest(
        taken=isinstance(outcome, Accepted),
        reason_code=getattr(outcome, "reason", None),
        error_message=getattr(outcome, "detail", "") or None,
        response=call.response,
        curl=by_curl(endpoint.url, body, endpoint.headers, sign(event_id, int(now.timestamp()), body, secrets)),
    )


def _happening(subscription: WebhookSubscription, event_id: str, caller: Caller, now: datetime) -> Happening:
    """One that is never stored."""
    data = {"webhook_id": str(subscription.id), "name": subscription.terms.name}
    payload = Payload(person=subscription.id, data=data)
    return Happening.tell(
        caller.tenant, event_id, TEST_TYPE, subscription.terms.organization, payload, [],
        occurred_at=now, now=now, by=caller.by,
    )  # fmt: skip
