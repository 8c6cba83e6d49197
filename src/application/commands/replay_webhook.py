"""Telling a subscription again of what happened: one event, what failed, or everything from a position."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate
from msgspec import Meta

from application.caller import Caller
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.time_and_chance import Clock, Dice
from application.problems import InvalidCommandError, NotFoundError, Problem
from application.queries.feed import HappeningReader, Stretch, fitting, is_for
from application.subscriptions import key_name, own_subscription
from domain.acceptance import Acceptance
from domain.happening import Addressed, Happening
from domain.ids import acceptance_id, happening_id
from domain.notification import Notification, NotRetryableError
from domain.personal import Letter
from domain.subscription import WebhookSubscription
from domain.vocabulary import Channel, Priority, Purpose

T = TypeVar("T")

MOST_AT_ONCE = 10_000
_BATCH = 200
_NOT_ITS = "is not one that this webhook is for: its organization_id, event_types and filters say which are"


class ReplayWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to send again, said in one way: `event`, `failed_since` or `after`."""

    event: Annotated[Annotated[str, Meta(max_length=64)] | None, Meta(description="The id of one event")] = None
    failed_since: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, Meta(description="What was given up at this moment or later")
    ] = None
    after: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Everything told after this position of the log, also before the subscription was made"),
    ] = None
    dry_run: Annotated[bool, Meta(description="Only count")] = False


class ReplayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many events it is or, of a dry run, would be; with `more`, ask again, `after` being `next`."""

    count: int
    dry_run: bool
    position: int
    next: int | None = None
    more: bool = False


class FailedReader(Protocol):
    """What was given up, as the read model has it."""

    async def failed(self, tenant: str, subscription: UUID, since: datetime, limit: int) -> Sequence[UUID]:
        """The oldest first."""


async def replay_webhook(
    command: ReplayWebhook,
    id: UUID,
    caller: Caller,
    *,
    events: EventStore,
    happenings: HappeningReader,
    failed: FailedReader,
    persons: Persons,
    clock: Clock,
    dice: Dice,
) -> ReplayAnswer:
    """It is sent at the subscription's own pace. Raises InvalidCommandError and NotFoundError."""
    if sum(each is not None for each in (command.event, command.failed_since, command.after)) != 1:
        raise InvalidCommandError([Problem("", "must have one of event, failed_since and after")])
    subscription = await own_subscription(id, caller, events)
    again = _Again(subscription, caller, events, persons, clock, dice)
    if command.event is not None:
        return await again.one(command.event, dry_run=command.dry_run)
    if command.failed_since is not None:
        ids = await failed.failed(caller.tenant, id, command.failed_since, MOST_AT_ONCE + 1)
        return await again.failed(ids, dry_run=command.dry_run)
    assert command.after is not None
    return await again.everything(command.after, happenings, dry_run=command.dry_run)


class _Event(msgspec.Struct, frozen=True):
    """What a replay keeps of a happening, which may be large."""

    id: UUID
    type: str
    deliveries: Sequence[Addressed]


_Planned = tuple[Aggregate, ...]
"""What is stored together."""


class _Told(msgspec.Struct, frozen=True):
    """How often a subscription was told of an event once more, and as what notification last."""

    repeats: int
    last: UUID | None


class _Again(msgspec.Struct, frozen=True):
    subscription: WebhookSubscription
    caller: Caller
    events: EventStore
    persons: Persons
    clock: Clock
    dice: Dice

    async def one(self, event: str, *, dry_run: bool) -> ReplayAnswer:
        happening = await self.events.get(Happening, happening_id(self.caller.tenant, event))
        if happening is None:
            raise NotFoundError(f"there is no event {event}")
        if not is_for(happening, self.subscription.terms):
            raise InvalidCommandError([Problem("event", _NOT_ITS)])
        return await self._answer(await self._planned([_kept(happening)]), dry_run)

    async def failed(self, ids: Sequence[UUID], *, dry_run: bool) -> ReplayAnswer:
        """Those that are retried are found no more: who asks again gets the rest."""
        known: dict[UUID, Notification] = {}
        for batch in _batches(ids[:MOST_AT_ONCE]):
            known |= await self.events.get_many(Notification, batch)
        planned = [(each,) for each in map(self._retried, known.values()) if each]
        answer = await self._answer(planned, dry_run)
        return msgspec.structs.replace(answer, more=len(ids) > MOST_AT_ONCE)

    async def everything(self, after: int, reader: HappeningReader, *, dry_run: bool) -> ReplayAnswer:
        """Stored as it goes: when it is interrupted, asking again gets the rest."""
        stretch, waiting, answers = Stretch([], after, False), list[_Event](), list[ReplayAnswer]()
        tenant, terms = self.caller.tenant, self.subscription.terms
        async for stretch in fitting(terms, after, tenant, self.events, reader, personal=False):
            waiting += [_kept(each.happening) for each in stretch.found]
            if len(waiting) >= _BATCH:
                answers.append(await self._answer(await self._planned(waiting), dry_run))
                waiting.clear()
        answers.append(await self._answer(await self._planned(waiting), dry_run))
        return ReplayAnswer(
            count=sum(each.count for each in answers),
            dry_run=dry_run,
            position=max(each.position for each in answers),
            next=stretch.reached,
            more=stretch.more,
        )

    async def _planned(self, happenings: Sequence[_Event]) -> list[_Planned]:
        """What has to be stored for them: nothing for what is on its way, or held."""
        told = await self._told(happenings)
        known = await self.events.get_many(Notification, [each.last for each in told.values() if each.last])
        planned = [self._renewed(each, told[each.id], known) for each in happenings]
        return [each for each in planned if each]

    async def _told(self, happenings: Sequence[_Event]) -> dict[UUID, _Told]:
        """There is no gap in the numbers of repeats: each is doubled until it is too much, then halved."""
        told = {each.id: _Told(0, self._first(each)) for each in happenings}
        too_many = dict.fromkeys(told, math.inf)
        while guesses := {id: n for id, it in told.items() if (n := _between(it.repeats, too_many[id])) > it.repeats}:
            streams = {id: acceptance_id(self.caller.tenant, self._key(id, n)) for id, n in guesses.items()}
            known = await self.events.get_many(Acceptance, list(streams.values()))
            for id, number in guesses.items():
                if accepted := known.get(streams[id]):
                    told[id] = _Told(number, accepted.notifications[0])
                else:
                    too_many[id] = number
        return told

    def _first(self, happening: _Event) -> UUID | None:
        """The notification that told this subscription of it first."""
        told = [each.notification for each in happening.deliveries if each.subscription == self.subscription.id]
        return told[0] if told else None

    def _renewed(self, it: _Event, told: _Told, known: Mapping[UUID, Notification]) -> _Planned | None:
        before = known.get(told.last) if told.last else None
        if before and before.is_open:
            return None
        if before and (retried := self._retried(before)):
            return (retried,)
        return self._once_more(it, told.repeats + 1)

    def _retried(self, notification: Notification) -> Notification | None:
        """None of one that did not fail."""
        try:
            notification.retry(now=self.clock.now(), by=self.caller.by)
        except NotRetryableError:
            return None
        return notification

    def _once_more(self, happening: _Event, number: int) -> _Planned:
        """Under a key of its own: asked for twice, it is accepted once."""
        now, key = self.clock.now(), self._key(happening.id, number)
        notification = self._new(happening, now)
        accepted = Acceptance.record(
            self.caller.tenant, key, "", happening.id, [notification.id], by=self.caller.by, now=now
        )
        return notification, accepted

    def _key(self, happening: UUID, number: int) -> str:
        """No caller's: theirs are of characters that can be seen."""
        return f"\0replay/{happening}/{self.subscription.id}/{number}"

    def _new(self, happening: _Event, now: datetime) -> Notification:
        id = self.subscription.id
        return Notification.queue(
            self.dice.id(),
            tenant=self.caller.tenant,
            channel=Channel.WEBHOOK,
            type=happening.type,
            category=happening.type.partition(".")[0],
            purpose=Purpose.TRANSACTIONAL,
            priority=Priority.LOW,
            request=happening.id,
            letter=Letter(person=self.persons.person(self.caller.tenant, key_name(id)), address=str(id)),
            template=None,
            now=now,
            by=self.caller.by,
            locale="en",
            subscription=id,
            happening=happening.id,
        )

    async def _answer(self, planned: Sequence[_Planned], dry_run: bool) -> ReplayAnswer:
        """Each is stored for itself: what somebody else has replayed meanwhile holds up no other, nor counts."""
        position, stored = await self.events.save(), 0
        for batch in _batches(planned if not dry_run else ()):
            came = await asyncio.gather(*(self.events.save(*each) for each in batch), return_exceptions=True)
            for each in came:
                if isinstance(each, BaseException) and not isinstance(each, ConflictError):
                    raise each
            positions = [each for each in came if isinstance(each, int)]
            position, stored = max([position, *positions]), stored + len(positions)
        return ReplayAnswer(count=len(planned) if dry_run else stored, dry_run=dry_run, position=position)


def _kept(happening: Happening) -> _Event:
    return _Event(happening.id, happening.type, happening.deliveries)


def _between(at_least: int, less_than: float) -> int:
    return 2 * at_least or 1 if math.isinf(less_than) else (at_least + int(less_than)) // 2


def _batches(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[start : start + _BATCH] for start in range(0, len(things), _BATCH))
