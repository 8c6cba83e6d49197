"""The checker sees what it is there to see: each test doctors a history in which everything is as it should be."""

import msgspec
import pytest

from tests.faults.history import Acknowledged, Arrival, Event, Verdict, check

_Histories = tuple[list[Acknowledged], list[Arrival], list[Event]]


@pytest.fixture
def histories() -> _Histories:
    """Three messages of two tenants, each acknowledged, sent once and noted as sent."""
    acknowledged = [
        Acknowledged(id=f"id-{n}", key=f"key-{n}", tenant=tenant, address=f"{n}@example.com")
        for n, tenant in enumerate(("acme", "globex", "acme"))
    ]
    arrivals = [
        Arrival(each.address, 0.0, True, each.key, each.id, subject=f"Welcome to {each.tenant}, {each.key}")
        for each in acknowledged
    ]
    events = [
        Event(10 * n, each.id, f"notification.{what}", each.tenant, "worker", each.key if n == 1 else None, version=n)
        for n, what in enumerate(("queued", "rendered", "sent"), start=1)
        for each in acknowledged
    ]
    return acknowledged, arrivals, events


def test_what_is_as_promised_is_faultless(histories: _Histories) -> None:
    verdict = check(*histories)
    assert verdict.faultless
    assert verdict == Verdict.ideal(acknowledged=3, calls=3)


def test_a_message_that_never_arrived_is_lost_whatever_the_log_says(histories: _Histories) -> None:
    _, arrivals, _ = histories
    del arrivals[1]
    verdict = check(*histories)
    assert verdict.lost == {"id-1"}
    assert not verdict.faultless


def test_a_message_that_the_log_has_never_heard_of_is_lost(histories: _Histories) -> None:
    acknowledged, _, _ = histories
    acknowledged.append(Acknowledged("id-9", "key-9", "acme", "9@example.com"))
    verdict = check(*histories)
    assert verdict.lost == verdict.unfinished == {"id-9"}


def test_a_second_effect_is_a_repetition(histories: _Histories) -> None:
    _, arrivals, _ = histories
    arrivals += [arrivals[0], arrivals[0], arrivals[2]]
    verdict = check(*histories)
    assert verdict.repeated == {"id-0": 2, "id-2": 1}
    assert verdict.repeats == 3
    assert not verdict.faultless


def test_a_call_that_the_provider_recognised_has_no_second_effect(histories: _Histories) -> None:
    _, arrivals, _ = histories
    arrivals.append(msgspec.structs.replace(arrivals[0], new=False))
    verdict = check(*histories)
    assert verdict.faultless
    assert verdict.calls == 4


def lived(histories: _Histories, id: str, *life: str, uncertain: int) -> None:
    """This one has led another life; `uncertain`: the version of a failure of which nobody knows what it means."""
    *_, events = histories
    key = next(event.correlation for event in events if event.notification == id)
    events[:] = [event for event in events if event.notification != id]
    events += [
        Event(
            100 + n, id, f"notification.{what}", "acme", "worker", key if n == 1 else None, version=n,
            uncertain=n == uncertain,
        )
        for n, what in enumerate(life, start=1)
    ]  # fmt: skip


def test_a_repetition_is_explained_by_a_call_of_the_same_message_whose_outcome_nobody_knows(
    histories: _Histories,
) -> None:
    _, arrivals, _ = histories
    lived(histories, "id-0", "queued", "rendered", "failed", "retried", "rendered", "sent", uncertain=3)
    arrivals.append(arrivals[0])
    verdict = check(*histories)
    assert (verdict.uncertain, verdict.repeated, verdict.unexplained) == ({"id-0": 1}, {"id-0": 1}, {})
    arrivals.append(arrivals[0])
    assert check(*histories).unexplained == {"id-0": 1}


def test_a_repetition_is_not_explained_by_a_call_of_another_message(histories: _Histories) -> None:
    _, arrivals, _ = histories
    lived(histories, "id-0", "queued", "rendered", "failed", "retried", "rendered", "sent", uncertain=3)
    arrivals.append(arrivals[2])
    verdict = check(*histories)
    assert (verdict.repeats, sum(verdict.uncertain.values())) == (1, 1)
    assert verdict.unexplained == {"id-2": 1}
    assert not verdict.faultless


def test_a_repetition_is_not_explained_by_a_call_that_is_known_to_have_failed(histories: _Histories) -> None:
    _, arrivals, _ = histories
    lived(histories, "id-0", "queued", "rendered", "failed", "retried", "rendered", "sent", uncertain=0)
    arrivals.append(arrivals[0])
    assert check(*histories).unexplained == {"id-0": 1}


def test_a_call_without_an_outcome_explains_an_effect(histories: _Histories) -> None:
    *_, events = histories
    events.pop()
    verdict = check(*histories)
    assert (verdict.uncertain, verdict.unexplained) == ({"id-2": 1}, {})


def test_an_effect_of_a_message_that_the_log_says_was_never_sent_is_not_explained(histories: _Histories) -> None:
    lived(histories, "id-0", "queued", "rendered", "failed", "dead_lettered", uncertain=0)
    verdict = check(*histories)
    assert (verdict.given_up, verdict.unexplained) == ({"id-0"}, {"id-0": 1})


def test_calls_of_unknown_outcome_without_a_repetition_are_no_fault(histories: _Histories) -> None:
    lived(histories, "id-0", "queued", "rendered", "failed", "retried", "rendered", "sent", uncertain=3)
    verdict = check(*histories)
    assert verdict.uncertain
    assert verdict.faultless


def test_what_has_no_end_in_the_log_is_unfinished(histories: _Histories) -> None:
    *_, events = histories
    events.pop()
    verdict = check(*histories)
    assert verdict.unfinished == {"id-2"}
    assert not verdict.faultless


def test_what_ended_otherwise_is_given_up(histories: _Histories) -> None:
    *_, events = histories
    events.append(msgspec.structs.replace(events.pop(), topic="notification.dead_lettered"))
    verdict = check(*histories)
    assert verdict.given_up == {"id-2"}
    assert not verdict.unfinished
    assert not verdict.faultless


def test_what_is_noted_as_sent_twice_is_told(histories: _Histories) -> None:
    *_, events = histories
    events.append(events[-1])
    verdict = check(*histories)
    assert verdict.sent_twice == {"id-2"}
    assert not verdict.faultless


def test_a_key_with_a_notification_that_was_not_in_its_answer_was_accepted_twice(histories: _Histories) -> None:
    *_, events = histories
    events.append(msgspec.structs.replace(events[0], notification="id-7"))
    verdict = check(*histories)
    assert verdict.accepted_twice == {"key-0"}
    assert not verdict.faultless


def test_what_is_another_tenants_is_misdirected(histories: _Histories) -> None:
    *_, events = histories
    events[-1] = msgspec.structs.replace(events[-1], tenant="globex")
    verdict = check(*histories)
    assert verdict.misdirected == {"id-2"}
    assert not verdict.faultless


def test_what_came_to_another_address_is_misdirected(histories: _Histories) -> None:
    _, arrivals, _ = histories
    arrivals[0] = msgspec.structs.replace(arrivals[0], address="1@example.com")
    verdict = check(*histories)
    assert verdict.misdirected == {"id-0", "id-1"}
    assert verdict.lost == {"id-0"}


def test_what_others_sent_does_not_count(histories: _Histories) -> None:
    _, arrivals, events = histories
    arrivals.append(Arrival("other@example.com", 0.0, new=True))
    events.append(Event(9, "other", "notification.queued", "acme", "api", "other-key"))
    assert check(*histories).faultless


def test_a_text_that_was_for_another_tenant_is_misdirected(histories: _Histories) -> None:
    _, arrivals, _ = histories
    for other in ("Welcome to globex, key-0", "Welcome to acme, key-2"):
        arrivals[0] = msgspec.structs.replace(arrivals[0], subject=other)
        verdict = check(*histories)
        assert verdict.misdirected == {"id-0"}
        assert not verdict.faultless


def test_events_in_another_order_than_they_are_numbered_are_reordered(histories: _Histories) -> None:
    *_, events = histories
    place = next(i for i, e in enumerate(events) if e.notification == "id-1" and e.version == 2)
    events[place] = msgspec.structs.replace(events[place], position=99)
    verdict = check(*histories)
    assert verdict.reordered == {"id-1"}
    assert not verdict.faultless


def test_an_event_that_is_missing_is_seen(histories: _Histories) -> None:
    *_, events = histories
    events[:] = [e for e in events if (e.notification, e.version) != ("id-1", 2)]
    assert check(*histories).reordered == {"id-1"}


@pytest.mark.parametrize("impossible", ["rendered", "sent", "retried", "dead_lettered"])
def test_what_cannot_follow_is_reordered(histories: _Histories, impossible: str) -> None:
    *_, events = histories
    events.append(Event(99, "id-0", f"notification.{impossible}", "acme", "worker", version=4))
    assert check(*histories).reordered == {"id-0"}


def test_a_call_that_failed_and_was_made_again_is_in_order(histories: _Histories) -> None:
    *_, events = histories
    life = ("queued", "rendered", "failed", "retried", "rendered", "deferred", "rendered", "sent")
    events[:] = [e for e in events if e.notification != "id-2"]
    events += [
        Event(100 + n, "id-2", f"notification.{what}", "acme", "worker", "key-2" if n == 1 else None, version=n)
        for n, what in enumerate(life, start=1)
    ]
    assert check(*histories).faultless
