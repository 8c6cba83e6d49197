"""The log of each tenant as a chain of hashes: what is changed, removed, added or moved breaks it from there on.

Hashed are the bytes as they are stored, personal data still sealed: destroying a person's key changes none of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from struct import Struct
from uuid import UUID

import msgspec

HASH_BYTES = 32

_FORM = b"carillon chain 1\x00"
_FRAME = Struct(">Q16sQII")


class Entry(msgspec.Struct, frozen=True):
    """One event as it is stored; `tenant` is "" for one that is nobody's, such as a provider's receipt."""

    tenant: str
    position: int
    stream: UUID
    version: int
    topic: str
    state: bytes


class Link(msgspec.Struct, frozen=True):
    """The `events` of one tenant from position `first` to `last`; `hash` stands for these and all before them."""

    tenant: str
    first: int
    last: int
    events: int
    hash: bytes


class Head(msgspec.Struct, frozen=True):
    """The end of a tenant's chain at some moment, to be kept where nobody who can change the log can change it."""

    tenant: str
    position: int
    hash: bytes


class Fault(StrEnum):
    ALTERED = "altered"
    """The events there are not those that were chained, or the link is not theirs."""

    UNCHAINED = "unchained"
    """There are events that no link stands for, though the chain goes further."""

    OTHER_HEAD = "other_head"
    """The events up to there are not those that the head kept elsewhere stands for."""

    MOVED = "moved"
    """The chain does not stand where its last link ends: somebody has moved its position."""


class Break(msgspec.Struct, frozen=True):
    """Something is not as it was with this tenant's events after position `after` up to `until`; None: everybody's."""

    tenant: str | None
    after: int
    until: int
    fault: Fault


def begun(tenant: str) -> bytes:
    """What a tenant's chain begins with: no other tenant's links fit it."""
    return sha256(_FORM + tenant.encode()).digest()


def extended(hash: bytes, entry: Entry) -> bytes:
    """SHA-256 (FIPS 180-4) over the hash before, the place of the event, and its topic and state with their lengths.

    It does not depend on which events were chained together.
    """
    topic = entry.topic.encode()
    frame = _FRAME.pack(entry.position, entry.stream.bytes, entry.version, len(topic), len(entry.state))
    return sha256(b"".join((hash, frame, topic, entry.state))).digest()


def links_of(entries: Iterable[Entry], heads: Mapping[str, Link]) -> list[Link]:
    """One link for each tenant of these events, which follow on those that `heads` end with."""
    by_tenant: dict[str, list[Entry]] = {}
    for entry in entries:
        by_tenant.setdefault(entry.tenant, []).append(entry)
    return [_link(tenant, mine, heads.get(tenant)) for tenant, mine in by_tenant.items()]


def _link(tenant: str, entries: Sequence[Entry], head: Link | None) -> Link:
    hash = head.hash if head else begun(tenant)
    for entry in entries:
        hash = extended(hash, entry)
    return Link(tenant, entries[0].position, entries[-1].position, len(entries), hash)


def moved(position: int, ended: int, ends: int) -> list[Break]:
    """Whether a chain stands elsewhere than where its links end: at `ended` before it was asked, at `ends` after that.

    Moved back it would chain events a second time, moved forward it would never chain some.
    """
    if position < ended:
        return [Break(None, position, ended, Fault.MOVED)]
    return [Break(None, ends, position, Fault.MOVED)] if position > ends else []


class Inspection:
    """Compares the events of a log with the links that were made of them, and with heads that were kept elsewhere.

    A break does not hide later ones: after it each link is taken at its word.
    """

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self._walks: dict[str, _Walk] = {}
        self._kept: dict[tuple[str, int], set[bytes]] = {}
        self._breaks: list[Break] = []
        for head in heads:
            self._kept.setdefault((head.tenant, head.position), set()).add(head.hash)

    def take(self, entries: Iterable[Entry], links: Iterable[Link]) -> None:
        """The next stretch of the log, and the links that end in it, both in order of position."""
        stretch: list[Entry | Link] = [*entries, *links]
        for each in sorted(stretch, key=_place):
            walk = self._walk(each.tenant)
            if isinstance(each, Entry):
                walk.step(each)
                self._compare(walk)
            else:
                if not walk.fits(each):
                    self._breaks.append(Break(each.tenant, walk.linked, each.last, Fault.ALTERED))
                walk.rest(each)

    def found(self) -> list[Break]:
        """What is broken, once the log was taken as far as the chain goes; nothing means that all is as it was."""
        loose = [w for w in self._walks.values() if w.since]
        unchained = [Break(w.tenant, w.linked, w.position, Fault.UNCHAINED) for w in loose]
        never_met = [Break(tenant, 0, position, Fault.OTHER_HEAD) for tenant, position in self._kept]
        return [*self._breaks, *unchained, *never_met]

    def _walk(self, tenant: str) -> "_Walk":
        if tenant not in self._walks:
            self._walks[tenant] = _Walk(tenant)
        return self._walks[tenant]

    def _compare(self, walk: "_Walk") -> None:
        kept = self._kept.pop((walk.tenant, walk.position), None)
        if kept and kept != {walk.own}:
            self._breaks.append(Break(walk.tenant, 0, walk.position, Fault.OTHER_HEAD))


def _place(each: Entry | Link) -> tuple[int, bool]:
    """A link comes after the event that it ends with."""
    return (each.position, False) if isinstance(each, Entry) else (each.last, True)


class _Walk:
    """How far one tenant's chain was followed: `own` by its events alone, `hash` from the last link on."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.own = self.hash = begun(tenant)
        self.linked = self.position = self.first = self.since = 0

    def step(self, entry: Entry) -> None:
        together = self.hash == self.own
        self.own = extended(self.own, entry)
        self.hash = self.own if together else extended(self.hash, entry)
        self.position = entry.position
        self.first = self.first or entry.position
        self.since += 1

    def fits(self, link: Link) -> bool:
        return link == Link(self.tenant, self.first, self.position, self.since, self.hash)

    def rest(self, link: Link) -> None:
        self.hash, self.linked, self.first, self.since = link.hash, link.last, 0, 0
