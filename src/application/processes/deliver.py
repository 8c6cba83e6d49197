"""What a worker does with the notifications it was handed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict
from uuid import UUID

import msgspec

from application import message
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
    RendererUnavailableError,
    StaleError,
    StoreUnavailableError,
    TemplateRenderer,
)
from application.readers import Reader, Readers, Who, heed
from domain.decision import Digest, SendNow
from domain.imprint import shows_imprint
from domain.mailbox import Mailbox
from domain.notification import Attempt, NotAttemptableError, Notification
from domain.outcomes import Accepted, Misconfigured, Outcome, Throttled, Unknown
from domain.personal import Envelope, Letter
from domain.retry import RetryPolicy
from domain.template import Content
from domain.vocabulary import Channel, Purpose, Reason

_ASK_THE_STORE_EVERY = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries to store what is known: each twice as long, for a store without space is asked by many."""

_GRACE = 0.25
"""Seconds that a sender gets to end by its own deadline, for it knows best how far a call has come."""

_PREVIEW = 140
_MASK = "•••"


class AttemptLog(Protocol):
    """Where each attempt leaves its one line. No personal data goes in."""

    def attempt(self, notification: Notification, attempt: Attempt, outcome: Outcome, milliseconds: float) -> None: ...

    def note(self, what: str, notification: UUID, **facts: Any) -> None: ...

    def unreadable(self, notification: UUID, error: Exception) -> None: ...


class SendingRules(msgspec.Struct, frozen=True):
    """How one channel is worked. A sender ends a call by `deadline`, which is less than half of `lease`."""

    sender: Mailbox
    reply_to: Mailbox | None = None
    retry: RetryPolicy = RetryPolicy()
    concurrency: int = 5
    lease: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(seconds=20)

    def __post_init__(self) -> None:
        if self.deadline * 2 >= self.lease:
            raise ValueError("the deadline of a call must be less than half of the lease")

    @property
    def certain(self) -> timedelta:
        """How long a lease lasts at the least when work under it begins."""
        return self.lease * 3 / 4


class Delivery:
    """Asks what the reader wishes, renders, records the intent, calls the provider, records what it came to.

    The intent is stored before the call, by whom held the lease when the work began; the version check of the log lets
    one of two holders through and refuses an outcome that comes after somebody else has moved on. It rests on what was
    read of the reader's wishes, and the log refuses it once those have changed: no intent follows an opt-out. Outcomes
    are recorded as they arrive.
    """

    def __init__(
        self,
        *,
        events: EventStore,
        due: DueWork,
        renderer: TemplateRenderer,
        senders: Mapping[Channel, EmailSender],
        budget: ProviderBudget,
        rules: Mapping[Channel, SendingRules],
        clock: Clock,
        dice: Dice,
        log: AttemptLog,
        readers: Readers,
        default_time_zone: str = "UTC",
        postal_address: str | None = None,
        name: str = "worker",
    ) -> None:
        self._events = events
        self._due = due
        self._renderer = renderer
        self._senders = senders
        self._budget = budget
        self._rules = rules
        self._clock = clock
        self._dice = dice
        self._log = log
        self._readers = readers
        self._default_time_zone = default_time_zone
        self._postal_address = postal_address
        self._name = name
        self._slots = {channel: asyncio.Semaphore(rule.concurrency) for channel, rule in rules.items()}
        self._peace_until: dict[Channel, float] = {}
        self._stopping = False

    def stop(self) -> None:
        """Begin no further call: what was not begun is given back, for others to take at once."""
        self._stopping = True

    async def deliver(self, channel: Channel, leases: Sequence[Lease]) -> None:
        """Attend to each of these once. Whatever cannot be finished comes back when its lease lapses."""
        called = 0 if self._stopping else await self._work(channel, leases)
        if self._stopping and not called:
            await self._due.release(leases)
        if called < len(leases):
            await self._budget.give_back(self._senders[channel].provider, len(leases) - called)

    async def _work(self, channel: Channel, leases: Sequence[Lease]) -> int:
        """Attend to each that is still held; answers how many calls that made."""
        rules = self._rules[channel]
        lapses = asyncio.get_running_loop().time() + rules.certain.total_seconds()
        try:
            held = await self._due.renew(leases, rules.lease, enough=rules.certain)
            found = await self._read([lease.notification for lease in held])
            if unread := [lease for lease in held if lease.notification not in found]:
                await self._due.set_aside(unread)
        except StoreUnavailableError:
            self._log.note("store away, left for later", leases[0].notification, others=len(leases) - 1)
            return 0
        with suppress(Exception):  # whoever it concerns will meet it again, and the others must not pay for it
            await self._readers.of([_who(each) for each in found.values() if isinstance(each.letter, Letter)])
        work = [
            self._attend(notification, lease, lapses)
            for lease in held
            if (notification := found.get(lease.notification))
        ]
        ends = await asyncio.gather(*work, return_exceptions=True)
        for failure in ends:
            if isinstance(failure, BaseException):
                raise failure
        return ends.count(True)

    async def _read(self, ids: Sequence[UUID]) -> Mapping[UUID, Notification]:
        """Those that can be read. One that cannot is looked for by halves, for the others must not wait for it."""
        try:
            return await self._events.get_many(Notification, ids)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a lost key, an event of a later version: whatever it is, it is theirs
            if len(ids) < 2:
                for id in ids:
                    self._log.unreadable(id, error)
                return {}
            half = len(ids) // 2
            return {**await self._read(ids[:half]), **await self._read(ids[half:])}

    async def _attend(self, notification: Notification, lease: Lease, lapses: float) -> bool:
        """Do what is to be done for one; True when the provider was called."""
        try:
            if notification.due is None:
                await self._due.drop([lease])
            elif not await self._settle_without_a_call(notification):
                return await self._send_if_wished(notification, lease, lapses)
        except (ConflictError, NotAttemptableError):
            self._log.note("moved on elsewhere", notification.id)
        except StoreUnavailableError:
            self._log.note("store away, left for later", notification.id)
        except RendererUnavailableError:
            self._log.note("renderer away, left for later", notification.id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others of the lot must not pay for it
            self._log.note("failed, left for later", notification.id, error=type(error).__name__)
        return False

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

    async def _send_if_wished(self, notification: Notification, lease: Lease, lapses: float) -> bool:
        """The intent is stored only if what was looked at is still all there is; else it is looked at again."""
        while True:
            (reader,) = await self._readers.of([_who(notification)])
            decision = reader.decide(notification, self._clock.now(), self._default_time_zone)
            if not isinstance(decision, SendNow | Digest):
                heed(decision, notification, **self._signed())
                await self._events.save(notification)
                return False
            try:
                return await self._send(notification, reader, lease, lapses)
            except StaleError:
                self._readers.forget(reader.seen)
                notification = await self._events.get(Notification, notification.id) or notification

    async def _send(self, notification: Notification, reader: Reader, lease: Lease, lapses: float) -> bool:
        rules = self._rules[notification.channel]
        try:
            content = await message.rendered(notification, self._renderer)
        except RenderError as error:
            notification.fail(Reason.RENDER_FAILED, str(error), now=self._clock.now(), by=self._name)
            await self._events.save(notification)
            return False
        if not self._may_be_shown(notification, content):
            notification.fail(Reason.IMPRINT_MISSING, "", now=self._clock.now(), by=self._name)
            await self._events.save(notification)
            return False
        async with self._slots[notification.channel]:
            if not self._may_begin(notification.channel, lapses):
                await self._due.release([lease])
                return False
            called = await self._attempt(notification, reader, content, rules, lapses)
        if called:  # the place is free for the next call while the log is written
            await self._record(notification, *called, rules)
        return called is not None

    def _may_be_shown(self, notification: Notification, content: Content) -> bool:
        """Advertising by mail shows where its sender is and the way out, where a postal address is set."""
        if not self._postal_address or notification.purpose is not Purpose.MARKETING:
            return True
        letter = notification.letter
        assert isinstance(letter, Letter)
        links = [letter.unsubscribe_url or "", str(letter.variables.get("unsubscribe_url") or "")]
        addresses = [self._postal_address, str(letter.variables.get("postal_address") or "")]
        return notification.channel is not Channel.EMAIL or shows_imprint(content, addresses, links)

    def _may_begin(self, channel: Channel, lapses: float) -> bool:
        """Whether a call begun now would end under the lease, and its provider has not just asked for peace."""
        now = asyncio.get_running_loop().time()
        longest = self._rules[channel].deadline.total_seconds() + _GRACE
        return not self._stopping and now + longest <= lapses and now >= self._peace_until.get(channel, 0.0)

    async def _attempt(
        self, notification: Notification, reader: Reader, content: Content, rules: SendingRules, lapses: float
    ) -> tuple[Attempt, Outcome] | None:
        """Record the intent, then call; None when no call was made after all."""
        sender = self._senders[notification.channel]
        email = _email(notification, content, rules)
        key_until = self._clock.now() + sender.key_lifetime if sender.key_lifetime else None
        attempt = notification.attempt(
            sender.provider,
            key_until,
            message.digest(email),
            _envelope(notification, content),
            sender=email.sender,
            reply_to=email.reply_to,
            **self._signed(),
        )
        await self._events.save(notification, seen=reader.seen)
        started = asyncio.get_running_loop().time()
        if started + rules.deadline.total_seconds() + _GRACE > lapses:  # the save took long: others may take over
            await self._append_certainly(notification, attempt, lambda known: known.put_off(**self._signed()))
            return None
        outcome = await _call(sender, email, notification.idempotency_key, rules.deadline)
        self._log.attempt(notification, attempt, outcome, (asyncio.get_running_loop().time() - started) * 1000)
        if isinstance(outcome, Misconfigured) or (isinstance(outcome, Throttled) and not outcome.only_this):
            self._peace_until[notification.channel] = started + outcome.retry_after.total_seconds()
            await self._budget.pause(sender.provider, outcome.retry_after, type(outcome).__name__.lower())
        return attempt, outcome

    async def _record(
        self, notification: Notification, attempt: Attempt, outcome: Outcome, rules: SendingRules
    ) -> None:
        """What a provider did is never known better than now.

        Should somebody else have moved on meanwhile, the log says so and the outcome is refused.
        """

        def decide(known: Notification) -> None:
            known.record(outcome, rules.retry, luck=self._dice.luck(), **self._signed())

        known = await self._append_certainly(notification, attempt, decide)
        if known is None or known.calls > attempt.call or (isinstance(outcome, Accepted) and known.sent_at is None):
            self._log.note("late outcome refused", notification.id, call=attempt.call)

    async def _append_certainly(
        self, notification: Notification, attempt: Attempt, decide: Callable[[Notification], None]
    ) -> Notification | None:
        """Append what follows from this attempt, on top of whatever came in between, however long the store is away.

        Answers the notification as it then is; nothing is appended once the attempt is no longer the one on its way.
        """
        known: Notification | None = notification
        pause = _FIRST_PAUSE
        while known and known.in_flight and known.in_flight.call == attempt.call:
            decide(known)
            try:
                await self._events.save(known)
            except ConflictError:
                known = await self._once_the_store_answers(notification.id)
            except StoreUnavailableError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                known = await self._once_the_store_answers(notification.id)
            else:
                return known
        return known

    async def _once_the_store_answers(self, id: UUID) -> Notification | None:
        while True:
            try:
                return await self._events.get(Notification, id)
            except StoreUnavailableError:
                await asyncio.sleep(_ASK_THE_STORE_EVERY)

    def _signed(self) -> "_Signature":
        return {"now": self._clock.now(), "by": self._name}


class _Signature(TypedDict):
    now: datetime
    by: str


async def _call(sender: EmailSender, email: Email, key: str, deadline: timedelta) -> Outcome:
    try:
        async with asyncio.timeout(deadline.total_seconds() + _GRACE):
            return await sender.send(email, key)
    except TimeoutError:
        return Unknown(Reason.TIMEOUT)


def _who(notification: Notification) -> Who:
    assert isinstance(notification.letter, Letter)
    return Who(notification.tenant, notification.channel, notification.letter.address, notification.recipient_user_id)


def _email(notification: Notification, content: Content, rules: SendingRules) -> Email:
    """All attempts of a generation come from whom the first one came from."""
    return message.email(
        notification,
        content,
        sender=notification.sender or rules.sender,
        reply_to=notification.reply_to if notification.sender else rules.reply_to,
        generation=notification.generation,
    )


def _envelope(notification: Notification, content: Content) -> Envelope:
    assert isinstance(notification.letter, Letter)
    variables = notification.letter.variables
    secrets = [str(variables[name]) for name in notification.secrets if variables.get(name)]
    preview = _masked(" ".join(content.text.split()), secrets)[:_PREVIEW]
    subject = None if content.subject is None else _masked(content.subject, secrets)
    return Envelope(person=notification.person, subject=subject, preview=preview)


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text
