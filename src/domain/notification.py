"""One message to one recipient by one channel, from the wish to send it to what became of it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain import notification_events as events
from domain.mailbox import Mailbox
from domain.notification_events import Attempt
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Retryable, Throttled, Unknown
from domain.personal import Envelope, Erased, Letter, Remark, Response
from domain.receipts import ReceiptKind
from domain.retry import Retries
from domain.standing import Standing, reached_the_reader, reason_of, status_of
from domain.template import TemplatePin
from domain.vocabulary import Channel, Priority, Purpose, Reason, Status

_WAITING = Standing(Status.DEFERRED, Reason.DIGEST, None, None, None)
"""Of what is in a digest of which nothing has become yet."""

_UNTIL_HELD = timedelta(minutes=1)
"""When an endpoint that is gone is due again: it has been disabled by then, so that it is held until it is resumed."""


class NotAttemptableError(Exception):
    """Nothing may be sent for this notification now: it has ended, or a call is already on its way."""


class NotRetryableError(Exception):
    """Only a notification that failed, bounced or expired can be sent once more by hand."""


class GoesWithDigestError(NotRetryableError):
    """What is in a digest goes with it, or not at all: its digest is what can be sent once more."""


class Due(msgspec.Struct, frozen=True):
    """The work still to do for a notification: the row of the schedule that follows from its events.

    `held` means that a call is on its way since `at`: whoever holds the lease goes on holding it.
    """

    at: datetime
    attempt: int
    held: bool


class Notification(Aggregate):
    """Its methods decide and may refuse; an event's `apply` only assigns, for it runs again at every replay."""

    Event = events.Event
    Queued = events.Queued
    Deferred = events.Deferred
    Rendered = events.Rendered
    Sent = events.Sent
    Failed = events.Failed
    Retried = events.Retried
    DeadLettered = events.DeadLettered
    Suppressed = events.Suppressed
    Cancelled = events.Cancelled
    Expired = events.Expired
    Delivered = events.Delivered
    Bounced = events.Bounced
    Rejected = events.Rejected
    Opened = events.Opened
    Clicked = events.Clicked
    Complained = events.Complained
    Merged = events.Merged
    StandingChanged = events.StandingChanged
    Followed = events.Followed

    def __init__(
        self,
        tenant: str,
        channel: Channel,
        type: str,
        category: str,
        purpose: Purpose,
        priority: Priority,
        recipient_user_id: str | None,
        locale: str,
        time_zone: str | None,
        template: TemplatePin | None,
        due_at: datetime,
        expires_at: datetime | None,
        secrets: tuple[str, ...],
        personal: Letter | Erased,
        subscription: UUID | None = None,
        happening: UUID | None = None,
        members: tuple[UUID, ...] | None = None,
    ) -> None:
        self.tenant = tenant
        self.channel = channel
        self.type = type
        self.category = category
        self.purpose = purpose
        self.priority = priority
        self.recipient_user_id = recipient_user_id
        self.locale = locale
        self.time_zone = time_zone
        self.template = template
        self.due_at: datetime = due_at
        self.expires_at = expires_at
        self.secrets = secrets
        self.letter = personal
        self.subscription = subscription
        self.happening = happening
        self.members = members or ()
        self.told = _WAITING
        self.bundle: UUID | None = None
        self.digest_id: UUID | None = None
        self.generation = 1
        self.calls = 0
        self.attempts = 0
        self.may_have_gone_out = False
        self.in_flight: Attempt | None = None
        self.provider: str | None = None
        self.key_until: datetime | None = None
        self.sender: Mailbox | None = None
        self.reply_to: Mailbox | None = None
        self.provider_id: str | None = None
        self.earlier_provider_ids: frozenset[str] = frozenset()
        self.deferred_for = Reason.SCHEDULED if due_at > self.created_on else None
        self.limited_by: str | None = None
        self.places = 0
        self.duplicate_of: UUID | None = None
        self.ended: Status | None = None
        self.reason: Reason | None = None
        self.sent_at: datetime | None = None
        self.delivered_at: datetime | None = None
        self.bounced_at: datetime | None = None
        self.bounce_reason: Reason | None = None
        self.rejected_at: datetime | None = None
        self.opened_at: datetime | None = None
        self.clicked_at: datetime | None = None
        self.complained_at: datetime | None = None

    @classmethod
    def queue(
        cls,
        id: UUID,
        *,
        tenant: str,
        channel: Channel,
        type: str,
        category: str,
        purpose: Purpose,
        priority: Priority,
        request: UUID,
        letter: Letter,
        template: TemplatePin | None,
        now: datetime,
        by: str,
        locale: str,
        recipient_user_id: str | None = None,
        time_zone: str | None = None,
        scheduled_at: datetime | None = None,
        expires_at: datetime | None = None,
        source: str | None = None,
        correlation_id: str | None = None,
        secrets: Iterable[str] = (),
        subscription: UUID | None = None,
        happening: UUID | None = None,
        members: Iterable[UUID] = (),
    ) -> "Notification":
        """Accept a message for delivery at `scheduled_at` or at once; after `expires_at` it is no longer sent.

        `secrets` names the variables that nobody but the reader may see, whatever becomes of the type. A webhook has
        no template: it tells a `subscription` of a `happening`. A digest is made of `members`.
        """
        return cls._create(
            cls.Queued,
            id=id,
            timestamp=now,
            tenant=tenant,
            channel=channel,
            type=type,
            by=by,
            category=category,
            purpose=purpose,
            priority=priority,
            request=request,
            recipient_user_id=recipient_user_id,
            locale=locale,
            time_zone=time_zone,
            template=template,
            due_at=max(scheduled_at or now, now),
            expires_at=expires_at,
            source=source,
            correlation_id=correlation_id,
            secrets=tuple(sorted(secrets)),
            personal=letter,
            subscription=subscription,
            happening=happening,
            members=tuple(members) or None,
        )

    # What it is now

    @property
    def status(self) -> Status:
        return status_of(self)

    @property
    def reason_code(self) -> Reason | None:
        return reason_of(self)

    @property
    def standing(self) -> Standing:
        """What of it is true of the members of a digest as well: as long as it may go out, they wait in it."""
        status, reason = self.status, self.reason_code
        if status in (Status.PENDING, Status.DEFERRED):
            status, reason = Status.DEFERRED, Reason.DIGEST
        reached = self.delivered_at or self.opened_at or self.clicked_at or self.complained_at
        return Standing(status, reason, self.sent_at, reached, self.bounced_at)

    @property
    def is_open(self) -> bool:
        """Whether it is still ours to send, and by itself."""
        return self.ended is None and self.sent_at is None and self.digest_id is None and not self._was_heard_of

    @property
    def due(self) -> Due | None:
        """The work still to do, or None when there is none."""
        if self.in_flight:
            return Due(self.in_flight.started_at, self.attempts, held=True)
        return Due(self.due_at, self.attempts, held=False) if self.is_open else None

    @property
    def awaits_others(self) -> bool:
        """Whether it is to go with all that are in the same bundle."""
        return self.bundle is not None and self.is_open

    @property
    def is_gathered(self) -> bool:
        """Whether it waits for no digest any more: it has waited for one, is one, or has been on its way before."""
        return bool(self.bundle or self.members or self.calls or self.generation > 1)

    @property
    def idempotency_key(self) -> str:
        """The same for all automatic attempts of one generation; a retry by hand starts the next generation."""
        return f"{self.id}/{self.generation}"

    @property
    def person(self) -> UUID:
        return self.letter.person

    @property
    def lane(self) -> str:
        """Who waits their turn: a tenant, or one of a tenant's endpoints."""
        return str(self.subscription) if self.subscription else self.tenant

    # Towards the reader

    def expire_if_late(self, now: datetime, by: str) -> bool:
        """End it when its time to be useful is over; True if that was now."""
        if self.is_open and self.in_flight is None and self.expires_at and now >= self.expires_at:
            self.trigger_event(self.Expired, **self._about(by, now), reason=Reason.EXPIRED)
            return True
        return False

    def attempt(
        self,
        provider: str,
        key_until: datetime | None,
        digest: str,
        envelope: Envelope,
        *,
        sender: Mailbox | None,
        reply_to: Mailbox | None,
        now: datetime,
        by: str,
    ) -> Attempt:
        """Record the intent to call `provider`, which knows this notification's key until `key_until` (None: no keys).

        `sender` and `reply_to` stay for the whole generation: under one key nothing may change.

        Raises NotAttemptableError when it has ended or another call may still be on its way.
        """
        if not self.is_open or self.in_flight:
            raise NotAttemptableError(f"notification {self.id} is {self.status}")
        known_until = self.key_until if self.provider == provider and self.key_until else key_until
        self.trigger_event(
            self.Rendered,
            **self._about(by, now),
            call=self.calls + 1,
            attempt=self.attempts + 1,
            generation=self.generation,
            provider=provider,
            key=self.idempotency_key if key_until else None,
            key_until=known_until,
            sender=sender,
            reply_to=reply_to,
            digest=digest,
            personal=envelope,
        )
        assert self.in_flight is not None
        return self.in_flight

    def record(
        self,
        outcome: Outcome,
        policy: Retries,
        *,
        luck: float,
        now: datetime,
        by: str,
        response: Response | None = None,
    ) -> None:
        """Decide what the outcome of the call on its way means. `luck` in [0, 1) spreads retries out."""
        attempt = self.in_flight
        if attempt is None:
            raise NotAttemptableError(f"notification {self.id} has no call on its way")
        match outcome:
            case Accepted(provider_id, cost):
                self._send(attempt.call, attempt.provider, provider_id, cost, now, by, response)
            case Throttled(wait, detail, _):
                self._postpone(Reason.PROVIDER_THROTTLED, attempt, wait, detail, now, by)
            case Misconfigured(wait, detail):
                self._postpone(Reason.PROVIDER_MISCONFIGURED, attempt, wait, detail, now, by)
            case Retryable(reason, wait, detail):
                self._fail(attempt, reason, detail, now, by, response=response)
                self._retry_or_end(reason, policy.next_attempt(attempt.number, now, wait, luck), now, by)
            case Refused(Reason.ENDPOINT_GONE as reason, detail):
                self._fail(attempt, reason, detail, now, by, response=response)
                self._retry_or_end(reason, now + _UNTIL_HELD, now, by)  # held, not dropped, however often it was tried
            case Refused(reason, detail):
                self._fail(attempt, reason, detail, now, by, response=response)
                self.trigger_event(self.DeadLettered, **self._about(by, now), reason=reason)
            case Unknown(reason, detail, wait):
                self._fail(attempt, reason, detail, now, by, uncertain=True)
                at = policy.next_attempt(attempt.number, now, wait, luck)
                self._retry_or_end(reason, at if self._may_repeat(attempt, at) else None, now, by)

    def put_off(self, *, now: datetime, by: str) -> None:
        """Take back the intent of a call that was not begun: it is due again and has used up no attempt."""
        if self.in_flight is None:
            raise NotAttemptableError(f"notification {self.id} has no call on its way")
        self._postpone(Reason.NOT_BEGUN, self.in_flight, timedelta(0), "", now, by)

    def interrupted(self, policy: Retries, *, luck: float, now: datetime, by: str) -> None:
        """The holder of the call on its way is gone: decide what follows from an outcome nobody recorded.

        A provider that knows our key can be asked again at once; it will not send twice.
        """
        attempt = self.in_flight
        if attempt is None:
            return
        self._fail(attempt, Reason.OUTCOME_UNKNOWN, "", now, by, uncertain=True)
        at = policy.next_attempt(attempt.number, now, None, luck)
        if at and attempt.key_until and now < attempt.key_until:
            at = now
        self._retry_or_end(Reason.OUTCOME_UNKNOWN, at if self._may_repeat(attempt, at) else None, now, by)

    def fail(self, reason: Reason, detail: str, *, now: datetime, by: str) -> None:
        """Give up before any call: what was to be sent cannot be made."""
        if not self.is_open or self.in_flight:
            raise NotAttemptableError(f"notification {self.id} is {self.status}")
        self.trigger_event(
            self.Failed,
            **self._about(by, now),
            call=0,
            attempt=0,
            provider=None,
            reason=reason,
            uncertain=False,
            personal=self._remark(detail),
        )
        self.trigger_event(self.DeadLettered, **self._about(by, now), reason=reason)

    def suppress(
        self,
        reason: Reason,
        *,
        now: datetime,
        by: str,
        limit: str | None = None,
        duplicate_of: UUID | None = None,
    ) -> None:
        """Do not send it, because the reader, the law or the tenant does not want it.

        `limit` names what it was too much for, `duplicate_of` what said the same before.
        """
        if not self.is_open or self.in_flight:
            raise NotAttemptableError(f"notification {self.id} is {self.status}")
        self.trigger_event(
            self.Suppressed, **self._about(by, now), reason=reason, limit=limit, duplicate_of=duplicate_of
        )

    def wait(
        self,
        reason: Reason,
        until: datetime,
        *,
        now: datetime,
        by: str,
        limit: str | None = None,
        bundle: UUID | None = None,
    ) -> None:
        """Leave it for later, because the reader wishes so or is asleep, or for its place under a `limit`.

        That uses up no attempt. With a `bundle` it waits for the others there, and goes on doing so once it has begun.
        """
        if not self.is_open or self.in_flight:
            raise NotAttemptableError(f"notification {self.id} is {self.status}")
        self._wait(reason, until, bundle or self.bundle, now, by, limit)

    # With others, in a digest

    def merge(self, digest: "Notification", *, now: datetime, by: str) -> None:
        """Go with this digest instead of by itself."""
        if not self.awaits_others or self.in_flight:
            raise NotAttemptableError(f"notification {self.id} is {self.status}")
        self.trigger_event(self.Merged, **self._about(by, now), into=digest.id)

    def part(self, digest: "Notification", *, now: datetime, by: str) -> bool:
        """Wait for the others of its bundle again, as this digest will not go out; False if it is not in that."""
        if self.digest_id != digest.id:
            return False
        self._follow(digest, _WAITING, now, by)  # it may still stand as the digest did before that was tried once more
        self._wait(Reason.DIGEST, now, self.bundle, now, by)
        return True

    def follow(self, digest: "Notification", *, now: datetime, by: str) -> None:
        """Take over what became of the digest that it is in. Once more, that changes nothing.

        The end of one that was taken apart is nobody else's.
        """
        if self.digest_id == digest.id and digest.reason_code is not Reason.DISSOLVED:
            self._follow(digest, digest.standing, now, by)

    # What people ask

    def cancel(self, *, now: datetime, by: str) -> bool:
        """Stop it; False when it is too late, because a call is on its way, has succeeded, or may have."""
        if self.ended is Status.CANCELLED:
            return True
        if not self.is_open or self.in_flight or self.may_have_gone_out:
            return False
        self.trigger_event(self.Cancelled, **self._about(by, now), reason=Reason.CANCELLED_BY_CALLER)
        return True

    def retry(self, *, now: datetime, by: str) -> None:
        """Send it once more, as a new generation: a provider will not take it for a repetition.

        Raises NotRetryableError unless it failed, bounced or expired, and while a call is still on its way, and
        GoesWithDigestError for what is in a digest.
        """
        if self.digest_id:
            raise GoesWithDigestError(f"notification {self.id} is in the digest {self.digest_id}: retry that")
        if self.in_flight or self.status not in (Status.FAILED, Status.BOUNCED, Status.EXPIRED):
            raise NotRetryableError(f"notification {self.id} is {self.status}")
        self.trigger_event(
            self.Retried,
            **self._about(by, now),
            generation=self.generation + 1,
            due_at=now,
            reason=Reason.RETRIED_BY_CALLER,
        )

    # What providers report

    def receive(
        self,
        kind: ReceiptKind,
        *,
        provider: str,
        provider_id: str | None,
        occurred_at: datetime,
        generation: int | None,
        detail: str,
        now: datetime,
        by: str,
    ) -> None:
        """Take in a callback, about that `generation` if it says so; an earlier one no longer counts.

        Repeated and late ones end in the same state in whatever order they come: of each kind the earliest counts, and
        one that adds nothing leaves no event.
        """
        about = self._about(by, now)
        match kind:
            case _ if provider_id in self.earlier_provider_ids or (generation or self.generation) < self.generation:
                return
            case ReceiptKind.SENT if self.sent_at is None and self.calls:
                self._send(self.calls, provider, provider_id, None, now, by)
            case ReceiptKind.DELIVERED if _is_news(occurred_at, self.delivered_at):
                self.trigger_event(
                    self.Delivered, **about, provider=provider, occurred_at=occurred_at, queued_at=self.created_on
                )
            case ReceiptKind.BOUNCED if self.bounce_reason is not Reason.HARD_BOUNCE or _is_news(
                occurred_at, self.bounced_at
            ):
                self._bounce(Reason.HARD_BOUNCE, occurred_at, provider, detail, about)
            case ReceiptKind.SOFT_BOUNCED if _is_news(occurred_at, self.bounced_at):
                self._bounce(Reason.SOFT_BOUNCE, occurred_at, provider, detail, about)
            case ReceiptKind.REJECTED if _is_news(occurred_at, self.rejected_at):
                self.trigger_event(
                    self.Rejected, **about, provider=provider, occurred_at=occurred_at, personal=self._remark(detail)
                )
            case ReceiptKind.OPENED if _is_news(occurred_at, self.opened_at):
                self.trigger_event(self.Opened, **about, provider=provider, occurred_at=occurred_at)
            case ReceiptKind.CLICKED if _is_news(occurred_at, self.clicked_at):
                self.trigger_event(self.Clicked, **about, provider=provider, occurred_at=occurred_at)
            case ReceiptKind.COMPLAINED if _is_news(occurred_at, self.complained_at):
                self.trigger_event(self.Complained, **about, provider=provider, occurred_at=occurred_at)

    # Decisions shared by the above

    @property
    def _was_heard_of(self) -> bool:
        return bool(self.bounced_at or self.rejected_at or reached_the_reader(self))

    def trigger_event(self, event_class: Any, **said: Any) -> None:
        """The one place where a digest notes that it stands otherwise: whatever happened, its members are to know."""
        super().trigger_event(event_class, **said)
        if self.members and (standing := self.standing) != self.told:
            about = self._about(said["by"], said["timestamp"])
            super().trigger_event(self.StandingChanged, **about, status=standing.status, reason=standing.reason)

    def _follow(self, digest: "Notification", became: Standing, now: datetime, by: str) -> None:
        if became != self.standing:
            about = self._about(by, now)
            self.trigger_event(self.Followed, **about, digest_id=digest.id, **msgspec.structs.asdict(became))

    def _wait(
        self,
        reason: Reason,
        until: datetime,
        bundle: UUID | None,
        now: datetime,
        by: str,
        limit: str | None = None,
    ) -> None:
        said = {"reason": reason, "until": until, "provider": None, "call": 0, "personal": None}
        self.trigger_event(self.Deferred, **self._about(by, now), **said, limit=limit, bundle=bundle)

    def _about(self, by: str, now: datetime) -> dict[str, Any]:
        return {"tenant": self.tenant, "channel": self.channel, "type": self.type, "by": by, "timestamp": now}

    def _remark(self, text: str, response: Response | None = None) -> Remark | None:
        if not (text or response) or not isinstance(self.letter, Letter):
            return None
        return Remark(person=self.person, text=text[:500], response=response)

    def _may_repeat(self, attempt: Attempt, at: datetime | None) -> bool:
        """After an unknown outcome: safe while the provider knows the key; else what is worse lost than doubled."""
        if at and attempt.key_until and at < attempt.key_until:
            return True
        return self.purpose is not Purpose.MARKETING

    def _send(
        self,
        call: int,
        provider: str,
        provider_id: str | None,
        cost: Decimal | None,
        now: datetime,
        by: str,
        response: Response | None = None,
    ) -> None:
        about = self._about(by, now)
        self.trigger_event(
            self.Sent,
            **about,
            call=call,
            provider=provider,
            provider_id=provider_id,
            cost=cost,
            queued_at=self.created_on,
            personal=self._remark("", response) if response else None,
            subscription=self.subscription,
            milliseconds=response.milliseconds if response else None,
        )

    def _postpone(self, reason: Reason, attempt: Attempt, wait: timedelta, detail: str, now: datetime, by: str) -> None:
        self.trigger_event(
            self.Deferred,
            **self._about(by, now),
            reason=reason,
            until=now + wait,
            provider=attempt.provider,
            call=attempt.call,
            personal=self._remark(detail),
        )

    def _fail(
        self,
        attempt: Attempt,
        reason: Reason,
        detail: str,
        now: datetime,
        by: str,
        *,
        uncertain: bool = False,
        response: Response | None = None,
    ) -> None:
        self.trigger_event(
            self.Failed,
            **self._about(by, now),
            call=attempt.call,
            attempt=attempt.number,
            provider=attempt.provider,
            reason=reason,
            uncertain=uncertain,
            personal=self._remark(detail, response),
            subscription=self.subscription,
            milliseconds=response.milliseconds if response else None,
        )

    def _retry_or_end(self, reason: Reason, at: datetime | None, now: datetime, by: str) -> None:
        if self._was_heard_of:
            return
        if at is None:
            self.trigger_event(self.DeadLettered, **self._about(by, now), reason=reason)
        elif self.expires_at and at >= self.expires_at:
            self.trigger_event(self.Expired, **self._about(by, now), reason=Reason.EXPIRED)
        else:
            self.trigger_event(
                self.Retried, **self._about(by, now), generation=self.generation, due_at=at, reason=reason
            )

    def _bounce(self, reason: Reason, occurred_at: datetime, provider: str, detail: str, about: dict[str, Any]) -> None:
        self.trigger_event(
            self.Bounced,
            **about,
            provider=provider,
            occurred_at=occurred_at,
            reason=reason,
            personal=self._remark(detail),
        )


def _is_news(occurred_at: datetime, known: datetime | None) -> bool:
    return known is None or occurred_at < known
