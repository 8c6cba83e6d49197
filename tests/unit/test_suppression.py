"""How an address comes to be left alone, and for how long."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.personal import Listed
from domain.suppression import FIRST_REST, LONGEST_REST, SOFT_BOUNCES, SPREAD, Suppression
from domain.vocabulary import Channel, Ground
from tests.examples import NOON

BY = {"now": NOON, "by": "provider:resend"}
DAY = timedelta(days=1)


@pytest.fixture
def suppression() -> Suppression:
    return begun()


def begun() -> Suppression:
    listed = Listed(person=UUID(int=1), address="jane@example.com")
    return Suppression.begin("acme", Channel.EMAIL, "ab12", listed, **BY)


def bounce(suppression: Suppression, *days: float) -> None:
    for day in days:
        at = NOON + day * DAY
        suppression.soft_bounce(at, now=at, by="provider:resend")


def test_the_same_again_is_no_news(suppression):
    assert suppression.add(Ground.HARD_BOUNCE, source="callback", **BY)
    assert not suppression.add(Ground.HARD_BOUNCE, source="import", **BY)
    assert len(suppression.collect_events()) == 2


def test_a_category_is_left_without_the_others(suppression):
    suppression.add(Ground.UNSUBSCRIBE, category="promotion", source="link", **BY)
    (entry,) = suppression.entries.values()
    assert entry.holds("promotion", NOON)
    assert not entry.holds("order", NOON)


def test_one_ground_or_all_of_them_are_taken_away(suppression):
    suppression.add(Ground.UNSUBSCRIBE, category="promotion", source="link", **BY)
    suppression.add(Ground.COMPLAINT, source="callback", **BY)
    suppression.add(Ground.MANUAL, source="api", **BY)
    assert suppression.remove(Ground.MANUAL, source="api", **BY)
    assert not suppression.remove(Ground.UNSUBSCRIBE, source="api", **BY), "that was for one category"
    assert suppression.remove(source="api", **BY)
    assert suppression.entries == {}
    assert not suppression.remove(source="api", **BY)


def test_soft_bounces_add_up_when_they_go_on_for_days(suppression):
    bounce(suppression, 0, 1, 2, 2.5)
    assert suppression.entries == {}
    bounce(suppression, 3)
    (entry,) = suppression.entries.values()
    assert (entry.ground, entry.until) == (Ground.SOFT_BOUNCES, NOON + 3 * DAY + FIRST_REST)


def test_a_mailbox_that_is_full_for_a_day_is_written_to_again(suppression):
    bounce(suppression, *(hour / 24 for hour in range(24)))
    assert suppression.entries == {}


def test_soft_bounces_of_last_month_are_forgotten(suppression):
    bounce(suppression, 0, 1, 2, 3, 35)
    assert suppression.entries == {}


def test_each_rest_is_twice_as_long_as_the_one_before(suppression):
    day, rests = 0.0, []
    for _ in range(7):
        bounce(suppression, *(day + n for n in range(SOFT_BOUNCES)))
        (entry,) = suppression.entries.values()
        rests.append(entry.until - (NOON + (day + SOFT_BOUNCES - 1) * DAY))
        day += 200
    assert rests[:5] == [FIRST_REST * 2**n for n in range(5)]
    assert rests[5:] == [LONGEST_REST] * 2


def test_the_same_bounce_counts_once(suppression):
    bounce(suppression, 0, 0, 0, 0, 0, 4)
    assert suppression.entries == {}


@given(st.lists(st.floats(0, 90), max_size=20))
def test_nobody_rests_without_enough_bounces_over_a_long_enough_time(days):
    suppression = begun()
    bounce(suppression, *sorted(days))
    if suppression.entries:
        assert len(days) >= SOFT_BOUNCES
        assert (max(days) - min(days)) * DAY >= SPREAD
