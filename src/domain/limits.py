"""How much a tenant lets go out: so many messages in what time, and not the same one twice within a while."""

from datetime import datetime

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import limits_id
from domain.vocabulary import Channel, LimitScope, Over, Purpose

MOST_CATEGORIES = 500


class TooManyCategoriesError(Exception):
    """There is room for so many categories and no more."""


class Window(msgspec.Struct, frozen=True):
    """At most `count` in any stretch of `seconds`; `name` is what the tenant calls it by."""

    name: str
    count: int
    seconds: int

    def period(self, at: float) -> int:
        """The number of the stretch by the clock that this moment is in."""
        return int(at // self.seconds)


SECONDS = {"per_day": 86_400, "per_hour": 3_600, "per_minute": 60, "burst": 1}


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """At most so many in any day, hour, minute and second (`burst`); None: as many as there are."""

    per_day: int | None = None
    per_hour: int | None = None
    per_minute: int | None = None
    burst: int | None = None

    def windows(self) -> list[Window]:
        """The longest first."""
        return [Window(name, count, of) for name, of in SECONDS.items() if (count := getattr(self, name)) is not None]


class ChannelLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What all of a tenant's messages of a channel may come to, and those to any one reader."""

    tenant: Rates = Rates()
    user: Rates = Rates()

    def windows(self, scope: LimitScope) -> list[Window]:
        return (self.user if scope is LimitScope.USER else self.tenant).windows()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """`over` says by category what becomes of what is too much; `duplicate_window` is in seconds, None: no window."""

    channels: dict[Channel, ChannelLimits] = {}
    over: dict[str, Over] = {}
    duplicate_window: int | None = None

    def over_for(self, category: str, purpose: Purpose, scope: LimitScope) -> Over:
        """Advertising that is too much for its reader is unwanted; all else is late rather than lost."""
        unwanted = purpose is Purpose.MARKETING and scope is LimitScope.USER
        return self.over.get(category, Over.SUPPRESS if unwanted else Over.DEFER)


class Limits(Aggregate):
    """Its stream is named by the tenant, so there is one for each."""

    class Event(Aggregate.Event):
        tenant: str
        by: str

    class Begun(Event, Aggregate.Created):
        TOPIC = "limits.begun"

    class Chosen(Event):
        TOPIC = "limits.chosen"

        rules: Rules

        def apply(self, limits: "Limits") -> None:
            limits.rules = self.rules

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.rules = Rules()

    @classmethod
    def begin(cls, tenant: str, *, now: datetime, by: str) -> "Limits":
        """Those of a tenant who has chosen none."""
        return cls._create(cls.Begun, id=limits_id(tenant), timestamp=now, tenant=tenant, by=by)

    def choose(self, rules: Rules, *, now: datetime, by: str) -> None:
        """Let these hold instead of what held before. Raises TooManyCategoriesError."""
        if len(rules.over) > MOST_CATEGORIES:
            raise TooManyCategoriesError(f"there is room for {MOST_CATEGORIES} categories")
        if rules != self.rules:
            self.trigger_event(self.Chosen, timestamp=now, tenant=self.tenant, by=by, rules=rules)
