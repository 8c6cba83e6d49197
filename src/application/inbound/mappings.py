"""The mappings in force: the house's, and what tenants have put in their place or beside them."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingOf
from datetime import datetime, timedelta

import msgspec

from application.faults import fault_of
from application.inbound.event import Paths
from application.ports.log import EventStore
from application.ports.time_and_chance import Clock
from application.problems import Problem
from domain.filters import is_event_type
from domain.ids import mappings_id
from domain.mapping import Mapping, Mappings, MappingTerms, is_mapping_name

MOST_VARIABLES = 100
_LONGEST_TYPE = 200
_FRESH = timedelta(seconds=1)
_MOST_KEPT = 10_000
_MOST_HOURS = 24 * 365


class House(msgspec.Struct, frozen=True):
    """What the operator says: by topic, where its records name the tenant; and mappings for everybody.

    These topics are read and no others, whatever tenants map.
    """

    topics: MappingOf[str, str]
    mappings: MappingOf[str, Mapping]


class _Known(msgspec.Struct):
    looked: datetime
    length: int
    own: dict[str, Mapping]
    by_event: dict[tuple[str, str], list[Mapping]]


class MappingsInForce:
    """What is written here counts at once, elsewhere within a second."""

    def __init__(self, house: House, events: EventStore, clock: Clock) -> None:
        self.house = house
        self._events = events
        self._clock = clock
        self._house_by_event = _by_event(house.mappings.values())
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._turn = asyncio.Lock()

    def house_of(self, topic: str, event: str) -> list[Mapping]:
        """Those that everybody has who has not written others of the same names."""
        return self._house_by_event.get((topic, event), [])

    async def of(self, tenant: str, topic: str, event: str) -> list[Mapping]:
        """Those of a tenant for events of this type, in the order of their names."""
        return (await self._of(tenant)).by_event.get((topic, event), [])

    async def all(self, tenant: str) -> dict[str, Mapping]:
        """By name."""
        return dict(sorted({**self.house.mappings, **(await self._of(tenant)).own}.items()))

    def forget(self, tenant: str) -> None:
        """Look again the next time."""
        self._known.pop(tenant, None)

    async def _of(self, tenant: str) -> _Known:
        known = self._known.get(tenant)
        if known is None or abs(self._clock.now() - known.looked) >= _FRESH:
            async with self._turn:  # all records of a poll ask at the same moment
                known = await self._fresh(tenant)
        return known

    async def _fresh(self, tenant: str) -> _Known:
        known, now = self._known.get(tenant), self._clock.now()
        if known is None or abs(now - known.looked) >= _FRESH:
            known = self._known[tenant] = await self._looked(tenant, known, now)
            self._known.move_to_end(tenant)
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        return known

    async def _looked(self, tenant: str, known: _Known | None, now: datetime) -> _Known:
        id = mappings_id(tenant)
        length = await self._events.length(id)
        if known and known.length == length:
            known.looked = now
            return known
        mappings = await self._events.get(Mappings, id) if length else None
        own = dict(mappings.kept) if mappings else {}
        in_force = _by_event({**self.house.mappings, **own}.values())
        return _Known(now, mappings.version if mappings else 0, own, in_force)


def _by_event(mappings: Iterable[Mapping]) -> dict[tuple[str, str], list[Mapping]]:
    found: dict[tuple[str, str], list[Mapping]] = {}
    for mapping in sorted(mappings, key=lambda each: each.name):
        if mapping.terms.enabled:
            found.setdefault((mapping.terms.topic, mapping.terms.event), []).append(mapping)
    return found


def faults_of_mapping(name: str, terms: MappingTerms, paths: Paths, topics: Iterable[str]) -> Iterator[Problem]:
    """Everything that is wrong with a mapping."""
    if not is_mapping_name(name):
        yield Problem("name", "must be lower case words and figures joined by hyphens or underscores")
    if fault := fault_of(msgspec.to_builtins(terms)):
        yield Problem("", fault)
        return
    known = sorted(topics)
    if terms.topic not in known:
        yield Problem("topic", f"is not read here: there are {', '.join(known)}")
    if not 0 < len(terms.event) <= _LONGEST_TYPE:
        yield Problem("event", f"must have up to {_LONGEST_TYPE} characters")
    if (terms.notification is None) is (terms.webhook is None):
        yield Problem("", "must have one of notification and webhook")
    yield from _faults_of_what_is_said(terms)
    for place, path in terms.paths.items():
        if fault := paths.fault(path):
            yield Problem(place, fault)


def _faults_of_what_is_said(terms: MappingTerms) -> Iterator[Problem]:
    if says := terms.notification:
        if not 0 < len(says.type) <= 100:
            yield Problem("notification.type", "must be the name of a type, such as welcome")
        if says.recipient.email is None and says.recipient.user_id is None:
            yield Problem("notification.recipient", "must have a path for email or for user_id")
        if len(says.variables) > MOST_VARIABLES:
            yield Problem("notification.variables", f"must be at most {MOST_VARIABLES}")
        if says.schedule and not 0 <= says.schedule.hours_before <= _MOST_HOURS:
            yield Problem("notification.schedule.hours_before", f"must be from 0 to {_MOST_HOURS}")
    if (tells := terms.webhook) and not is_event_type(tells.type):
        yield Problem("webhook.type", "must be letters, figures and underscores joined by dots, such as order.created")
