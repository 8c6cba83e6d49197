"""What a save comes to in bytes and work, and what stored events come to as aggregates: the same for every store."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate

from adapters.event_mapper import EventMapper
from adapters.group_commit import Append, DueRow, LaneRow
from adapters.person_keys import PersonKeys
from application.ports.log import ConflictError
from domain.notification import Notification
from domain.personal import PersonErasedError
from domain.subscription import WebhookSubscription
from domain.vocabulary import Channel

A = TypeVar("A", bound=Aggregate)


def append_of(
    events: Sequence[CanMutateAggregate[UUID]],
    aggregates: Iterable[Aggregate],
    mapper: EventMapper,
    keys: PersonKeys,
    seen: Mapping[UUID, int] | None = None,
) -> Append:
    """The bytes and the schedule rows that one save comes to.

    Raises ConflictError when a person was forgotten meanwhile: who decided on what is now erased has to look again.
    """
    try:
        stored = [mapper.to_stored(event) for event in events]
    except PersonErasedError as error:
        raise ConflictError(str(error)) from error
    due = [row for each in aggregates if isinstance(each, Notification) and (row := _due_row(each))]
    lanes = [lane_row(each) for each in aggregates if isinstance(each, WebhookSubscription)]
    return Append(stored, due, keys.fresh(persons_of(events)), lanes, seen or {})


def replayed(kind: type[A], events: Iterable[CanMutateAggregate[UUID]]) -> dict[UUID, A]:
    """The aggregates of this kind that these events make, each stream's events being in order."""
    aggregates: dict[UUID, Any] = {}
    for event in events:
        aggregates[event.originator_id] = event.mutate(aggregates.get(event.originator_id))
    return {id: aggregate for id, aggregate in aggregates.items() if isinstance(aggregate, kind)}


def persons_of(events: Iterable[CanMutateAggregate[UUID]]) -> set[UUID]:
    return {personal.person for event in events if (personal := getattr(event, "personal", None))}


def lane_row(subscription: WebhookSubscription) -> LaneRow:
    """What waits for one that was deleted goes at once: it has to be told that nobody wants it."""
    terms = subscription.terms
    return LaneRow(
        Channel.WEBHOOK,
        str(subscription.id),
        terms.concurrency,
        terms.per_second,
        held=subscription.is_held,
        dropped=subscription.is_deleted,
    )


def _due_row(notification: Notification) -> DueRow | None:
    """The schedule row to write, or None while a call is on its way: whoever holds the lease keeps it."""
    due = notification.due
    if due and due.held:
        return None
    return DueRow(
        notification.id,
        notification.tenant,
        notification.channel,
        notification.lane,
        notification.priority.head_start,
        due,
        due is not None and due.at <= notification.modified_on,
        notification.bundle,
    )
