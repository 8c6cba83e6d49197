"""The same is not said twice to the same address within a while, where the tenant wants that."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from application.ports.log import EventStore
from application.readers import message_of
from domain.ids import saying_id
from domain.notification import Notification
from domain.personal import Letter
from domain.saying import Saying
from domain.vocabulary import Reason, Status

_CAME_TO_NOTHING = (Status.FAILED, Status.BOUNCED, Status.SUPPRESSED, Status.CANCELLED, Status.EXPIRED)


class Sayings(msgspec.Struct, frozen=True):
    """What is to be saved with the notifications, and which streams, of which length, that rests on."""

    changed: list[Saying] = []
    seen: dict[UUID, int] = {}


async def say_once(
    notifications: Sequence[Notification],
    window: timedelta,
    *,
    events: EventStore,
    fingerprint: Callable[[bytes], str],
    now: datetime,
    by: str,
) -> Sayings:
    """Suppress those that say what was said within `window`, by what has gone out or still may.

    What insists is said however often, and what is not to be sent anyway is not said at all.
    """
    ours = {each.id: each for each in notifications}
    said = {
        each.id: _digest(each, fingerprint) for each in notifications if each.is_open and not message_of(each).insists
    }
    known = await events.get_many(Saying, {saying_id(ours[id].tenant, digest) for id, digest in said.items()})
    firsts = {each.notification for each in known.values() if each.holds(window, now)}
    there = await events.get_many(Notification, firsts, personal=False) if firsts else {}
    changed: dict[UUID, Saying] = {}
    seen: dict[UUID, int] = {}
    for id, digest in said.items():
        stream = saying_id(ours[id].tenant, digest)
        saying = known.get(stream)
        if saying and (first := _first(saying, there, ours)):
            ours[id].suppress(Reason.DUPLICATE_CONTENT, duplicate_of=first.id, now=now, by=by)
            seen |= {} if first.id in ours else {first.id: first.version}
            continue
        if saying:
            saying.renew(id, now=now, by=by)
        else:
            known[stream] = Saying.begin(ours[id].tenant, digest, id, now=now, by=by)
        changed[stream] = known[stream]
    return Sayings(list(changed.values()), seen)


def _first(
    saying: Saying, there: Mapping[UUID, Notification], ours: Mapping[UUID, Notification]
) -> Notification | None:
    """What said it, unless that is too long ago or has come to nothing."""
    first = there.get(saying.notification) or ours.get(saying.notification)
    return first if first and first.status not in _CAME_TO_NOTHING else None


def _digest(notification: Notification, fingerprint: Callable[[bytes], str]) -> str:
    letter = notification.letter
    assert isinstance(letter, Letter)
    content = [notification.type, notification.channel, letter.address.casefold(), letter.variables]
    return fingerprint(msgspec.json.encode(content, order="deterministic"))
