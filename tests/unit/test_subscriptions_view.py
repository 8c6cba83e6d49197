"""What the rows of subscriptions say of what happened."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.ports.log import Recorded
from application.projections.projection import folded, touched
from application.projections.subscriptions import SubscriptionRow, WebhookSubscriptions
from domain.health import Health
from domain.notification import Notification
from domain.outcomes import Accepted, Refused, Retryable
from domain.personal import Response
from domain.retry import STANDARD_WEBHOOKS
from domain.subscription import DisabledFor, SubscriptionState, WebhookSubscription
from domain.vocabulary import Channel, Reason
from tests.examples import NOON, SOMEBODY, attempted, notification, subscription

MINUTE = timedelta(minutes=1)
FAILED, GONE = Retryable(Reason.ENDPOINT_ERROR), Refused(Reason.ENDPOINT_GONE)


@pytest.fixture
def it() -> WebhookSubscription:
    return subscription(uuid4())


def called(it: WebhookSubscription, *outcomes: Any) -> list[Any]:
    """The events of one webhook that was called so often, a minute after another."""
    hook: Notification = notification(uuid4(), channel=Channel.WEBHOOK, subscription=it.id, template=None)
    for n, outcome in enumerate(outcomes, start=1):
        attempted(hook, NOON + n * MINUTE, provider="webhook")
        answer = Response(status=500, milliseconds=12.5)
        hook.record(outcome, STANDARD_WEBHOOKS, luck=0.5, now=NOON + n * MINUTE, by="worker", response=answer)
    return list(hook.collect_events())


def row_after(id: UUID, events: list[Any]) -> SubscriptionRow:
    projection = WebhookSubscriptions()
    batch = [Recorded(n, event) for n, event in enumerate(events, start=1) if event.TOPIC in projection.topics]
    return folded(projection, {}, touched(projection, batch))[(id,)]


def test_failures_are_counted_from_the_last_success(it):
    made = list(it.collect_events())
    row = row_after(it.id, made + called(it, FAILED, FAILED, Accepted(None)) + called(it, FAILED, FAILED))
    assert (row.sent, row.failed, row.failures) == (1, 4, 2)
    assert (row.failing_since, row.last_success_at) == (NOON + MINUTE, NOON + 3 * MINUTE)
    assert row.last_triggered_at == NOON + 2 * MINUTE
    assert row.last_failure is Reason.ENDPOINT_ERROR


def test_a_success_ends_the_series(it):
    row = row_after(it.id, list(it.collect_events()) + called(it, FAILED, Accepted(None)))
    assert (row.failures, row.failing_since, row.last_failure, row.gone) == (0, None, None, False)


def test_one_that_answers_that_it_is_gone_is_known_at_once_and_resumed_with_a_clean_record(it):
    made = list(it.collect_events())
    assert row_after(it.id, made + called(it, GONE)).gone
    it.judge(Health(1, NOON, gone=True), now=NOON, by="health")
    ended = made + called(it, GONE) + list(it.collect_events())
    assert row_after(it.id, ended).disabled_for is DisabledFor.GONE
    it.resume(now=NOON, by="key:k1")
    row = row_after(it.id, ended + list(it.collect_events()))
    assert (row.state, row.disabled_for, row.failures, row.gone) == (SubscriptionState.ACTIVE, None, 0, False)


def test_a_call_that_was_on_its_way_when_it_was_resumed_says_nothing_of_it_since(it):
    it.pause(now=NOON, by="key:k1")
    it.resume(now=NOON + MINUTE - timedelta(milliseconds=10), by="key:k1")
    made = list(it.collect_events())
    (before,) = [event for event in called(it, GONE) if isinstance(event, Notification.Failed)]
    assert before.milliseconds > 10
    row = row_after(it.id, [*made, before])
    assert (row.failed, row.failures, row.failing_since, row.gone) == (1, 0, None, False)
    assert row_after(it.id, made + called(it, FAILED, GONE)).gone


def test_what_never_was_called_is_no_failure_of_the_endpoint(it):
    hook = notification(uuid4(), channel=Channel.WEBHOOK, subscription=it.id, template=None)
    hook.fail(Reason.PERSON_ERASED, "", now=NOON, by="worker")
    row = row_after(it.id, list(it.collect_events()) + list(hook.collect_events()))
    assert (row.failed, row.failures, row.last_triggered_at) == (0, 0, None)


def test_mail_touches_no_subscription(it):
    mail = notification(uuid4())
    attempted(mail)
    mail.record(Accepted("re_1"), STANDARD_WEBHOOKS, luck=0.5, now=NOON, by="worker")
    row = row_after(it.id, list(it.collect_events()) + list(mail.collect_events()))
    assert row.last_triggered_at is None


def test_what_a_receiver_answered_is_sealed_and_how_long_it_took_is_not(it):
    (failed,) = [e for e in called(it, FAILED) if isinstance(e, Notification.Failed)]
    assert failed.milliseconds == 12.5
    assert (failed.personal.person, failed.personal.response.status) == (SOMEBODY, 500)
