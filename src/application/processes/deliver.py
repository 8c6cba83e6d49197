"""What a worker does with the notifications it was handed."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import inf
from uuid import UUID

from application import limiting
from application.carriers.carrier import (
    Carrier,
    HeldError,
    Load,
    UnreadableError,
    UnsendableError,
    WorkRules,
)
from application.limiting import Limiting
from application.ports.due_work import DueWork, Lease, ProviderBudget
from application.ports.log import ConflictError, EventStore, StaleError, StoreUnavailableError
from application.ports.templates import RendererUnavailableError
from application.ports.time_and_chance import Clock, Dice
from application.processes.attempt import AttemptLog, Attempts, Signature
from application.processes.gather import Gathering
from application.readers import Reader, Readers, Who
from application.reading import readable
from domain.decision import Digest, SendNow
from domain.notification import NotAttemptableError, Notification
from domain.personal import Letter
from domain.vocabulary import Channel

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries of a store that is away: each twice as long."""

_WHILE_OTHERS_MERGE = timedelta(seconds=1)

Read = Callable[[Collection[UUID]], Awaitable[Mapping[UUID, Notification]]]
"""How a worker reads what it is handed. What was appended last may be missing: an append that rests on less than there
is will be refused."""


class Delivery:
    """Reads a lot, asks what each reader wishes, prepares what is to go out, and has it attempted.

    What is read of a reader's wishes goes along to the attempt, whose intent the log refuses once they have changed: no
    intent follows an opt-out.
    """

    def __init__(
        self,
        *,
        events: EventStore,
        read: Read | None = None,
        due: DueWork,
        carriers: Mapping[Channel, Carrier],
        budget: ProviderBudget,
        clock: Clock,
        dice: Dice,
        log: AttemptLog,
        readers: Readers,
        gathering: Gathering,
        limiting: Limiting,
        default_time_zone: str = "UTC",
        name: str = "worker",
    ) -> None:
        self._events = events
        self._read_handed = read
        self._due = due
        self._carriers = carriers
        self._budget = budget
        self._clock = clock
        self._dice = dice
        self._log = log
        self._readers = readers
        self._gathering = gathering
        self._limiting = limiting
        self._default_time_zone = default_time_zone
        self._name = name
        self._attempts = Attempts(
            events=events, carriers=carriers, budget=budget, clock=clock, dice=dice, log=log, name=name
        )
        self._stopping = False

    def stop(self) -> None:
        """Begin no further call: what was not begun is given back, for others to take at once."""
        self._stopping = True
        self._attempts.stop()

    async def deliver(self, channel: Channel, leases: Sequence[Lease]) -> None:
        """Attend to each of these once. Whatever cannot be finished comes back when its lease lapses."""
        called = await self._work_once_the_store_answers(channel, leases)
        with suppress(StoreUnavailableError):  # then their leases lapse, and the budget is a little too small for a day
            if self._stopping and not called:
                await self._due.release(leases)
            if called < len(leases):
                await self._budget.give_back(self._carriers[channel].provider, len(leases) - called)

    async def _work_once_the_store_answers(self, channel: Channel, leases: Sequence[Lease]) -> int:
        """Half of the time that they are held for: after that a lapse brings them back sooner."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._carriers[channel].rules.certain.total_seconds() / 2
        pause, fresh, called, left = _FIRST_PAUSE, True, 0, leases
        while not self._stopping:
            calls, left = await self._work(channel, left, fresh=fresh)
            called += calls
            if not left:
                break
            fresh = False  # who knows what a store that was away still knows
            if loop.time() + pause > give_up:
                self._log.note("store away, left for later", left[0].notification, others=len(left) - 1)
                break
            self._log.note("store away, asked again", left[0].notification, others=len(left) - 1)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return called

    async def _work(self, channel: Channel, leases: Sequence[Lease], *, fresh: bool) -> tuple[int, Sequence[Lease]]:
        """Attend to each that is still held; answers how many calls that made, and those whose store was away."""
        carrier = self._carriers[channel]
        try:
            (held, lapses), found = await asyncio.gather(
                self._held(leases, carrier.rules, fresh=fresh), self._read([lease.notification for lease in leases])
            )
            if unread := [lease for lease in held if lease.notification not in found]:
                await self._due.set_aside(unread)
            gathered = await self._gathering.gathered(
                {lease.notification: found[lease.notification] for lease in held if lease.notification in found},
                self._read,
            )
            if gathered.later:
                later = [lease for lease in held if lease.notification in gathered.later]
                await self._due.release(later, after=_WHILE_OTHERS_MERGE)
            found = gathered.alone
            load = await carrier.load(found.values())
        except StoreUnavailableError:
            return 0, leases
        readers = await self._readers_of(found.values())
        mine = [(lease, found[lease.notification]) for lease in held if lease.notification in found]
        work = [
            self._attend(notification, lease, lapses, load, readers.get(notification.id))
            for lease, notification in mine
        ]
        ends = await asyncio.gather(*work, return_exceptions=True)
        for failure in ends:
            if isinstance(failure, BaseException):
                raise failure
        return ends.count(True), [lease for (lease, _), end in zip(mine, ends, strict=True) if end is None]

    async def _held(self, leases: Sequence[Lease], rules: WorkRules, *, fresh: bool) -> tuple[Sequence[Lease], float]:
        """Those that are still held, and until when for certain, by the loop's clock.

        What this process took just now need not be asked for again, while it is `fresh`: the store was there since.
        """
        now, enough = asyncio.get_running_loop().time(), rules.certain.total_seconds()
        lapses = min((lease.since for lease in leases), default=-inf) + rules.lease.total_seconds()
        if fresh and lapses - now >= enough:
            return leases, lapses
        return await self._due.renew(leases, rules.lease, enough=rules.certain), now + enough

    async def _readers_of(self, notifications: Iterable[Notification]) -> Mapping[UUID, Reader]:
        """All at once. Should it fail, each will meet that again, for the others must not pay for it."""
        asked = [(each.id, who) for each in notifications if (who := _reader_of(each))]
        with suppress(Exception):
            return dict(zip([id for id, _ in asked], await self._readers.of([who for _, who in asked]), strict=True))
        return {}

    async def _read(self, ids: Sequence[UUID]) -> Mapping[UUID, Notification]:
        read = self._read_handed or partial(self._events.get_many, Notification)
        return await readable(ids, read, self._log.unreadable)

    async def _attend(
        self,
        notification: Notification,
        lease: Lease,
        lapses: float,
        load: Load,
        reader: Reader | None,
    ) -> bool | None:
        """Do what is to be done for one; True when the provider was called, None when the store was away."""
        try:
            if notification.due is None:
                await self._due.drop([lease])
            elif not await self._settle_without_a_call(notification, load):
                return await self._send_if_wished(notification, lease, lapses, load, reader)
        except UnreadableError:
            await self._due.set_aside([lease])
        except (ConflictError, NotAttemptableError):
            self._log.note("moved on elsewhere", notification.id)
        except StoreUnavailableError:
            return None
        except RendererUnavailableError as error:
            self._log.note("not rendered, left for later", notification.id, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others of the lot must not pay for it
            self._log.note("failed, left for later", notification.id, error=type(error).__name__)
        return False

    async def _settle_without_a_call(self, notification: Notification, load: Load) -> bool:
        """Decide what needs no provider: what a lost worker left, what is too late."""
        now = self._clock.now()
        if notification.in_flight:
            notification.interrupted(load.retries(notification), luck=self._dice.luck(), now=now, by=self._name)
        elif not notification.expire_if_late(now, self._name):
            return False
        await self._events.save(notification)
        return True

    async def _send_if_wished(
        self,
        notification: Notification,
        lease: Lease,
        lapses: float,
        load: Load,
        reader: Reader | None,
    ) -> bool:
        """The intent is stored only if what was looked at is still all there is; else it is looked at again."""
        while who := _reader_of(notification):
            reader = reader or (await self._readers.of([who]))[0]
            try:
                if await self._keep(notification, reader):
                    return False
                return await self._send(notification, lease, lapses, load, reader.seen)
            except StaleError:
                self._readers.forget(reader.seen)
                reader = None
                notification = await self._events.get(Notification, notification.id) or notification
        return await self._send(notification, lease, lapses, load, {})

    async def _keep(self, notification: Notification, reader: Reader) -> bool:
        """Whether it is not to go out now, by its reader's wishes; it then waits, or has ended."""
        if notification.members and await self._gathering.dissolved(notification, reader, self._read):
            return True
        now = self._clock.now()
        moment = max(now, notification.due_at) if notification.bundle else now
        gathered = notification.is_gathered
        decision = reader.decide(notification, moment, self._default_time_zone, gathered=gathered)
        if isinstance(decision, SendNow) or (isinstance(decision, Digest) and gathered):
            return False
        reader.heed(decision, notification, now=now, by=self._name)
        await self._events.save(notification)
        return True

    async def _send(
        self,
        notification: Notification,
        lease: Lease,
        lapses: float,
        load: Load,
        seen: Mapping[UUID, int],
    ) -> bool:
        if too_many := await self._limiting.too_many(notification, self._clock.now()):
            limiting.heed(too_many, notification, **self._signed())
            await self._events.save(notification)
            return False
        try:
            parcel = await load.prepare(notification)
        except UnsendableError as error:
            await self._end(notification, error)
            return False
        except HeldError:
            await self._due.release([lease])
            return False
        called = await self._attempts.make(notification, parcel, load, lapses, seen)
        if called is None:
            await self._due.release([lease])
        return bool(called)

    async def _end(self, notification: Notification, error: UnsendableError) -> None:
        if error.unwanted:
            notification.suppress(error.reason, **self._signed())
        else:
            notification.fail(error.reason, error.detail, **self._signed())
        await self._events.save(notification)

    def _signed(self) -> Signature:
        return {"now": self._clock.now(), "by": self._name}


def _reader_of(notification: Notification) -> Who | None:
    """Nobody where there is no person: for a webhook, and after an erasure."""
    letter = notification.letter
    if notification.channel is Channel.WEBHOOK or not isinstance(letter, Letter):
        return None
    return Who(notification.tenant, notification.channel, letter.address, notification.recipient_user_id)
