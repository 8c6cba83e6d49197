"""Joining what was acknowledged, what arrived at the provider and what the log says, to see what is not as promised."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Self

import msgspec

ENDS = (
    "notification.sent",
    "notification.dead_lettered",
    "notification.cancelled",
    "notification.expired",
    "notification.suppressed",
)

_WAITS = frozenset({"rendered", "failed", "cancelled", "expired", "suppressed"})
_MAY_FOLLOW: Mapping[str, frozenset[str]] = {
    "queued": _WAITS,
    "deferred": _WAITS,
    "retried": _WAITS,
    "rendered": frozenset({"sent", "failed", "deferred"}),
    "failed": frozenset({"retried", "dead_lettered", "expired"}),
    "sent": frozenset(),
    "dead_lettered": frozenset(),
    "cancelled": frozenset(),
    "expired": frozenset(),
    "suppressed": frozenset(),
}
"""What a notification's life allows, where nobody asks for another try by hand and no provider reports back."""


class Acknowledged(msgspec.Struct, frozen=True):
    """One notification of an answer 202, and the key under which it was asked for."""

    id: str
    key: str
    tenant: str
    address: str
    time: float = 0.0


class Arrival(msgspec.Struct, frozen=True, rename={"address": "to"}):
    """One message that a provider was handed. `new`: it had an effect; a provider with keys ignores a repetition."""

    address: str
    time: float
    new: bool
    key: str | None = None
    notification: str | None = None  # if the provider is told
    subject: str | None = None  # names the tenant and the key, so that the provider can see whose it is
    fault: str | None = None  # how the provider treated it
    marks: tuple[str, ...] = ()  # what a scenario wrote into the messages that are in it


class Event(msgspec.Struct, frozen=True):
    """One event of the log. `correlation` is the key that the sender put into the first one."""

    position: int
    notification: str
    topic: str
    tenant: str
    by: str
    correlation: str | None = None
    reason: str | None = None
    version: int = 0
    time: datetime | None = None
    uncertain: bool = False  # a call failed, and nobody knows whether it had an effect all the same


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How many were acknowledged and took effect; below, what must be empty unless a test says why not."""

    acknowledged: int
    effects: int
    calls: int
    lost: frozenset[str]  # acknowledged, without effect
    unfinished: frozenset[str]  # acknowledged, without an end in the log
    given_up: frozenset[str]  # acknowledged, ended without being sent
    repeated: dict[str, int]  # effects after the first
    uncertain: dict[str, int]  # calls of which the log does not know whether they had an effect
    unexplained: dict[str, int]  # effects beyond those of calls that were accepted or are uncertain
    sent_twice: frozenset[str]  # by what the log says
    accepted_twice: frozenset[str]  # keys with notifications that were not in their answer
    misdirected: frozenset[str]  # another tenant's, or at another one's address, or with another one's text
    reordered: frozenset[str]  # whose events do not follow from one another

    @property
    def repeats(self) -> int:
        return sum(self.repeated.values())

    @property
    def faultless(self) -> bool:
        """Whether everything acknowledged took effect exactly once, for whom it was meant."""
        return self == self.ideal(self.acknowledged, self.calls, self.uncertain)

    @classmethod
    def ideal(cls, acknowledged: int, calls: int, uncertain: Mapping[str, int] = MappingProxyType({})) -> Self:
        none: frozenset[str] = frozenset()
        return cls(
            acknowledged=acknowledged,
            effects=acknowledged,
            calls=calls,
            lost=none,
            unfinished=none,
            given_up=none,
            repeated={},
            uncertain=dict(uncertain),
            unexplained={},
            sent_twice=none,
            accepted_twice=none,
            misdirected=none,
            reordered=none,
        )


def check(acknowledged: Collection[Acknowledged], arrivals: Collection[Arrival], events: Collection[Event]) -> Verdict:
    """Every acknowledged message has an address of its own, which is what the histories are joined by."""
    by_address = {each.address: each for each in acknowledged}
    effects = Counter(each.address for each in arrivals if each.new and each.address in by_address)
    ended = Counter(each.notification for each in events if each.topic in ENDS)
    sent = Counter(each.notification for each in events if each.topic == "notification.sent")
    ids = {each.id for each in acknowledged}
    uncertain = Counter(id for id in _uncertain(events) if id in ids)
    unexplained = {each.id: effects[each.address] - sent[each.id] - uncertain[each.id] for each in acknowledged}
    return Verdict(
        acknowledged=len(acknowledged),
        effects=sum(effects.values()),
        calls=sum(each.address in by_address for each in arrivals),
        lost=frozenset(each.id for each in acknowledged if not effects[each.address]),
        unfinished=frozenset(ids - ended.keys()),
        given_up=frozenset((ids & ended.keys()) - sent.keys()),
        repeated={by_address[address].id: count - 1 for address, count in effects.items() if count > 1},
        uncertain=dict(uncertain),
        unexplained={id: count for id, count in unexplained.items() if count > 0},
        sent_twice=frozenset(id for id in ids if sent[id] > 1),
        accepted_twice=_accepted_twice(acknowledged, events),
        misdirected=_misdirected(acknowledged, arrivals, events),
        reordered=_reordered(ids, events),
    )


def _uncertain(events: Iterable[Event]) -> Iterator[str]:
    """Whose call has no outcome in the log, or one that nobody could tell: one for each such call."""
    last: dict[str, Event] = {}
    for event in sorted(events, key=lambda event: event.position):
        last[event.notification] = event
        if event.uncertain:
            yield event.notification
    yield from (id for id, event in last.items() if event.topic == "notification.rendered")


def _accepted_twice(acknowledged: Iterable[Acknowledged], events: Iterable[Event]) -> frozenset[str]:
    answered = {(each.key, each.id) for each in acknowledged}
    keys = {key for key, _ in answered}
    queued = {(each.correlation, each.notification) for each in events if each.topic == "notification.queued"}
    return frozenset(key for key, id in queued - answered if key in keys)


def _misdirected(
    acknowledged: Iterable[Acknowledged], arrivals: Iterable[Arrival], events: Iterable[Event]
) -> frozenset[str]:
    known = {each.id: each for each in acknowledged}
    by_address = {each.address: each for each in known.values()}
    strangers = {e.notification for e in events if e.notification in known and e.tenant != known[e.notification].tenant}
    astray = {
        a.notification for a in arrivals if a.notification in known and a.address != known[a.notification].address
    }
    swapped = {
        meant.id
        for a in arrivals
        if a.subject and (meant := by_address.get(a.address)) and not {meant.tenant, meant.key} <= _words(a.subject)
    }
    return frozenset(strangers | astray | swapped)


def _reordered(ids: Collection[str], events: Iterable[Event]) -> frozenset[str]:
    """Whose events are not numbered without a gap from 1, or say what could not have come next."""
    lives: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.position):
        if event.notification in ids:
            lives[event.notification].append(event)
    return frozenset(id for id, life in lives.items() if not _follows(life))


def _follows(life: list[Event]) -> bool:
    words = [event.topic.removeprefix("notification.") for event in life]
    return (
        words[0] == "queued"
        and [event.version for event in life] == list(range(1, len(life) + 1))
        and all(after in _MAY_FOLLOW.get(before, ()) for before, after in itertools.pairwise(words))
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w-]+", text))
