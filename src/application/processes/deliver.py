"""What a worker does with the notifications it was handed."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict
from uuid import UUID

import msgspec

from application.ports import (
    Clock,
    ConflictError,
    Dice,
    DueWork,
    Email,
    EmailSender,
    EventStore,
    Lease,
    ProviderBudget,
    RenderError,
    StoreUnavailableError,
    TemplateRenderer,
    Templates,
)
from domain.mailbox import Mailbox
from domain.notification import Attempt, NotAttemptableError, Notification
from domain.outcomes import Accepted, Misconfigured, Outcome, Throttled, Unknown
from domain.personal import Envelope, Letter
from domain.retry import RetryPolicy
from domain.template import Content
from domain.vocabulary import Channel, Reason

_ASK_THE_STORE_EVERY = 0.2
_PREVIEW = 140
_MASK = "•••"


class AttemptLog(Protocol):
    """Where each attempt leaves its one line. No personal data goes in."""

    def attempt(self, notification: Notification, attempt: Attempt, outcome: Outcome, milliseconds: float) -> None: ...

    def note(self, what: str, notification: UUID, **facts: Any) -> None: ...


class SendingRules(msgspec.Struct, frozen=True):
    """How one channel is worked. A call never lasts longer than `deadline`, which is less than half of `lease`."""

    sender: Mailbox
    reply_to: Mailbox | None = None
    retry: RetryPolicy = RetryPolicy()
    concurrency: int = 5
    lease: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(seconds=20)

    def __post_init__(self) -> None:
        if self.deadline * 2 >= self.lease:
            raise ValueError("the deadline of a call must be less than half of the lease")


class Delivery:
    """Checks again, renders, records the intent, calls the provider, records what it came to.

    The intent is stored before the call, and only by whom still holds the lease; the version check of the log lets
    one of two holders through and refuses an outcome that comes after somebody else has moved on. Outcomes are
    recorded as they arrive.
    """

    def __init__(
        self,
        *,
        events: EventStore,
        due: DueWork,
        templates: Templates,
        renderer: TemplateRenderer,
        senders: Mapping[Channel, EmailSender],
        budget: ProviderBudget,
        rules: Mapping[Channel, SendingRules],
        clock: Clock,
        dice: Dice,
        log: AttemptLog,
        name: str = "worker",
    ) -> None:
        self._events = events
        self._due = due
        self._secrets = {type.name: type.secrets for type in templates.types()}
        self._renderer = renderer
        self._senders = senders
        self._budget = budget
        self._rules = rules
        self._clock = clock
        self._dice = dice
        self._log = log
        self._name = name
        self._slots = {channel: asyncio.Semaphore(rule.concurrency) for channel, rule in rules.items()}
        self._stopping = False

    def stop(self) -> None:
        """Begin no further call: what was not begun is given back, for others to take at once."""
        self._stopping = True

    async def deliver(self, channel: Channel, leases: Sequence[Lease]) -> None:
        """Attend to each of these once. Whatever cannot be finished comes back when its lease lapses."""
        if self._stopping:
            await self._due.release(leases)
            return
        lapses = asyncio.get_running_loop().time() + self._rules[channel].lease.total_seconds()
        try:
            held = await self._due.renew(leases, self._rules[channel].lease)
            found = await self._events.get_many(Notification, [lease.notification for lease in held])
        except StoreUnavailableError:
            self._log.note("store away, left for later", leases[0].notification, others=len(leases) - 1)
            return
        work = [
            self._attend(notification, lease, lapses)
            for lease in held
            if (notification := found.get(lease.notification))
        ]
        for failure in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def _attend(self, notification: Notification, lease: Lease, lapses: float) -> None:
        try:
            if notification.due is None:
                await self._due.drop([lease])
            elif await self._settle_without_a_call(notification):
                return
            else:
                await self._send(notification, lease, lapses)
        except (ConflictError, NotAttemptableError):
            self._log.note("moved on elsewhere", notification.id)
        except StoreUnavailableError:
            self._log.note("store away, left for later", notification.id)

    async def _settle_without_a_call(self, notification: Notification) -> bool:
        """Decide what needs no provider: what a lost worker left, what is too late, what has no reader any more."""
        now = self._clock.now()
        if notification.in_flight:
            policy = self._rules[notification.channel].retry
            notification.interrupted(policy, luck=self._dice.luck(), now=now, by=self._name)
        elif not notification.expire_if_late(now, self._name):
            if isinstance(notification.letter, Letter):
                return False
            notification.fail(Reason.PERSON_ERASED, "", now=now, by=self._name)
        await self._events.save(notification)
        return True

    async def _send(self, notification: Notification, lease: Lease, lapses: float) -> None:
        rules = self._rules[notification.channel]
        try:
            content = await self._render(notification)
        except RenderError as error:
            notification.fail(Reason.RENDER_FAILED, str(error), now=self._clock.now(), by=self._name)
            await self._events.save(notification)
            return
        async with self._slots[notification.channel]:
            if self._stopping or asyncio.get_running_loop().time() + rules.deadline.total_seconds() > lapses:
                await self._due.release([lease])
                await self._budget.give_back(self._senders[notification.channel].provider, 1)
                return
            await self._attempt(notification, content, rules, lapses)

    async def _attempt(self, notification: Notification, content: Content, rules: SendingRules, lapses: float) -> None:
        sender = self._senders[notification.channel]
        email = _email(notification, content, rules)
        key_until = self._clock.now() + sender.key_lifetime if sender.key_lifetime else None
        attempt = notification.attempt(
            sender.provider,
            key_until,
            _digest(email),
            self._envelope(notification, content),
            sender=email.sender,
            reply_to=email.reply_to,
            **self._signed(),
        )
        await self._events.save(notification)
        started = asyncio.get_running_loop().time()
        if started + rules.deadline.total_seconds() > lapses:  # the save took so long that another may take over
            self._log.note("lease too short for the call", notification.id, call=attempt.call)
            return
        outcome = await _call(sender, email, notification.idempotency_key, rules.deadline)
        self._log.attempt(notification, attempt, outcome, (asyncio.get_running_loop().time() - started) * 1000)
        await self._record(notification, attempt, outcome, rules)
        if isinstance(outcome, Misconfigured) or (isinstance(outcome, Throttled) and not outcome.only_this):
            await self._budget.pause(sender.provider, outcome.retry_after, type(outcome).__name__.lower())

    async def _record(
        self, notification: Notification, attempt: Attempt, outcome: Outcome, rules: SendingRules
    ) -> None:
        """Append the outcome, again on top of whatever came in between, however long the store is away.

        What a provider did is never known better than now. Should somebody else have moved on meanwhile, the log says
        so and the outcome is refused.
        """
        known: Notification | None = notification
        while known and known.in_flight and known.in_flight.call == attempt.call:
            known.record(outcome, rules.retry, luck=self._dice.luck(), **self._signed())
            try:
                await self._events.save(known)
                return
            except (ConflictError, StoreUnavailableError):
                known = await self._once_the_store_answers(notification.id)
        if known is None or known.calls > attempt.call or (isinstance(outcome, Accepted) and known.sent_at is None):
            self._log.note("late outcome refused", notification.id, call=attempt.call)

    async def _once_the_store_answers(self, id: UUID) -> Notification | None:
        while True:
            try:
                return await self._events.get(Notification, id)
            except StoreUnavailableError:
                await asyncio.sleep(_ASK_THE_STORE_EVERY)

    async def _render(self, notification: Notification) -> Content:
        assert isinstance(notification.letter, Letter)
        return await self._renderer.render(
            notification.type,
            notification.channel,
            notification.template,
            notification.letter.variables,
            at=notification.created_on,
            time_zone=notification.time_zone,
        )

    def _envelope(self, notification: Notification, content: Content) -> Envelope:
        assert isinstance(notification.letter, Letter)
        secrets = [
            str(notification.letter.variables[name])
            for name in self._secrets.get(notification.type, ())
            if notification.letter.variables.get(name)
        ]
        preview = _masked(" ".join(content.text.split()), secrets)[:_PREVIEW]
        subject = None if content.subject is None else _masked(content.subject, secrets)
        return Envelope(person=notification.person, subject=subject, preview=preview)

    def _signed(self) -> "_Signature":
        return {"now": self._clock.now(), "by": self._name}


class _Signature(TypedDict):
    now: datetime
    by: str


async def _call(sender: EmailSender, email: Email, key: str, deadline: timedelta) -> Outcome:
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            return await sender.send(email, key)
    except TimeoutError:
        return Unknown(Reason.TIMEOUT)


def _email(notification: Notification, content: Content, rules: SendingRules) -> Email:
    letter = notification.letter
    assert isinstance(letter, Letter)
    return Email(
        sender=notification.sender or rules.sender,
        to=Mailbox(letter.address, letter.name),
        reply_to=notification.reply_to if notification.sender else rules.reply_to,
        subject=content.subject or "",
        html=content.html,
        text=content.text,
        tags={"notification_id": str(notification.id), "type": notification.type},
    )


def _digest(email: Email) -> str:
    """What proves later that the same message, rendered again, is the one that was sent."""
    return hashlib.sha256(msgspec.json.encode(email)).hexdigest()


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text
