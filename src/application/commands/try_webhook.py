"""Trying out an endpoint: one signed call, now, and what it came to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application import message
from application.caller import Caller
from application.ports.log import EventStore
from application.ports.time_and_chance import Clock, Dice
from application.ports.webhooks import WebhookRequest, WebhookSender
from application.queries.webhook_deliveries import Sign, by_curl
from application.subscriptions import own_subscription
from domain.happening import Happening
from domain.outcomes import Accepted
from domain.personal import Endpoint, Payload, Response
from domain.subscription import WebhookSubscription
from domain.vocabulary import Reason

TEST_TYPE = "webhook.test"
MOST_TRIALS = 10
_MOST_OF_TENANT = 2


class WebhookTest(msgspec.Struct, frozen=True, kw_only=True):
    """`response` is null when nothing was answered; `reason_code` says why it was not taken."""

    taken: bool
    reason_code: Reason | None
    error_message: str | None
    response: Response | None
    curl: str


class TooManyTrialsError(Exception):
    """Another one of the subscription, or two of the tenant, are not over yet."""


class Trials:
    """What is tried out by this process just now: no more at a time than there are connections for it."""

    def __init__(self) -> None:
        self._begun: set[tuple[str, UUID]] = set()
        self._places = asyncio.Semaphore(MOST_TRIALS)

    @asynccontextmanager
    async def one(self, tenant: str, subscription: UUID) -> AsyncIterator[None]:
        """Raises TooManyTrialsError."""
        if (tenant, subscription) in self._begun:
            raise TooManyTrialsError("this endpoint is being tried out already")
        if sum(each == tenant for each, _ in self._begun) >= _MOST_OF_TENANT:
            raise TooManyTrialsError(f"{_MOST_OF_TENANT} endpoints are being tried out already")
        self._begun.add((tenant, subscription))
        try:
            async with self._places:
                yield
        finally:
            self._begun.discard((tenant, subscription))


async def try_webhook(
    id: UUID,
    caller: Caller,
    *,
    events: EventStore,
    sender: WebhookSender,
    trials: Trials,
    sign: Sign,
    clock: Clock,
    dice: Dice,
) -> WebhookTest:
    """Send a `webhook.test`, also to one that is paused or disabled. It is kept nowhere.

    Raises NotFoundError and TooManyTrialsError.
    """
    subscription = await own_subscription(id, caller, events)
    async with trials.one(caller.tenant, id):
        return await _tried(subscription, caller, sender, sign, clock.now(), dice)


async def _tried(
    subscription: WebhookSubscription, caller: Caller, sender: WebhookSender, sign: Sign, now: datetime, dice: Dice
) -> WebhookTest:
    endpoint = subscription.endpoint
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
