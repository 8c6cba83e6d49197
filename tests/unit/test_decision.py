"""What follows from a reader's wishes, the suppression list and the time."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import SECURITY, Decision, Defer, Digest, Message, SendNow, Suppress, decide
from domain.preferences import Choice, Wishes
from domain.suppression import Entry
from domain.vocabulary import Channel, Frequency, Ground, Priority, Purpose, Reason
from domain.wall_clock import QuietHours
from tests.examples import NOON

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)
OFFER = Message(
    type="promotion_reminder",
    category="promotion",
    purpose=Purpose.MARKETING,
    priority=Priority.LOW,
    channel=Channel.EMAIL,
)
RESET = msgspec.structs.replace(
    OFFER, type="password_reset", category=SECURITY, purpose=Purpose.TRANSACTIONAL, priority=Priority.HIGH
)
DUNNING = msgspec.structs.replace(RESET, type="payment_failed", category="billing", priority=Priority.CRITICAL)
NAPPING = Wishes(quiet_hours=QuietHours(time(12), time(15)))  # it is 13:00 in Berlin


def entry(ground: Ground, category: str | None = None, until: datetime | None = None) -> Entry:
    return Entry(ground=ground, category=category, since=NOON - DAY, until=until, source="callback")


def asked(message: Message = OFFER, wishes: Wishes = Wishes(), *entries: Entry, **more: Any) -> Decision:  # noqa: B008
    return decide(message, wishes, entries, NOON, BERLIN, **more)


def wish(**wishes: Any) -> Wishes:
    return Wishes(**wishes)


OFF = Choice(enabled=False)
NOT_BY_EMAIL = Choice(channels={Channel.EMAIL: False})
TWO = NOON + timedelta(hours=2)

MATRIX: dict[Reason, list[tuple[Wishes, list[Entry], dict[str, Any]]]] = {
    Reason.HARD_BOUNCE: [(Wishes(), [entry(Ground.HARD_BOUNCE)], {})],
    Reason.INVALID_RECIPIENT: [(Wishes(), [entry(Ground.INVALID)], {})],
    Reason.STOPPED: [(Wishes(), [entry(Ground.STOP)], {})],
    Reason.BLOCKED: [(Wishes(), [entry(Ground.MANUAL)], {})],
    Reason.COMPLAINED: [(Wishes(), [entry(Ground.COMPLAINT)], {})],
    Reason.SOFT_BOUNCE: [(Wishes(), [entry(Ground.SOFT_BOUNCES, until=NOON + DAY)], {})],
    Reason.UNSUBSCRIBED: [
        (Wishes(), [entry(Ground.UNSUBSCRIBE)], {}),
        (Wishes(), [entry(Ground.UNSUBSCRIBE, "promotion")], {}),
        (wish(channels={Channel.EMAIL: False}), [entry(Ground.UNSUBSCRIBE)], {}),
    ],
    Reason.CHANNEL_OFF: [
        (wish(channels={Channel.EMAIL: False}), [], {}),
        (wish(channels={Channel.EMAIL: False}, types={OFFER.type: Choice()}), [], {}),
    ],
    Reason.CATEGORY_OFF: [
        (wish(categories={"promotion": OFF}), [], {}),
        (wish(categories={"promotion": NOT_BY_EMAIL}), [], {}),
        (wish(categories={"promotion": OFF}, types={OFFER.type: Choice()}), [], {}),
    ],
    Reason.TYPE_OFF: [
        (wish(types={OFFER.type: OFF}), [], {}),
        (wish(types={OFFER.type: NOT_BY_EMAIL}, categories={"promotion": Choice()}), [], {}),
    ],
    Reason.LOCAL_TIME: [(Wishes(), [], {"local": time(14)})],
    Reason.QUIET_HOURS: [(NAPPING, [], {}), (NAPPING, [], {"local": time(13)})],
    Reason.DIGEST: [
        (wish(categories={"promotion": Choice(frequency=Frequency.DAILY)}), [], {}),
        (wish(types={OFFER.type: Choice(frequency=Frequency.HOURLY)}), [], {}),
    ],
}
INSISTED = {
    Reason.HARD_BOUNCE,
    Reason.INVALID_RECIPIENT,
    Reason.STOPPED,
    Reason.BLOCKED,
    Reason.LOCAL_TIME,
}
CASES = [(reason, *case) for reason, cases in MATRIX.items() for case in cases]


@pytest.mark.parametrize(("reason", "wishes", "entries", "more"), CASES, ids=lambda case: getattr(case, "value", ""))
def test_each_reason_has_what_leads_to_it(reason, wishes, entries, more):
    decision = asked(OFFER, wishes, *entries, **more)
    assert not isinstance(decision, SendNow)
    assert decision.reason is reason


@pytest.mark.parametrize("message", [RESET, DUNNING], ids=lambda message: message.type)
@pytest.mark.parametrize(("reason", "wishes", "entries", "more"), CASES, ids=lambda case: getattr(case, "value", ""))
def test_security_and_what_is_critical_pass_whatever_was_chosen_and_never_a_dead_address(
    message, reason, wishes, entries, more
):
    choices = {
        "categories": dict(zip([message.category], wishes.categories.values(), strict=False)),
        "types": dict(zip([message.type], wishes.types.values(), strict=False)),
    }
    decision = asked(message, msgspec.structs.replace(wishes, **choices), *entries, **more)
    assert (not isinstance(decision, SendNow)) == (reason in INSISTED)


@pytest.mark.parametrize("changed", [{"category": SECURITY}, {"priority": Priority.CRITICAL}])
def test_advertising_never_insists(changed):
    message = msgspec.structs.replace(OFFER, **changed)
    assert asked(message, wish(channels={Channel.EMAIL: False})) == Suppress(Reason.CHANNEL_OFF)


def test_without_anything_in_the_way_it_is_sent():
    other = wish(
        channels={Channel.SMS: False, Channel.EMAIL: True},
        categories={"order": OFF, "promotion": Choice(channels={Channel.SMS: False})},
        types={"welcome": OFF, OFFER.type: Choice(frequency=Frequency.IMMEDIATE)},
        quiet_hours=QuietHours(time(22), time(7)),
    )
    passed = [entry(Ground.UNSUBSCRIBE, "order"), entry(Ground.SOFT_BOUNCES, until=NOON)]
    assert asked(OFFER, other, *passed) == SendNow()


def test_the_weightier_reason_is_told():
    entries = [entry(ground) for ground in reversed(Ground)]
    assert asked(OFFER, wish(channels={Channel.EMAIL: False}), *entries) == Suppress(Reason.HARD_BOUNCE)


def test_quiet_hours_wait_until_they_are_over():
    assert asked(OFFER, NAPPING) == Defer(TWO, Reason.QUIET_HOURS)


def test_a_local_time_is_by_the_readers_clock_and_now_if_it_is_that_time():
    assert asked(local=time(9)) == Defer(datetime.fromisoformat("2026-03-02T09:00+01:00"), Reason.LOCAL_TIME)
    assert asked(local=time(13)) == SendNow()


@pytest.mark.parametrize(
    ("frequency", "until"),
    [
        (Frequency.HOURLY, "2026-03-01T14:00+01:00"),
        (Frequency.DAILY, "2026-03-02T09:00+01:00"),
        (Frequency.WEEKLY, "2026-03-02T09:00+01:00"),  # NOON is a Sunday
    ],
)
def test_a_digest_is_gathered_until_the_end_of_its_window(frequency, until):
    wishes = wish(categories={"promotion": Choice(frequency=frequency)})
    assert asked(OFFER, wishes) == Digest(frequency, datetime.fromisoformat(until))


NINE = datetime.fromisoformat("2026-03-02T09:00+01:00")
DAILY = Wishes(categories={"promotion": Choice(frequency=Frequency.DAILY)})


def test_what_is_to_come_at_the_time_of_a_digest_goes_in_that_one():
    assert asked(OFFER, DAILY, local=time(9)) == Digest(Frequency.DAILY, NINE)
    assert asked(OFFER, DAILY, local=time(9, 1)) == Digest(Frequency.DAILY, NINE + DAY)
    assert decide(OFFER, DAILY, [], NINE, BERLIN, ahead=True) == Digest(Frequency.DAILY, NINE)
    assert decide(OFFER, DAILY, [], NINE, BERLIN) == Digest(Frequency.DAILY, NINE + DAY)
    hourly = Wishes(categories={"promotion": Choice(frequency=Frequency.HOURLY)})
    assert asked(OFFER, hourly, local=time(9)) == Digest(Frequency.HOURLY, NINE)
    assert asked(OFFER, hourly, local=time(9, 1)) == Digest(Frequency.HOURLY, NINE + timedelta(hours=1))


def test_what_would_be_of_no_use_in_its_digest_does_not_wait_for_it():
    for expires_at, decision in (
        (NINE, SendNow()),
        (NINE + timedelta(seconds=1), Digest(Frequency.DAILY, NINE)),
        (NOON + timedelta(minutes=5), SendNow()),
    ):
        assert asked(msgspec.structs.replace(OFFER, expires_at=expires_at), DAILY) == decision
    soon = msgspec.structs.replace(OFFER, expires_at=NINE)
    napping = msgspec.structs.replace(DAILY, quiet_hours=NAPPING.quiet_hours)
    assert asked(soon, napping) == Defer(TWO, Reason.QUIET_HOURS)


def test_a_digest_does_not_wake_anybody():
    wishes = wish(types={OFFER.type: Choice(frequency=Frequency.DAILY)}, quiet_hours=QuietHours(time(22), time(10, 30)))
    assert asked(OFFER, wishes) == Digest(Frequency.DAILY, datetime.fromisoformat("2026-03-02T10:30+01:00"))


def test_nothing_waits_for_longer_than_it_is_of_use():
    soon = NOON + timedelta(minutes=5)
    message = msgspec.structs.replace(OFFER, expires_at=soon)
    assert asked(message, NAPPING) == Defer(soon, Reason.QUIET_HOURS)
    assert asked(message, local=time(9)) == Defer(soon, Reason.LOCAL_TIME)


_choices = st.builds(
    Choice,
    enabled=st.booleans(),
    channels=st.dictionaries(st.sampled_from(Channel), st.booleans()),
    frequency=st.none() | st.sampled_from(Frequency),
)
_wishes = st.builds(
    Wishes,
    quiet_hours=st.none() | st.just(NAPPING.quiet_hours) | st.just(QuietHours(time(1), time(0))),
    channels=st.dictionaries(st.sampled_from(Channel), st.booleans()),
    categories=st.dictionaries(st.sampled_from(["promotion", "order", SECURITY]), _choices),
    types=st.dictionaries(st.sampled_from([OFFER.type, "welcome"]), _choices),
)
_messages = st.builds(
    Message,
    type=st.sampled_from([OFFER.type, "welcome"]),
    category=st.sampled_from(["promotion", "order", SECURITY]),
    purpose=st.sampled_from(Purpose),
    priority=st.sampled_from(Priority),
    channel=st.sampled_from(Channel),
    expires_at=st.none() | st.timedeltas(timedelta(minutes=1), 9 * DAY).map(lambda wait: NOON + wait),
)
_entries = st.lists(
    st.builds(
        entry,
        st.sampled_from(Ground),
        st.none() | st.sampled_from(["promotion", "order"]),
        st.none() | st.timedeltas(-DAY, 30 * DAY).map(lambda wait: NOON + wait),
    ),
    max_size=3,
)
_moments = st.timedeltas(timedelta(0), 14 * DAY).map(lambda wait: NOON + wait)


@given(_messages, _wishes, _entries, _moments)
def test_whatever_waits_ends_as_one_message_one_digest_or_one_reason(message, wishes, entries, now):
    """Asked again whenever it is due, nothing is put off for ever, and nothing beyond its expiry."""
    for _ in range(4):
        match decide(message, wishes, entries, now, BERLIN):
            case SendNow() | Suppress():
                return
            case Digest(_, until):
                assert now < until <= now + 9 * DAY
                assert message.expires_at is None or until < message.expires_at
                return
            case Defer(until, _):
                if message.expires_at and until >= message.expires_at:
                    return
                assert now < until <= now + DAY
                now = until
    pytest.fail("it was put off again and again")


@given(_messages, _wishes, _entries)
def test_every_further_wish_only_takes_away(message, wishes, entries):
    """What is suppressed for a reader stays so whatever else is switched off."""
    less = wishes.with_channel(message.channel, False)
    if isinstance(decide(message, wishes, entries, NOON, BERLIN), Suppress):
        assert isinstance(decide(message, less, entries, NOON, BERLIN), Suppress)
    if not message.insists:
        assert isinstance(decide(message, less, entries, NOON, BERLIN), Suppress)


@given(_messages, _wishes, _entries)
def test_nothing_goes_to_a_dead_address(message, wishes, entries):
    decision = decide(message, wishes, [*entries, entry(Ground.HARD_BOUNCE)], NOON, BERLIN)
    assert decision == Suppress(Reason.HARD_BOUNCE)
