"""What happened how often: by the hour for the analytics to come, and since ever for those who scrape."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.notification import Notification
from domain.own_template import is_own_name
from domain.vocabulary import Channel

BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""Upper bounds, in seconds, of the time from acceptance to the fact counted, or of a receiver's answer."""


RESPONDED = "responded"
"""The fact that a receiver of webhooks has answered, well or not; its seconds are those of the call."""


OTHER = "other"
"""What is counted under no name of its own."""


class MetricRow(msgspec.Struct, kw_only=True):
    """How often `fact` happened; for sent and delivered also how long after acceptance (sum and histogram)."""

    tenant: str
    channel: str
    template: str
    provider: str
    fact: str
    hour: datetime
    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = []


class MetricTotal(msgspec.Struct, kw_only=True):
    """The same since ever, over all tenants and providers."""

    channel: str
    template: str
    fact: str
    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = []


def labelled(totals: Sequence[MetricTotal], event_types: Collection[str]) -> list[MetricTotal]:
    """The same by names that tenants cannot make up without end: these event types, the house's templates, `other`."""
    merged: dict[tuple[str, str, str], MetricTotal] = {}
    for total in totals:
        known = total.template in event_types if total.channel == Channel.WEBHOOK else not is_own_name(total.template)
        name = total.template if known else OTHER
        into = merged.setdefault((total.channel, name, total.fact), _nothing(total, name))
        into.count += total.count
        into.seconds += total.seconds
        into.buckets = [sum(pair) for pair in zip(into.buckets, total.buckets, strict=True)]
    return list(merged.values())


def _nothing(like: MetricTotal, name: str) -> MetricTotal:
    return MetricTotal(channel=like.channel, template=name, fact=like.fact, buckets=[0] * len(like.buckets))


class Metrics(Projection[MetricRow]):
    """One row per tenant, channel, template, provider, fact and hour."""

    name = "metrics"
    topics: Sequence[str] = ()
    begins: Sequence[str] = ()
    row = MetricRow
    key_columns = ("tenant", "channel", "template", "provider", "fact", "hour")
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event: Any = recorded.event
        if not isinstance(recorded.event, Notification.Event):
            return []
        hour = event.timestamp.replace(minute=0, second=0, microsecond=0)
        provider = getattr(event, "provider", None) or ""
        return [(event.tenant, event.channel.value, event.type, provider, fact, hour) for fact in _facts(event)]

    def fold(self, key: tuple[Any, ...], row: MetricRow | None, recorded: Recorded) -> MetricRow:
        if row is None:
            row = MetricRow(**dict(zip(self.key_columns, key, strict=True)), buckets=[0] * (len(BUCKETS) + 1))
        _count(row, recorded.event)
        return row


class Totals(Projection[MetricTotal]):
    """One row per channel, template and fact, so that a scrape need not add up all hours there ever were."""

    name = "totals"
    topics: Sequence[str] = ()
    begins: Sequence[str] = ()
    row = MetricTotal
    key_columns = ("channel", "template", "fact")
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event: Any = recorded.event
        if not isinstance(recorded.event, Notification.Event):
            return []
        return [(event.channel.value, event.type, fact) for fact in _facts(event)]

    def fold(self, key: tuple[Any, ...], row: MetricTotal | None, recorded: Recorded) -> MetricTotal:
        if row is None:
            row = MetricTotal(**dict(zip(self.key_columns, key, strict=True)), buckets=[0] * (len(BUCKETS) + 1))
        _count(row, recorded.event)
        return row


def _facts(event: Any) -> tuple[str, ...]:
    fact: str = event.TOPIC.removeprefix("notification.")
    return (fact, RESPONDED) if getattr(event, "milliseconds", None) is not None else (fact,)


def _count(row: MetricRow | MetricTotal, event: Any) -> None:
    row.count += 1
    if row.fact == RESPONDED:
        _add(row, event.milliseconds / 1000)
    elif isinstance(event, Notification.Sent | Notification.Delivered):
        happened = getattr(event, "occurred_at", event.timestamp)
        _add(row, max(0.0, (happened - event.queued_at).total_seconds()))


def _add(row: MetricRow | MetricTotal, seconds: float) -> None:
    row.seconds += seconds
    row.buckets[bisect_left(BUCKETS, seconds)] += 1
