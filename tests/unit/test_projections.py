"""What readers see follows from the log alone, however it is cut into batches."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.memory.views import MemoryView
from application.ports.log import Recorded
from application.processes.project import Known, project
from application.projections.attempts import Attempts
from application.projections.metrics import BUCKETS, RESPONDED, Metrics, Totals
from application.projections.notifications import Notifications
from application.projections.projection import Projection, folded, topic_of, touched
from application.projections.receipts import Receipts
from application.projections.subscriptions import WebhookSubscriptions
from application.projections.templates import OwnedTemplates
from domain.notification import Notification
from domain.outcomes import Accepted, Refused, Retryable, Throttled
from domain.personal import Erased, Response
from domain.vocabulary import Channel, Reason, Status
from tests.examples import NOON, POLICY, SOMEBODY, attempted, notification, one_of_each
from tests.lives import Life, lives

PROJECTIONS: list[Projection[Any]] = [
    Notifications(),
    Attempts(),
    Metrics(),
    Totals(),
    Receipts(),
    OwnedTemplates(),
    WebhookSubscriptions(),
]
ID = UUID(int=1)


def recorded(*events: Any) -> list[Recorded]:
    return [Recorded(position, event) for position, event in enumerate(events, start=1)]


def logs() -> st.SearchStrategy[list[Recorded]]:
    """What several lives at once leave in the log."""
    return st.lists(lives(), min_size=1, max_size=3).map(_mixed)


def _mixed(several: Sequence[Life]) -> list[Recorded]:
    moments = [moment for i, life in enumerate(several) for moment in enumerate(life.lived(UUID(int=i + 1)))]
    return recorded(*[event for _, moment in sorted(moments, key=lambda m: m[0]) for event in moment.events])


fewer = settings(max_examples=25)  # a life is up to thirty steps, a log up to three lives


async def rows_of(projection: Projection[Any], log: Sequence[Recorded], cuts: Sequence[int]) -> dict[Any, Any]:
    """The rows after the log was projected in the batches between these cuts."""
    view, known = MemoryView[Any, Any](), Known(most=2)
    for begin, end in pairwise([0, *cuts, len(log)]):
        if batch := log[begin:end]:
            await project(projection, view, batch, known, after=await view.position())
    return await view.rows(touched(projection, [r for r in log if reads(projection, r)]).keys())


def reads(projection: Projection[Any], one: Recorded) -> bool:
    return not projection.topics or type(one.event).TOPIC in projection.topics


def rows(projection: Projection[Any], *events: Any) -> list[Any]:
    mine = [one for one in recorded(*events) if reads(projection, one)]
    return list(folded(projection, {}, touched(projection, mine)).values())


@fewer
@given(logs(), st.data())
async def test_the_rows_are_the_same_in_whatever_batches_the_log_is_read(log, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))
    for projection in PROJECTIONS:
        assert await rows_of(projection, log, cuts) == await rows_of(projection, log, [])


@fewer
@given(logs())
def test_before_an_event_that_begins_a_row_there_is_none(log):
    for projection in PROJECTIONS:
        for events in touched(projection, [r for r in log if reads(projection, r)]).values():
            assert all(topic_of(later) not in projection.begins for later in events[1:])


@fewer
@given(lives())
def test_a_row_says_of_a_notification_what_it_says_of_itself(life: Life):
    projection, known, position = Notifications(), {}, 0
    for events, it in life.lived():
        for event in events:
            position += 1
            known |= folded(projection, known, touched(projection, [Recorded(position, event)]))
        row = known[(it.id,)]
        assert (row.status, row.reason_code) == (it.status, it.reason_code)
        assert (row.provider_id, row.generation) == (it.provider_id, it.generation)
        assert (row.sent_at, row.delivered_at, row.bounced_at) == (it.sent_at, it.delivered_at, it.bounced_at)
        assert (row.opened_at, row.clicked_at, row.complained_at) == (it.opened_at, it.clicked_at, it.complained_at)
        assert (row.updated_at, row.position) == (it.modified_on, position)


@fewer
@given(lives())
def test_the_next_attempt_is_shown_exactly_while_one_is_waited_for(life: Life):
    projection, known = Notifications(), {}
    for events, it in life.lived():
        known |= folded(projection, known, touched(projection, recorded(*events)))
        waits_until = it.due.at if it.due and not it.due.held else None
        assert known[(it.id,)].next_attempt_at == waits_until


@fewer
@given(lives())
def test_every_call_has_one_row_with_what_it_came_to(life: Life):
    lived = list(life.lived())
    calls = {row.call: row for row in rows(Attempts(), *[event for moment in lived for event in moment.events])}
    it = lived[-1].it
    assert sorted(calls) == list(range(1, it.calls + 1))
    unfinished = [call for call, row in calls.items() if row.outcome == "started"]
    assert unfinished == ([it.in_flight.call] if it.in_flight else [])
    assert all((row.milliseconds is None) == (row.finished_at is None) for row in calls.values())


@fewer
@given(logs())
def test_the_metrics_count_every_event_once(log):
    counted = rows(Metrics(), *[one.event for one in log])
    assert sum(row.count for row in counted) == len(log)
    assert all(sum(row.buckets) in (0, row.count) for row in counted)


@given(logs())
def test_the_totals_are_the_sums_of_what_was_counted_by_the_hour(log):
    events, sums = [one.event for one in log], dict[Any, Any]()
    for row in rows(Metrics(), *events):
        count, seconds, buckets = sums.get(
            key := (row.channel, row.template, row.fact), (0, 0.0, [0] * len(row.buckets))
        )
        sums[key] = count + row.count, seconds + row.seconds, [a + b for a, b in zip(buckets, row.buckets, strict=True)]
    totals = {
        (t.channel, t.template, t.fact): (t.count, pytest.approx(t.seconds), t.buckets) for t in rows(Totals(), *events)
    }
    assert sums == totals


def test_a_new_notification_is_listed_with_what_its_sender_gave():
    (row,) = rows(Notifications(), one_of_each()["notification.queued"])
    assert (row.recipient, row.recipient_name, row.recipient_user_id) == ("ada@example.com", "Ada Lovelace", "u-1")
    assert row.context == {"source": "billing", "correlation_id": "c-1", "metadata": {"order": "o-1"}}
    assert (row.status, row.reason_code) == (Status.DEFERRED, Reason.SCHEDULED)
    assert row.scheduled_at == row.next_attempt_at == NOON + timedelta(hours=1)


def test_of_an_erased_person_nothing_is_listed():
    queued = notification(ID).pending_events[0]
    object.__setattr__(queued, "personal", Erased(SOMEBODY))
    (row,) = rows(Notifications(), queued)
    assert (row.recipient, row.recipient_name, row.context["metadata"]) == (None, None, {})


def test_what_a_provider_said_is_shown_with_the_call_and_the_notification():
    it = attempted(notification(ID))
    it.record(Retryable(Reason.TIMEOUT, detail="try later"), POLICY, luck=0.5, now=NOON, by="worker")
    (row,), (call,) = rows(Notifications(), *it.pending_events), rows(Attempts(), *it.pending_events)
    assert (row.error_message, row.provider_response, row.retry_count) == ("try later", "try later", 1)
    assert (call.outcome, call.reason, call.detail) == ("failed", Reason.TIMEOUT, "try later")


def test_a_call_is_timed_from_the_intent_to_the_outcome():
    it = attempted(notification(ID))
    it.record(Throttled(timedelta(minutes=1)), POLICY, luck=0.5, now=NOON + timedelta(seconds=1.5), by="worker")
    (call,) = rows(Attempts(), *it.pending_events)
    assert (call.outcome, call.milliseconds) == ("deferred", 1500.0)


def test_what_all_calls_cost_is_added_up():
    it = attempted(notification(ID))
    it.record(Accepted("id-1", Decimal("0.0004")), POLICY, luck=0.5, now=NOON, by="worker")
    (row,) = rows(Notifications(), *it.pending_events)
    assert row.cost == Decimal("0.0004")


def test_a_failure_without_a_call_is_no_attempt():
    it = notification(ID)
    it.fail(Reason.RENDER_FAILED, "no such variable", now=NOON, by="worker")
    assert rows(Attempts(), *it.pending_events) == []


def test_what_is_sent_once_more_by_hand_starts_anew_on_the_same_row():
    it = attempted(notification(ID, expires_at=NOON + timedelta(days=1)))
    it.record(Refused(Reason.PROVIDER_REFUSED, "never"), POLICY, luck=0.5, now=NOON, by="worker")
    it.retry(now=NOON, by="key:k1")
    (row,) = rows(Notifications(), *it.pending_events)
    assert (row.status, row.reason_code, row.generation, row.expires_at) == (Status.PENDING, None, 2, None)


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, 0), (0.1, 0), (0.2, 1), (7200, len(BUCKETS) - 1), (9_000, len(BUCKETS))]
)
def test_how_long_sending_took_is_counted_in_its_bucket(seconds, bucket):
    it = attempted(notification(ID))
    it.record(Accepted("id-1"), POLICY, luck=0.5, now=NOON + timedelta(seconds=seconds), by="worker")
    (sent,) = [row for row in rows(Metrics(), *it.pending_events) if row.fact == "sent"]
    assert sent.buckets == [int(i == bucket) for i in range(len(BUCKETS) + 1)]
    assert sent.seconds == seconds


def test_metrics_are_counted_by_the_hour():
    first, second = (notification(UUID(int=i), now=NOON + timedelta(minutes=59 * i)) for i in (1, 2))
    counted = rows(Metrics(), *first.pending_events, *second.pending_events)
    assert [(row.hour, row.count) for row in counted] == [(NOON, 1), (NOON + timedelta(hours=1), 1)]


def test_what_a_receiver_of_webhooks_answered_is_kept_with_the_call_and_how_long_it_took_is_counted():
    it = attempted(
        notification(ID, channel=Channel.WEBHOOK, subscription=UUID(int=5), template=None), provider="webhook"
    )
    answer = Response(status=503, milliseconds=250.0)
    it.record(Retryable(Reason.ENDPOINT_BUSY), POLICY, luck=0.5, now=NOON, by="worker", response=answer)
    log = recorded(*it.collect_events())
    (row,) = folded(Attempts(), {}, touched(Attempts(), log[1:3])).values()
    assert (row.response_status, row.response_milliseconds, row.detail) == (503, 250.0, None)
    totals = folded(Totals(), {}, touched(Totals(), log))
    responded = totals["webhook", "welcome", RESPONDED]
    assert (responded.count, responded.seconds, responded.buckets[bisect_left(BUCKETS, 0.25)]) == (1, 0.25, 1)
    assert totals["webhook", "welcome", "failed"].seconds == 0


def test_a_receipt_is_kept_under_its_own_id():
    (row,) = rows(Receipts(), one_of_each()["receipt.received"])
    event: Any = one_of_each()["receipt.received"]
    assert (row.id, row.provider_id, row.notification) == (event.originator_id, "re_1", event.notification)


def test_the_topics_of_projections_exist():
    known = set(one_of_each())
    assert all({*projection.topics, *projection.begins} <= known for projection in PROJECTIONS)
    assert Notification.Queued.TOPIC in known
