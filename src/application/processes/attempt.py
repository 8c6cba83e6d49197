"""One call to a provider: its intent before it, and what it came to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict, TypeGuard
from uuid import UUID

from application.carriers.carrier import Carrier, Load, Parcel
from application.ports.due_work import ProviderBudget
from application.ports.log import ConflictError, EventStore, StoreUnavailableError
from application.ports.time_and_chance import Clock, Dice
from application.ports.webhooks import WebhookCall
from domain.notification import Notification
from domain.notification_events import Attempt
from domain.outcomes import Accepted, Misconfigured, Outcome, Throttled, Unknown
from domain.personal import Response
from domain.vocabulary import Channel, Reason

_GRACE = 0.25
"""Seconds that a sender gets to end by its own deadline, for it knows best how far a call has come."""

_ASK_THE_STORE_EVERY = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries to store what is known: each twice as long, for a store without space is asked by many."""


class AttemptLog(Protocol):
    """Where each attempt leaves its one line. No personal data goes in."""

    def attempt(
        self,
        notification: Notification,
        attempt: Attempt,
        outcome: Outcome,
        response: Response | None,
        milliseconds: float,
    ) -> None: ...

    def note(self, what: str, notification: UUID, **facts: Any) -> None: ...

    def unreadable(self, notification: UUID, error: Exception) -> None: ...


class Attempts:
    """Calls providers, so many at once on each channel, and none where it might outlast its lease.

    The intent is stored before the call, by whom held the lease when the work began; the version check of the log lets
    one of two holders through and refuses an outcome that comes after somebody else has moved on. Outcomes are recorded
    as they arrive, however long the store is away.
    """

    def __init__(
        self,
        *,
        events: EventStore,
        carriers: Mapping[Channel, Carrier],
        budget: ProviderBudget,
        clock: Clock,
        dice: Dice,
        log: AttemptLog,
        name: str,
    ) -> None:
        self._events = events
        self._carriers = carriers
        self._budget = budget
        self._clock = clock
        self._dice = dice
        self._log = log
        self._name = name
        self._slots = {channel: asyncio.Semaphore(each.rules.concurrency) for channel, each in carriers.items()}
        self._peace_until: dict[Channel, float] = {}
        self._stopping = False

    def stop(self) -> None:
        """Begin no further call."""
        self._stopping = True

    async def make(
        self, notification: Notification, parcel: Parcel, load: Load, lapses: float, seen: Mapping[UUID, int]
    ) -> bool | None:
        """Whether the provider was called; None when no call may begin now, and nothing was stored.

        `lapses`: when the lease does, by the loop's clock. The intent is refused, with StaleError, once a stream of
        `seen` is longer than that.
        """
        carrier = self._carriers[notification.channel]
        async with self._slots[notification.channel]:
            if not self._may_begin(notification.channel, lapses):
                return None
            called = await self._attempt(notification, parcel, carrier, lapses, seen)
        if called is None:
            return False
        attempt, outcome, response = called  # the place is free for the next call meanwhile
        works: list[Awaitable[None]] = [self._record(notification, attempt, outcome, response, load)]
        if parcel.heard:
            works.append(parcel.heard(outcome))
        if _asks_for_peace(outcome):
            works.append(self._pause(notification, carrier.provider, outcome))
        await asyncio.gather(*works)
        return True

    def _may_begin(self, channel: Channel, lapses: float) -> bool:
        """Whether a call begun now would end under the lease, and its provider has not just asked for peace."""
        now = asyncio.get_running_loop().time()
        longest = self._carriers[channel].rules.deadline.total_seconds() + _GRACE
        return not self._stopping and now + longest <= lapses and now >= self._peace_until.get(channel, 0.0)

    async def _attempt(
        self, notification: Notification, parcel: Parcel, carrier: Carrier, lapses: float, seen: Mapping[UUID, int]
    ) -> tuple[Attempt, Outcome, Response | None] | None:
        """Record the intent, then call; None when no call was made after all."""
        deadline = carrier.rules.deadline
        key_until = self._clock.now() + carrier.key_lifetime if carrier.key_lifetime else None
        attempt = notification.attempt(
            carrier.provider,
            key_until,
            parcel.digest,
            parcel.envelope,
            sender=parcel.sender,
            reply_to=parcel.reply_to,
            **self._signed(),
        )
        await self._events.save(notification, seen=seen)
        started = asyncio.get_running_loop().time()
        if started + deadline.total_seconds() + _GRACE > lapses:  # the save took long: others may take over
            self._log.note("lease too short for the call", notification.id, call=attempt.call)
            await self._append_certainly(notification, attempt, lambda known: known.put_off(**self._signed()))
            return None
        outcome, response = await _call(parcel, deadline)
        took = (asyncio.get_running_loop().time() - started) * 1000
        self._log.attempt(notification, attempt, outcome, response, took)
        if _asks_for_peace(outcome):
            self._peace_until[notification.channel] = started + outcome.retry_after.total_seconds()
        return attempt, outcome, response

    async def _pause(self, notification: Notification, provider: str, outcome: Misconfigured | Throttled) -> None:
        """For the other processes, beside recording: it keeps no outcome waiting, and should it fail, they find out."""
        try:
            await self._budget.pause(provider, outcome.retry_after, type(outcome).__name__.lower())
        except StoreUnavailableError:
            self._log.note("pause not stored", notification.id, provider=provider)

    async def _record(
        self, notification: Notification, attempt: Attempt, outcome: Outcome, response: Response | None, load: Load
    ) -> None:
        """What a provider did is never known better than now.

        Should somebody else have moved on meanwhile, the log says so and the outcome is refused.
        """

        def decide(known: Notification) -> None:
            retries = load.retries(known)
            known.record(outcome, retries, luck=self._dice.luck(), response=response, **self._signed())

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
                await self._events.save(known, urgent=False)
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

    def _signed(self) -> "Signature":
        return {"now": self._clock.now(), "by": self._name}


class Signature(TypedDict):
    now: datetime
    by: str


def _asks_for_peace(outcome: Outcome) -> TypeGuard[Misconfigured | Throttled]:
    return isinstance(outcome, Misconfigured) or (isinstance(outcome, Throttled) and not outcome.only_this)


async def _call(parcel: Parcel, deadline: timedelta) -> tuple[Outcome, Response | None]:
    try:
        async with asyncio.timeout(deadline.total_seconds() + _GRACE):
            came = await parcel.send()
    except TimeoutError:
        return Unknown(Reason.TIMEOUT), None
    return (came.outcome, came.response) if isinstance(came, WebhookCall) else (came, None)
