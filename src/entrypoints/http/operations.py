"""For those who run the service: health and metrics."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from litestar import Controller, Response, get
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from adapters.kafka.connection import BrokersAwayError
from application.ports.due_work import Backlog
from application.ports.log import StoreUnavailableError
from application.projections.metrics import BUCKETS, RESPONDED, MetricTotal, labelled
from entrypoints.http.request import OPEN, JsonRequest
from entrypoints.inbound_uses import InboundUses

_LAG_ALLOWED = 10_000
_READY_SECONDS = 2.0
_MOST_EVENT_TYPES = 100
_WEBHOOK_FACTS = ("queued", "sent", "failed", "dead_lettered", "suppressed", "cancelled", "expired")
_EMAIL_FACTS = (
    "queued",
    "sent",
    "delivered",
    "bounced",
    "failed",
    "dead_lettered",
    "suppressed",
    "cancelled",
    "expired",
)


class Readiness(msgspec.Struct, frozen=True):
    """Which part is ready; `position` of each read model against the head of the log."""

    ready: bool
    parts: dict[str, str]


class OperationsController(Controller):
    tags = ["Operations"]  # noqa: RUF012 - the form that Litestar asks for
    opt = OPEN

    @get("/health/live", operation_id="Live", summary="This process answers")
    async def live(self) -> dict[str, str]:
        return {"status": "alive"}

    @get(
        "/health/ready",
        operation_id="Ready",
        summary="Every part is ready, or which is not",
        responses={503: ResponseSpec(Readiness, description="Not every part is ready", generate_examples=False)},
    )
    async def ready(self, request: JsonRequest) -> Response[Readiness]:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                head, positions = await request.parts.store.head(), await request.parts.reader.positions()
                paused = await request.parts.budget.paused()
                unreadable = await request.parts.due.unreadable()
                troubles = await request.parts.troubles.known()
        except (StoreUnavailableError, TimeoutError):
            return Response(Readiness(False, {"database": "does not answer"}), status_code=503)
        said = {"database": "ready"}
        for name, position in positions.items():
            behind = head - position
            said[f"view {name}"] = "ready" if behind < _LAG_ALLOWED else f"{behind} events behind"
        ready = all(each == "ready" for each in said.values())
        said |= {f"provider {provider}": f"paused: {reason}" for provider, reason in paused.items()}
        said |= await _brokers(request.parts.inbound)
        said |= troubles
        if unreadable:
            said["notifications"] = f"{unreadable} cannot be read"
        return Response(Readiness(ready, said), status_code=200 if ready else 503)

    @get("/metrics", operation_id="Metrics", summary="For Prometheus", media_type="text/plain; version=0.0.4")
    async def metrics(self, request: JsonRequest) -> bytes:
        """Counted by the log, so exact, the same from every process, and not reset by a restart."""
        names = await request.parts.webhook_uses.event_types.first_names(_MOST_EVENT_TYPES)
        totals = labelled(await request.parts.reader.totals(), frozenset(names))
        backlog = await request.parts.due.backlog()
        head, positions = await request.parts.store.head(), await request.parts.reader.positions()
        registry = CollectorRegistry(auto_describe=False)
        chained = await request.parts.chain.position()
        gauges = [*_gauges(backlog, head, positions), _unchained(head, chained)]
        gauges += _troubled(await request.parts.troubles.known())
        if request.parts.settings.kafka:
            gauges += _unpublished(head, await request.parts.published.position())
        gauges += await _of_kafka(request.parts.inbound)
        registry.register(_Collected([*_counted(totals), *gauges]))
        return generate_latest(registry)


class _Collected:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _counted(totals: list[MetricTotal]) -> Iterator[Metric]:
    emails = [t for t in totals if t.channel == "email"]
    sent = CounterMetricFamily(
        "notification_emails_sent", "Emails by what happened to them", labels=["template", "status"]
    )
    for total in emails:
        if total.fact in _EMAIL_FACTS:
            sent.add_metric([total.template, total.fact], total.count)
    yield sent
    yield _histogram(
        "notification_emails_delivery_duration_seconds",
        "From acceptance to the provider's acceptance",
        [t for t in emails if t.fact == "sent"],
    )
    yield _open_rates(emails)
    yield from _webhooks([t for t in totals if t.channel == "webhook"])
    retries = CounterMetricFamily("notification_retry", "Attempts that were put off for another", labels=["type"])
    counts = Counter[str]()
    for total in totals:
        if total.fact == "retried":
            counts[total.template] += total.count
    for name, count in counts.items():
        retries.add_metric([name], count)
    yield retries


def _webhooks(totals: list[MetricTotal]) -> Iterator[Metric]:
    sent = CounterMetricFamily(
        "notification_webhooks_sent", "Webhooks by what happened to them", labels=["event", "status"]
    )
    for total in totals:
        if total.fact in _WEBHOOK_FACTS:
            sent.add_metric([total.template, total.fact], total.count)
    yield sent
    yield _histogram(
        "notification_webhooks_response_time_seconds",
        "How long receivers took to answer, well or not",
        [t for t in totals if t.fact == RESPONDED],
    )


def _histogram(name: str, what: str, totals: list[MetricTotal]) -> Metric:
    durations = HistogramMetricFamily(name, what)
    counts = [sum(column) for column in zip(*(t.buckets for t in totals), strict=True)] or [0] * (len(BUCKETS) + 1)
    running, buckets = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        running += count
        buckets.append((bound, float(running)))
    durations.add_metric([], buckets, sum_value=sum(t.seconds for t in totals))
    return durations


def _open_rates(emails: list[MetricTotal]) -> Metric:
    rates = GaugeMetricFamily(
        "notification_emails_open_rate", "Opened as a share of sent, of those that report it", labels=["template"]
    )
    counts = {(t.template, t.fact): t.count for t in emails}
    for (template, fact), sent in counts.items():
        if fact == "sent":
            rates.add_metric([template], counts.get((template, "opened"), 0) / sent)
    return rates


def _gauges(backlog: list[Backlog], head: int, positions: dict[str, int]) -> Iterator[Metric]:
    size = GaugeMetricFamily("notification_queue_size", "Due and not yet sent", labels=["queue"])
    oldest = GaugeMetricFamily("notification_queue_oldest_seconds", "How long the oldest due waits", labels=["queue"])
    unreadable = GaugeMetricFamily("notification_queue_unreadable", "Set aside: cannot be read", labels=["queue"])
    for each in backlog:
        size.add_metric([each.channel], each.due + each.held)
        oldest.add_metric([each.channel], each.oldest.total_seconds())
        unreadable.add_metric([each.channel], each.unreadable)
    yield size
    yield oldest
    yield unreadable
    lag = GaugeMetricFamily("carillon_view_lag_events", "Events a read model is behind the log", labels=["view"])
    for name, position in positions.items():
        lag.add_metric([name], max(0, head - position))
    yield lag


def _unchained(head: int, chained: int) -> Metric:
    lag = GaugeMetricFamily("carillon_chain_lag_events", "Events that are not chained yet; below 0 something is wrong")
    lag.add_metric([], head - chained)
    return lag


async def _brokers(inbound: InboundUses) -> dict[str, str]:
    """What is said of Kafka, where it is used. That it is away delays what comes by it, and keeps nothing else."""
    if inbound.group is None:
        return {}
    try:
        await inbound.group.lag()
    except BrokersAwayError as error:
        return {"kafka": str(error)}
    return {"kafka": "ready"} | {f"kafka topic {topic}": said for topic, said in inbound.group.troubles.items()}


async def _of_kafka(inbound: InboundUses) -> list[Metric]:
    """Records by what became of them, as far as they were counted: one that comes again is counted again."""
    records = CounterMetricFamily("carillon_kafka_records", "Records by what became of them", labels=["topic", "fact"])
    for (topic, fact), count in (await inbound.counts.all()).items():
        records.add_metric([topic, fact], count)
    parked = GaugeMetricFamily("carillon_kafka_parked", "Records set aside, not replayed", labels=["topic", "reason"])
    for (topic, reason), waiting in (await inbound.parked_reader.waiting()).items():
        parked.add_metric([topic, reason], waiting)
    return [records, parked, *(await _lag(inbound))]


async def _lag(inbound: InboundUses) -> list[Metric]:
    if inbound.group is None:
        return []
    up = GaugeMetricFamily("carillon_kafka_up", "Whether the brokers answer")
    lag = GaugeMetricFamily("carillon_kafka_lag_records", "Records that nobody has taken in yet", labels=["topic"])
    try:
        for topic, behind in (await inbound.group.lag()).items():
            lag.add_metric([topic], behind)
        up.add_metric([], 1)
    except BrokersAwayError:
        up.add_metric([], 0)
    return [up, lag]


def _unpublished(head: int, published: int) -> Iterator[Metric]:
    lag = GaugeMetricFamily("carillon_publisher_lag_events", "Events of the log that other systems are not told of yet")
    lag.add_metric([], max(0, head - published))
    yield lag


def _troubled(troubles: Mapping[str, str]) -> Iterator[Metric]:
    known = GaugeMetricFamily("carillon_trouble", "1 for each part that something keeps from its work", labels=["part"])
    for part in troubles:
        known.add_metric([part], 1)
    yield known
