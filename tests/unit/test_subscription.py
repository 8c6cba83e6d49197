"""What may be done with a subscription, when its endpoint is given up, and when a webhook is tried again."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from domain.health import FEWEST_FAILURES, GIVEN_UP_AFTER, Health, Notice, Verdict, judged
from domain.personal import Erased
from domain.retry import STANDARD_WEBHOOKS, RetrySchedule, exponential
from domain.subscription import (
    MOST_OLD_SECRETS,
    DisabledFor,
    SubscriptionDeletedError,
    SubscriptionState,
    TooManySecretsError,
    WebhookSubscription,
)
from tests.examples import NOON, SOMEBODY, WEBHOOK_SECRET, subscription

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def asked(it: WebhookSubscription, what: str, **wishes: Any) -> list[str]:
    """Ask it, and answer the names of the events that led to."""
    it.collect_events()
    getattr(it, what)(**({"now": NOON, "by": "key:k1"} | wishes))
    return [type(event).__name__ for event in it.collect_events()]


@pytest.fixture
def it() -> WebhookSubscription:
    return subscription(uuid4())


def test_what_is_paused_is_held_until_it_is_resumed(it):
    assert not it.is_held
    assert asked(it, "pause") == ["Paused"]
    assert it.is_held
    assert asked(it, "pause") == []
    assert asked(it, "resume") == ["Resumed"]
    assert asked(it, "resume") == []
    assert it.state is SubscriptionState.ACTIVE


def test_what_was_deleted_can_be_nothing_else(it):
    assert asked(it, "delete") == ["Deleted"]
    assert asked(it, "delete") == []
    for what in ("pause", "resume"):
        with pytest.raises(SubscriptionDeletedError):
            asked(it, what)
    assert not it.is_held


def test_an_update_keeps_the_secrets_and_says_nothing_when_nothing_changed(it):
    same = {"person": SOMEBODY, "url": it.endpoint.url, "headers": {}, "owner_email": None}
    assert asked(it, "update", terms=it.terms, **same) == []
    other = msgspec.structs.replace(it.terms, concurrency=1)
    assert asked(it, "update", terms=other, **same | {"headers": {"X-A": "b"}}) == ["Updated"]
    assert it.terms.concurrency == 1
    assert it.endpoint.secrets_at(NOON) == (WEBHOOK_SECRET,)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://hooks.example.com/other?x=1", True),
        ("https://HOOKS.example.com:443/", True),
        ("https://hooks.example.org/carillon", False),
        ("https://hooks.example.com.example.org/carillon", False),
        ("https://hooks.example.com:8443/carillon", False),
        ("http://hooks.example.com/carillon", False),
    ],
)
def test_headers_that_are_not_said_again_do_not_follow_to_another_host(it, url, kept):
    same = {"terms": it.terms, "person": SOMEBODY, "owner_email": None}
    asked(it, "update", **same, url="https://hooks.example.com/carillon", headers={"Authorization": "Bearer letmein"})
    asked(it, "update", **same, url=url, headers=None)
    assert it.endpoint.headers == ({"Authorization": "Bearer letmein"} if kept else {})
    asked(it, "update", **same, url="https://elsewhere.example.com/", headers={"X-Team": "a"})
    assert it.endpoint.headers == {"X-Team": "a"}


def test_an_old_secret_signs_until_its_grace_is_over(it):
    asked(it, "rotate", secret="whsec_new", grace=HOUR, person=SOMEBODY)
    assert it.endpoint.secrets_at(NOON + HOUR - MINUTE) == ("whsec_new", WEBHOOK_SECRET)
    assert it.endpoint.secrets_at(NOON + HOUR) == ("whsec_new",)


def test_a_later_rotation_never_lengthens_the_life_of_an_old_secret(it):
    asked(it, "rotate", secret="whsec_2", grace=HOUR, person=SOMEBODY)
    asked(it, "rotate", secret="whsec_3", grace=DAY, person=SOMEBODY)
    assert it.endpoint.secrets_at(NOON + 2 * HOUR) == ("whsec_3", "whsec_2")


def test_without_grace_the_old_secret_ends_at_once_and_is_not_kept(it):
    asked(it, "rotate", secret="whsec_new", grace=timedelta(0), person=SOMEBODY)
    assert [each.text for each in it.endpoint.secrets] == ["whsec_new"]


def test_only_so_many_old_secrets_run_at_a_time(it):
    for n in range(MOST_OLD_SECRETS):
        asked(it, "rotate", secret=f"whsec_{n}", grace=DAY, person=SOMEBODY)
    with pytest.raises(TooManySecretsError):
        asked(it, "rotate", secret="whsec_more", grace=DAY, person=SOMEBODY)
    asked(it, "rotate", secret="whsec_more", grace=DAY, person=SOMEBODY, now=NOON + 2 * DAY)
    assert it.endpoint.secrets_at(NOON + 2 * DAY + HOUR) == ("whsec_more", f"whsec_{MOST_OLD_SECRETS - 1}")


def test_what_was_erased_cannot_be_changed(it):
    it.endpoint = Erased(SOMEBODY)
    with pytest.raises(SubscriptionDeletedError):
        asked(it, "pause")


FAILING = Health(failures=FEWEST_FAILURES, failing_since=NOON)


@pytest.mark.parametrize(
    ("health", "warned", "after", "verdict"),
    [
        (Health(), 0, HOUR, None),
        (Health(), 50, HOUR, None),
        (Health(well_since=NOON), 0, HOUR, None),
        (Health(well_since=NOON), 50, HOUR - MINUTE, None),
        (Health(well_since=NOON), 50, HOUR, Verdict.RECOVERED),
        (FAILING, 0, GIVEN_UP_AFTER * 0.49, None),
        (FAILING, 0, GIVEN_UP_AFTER * 0.5, Verdict.WARN_HALF),
        (FAILING, 50, GIVEN_UP_AFTER * 0.6, None),
        (FAILING, 50, GIVEN_UP_AFTER * 0.9, Verdict.WARN_LATE),
        (FAILING, 0, GIVEN_UP_AFTER * 0.95, Verdict.WARN_LATE),
        (FAILING, 90, GIVEN_UP_AFTER * 0.99, None),
        (FAILING, 90, GIVEN_UP_AFTER, Verdict.FAILING),
        (Health(FEWEST_FAILURES - 1, NOON), 0, GIVEN_UP_AFTER * 2, None),
        (Health(1, NOON, gone=True), 0, timedelta(0), Verdict.GONE),
        (Health(1, NOON, hopeless=True), 0, timedelta(0), Verdict.WARN_AT_ONCE),
        (Health(1, NOON, hopeless=True), 1, HOUR, None),
        (Health(FEWEST_FAILURES, NOON, hopeless=True), 0, HOUR, Verdict.WARN_AT_ONCE),
        (Health(FEWEST_FAILURES, NOON, hopeless=True), 1, GIVEN_UP_AFTER * 0.6, Verdict.WARN_HALF),
    ],
)
def test_an_endpoint_is_given_up_after_five_days_and_ten_failures_with_warnings_before(health, warned, after, verdict):
    assert judged(health, Notice(warned, NOON) if warned else Notice(), NOON + after) is verdict


@pytest.mark.parametrize(
    ("health", "notice", "verdict"),
    [
        (Health(1, NOON, hopeless=True), Notice(0, NOON - DAY + MINUTE), None),
        (Health(1, NOON, hopeless=True), Notice(1, NOON - DAY + MINUTE), None),
        (Health(1, NOON, hopeless=True), Notice(1, NOON - DAY), Verdict.WARN_AT_ONCE),
        (Health(FEWEST_FAILURES, NOON - GIVEN_UP_AFTER * 0.6), Notice(90, NOON - 5 * DAY), Verdict.WARN_HALF),
        (Health(FEWEST_FAILURES, NOON - GIVEN_UP_AFTER * 0.9), Notice(50, NOON - 5 * DAY), Verdict.WARN_LATE),
    ],
)
def test_a_warning_is_of_the_failures_since_the_last_success_and_one_at_once_comes_once_a_day(health, notice, verdict):
    assert judged(health, notice, NOON) is verdict


def test_each_warning_is_given_once_and_an_hour_without_failure_takes_them_back(it):
    half = {"health": FAILING, "now": NOON + GIVEN_UP_AFTER * 0.5}
    assert asked(it, "judge", **half) == ["Warned"]
    assert asked(it, "judge", **half) == []
    well = {"health": Health(well_since=NOON + 3 * DAY), "now": NOON + 3 * DAY + HOUR}
    assert asked(it, "judge", **well) == ["Recovered"]
    assert asked(it, "judge", **well) == []


def test_one_that_is_gone_is_disabled_and_can_be_resumed_with_a_clean_record(it):
    assert asked(it, "judge", health=Health(1, NOON, gone=True)) == ["Disabled"]
    assert (it.state, it.disabled_for, it.is_held) == (SubscriptionState.DISABLED, DisabledFor.GONE, True)
    assert asked(it, "judge", health=Health(1, NOON, gone=True)) == []
    assert asked(it, "resume") == ["Resumed"]
    assert it.disabled_for is None


def test_one_that_was_paused_is_not_judged(it):
    asked(it, "pause")
    assert asked(it, "judge", health=Health(1, NOON, gone=True)) == []


def test_webhooks_are_tried_ten_times_in_75_hours():
    now, gaps = NOON, []
    for attempt in range(1, 10):
        at = STANDARD_WEBHOOKS.next_attempt(attempt, now, None, 0.5)
        gaps.append(at - now)
        now = at
    assert now - NOON == timedelta(hours=75, minutes=35, seconds=5)
    assert gaps[:3] == [timedelta(seconds=5), 5 * MINUTE, 30 * MINUTE]
    assert STANDARD_WEBHOOKS.next_attempt(10, now, None, 0.5) is None


@pytest.mark.parametrize(
    ("attempt", "wait", "expected"),
    [
        (1, None, timedelta(seconds=5)),
        (1, MINUTE, MINUTE),
        (1, HOUR, MINUTE),
        (2, MINUTE, 5 * MINUTE),
        (2, HOUR, 10 * MINUTE),
        (9, 30 * DAY, DAY),
    ],
)
def test_a_receiver_may_ask_for_twice_the_step_or_a_minute_and_never_for_more_than_a_day(attempt, wait, expected):
    assert STANDARD_WEBHOOKS.next_attempt(attempt, NOON, wait, 0.5) == NOON + expected


@pytest.mark.parametrize(("luck", "share"), [(0.0, 0.8), (0.5, 1.0), (0.999999, 1.2)])
def test_retries_are_spread_by_a_fifth(luck, share):
    at = RetrySchedule((HOUR,)).next_attempt(1, NOON, None, luck)
    assert at - NOON == pytest.approx(HOUR * share, abs=timedelta(seconds=1))


def test_five_attempts_from_thirty_seconds_are_over_after_seven_minutes_and_a_half():
    schedule = exponential(5, timedelta(seconds=30))
    assert sum(schedule.steps, timedelta(0)) == timedelta(minutes=7, seconds=30)
    assert schedule.next_attempt(5, NOON, None, 0.5) is None
    assert exponential(1, timedelta(seconds=30)).next_attempt(1, NOON, None, 0.5) is None
    assert max(exponential(10_000, timedelta(seconds=30)).steps) == DAY
