"""What a notification's life may look like."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stored import replayed
from domain.notification import Due, NotAttemptableError, Notification, NotRetryableError
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Retryable, Throttled, Unknown
from domain.personal import Erased, Remark
from domain.receipts import ReceiptKind
from domain.vocabulary import Purpose, Reason, Status
from tests.examples import NOON, POLICY, SENDER, attempted, notification
from tests.lives import Life, Moment, Received, lives

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
ID = UUID(int=1)


def called(now: datetime = NOON, *, key_until: datetime | None = None, **wishes: Any) -> Notification:
    return attempted(notification(ID, **wishes), now, key_until=key_until)


def answered(it: Notification, outcome: Outcome, now: datetime = NOON, luck: float = 0.5) -> Notification:
    it.record(outcome, POLICY, luck=luck, now=now, by="worker")
    return it


def sent(provider_id: str = "id-1") -> Notification:
    return answered(called(), Accepted(provider_id))


def failed() -> Notification:
    return answered(called(), Refused(Reason.PROVIDER_REFUSED))


def received(
    it: Notification,
    kind: ReceiptKind,
    *,
    at: datetime = NOON,
    provider_id: str | None = "id-1",
    generation: int | None = None,
) -> None:
    it.receive(
        kind,
        provider="resend",
        provider_id=provider_id,
        generation=generation,
        occurred_at=at,
        detail="",
        now=at,
        by="provider:resend",
    )


def last(it: Notification) -> Any:
    return it.pending_events[-1]


# Whatever happens


@given(lives())
def test_whatever_happens_these_rules_hold(life: Life):
    lived = list(life.lived())
    for rule in RULES:
        rule(lived)


def the_events_make_the_same_notification_again(lived: list[Moment]) -> None:
    it = lived[-1].it
    assert replayed(Notification, [event for moment in lived for event in moment.events]) == {it.id: it}


def calls_are_numbered_and_none_begins_while_another_is_on_its_way(lived: list[Moment]) -> None:
    calls, on_its_way = 0, None
    for moment in lived:
        for event in moment.events:
            match event:
                case Notification.Rendered():
                    assert on_its_way is None
                    calls = on_its_way = calls + 1
                    assert event.call == calls
                case Notification.Sent() | Notification.Failed() | Notification.Deferred() if event.call == on_its_way:
                    on_its_way = None
        assert (moment.it.in_flight.call if moment.it.in_flight else None) == on_its_way


def attempts_count_the_failures_of_a_generation_and_never_exceed_what_is_allowed(lived: list[Moment]) -> None:
    failures = 0
    for moment in lived:
        for event in moment.events:
            match event:
                case Notification.Rendered():
                    assert event.attempt == failures + 1 <= POLICY.attempts
                case Notification.Failed() if event.call:
                    failures += 1
                    assert event.attempt == failures
                case Notification.Retried() if event.reason is Reason.RETRIED_BY_CALLER:
                    failures = 0


def what_has_ended_is_never_sent_again_unless_somebody_asks_for_it(lived: list[Moment]) -> None:
    ended = False
    for moment in lived:
        for event in moment.events:
            if isinstance(event, Notification.Retried):
                ended = ended and event.reason is not Reason.RETRIED_BY_CALLER
            assert not (ended and isinstance(event, Notification.Rendered))
            ended = ended or isinstance(event, DECIDED_HERE | HAPPENED_OUTSIDE)
        assert not (ended and moment.it.is_open)


def what_was_decided_here_changes_only_by_what_happened_outside(lived: list[Moment]) -> None:
    known = None
    for moment in lived:
        outside = any(isinstance(event, HAPPENED_OUTSIDE | Notification.Retried) for event in moment.events)
        assert known is None or outside or moment.it.status is known
        known = moment.it.status if moment.it.ended else None


def work_is_due_exactly_while_there_is_something_to_do(lived: list[Moment]) -> None:
    for _, it in lived:
        assert (it.due is None) == (not it.is_open and it.in_flight is None)
        assert it.due is None or it.due.held == (it.in_flight is not None)
        assert it.is_open == (it.status in (Status.PENDING, Status.DEFERRED))


def a_generation_has_one_key_and_no_other_has_it(lived: list[Moment]) -> None:
    calls = [e for moment in lived for e in moment.events if isinstance(e, Notification.Rendered) and e.key]
    assert len({call.key for call in calls}) == len({call.generation for call in calls})
    assert len({(call.key, call.generation) for call in calls}) == len({call.key for call in calls})


def nothing_is_planned_for_when_it_is_no_longer_useful(lived: list[Moment]) -> None:
    for moment in lived:
        retries = [event for event in moment.events if isinstance(event, Notification.Retried)]
        assert all(moment.it.expires_at is None or event.due_at < moment.it.expires_at for event in retries)


RULES = (
    the_events_make_the_same_notification_again,
    calls_are_numbered_and_none_begins_while_another_is_on_its_way,
    attempts_count_the_failures_of_a_generation_and_never_exceed_what_is_allowed,
    what_has_ended_is_never_sent_again_unless_somebody_asks_for_it,
    what_was_decided_here_changes_only_by_what_happened_outside,
    work_is_due_exactly_while_there_is_something_to_do,
    a_generation_has_one_key_and_no_other_has_it,
    nothing_is_planned_for_when_it_is_no_longer_useful,
)
DECIDED_HERE = Notification.DeadLettered | Notification.Suppressed | Notification.Cancelled | Notification.Expired
HAPPENED_OUTSIDE = (
    Notification.Sent
    | Notification.Delivered
    | Notification.Bounced
    | Notification.Rejected
    | Notification.Opened
    | Notification.Clicked
    | Notification.Complained
)


@given(
    st.sampled_from(["sent", "outcome unknown", "call on its way"]),
    st.lists(
        st.builds(Received, st.sampled_from(ReceiptKind), st.sampled_from([n * MINUTE for n in range(4)])), max_size=7
    ),
    st.data(),
)
def test_receipts_end_in_the_same_facts_in_whatever_order_and_however_often_they_come(begun, receipts, data):
    repeated = receipts + (data.draw(st.lists(st.sampled_from(receipts), max_size=4)) if receipts else [])
    one, other = BEGUN[begun](), BEGUN[begun]()
    for receipt in receipts:
        receipt.happen(one, NOON + DAY)
    for receipt in data.draw(st.permutations(repeated)):
        receipt.happen(other, NOON + DAY)
    assert facts(other) == facts(one)


BEGUN = {
    "sent": sent,
    "outcome unknown": lambda: answered(called(), Unknown()),
    "call on its way": called,
}


def facts(it: Notification) -> dict[str, Any]:
    ignored = {"_version", "_modified_on", "_pending_events"}
    known = {name: value for name, value in vars(it).items() if name not in ignored}
    return known | {"status": it.status, "reason_code": it.reason_code, "due": it.due}


# Waiting


def test_what_is_accepted_is_due_at_once():
    it = notification(ID)
    assert it.due == Due(NOON, 0, held=False)
    assert (it.status, it.reason_code) == (Status.PENDING, None)


def test_what_is_wanted_later_waits_until_then():
    it = notification(ID, scheduled_at=NOON + DAY)
    assert it.due == Due(NOON + DAY, 0, held=False)
    assert (it.status, it.reason_code) == (Status.DEFERRED, Reason.SCHEDULED)


def test_what_was_wanted_earlier_is_due_now():
    assert notification(ID, scheduled_at=NOON - DAY).due_at == NOON


# Calls and what they come to


def test_a_call_on_its_way_is_held_and_no_other_may_begin():
    it = called()
    assert it.due == Due(NOON, 0, held=True)
    with pytest.raises(NotAttemptableError):
        attempted(it)


def test_what_a_provider_took_is_sent():
    it = sent()
    assert (it.status, it.provider_id, it.due) == (Status.SENT, "id-1", None)
    with pytest.raises(NotAttemptableError):
        attempted(it)


def test_an_outcome_without_a_call_is_refused():
    with pytest.raises(NotAttemptableError):
        answered(notification(ID), Accepted("id-1"))


def test_an_email_is_tried_three_times():
    it, now = notification(ID), NOON
    for number in (1, 2, 3):
        assert it.status is Status.PENDING
        attempted(it, now)
        assert it.in_flight.number == number
        answered(it, Retryable(Reason.PROVIDER_UNAVAILABLE), now)
        now = it.due_at
    assert (it.status, it.reason_code, it.due) == (Status.FAILED, Reason.PROVIDER_UNAVAILABLE, None)


@pytest.mark.parametrize(("luck", "first", "second"), [(0.0, 48, 96), (0.5, 60, 120), (0.999999, 72, 144)])
def test_the_wait_doubles_from_a_minute_give_or_take_a_fifth(luck, first, second):
    it = answered(called(), Retryable(Reason.TIMEOUT), luck=luck)
    assert (it.due_at - NOON).total_seconds() == pytest.approx(first, abs=0.001)
    answered(attempted(it), Retryable(Reason.TIMEOUT), luck=luck)
    assert (it.due_at - NOON).total_seconds() == pytest.approx(second, abs=0.001)


@given(
    st.integers(1, 12), st.floats(0, 1, exclude_max=True), st.none() | st.timedeltas(timedelta(0), timedelta(days=9))
)
def test_no_wait_is_shorter_than_asked_for_or_longer_than_a_day(attempt, luck, wait):
    at = type(POLICY)(attempts=13).next_attempt(attempt, NOON, wait, luck)
    assert min(wait or MINUTE * 0.8, DAY) <= at - NOON <= DAY * 1.2


def test_the_wait_a_provider_asks_for_is_the_least():
    assert answered(called(), Retryable(Reason.TIMEOUT, wait=10 * MINUTE)).due_at == NOON + 10 * MINUTE
    assert answered(called(), Retryable(Reason.TIMEOUT, wait=timedelta(seconds=1))).due_at == NOON + MINUTE


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Throttled(5 * MINUTE, "slow down"), Reason.PROVIDER_THROTTLED),
        (Misconfigured(5 * MINUTE, "bad key"), Reason.PROVIDER_MISCONFIGURED),
    ],
)
def test_what_is_not_the_message_s_fault_uses_up_no_attempt(outcome, reason):
    it = answered(called(), outcome)
    assert (it.status, it.reason_code, it.due) == (Status.DEFERRED, reason, Due(NOON + 5 * MINUTE, 0, held=False))
    for _ in range(10):
        answered(attempted(it, it.due_at), outcome, it.due_at)
    assert attempted(it).in_flight.number == 1


def test_what_is_refused_ends():
    it = failed()
    assert (it.status, it.reason_code, it.due) == (Status.FAILED, Reason.PROVIDER_REFUSED, None)


def test_what_cannot_be_made_ends_without_a_call():
    it = notification(ID)
    it.fail(Reason.RENDER_FAILED, "no such variable", now=NOON, by="worker")
    assert (it.status, it.reason_code, it.calls) == (Status.FAILED, Reason.RENDER_FAILED, 0)


def test_what_must_not_be_sent_is_suppressed():
    it = notification(ID)
    it.suppress(Reason.HARD_BOUNCE, now=NOON, by="worker")
    assert (it.status, it.reason_code, it.due) == (Status.SUPPRESSED, Reason.HARD_BOUNCE, None)


@pytest.mark.parametrize("give_up", ["fail", "suppress"])
def test_nothing_is_given_up_while_a_call_is_on_its_way(give_up):
    it, why = called(), {"fail": (Reason.RENDER_FAILED, ""), "suppress": (Reason.HARD_BOUNCE,)}
    with pytest.raises(NotAttemptableError):
        getattr(it, give_up)(*why[give_up], now=NOON, by="worker")


def test_of_what_a_provider_says_the_first_500_characters_are_kept():
    assert answered(called(), Refused(Reason.TIMEOUT, "x" * 600)).pending_events[-2].personal.text == "x" * 500


def test_nothing_is_kept_of_what_is_said_about_an_erased_person():
    it = called()
    it.letter = Erased(it.person)
    answered(it, Retryable(Reason.TIMEOUT, detail="no ada here"))
    assert it.pending_events[-2].personal is None


def test_what_a_provider_says_is_kept_as_personal_data():
    it = answered(called(), Throttled(MINUTE, "too much for ada@example.com"))
    assert last(it).personal == Remark(person=it.person, text="too much for ada@example.com")


# Outcomes nobody knows


@pytest.mark.parametrize("purpose", Purpose)
def test_while_the_provider_knows_the_key_an_unknown_outcome_is_asked_about_again(purpose):
    it = answered(called(key_until=NOON + DAY, purpose=purpose), Unknown())
    assert it.due == Due(NOON + MINUTE, 1, held=False)
    first_key = it.pending_events[1].key
    attempted(it, it.due_at, key_until=it.due_at + DAY)
    assert last(it).key == first_key is not None
    assert last(it).key_until == NOON + DAY


def test_without_a_key_what_is_worse_lost_than_doubled_is_sent_again():
    assert answered(called(), Unknown()).due == Due(NOON + MINUTE, 1, held=False)


@pytest.mark.parametrize(
    "key_until", [None, NOON + timedelta(seconds=30)], ids=["no key", "a key that is soon forgotten"]
)
def test_without_a_key_that_lasts_marketing_waits_for_what_the_provider_reports(key_until):
    it = answered(called(key_until=key_until, purpose=Purpose.MARKETING), Unknown(Reason.TIMEOUT))
    assert (it.status, it.reason_code, it.due) == (Status.FAILED, Reason.TIMEOUT, None)
    received(it, ReceiptKind.DELIVERED)
    assert it.status is Status.DELIVERED


def test_an_unknown_outcome_waits_for_as_long_as_the_provider_asked():
    assert answered(called(), Unknown(Reason.PROVIDER_UNAVAILABLE, wait=10 * MINUTE)).due_at == NOON + 10 * MINUTE


def test_a_call_that_was_not_begun_is_due_again_and_uses_up_no_attempt():
    it = called()
    it.put_off(now=NOON, by="worker")
    assert (it.due, it.reason_code) == (Due(NOON, 0, held=False), Reason.NOT_BEGUN)
    assert it.cancel(now=NOON, by="key:k1")


def test_an_unknown_outcome_uses_up_an_attempt():
    it = called()
    for _ in range(2):
        attempted(answered(it, Unknown()))
    assert answered(it, Unknown()).status is Status.FAILED


def interrupted(it: Notification) -> Notification:
    it.interrupted(POLICY, luck=0.5, now=NOON + MINUTE, by="worker")
    return it


def test_an_interrupted_call_is_made_again_at_once_while_the_provider_knows_the_key():
    assert interrupted(called(key_until=NOON + DAY, purpose=Purpose.MARKETING)).due_at == NOON + MINUTE


def test_an_interrupted_call_without_a_key_is_made_again_later():
    assert interrupted(called()).due_at == NOON + 2 * MINUTE


def test_an_interrupted_call_of_marketing_is_not_made_again_without_a_key():
    it = interrupted(called(purpose=Purpose.MARKETING))
    assert (it.status, it.reason_code) == (Status.FAILED, Reason.OUTCOME_UNKNOWN)


def test_where_no_call_was_on_its_way_nothing_was_interrupted():
    it = interrupted(notification(ID))
    assert len(it.pending_events) == 1


@pytest.mark.parametrize("key_until", [None, NOON + DAY], ids=["no key", "a key"])
@pytest.mark.parametrize("purpose", Purpose)
def test_a_message_that_kills_its_worker_each_time_is_given_up(purpose, key_until):
    it = called(key_until=key_until, purpose=purpose)
    while interrupted(it).due:
        assert it.attempts < POLICY.attempts
        attempted(it, key_until=key_until)
    assert (it.status, it.reason_code) == (Status.FAILED, Reason.OUTCOME_UNKNOWN)


# Cancelling


def test_what_waits_can_be_cancelled_and_cancelled_again():
    it = notification(ID, scheduled_at=NOON + DAY)
    assert it.cancel(now=NOON, by="key:k1")
    assert it.cancel(now=NOON, by="key:k1")
    assert (it.status, it.reason_code, it.due) == (Status.CANCELLED, Reason.CANCELLED_BY_CALLER, None)
    assert len(it.pending_events) == 2


def test_what_waits_for_its_next_attempt_can_be_cancelled():
    assert answered(called(), Retryable(Reason.TIMEOUT)).cancel(now=NOON, by="key:k1")


@pytest.mark.parametrize("how", [interrupted, lambda it: answered(it, Unknown())], ids=["interrupted", "unknown"])
def test_what_may_have_gone_out_cannot_be_cancelled(how):
    it = how(called())
    assert it.due
    assert not it.cancel(now=NOON, by="key:k1")


def test_what_is_sent_again_by_hand_can_be_cancelled_until_it_may_have_gone_out_again():
    it = notification(UUID(int=7), purpose=Purpose.MARKETING)
    answered(attempted(it), Unknown())
    assert it.status is Status.FAILED
    it.retry(now=NOON, by="key:k1")
    assert it.cancel(now=NOON, by="key:k1")


def test_the_sender_stays_the_same_for_as_long_as_the_key_does():
    it = answered(called(), Retryable(Reason.TIMEOUT))
    assert it.sender == SENDER
    it = failed()
    it.retry(now=NOON, by="key:k1")
    assert it.sender is None


def test_a_provider_that_says_it_was_sent_settles_a_call_on_its_way():
    it = called()
    received(it, ReceiptKind.SENT)
    assert (it.status, it.in_flight, it.due) == (Status.SENT, None, None)


@pytest.mark.parametrize("late", [called, sent, failed], ids=lambda each: each.__name__)
def test_what_is_on_its_way_or_over_cannot_be_cancelled(late):
    it = late()
    events = len(it.pending_events)
    assert not it.cancel(now=NOON, by="key:k1")
    assert len(it.pending_events) == events


# Expiring


def test_what_is_no_longer_useful_expires():
    it = notification(ID, expires_at=NOON + MINUTE)
    assert not it.expire_if_late(NOON, "worker")
    assert it.expire_if_late(NOON + MINUTE, "worker")
    assert (it.status, it.reason_code, it.due) == (Status.EXPIRED, Reason.EXPIRED, None)
    assert not it.expire_if_late(NOON + MINUTE, "worker")


def test_a_call_on_its_way_does_not_expire():
    assert not called(expires_at=NOON + MINUTE).expire_if_late(NOON + DAY, "worker")


def test_an_attempt_that_would_come_too_late_is_not_planned():
    it = answered(called(expires_at=NOON + MINUTE), Retryable(Reason.TIMEOUT))
    assert (it.status, it.due) == (Status.EXPIRED, None)


# Sending once more by hand


def test_what_failed_is_sent_once_more_as_a_new_generation():
    it = answered(called(key_until=NOON + DAY), Refused(Reason.PROVIDER_REFUSED))
    it.retry(now=NOON + MINUTE, by="key:k1")
    assert (it.status, it.generation, it.due) == (Status.PENDING, 2, Due(NOON + MINUTE, 0, held=False))
    attempted(it, key_until=NOON + 2 * DAY)
    assert (last(it).attempt, last(it).call, last(it).key) == (1, 2, f"{ID}/2")
    assert last(it).key_until == NOON + 2 * DAY


def test_what_expired_or_bounced_can_be_sent_once_more_and_no_longer_expires():
    it = notification(ID, expires_at=NOON)
    it.expire_if_late(NOON, "worker")
    it.retry(now=NOON, by="key:k1")
    assert not it.expire_if_late(NOON + DAY, "worker")
    bounced = sent()
    received(bounced, ReceiptKind.BOUNCED)
    bounced.retry(now=NOON, by="key:k1")
    assert bounced.is_open


def delivered_at_last() -> Notification:
    it = sent()
    received(it, ReceiptKind.SOFT_BOUNCED)
    received(it, ReceiptKind.DELIVERED)
    return it


def cancelled() -> Notification:
    it = notification(ID)
    it.cancel(now=NOON, by="key:k1")
    return it


def bounced_while_called() -> Notification:
    it = attempted(answered(called(), Unknown()))
    received(it, ReceiptKind.BOUNCED)
    return it


@pytest.mark.parametrize(
    "other", [lambda: notification(ID), called, sent, cancelled, bounced_while_called, delivered_at_last], ids=range(6)
)
def test_nothing_else_can_be_sent_once_more(other):
    it = other()
    with pytest.raises(NotRetryableError):
        it.retry(now=NOON, by="key:k1")


@pytest.mark.parametrize("kind", [kind for kind in ReceiptKind if kind is not ReceiptKind.OTHER])
def test_late_receipts_of_an_earlier_generation_do_not_count(kind):
    it = sent("id-1")
    received(it, ReceiptKind.BOUNCED, provider_id="id-1")
    it.retry(now=NOON + MINUTE, by="key:k1")
    events = len(it.pending_events)
    received(it, kind, at=NOON + DAY, provider_id="id-1")
    assert len(it.pending_events) == events
    answered(attempted(it), Accepted("id-2"))
    received(it, ReceiptKind.DELIVERED, at=NOON + DAY, provider_id="id-2")
    assert it.status is Status.DELIVERED


@pytest.mark.parametrize("kind", [kind for kind in ReceiptKind if kind is not ReceiptKind.OTHER])
def test_nor_do_those_of_a_call_whose_outcome_nobody_knew(kind):
    it = called(purpose=Purpose.MARKETING)
    answered(it, Unknown())
    it.retry(now=NOON + MINUTE, by="key:k1")
    attempted(it)
    events = len(it.pending_events)
    received(it, kind, at=NOON + DAY, provider_id="id-1", generation=1)
    assert len(it.pending_events) == events
    received(it, ReceiptKind.DELIVERED, at=NOON + DAY, provider_id="id-2", generation=2)
    assert it.status is Status.DELIVERED


# What providers report


@pytest.mark.parametrize(
    ("kinds", "status", "reason"),
    [
        ("delivered", Status.DELIVERED, None),
        ("delivered opened clicked", Status.DELIVERED, None),
        ("opened", Status.DELIVERED, None),
        ("complained", Status.DELIVERED, None),
        ("bounced", Status.BOUNCED, Reason.HARD_BOUNCE),
        ("soft_bounced", Status.BOUNCED, Reason.SOFT_BOUNCE),
        ("soft_bounced bounced", Status.BOUNCED, Reason.HARD_BOUNCE),
        ("delivered bounced", Status.BOUNCED, Reason.HARD_BOUNCE),
        ("soft_bounced delivered bounced", Status.BOUNCED, Reason.HARD_BOUNCE),
        ("soft_bounced delivered", Status.DELIVERED, None),
        ("delivered soft_bounced", Status.DELIVERED, None),
        ("soft_bounced opened", Status.DELIVERED, None),
        ("rejected soft_bounced", Status.BOUNCED, Reason.SOFT_BOUNCE),
        ("soft_bounced rejected", Status.BOUNCED, Reason.SOFT_BOUNCE),
        ("rejected", Status.FAILED, Reason.PROVIDER_REJECTED_LATER),
        ("rejected delivered", Status.DELIVERED, None),
        ("delayed other", Status.SENT, None),
    ],
)
def test_what_happened_outside_decides_the_status(kinds, status, reason):
    it = sent()
    for kind in kinds.split():
        received(it, ReceiptKind(kind))
    assert (it.status, it.reason_code) == (status, reason)


def test_a_receipt_that_comes_twice_leaves_one_event():
    it = sent()
    for _ in range(3):
        received(it, ReceiptKind.DELIVERED)
    assert [type(event) for event in it.pending_events].count(Notification.Delivered) == 1


def test_of_each_kind_the_earliest_counts():
    it = sent()
    for minutes in (5, 3, 4):
        received(it, ReceiptKind.DELIVERED, at=NOON + minutes * MINUTE)
    assert it.delivered_at == NOON + 3 * MINUTE


def test_a_receipt_tells_of_a_call_whose_outcome_nobody_knew():
    it = answered(called(), Unknown())
    received(it, ReceiptKind.SENT)
    assert (it.status, it.provider_id, it.due) == (Status.SENT, "id-1", None)


def test_no_receipt_makes_sent_what_was_never_tried():
    it = notification(ID)
    received(it, ReceiptKind.SENT)
    assert it.status is Status.PENDING


def test_what_was_delivered_while_its_outcome_was_awaited_is_not_sent_again():
    it = called()
    received(it, ReceiptKind.DELIVERED)
    assert it.due.held
    answered(it, Retryable(Reason.TIMEOUT))
    assert (it.status, it.due) == (Status.DELIVERED, None)
