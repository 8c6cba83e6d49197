"""What is promised to a process that offers to take what is due at once."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.postgres.wakeup import WORK, PostgresWakeups
from application.ports.due_work import Lease, Offers
from domain.notification import Notification
from domain.outcomes import Refused, Retryable
from domain.vocabulary import Channel, Reason
from tests.examples import POLICY, attempted, notification, subscription

SHORT, MINUTE = timedelta(seconds=0.2), timedelta(minutes=1)
EMAIL, HOOK = Channel.EMAIL, Channel.WEBHOOK


@pytest.fixture
async def offers(house: Any, server: str | None) -> AsyncIterator[Offers]:
    """Of a process that hears of what it is given."""
    if server is None:
        yield house.offers
        return
    wakeups = PostgresWakeups(server, WORK, house.offers)
    await wakeups.bell().wait(5)
    yield house.offers
    await wakeups.close()


async def stored(house: Any, many: int = 1, **wishes: Any) -> list[UUID]:
    """All in one step, due at once unless wished otherwise."""
    now = house.time.now()
    person = house.events.person("acme", "ada@example.com")
    made = [notification(uuid4(), **({"person": person, "now": now} | wishes)) for _ in range(many)]
    await house.events.save(*made)
    return [each.id for each in made]


async def leased(house: Any) -> list[UUID]:
    return ids(await house.due.lease(EMAIL, 1_000, 4_000, MINUTE))


def ids(leases: list[Lease]) -> list[UUID]:
    return sorted(lease.notification for lease in leases)


async def test_what_nobody_offered_to_take_is_leased_as_ever(house, offers):
    assert await stored(house) == await leased(house)
    assert await offers.taken(EMAIL, 0.05) == []


async def test_what_is_stored_after_an_offer_is_leased_in_the_same_step(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    given = await stored(house, 3)
    assert await leased(house) == []
    (mail,) = await house.due.backlog()
    assert (mail.due, mail.held) == (0, 3)
    assert ids(await offers.taken(EMAIL, 5)) == sorted(given)


async def test_what_waited_before_the_offer_waits_for_a_lease(house, offers):
    waiting = await stored(house)
    await offers.make(EMAIL, "daily", 40, MINUTE)
    assert await leased(house) == waiting


async def test_it_is_a_lease_like_any_other(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    await stored(house, 2)
    first, second = await offers.taken(EMAIL, 5)
    assert await house.due.renew([first, second], MINUTE) == [first, second]
    await house.due.release([first])
    assert await leased(house) == [first.notification]
    await house.due.drop([second])
    assert (await house.due.backlog())[0].held == 1


async def test_it_lapses_as_the_offer_said(house, offers):
    await offers.make(EMAIL, "daily", 40, SHORT)
    given = await stored(house)
    assert await house.time.until(lambda: leased(house)) == given


async def test_each_is_answered_once_however_often_it_is_offered(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    given = await stored(house)
    await offers.make(EMAIL, "daily", 40, MINUTE)
    assert ids(await offers.taken(EMAIL, 5)) == given
    await offers.make(EMAIL, "daily", 40, MINUTE)
    assert await offers.taken(EMAIL, 0.1) == []
    assert await offers.withdraw(EMAIL) == []


async def test_after_some_seconds_an_offer_stands_no_longer(house, offers):
    await offers.make(EMAIL, "free", 2_000, MINUTE)

    async def one_is_left() -> list[UUID]:
        await stored(house)
        return await leased(house)

    assert await house.time.until(one_is_left)


async def test_what_was_withdrawn_takes_nothing_more_and_answers_what_it_took(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    given = await stored(house)
    assert ids(await offers.withdraw(EMAIL)) == given
    assert await stored(house) == await leased(house)
    assert await offers.taken(EMAIL, 0.05) == []


async def test_an_offer_counts_as_spent_and_what_it_did_not_get_no_longer(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    await stored(house, 3)
    assert await house.budget.take("daily", 1_000) == 90
    await offers.withdraw(EMAIL)
    assert await house.budget.take("daily", 1_000) == 7


async def test_an_offer_that_is_made_again_gives_back_what_the_one_before_did_not_get(house, offers):
    for _ in range(30):
        await offers.make(EMAIL, "daily", 40, MINUTE)
    assert await house.budget.take("daily", 1_000) == 90


async def test_nothing_is_offered_for_more_than_the_provider_may_be_asked(house, offers):
    await offers.make(EMAIL, "slow", 20, MINUTE)
    assert await stored(house) == await leased(house)
    assert await house.budget.take("slow", 10) == 2


async def test_nothing_is_taken_for_a_provider_that_is_paused_meanwhile(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    await house.budget.pause("daily", MINUTE, "throttled")
    assert await stored(house) == await leased(house)


async def test_no_more_is_given_than_a_quarter_of_the_window(house, offers):
    await offers.make(EMAIL, "daily", 16, MINUTE)
    await stored(house, 3)
    assert len(await stored(house, 2)) == len(await leased(house))
    await stored(house, 1)
    assert await leased(house) == []


async def test_no_more_is_given_than_half_of_the_window_together_with_what_is_held(house, offers):
    for _ in range(2):
        await offers.make(EMAIL, "daily", 16, MINUTE)
        await stored(house, 4)
    assert await leased(house) == []
    await offers.make(EMAIL, "daily", 16, MINUTE)
    assert await stored(house) == await leased(house)
    await house.due.drop(await offers.taken(EMAIL, 5))
    await offers.make(EMAIL, "daily", 16, MINUTE)
    await stored(house)
    assert await leased(house) == []


async def test_what_is_offered_counts_as_held_in_each_lane(house, offers):
    await stored(house, 9)
    await offers.make(EMAIL, "daily", 16, MINUTE)
    assert len(await house.due.lease(EMAIL, 20, 16, MINUTE)) == 4
    await stored(house, 4)
    assert await house.due.lease(EMAIL, 20, 16, MINUTE) == [], "the tenant holds half of the window"
    await stored(house, 9, tenant="north")
    assert len(await house.due.lease(EMAIL, 20, 16, MINUTE)) == 8
    assert await house.due.lease(EMAIL, 20, 16, MINUTE) == []


@pytest.mark.parametrize("window", [1, 2, 3])
async def test_of_a_window_that_has_no_quarter_nothing_is_given(house, offers, window):
    await offers.make(EMAIL, "daily", window, MINUTE)
    given = await stored(house)
    assert [lease.notification for lease in await house.due.lease(EMAIL, 10, window, MINUTE)] == given


async def test_what_is_due_later_or_goes_into_a_digest_or_is_tried_again_is_leased_when_it_is_due(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    now = house.time.now()
    await stored(house, scheduled_at=now + MINUTE)
    gathered = notification(uuid4(), person=house.events.person("acme", "ada@example.com"), now=now)
    gathered.wait(Reason.DIGEST, now, now=now, by="key:k1", bundle=uuid4())
    await house.events.save(gathered)
    assert await leased(house) == [gathered.id]
    assert await offers.taken(EMAIL, 0.05) == []


async def test_what_failed_waits_for_its_next_try(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    (given,) = await stored(house)
    await offers.taken(EMAIL, 5)
    it, now = await house.events.get(Notification, given), house.time.now()
    attempted(it, now).record(Retryable(Reason.PROVIDER_ERROR), POLICY, luck=0.5, now=now, by="worker")
    await house.events.save(it)
    assert await offers.taken(EMAIL, 0.05) == []
    (mail,) = await house.due.backlog()
    assert (mail.due, mail.later, mail.held) == (0, 1, 0)


async def test_what_is_tried_again_by_hand_is_leased_though_it_was_given_before(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    (given,) = await stored(house)
    first = await offers.taken(EMAIL, 5)
    it, now = await house.events.get(Notification, given), house.time.now()
    attempted(it, now).record(Refused(Reason.INVALID_RECIPIENT, "no ada here"), POLICY, luck=0.5, now=now, by="worker")
    await house.events.save(it)
    assert await leased(house) == []
    it = await house.events.get(Notification, given)
    it.retry(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    assert await house.due.renew(first, MINUTE) == []
    assert await leased(house) == [given]


async def test_of_two_channels_in_one_step_each_goes_its_own_way(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    now, person = house.time.now(), house.events.person("acme", "ada@example.com")
    mail, hook = (notification(uuid4(), person=person, now=now, channel=each) for each in (EMAIL, HOOK))
    await house.events.save(mail, hook)
    assert ids(await offers.taken(EMAIL, 5)) == [mail.id]
    assert ids(await house.due.lease(HOOK, 10, 10, MINUTE)) == [hook.id]


async def test_a_lane_that_has_terms_is_never_given(house, offers):
    hooks = subscription(uuid4(), person=house.events.person("acme", "hooks"), now=house.time.now())
    await house.events.save(hooks)
    await offers.make(HOOK, "daily", 40, MINUTE)
    await stored(house, channel=HOOK, subscription=hooks.id, template=None)
    assert len(await house.due.lease(HOOK, 10, 40, MINUTE)) == 1


async def test_what_was_cancelled_before_it_was_worked_on_is_no_work(house, offers):
    await offers.make(EMAIL, "daily", 40, MINUTE)
    (given,) = await stored(house)
    it = await house.events.get(Notification, given)
    it.cancel(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    leases = await offers.taken(EMAIL, 5)
    assert await house.due.renew(leases, MINUTE) == []
