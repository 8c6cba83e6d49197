"""Warning of endpoints that keep failing, and giving them up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from application.caller import Caller
from application.commands.send import IdempotencyKey, SendAnswer
from application.commands.sending import Context, Recipient, SendNotification
from application.ports.log import ConflictError, EventLog, EventStore, StoreUnavailableError
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError
from application.projections.subscriptions import SubscriptionRow
from domain.health import GIVEN_UP_AFTER, Health, Notice, Verdict, judged
from domain.personal import Endpoint
from domain.subscription import WebhookSubscription
from domain.vocabulary import Reason

TYPE = "webhook_failing"
"""The type of the mail to the owner."""

_BY = "health"
_EVERY = 1.0
_HOPELESS = (Reason.ADDRESS_BLOCKED, Reason.TLS_FAILED)


class TroubledSubscriptions(Protocol):
    """The read model of subscriptions."""

    async def position(self) -> int:
        """Up to where it knows the log."""

    async def troubled(self) -> Sequence[SubscriptionRow]:
        """Active ones whose last attempt failed, or of whose failures somebody was warned."""


class HealthLog(Protocol):
    """Where each verdict leaves its one line, and what kept one from being given. No personal data goes in."""

    def health(self, subscription: WebhookSubscription, verdict: Verdict, health: Health) -> None: ...

    def unjudged(self, subscription: UUID, error: Exception) -> None: ...


class HealthCheck:
    """Looks at the read model, which the log makes, and lets each subscription in trouble decide what follows.

    Whatever it decides is an event, which changes the row: so it may be interrupted anywhere, and looks again. The
    mail to the owner is accepted before that event, under a key of its own, so that there is one, and only one.

    Nobody is judged by the past: not while the read model is behind where the log ended a turn ago, for it may be
    filled anew, and nobody of whose own events it does not know the last.
    """

    def __init__(
        self,
        reader: TroubledSubscriptions,
        events: EventStore,
        log: EventLog,
        send: Callable[[SendNotification, Caller, IdempotencyKey], Awaitable[SendAnswer]],
        clock: Clock,
        lines: HealthLog,
        link: str,
    ) -> None:
        self._reader = reader
        self._events = events
        self._log = log
        self._send = send
        self._clock = clock
        self._lines = lines
        self._link = link
        self._head: int | None = None
        self._unreadable: set[UUID] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(_EVERY)

    async def turn(self) -> int:
        """Judge those in trouble; answers of how many something followed. The first turn only looks at the log."""
        head, self._head = self._head, await self._log.head()
        if head is None or await self._reader.position() < head:
            return 0
        now = self._clock.now()
        rows = [row for row in await self._reader.troubled() if judged(health_of(row), _last_notice(row), now)]
        return sum([await self._guarded(row) for row in rows])

    async def _guarded(self, row: SubscriptionRow) -> bool:
        """One that cannot be read holds up no other, and is told of when that begins."""
        try:
            followed = await self._judge(row)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a lost key, an event of a later version
            if row.id not in self._unreadable:
                self._lines.unjudged(row.id, error)
            self._unreadable.add(row.id)
            return False
        self._unreadable.discard(row.id)
        return followed

    async def _judge(self, row: SubscriptionRow) -> bool:
        subscription = await self._events.get(WebhookSubscription, row.id)
        if subscription is None or subscription.version != row.version:
            return False
        health = health_of(row)
        verdict = subscription.judge(health, now=self._clock.now(), by=_BY)
        if verdict is None:
            return False
        if verdict is not Verdict.RECOVERED:
            await self._tell_owner(subscription, verdict, row)
        try:
            await self._events.save(subscription)
        except ConflictError:  # the owner did something meanwhile: the next turn sees what
            return False
        self._lines.health(subscription, verdict, health)
        return True

    async def _tell_owner(self, subscription: WebhookSubscription, verdict: Verdict, row: SubscriptionRow) -> None:
        """An address that mail cannot go to keeps nobody from being given up.

        The key is no caller's: theirs are of characters that can be seen.
        """
        endpoint = subscription.endpoint
        if not isinstance(endpoint, Endpoint) or endpoint.owner_email is None:
            return
        message = SendNotification(
            type=TYPE,
            recipients=[Recipient(email=endpoint.owner_email)],
            variables=_variables(subscription, endpoint, verdict, row, self._link),
            context=Context(source="webhooks", metadata={"webhook": str(subscription.id)}),
        )
        key = IdempotencyKey(f"\0health/{subscription.id}/{row.failing_since}/{verdict}", verdict)
        try:
            await self._send(message, Caller(subscription.tenant, _BY), key)
        except InvalidCommandError:
            return


def health_of(row: SubscriptionRow) -> Health:
    return Health(row.failures, row.failing_since, row.gone, row.last_failure in _HOPELESS, row.well_since)


def _last_notice(row: SubscriptionRow) -> Notice:
    return Notice(row.warned, row.warned_at)


def _variables(
    subscription: WebhookSubscription, endpoint: Endpoint, verdict: Verdict, row: SubscriptionRow, link: str
) -> dict[str, Any]:
    """Of the url only what is no secret: who calls it, not with which path."""
    assert row.failing_since
    variables = {
        "webhook_name": subscription.terms.name,
        "host": urlsplit(endpoint.url).netloc,
        "failing_since": row.failing_since.isoformat(),
        "failures": row.failures,
        "cause": (row.last_failure or Reason.ENDPOINT_ERROR).value,
        "help_url": link,
    }
    if verdict not in (Verdict.GONE, Verdict.FAILING):
        variables["disabled_at"] = (row.failing_since + GIVEN_UP_AFTER).isoformat()
    return variables
