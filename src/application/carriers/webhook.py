"""Webhooks: what happened, told to one endpoint."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate

from application import message
from application.carriers.carrier import HeldError, Parcel, UnreadableError, UnsendableError, WorkRules
from application.ports.due_work import DueWork
from application.ports.log import EventStore, StoreUnavailableError
from application.ports.time_and_chance import Clock
from application.ports.webhooks import WebhookCall, WebhookRequest, WebhookSender
from domain.breaker import PROVEN_FOR, REST, Breaker
from domain.happening import Happening
from domain.notification import Notification
from domain.outcomes import Accepted, Outcome, Refused
from domain.personal import Endpoint, Envelope, Payload
from domain.retry import Retries
from domain.subscription import WebhookSubscription
from domain.vocabulary import Channel, Reason

A = TypeVar("A", bound=Aggregate)

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_MOST_PROVEN = 10_000


class LaneLog(Protocol):
    def lane(self, what: str, lane: str, **facts: Any) -> None:
        """That a lane was closed or opened."""

    def unreadable(self, notification: UUID, error: Exception) -> None: ...


class WebhookCarrier:
    """Sends with the secrets that are alive at the moment of the call, and rests where calls keep failing."""

    provider = "webhook"
    key_lifetime: timedelta | None = None

    def __init__(
        self,
        *,
        events: EventStore,
        due: DueWork,
        sender: WebhookSender,
        rules: WorkRules,
        retries: Retries,
        clock: Clock,
        log: LaneLog,
    ) -> None:
        self.rules = rules
        self._events = events
        self._due = due
        self._sender = sender
        self._retries = retries
        self._clock = clock
        self._log = log
        self._breaker = Breaker()
        self._prove_at: dict[str, datetime] = {}

    async def load(self, notifications: Collection[Notification]) -> "_WebhookLoad":
        subscriptions, happenings, closed = await asyncio.gather(
            self._read(WebhookSubscription, {n.subscription for n in notifications if n.subscription}),
            self._read(Happening, {n.happening for n in notifications if n.happening}),
            self._due.closed_lanes(Channel.WEBHOOK, {n.lane for n in notifications}),
        )
        return _WebhookLoad(self, subscriptions, happenings, closed)

    async def call(self, id: str, endpoint: Endpoint, body: bytes) -> WebhookCall:
        now = self._clock.now()
        request = WebhookRequest(
            id=id, url=endpoint.url, headers=endpoint.headers, body=body, secrets=endpoint.secrets_at(now)
        )
        return await self._sender.send(request, now)

    async def heed(self, lane: str, closed: set[str], outcome: Outcome) -> None:
        """Open a closed lane after a success, close it again after a failure, close another when it fails too often.

        Of a lane that works the schedule is told now and then.

        Whatever the store says to that keeps nobody from recording the outcome.
        """
        ok = isinstance(outcome, Accepted)
        gone = isinstance(outcome, Refused) and outcome.reason is Reason.ENDPOINT_GONE
        timed_out = getattr(outcome, "reason", None) is Reason.TIMEOUT
        trips = self._breaker.heard(lane, self._clock.now(), ok=ok, timed_out=timed_out) or gone
        try:
            if ok and lane in closed:
                closed.discard(lane)
                await self._prove(lane)
                self._log.lane("lane opened", lane)
            elif ok and self._clock.now() >= self._prove_at.get(lane, _LONG_AGO):
                await self._prove(lane)
            elif not ok and (trips or lane in closed):
                closed.add(lane)
                await self._due.close_lane(Channel.WEBHOOK, lane, REST)
                self._log.lane("lane closed", lane, seconds=REST.total_seconds())
        except Exception as error:  # noqa: BLE001 - it is only for the better; the outcome is what counts
            self._log.lane("lane left as it is", lane, error=type(error).__name__)

    async def _prove(self, lane: str) -> None:
        if len(self._prove_at) >= _MOST_PROVEN:
            self._prove_at.clear()
        self._prove_at[lane] = self._clock.now() + PROVEN_FOR / 5
        await self._due.open_lane(Channel.WEBHOOK, lane)

    def retries(self, subscription: WebhookSubscription | None) -> Retries:
        return (subscription.terms.schedule if subscription else None) or self._retries

    async def _read(self, kind: type[A], ids: Collection[UUID]) -> dict[UUID, A]:
        """Those that can be read; the others must not keep them waiting."""
        try:
            return await self._events.get_many(kind, ids) if ids else {}
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a lost key, an event of a later version: whatever it is, it is theirs
            if len(ids) == 1:
                for id in ids:
                    self._log.unreadable(id, error)
                return {}
            return {id: found for each in ids for id, found in (await self._read(kind, [each])).items()}


class _WebhookLoad:
    def __init__(
        self,
        carrier: WebhookCarrier,
        subscriptions: Mapping[UUID, WebhookSubscription],
        happenings: Mapping[UUID, Happening],
        closed: set[str],
    ) -> None:
        self._carrier = carrier
        self._subscriptions = subscriptions
        self._happenings = happenings
        self._closed = closed
        self._bodies: dict[UUID, bytes] = {}

    def retries(self, notification: Notification) -> Retries:
        assert notification.subscription
        return self._carrier.retries(self._subscriptions.get(notification.subscription))

    async def prepare(self, notification: Notification) -> Parcel:
        assert notification.subscription
        assert notification.happening
        subscription = self._subscriptions.get(notification.subscription)
        happening = self._happenings.get(notification.happening)
        if subscription is None or happening is None:
            raise UnreadableError
        if subscription.is_deleted:
            raise UnsendableError(Reason.SUBSCRIPTION_DELETED, unwanted=True)
        if subscription.is_held:
            raise HeldError
        endpoint = subscription.endpoint
        if not isinstance(endpoint, Endpoint) or not isinstance(happening.payload, Payload):
            raise UnsendableError(Reason.PERSON_ERASED)
        body = self._body(happening)
        return Parcel(
            message.webhook_digest(endpoint.url, body),
            Envelope(person=endpoint.person, subject=None, preview="", url=endpoint.url),
            None,
            None,
            partial(self._carrier.call, happening.event_id, endpoint, body),
            partial(self._carrier.heed, notification.lane, self._closed),
        )

    def _body(self, happening: Happening) -> bytes:
        if happening.id not in self._bodies:
            self._bodies[happening.id] = message.webhook(happening)
        return self._bodies[happening.id]
