"""What the schedule promises to several dispatchers and their workers."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from application.ports.due_work import DueWork, Lease, Turn
from domain.breaker import SLOW_AFTER
from domain.notification import Notification
from domain.outcomes import Retryable
from domain.personal import Endpoint
from domain.subscription import WebhookSubscription
from domain.vocabulary import Channel, Priority, Reason
from tests.examples import POLICY, attempted, notification, subscription
from tests.fakes.chance import SetClock

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SHORT = timedelta(seconds=0.2)
EMAIL, HOOK = Channel.EMAIL, Channel.WEBHOOK


@pytest.fixture
def due(house: Any) -> DueWork:
    return house.due


async def waiting(house: Any, many: int = 1, *, since: timedelta = timedelta(0), **wishes: Any) -> list[UUID]:
    """Notifications that have been due for so long, or, where that is negative, will be."""
    now = house.time.now()
    if since:
        wishes["now"], wishes["scheduled_at"] = now - timedelta(days=1), now - since
    person = house.events.person("acme", "ada@example.com")
    made = [notification(uuid4(), **({"person": person, "now": now} | wishes)) for _ in range(many)]
    await house.events.save(*made)
    return [each.id for each in made]


def ids(leases: list[Lease]) -> list[UUID]:
    return [lease.notification for lease in leases]


async def test_nothing_is_leased_where_nothing_waits(due):
    assert await due.lease(EMAIL, 10, 10, MINUTE) == []
    assert await due.next_due(EMAIL) is None
    assert await due.backlog() == []


async def test_a_turn_leases_what_the_provider_may_be_asked_for_and_charges_it(house, due):
    await waiting(house, 5)
    turn = await due.lease_in_budget(EMAIL, "slow", 10, MINUTE)
    assert len(turn.leases) == 2
    assert turn.wait <= timedelta(0)
    assert (await due.lease_in_budget(EMAIL, "slow", 10, MINUTE)).leases == []
    assert await house.time.until(lambda: leased(due, "slow"))


async def leased(due: DueWork, provider: str) -> list[Lease]:
    return (await due.lease_in_budget(EMAIL, provider, 10, MINUTE)).leases


async def test_a_turn_charges_no_more_than_it_leases(house, due):
    await waiting(house, 3)
    assert len(await leased(due, "daily")) == 3
    assert await house.budget.take("daily", 1_000) == 97


async def test_a_turn_gets_nothing_for_a_provider_that_is_paused(house, due):
    await waiting(house, 3)
    await house.budget.pause("daily", MINUTE, "throttled")
    assert await leased(due, "daily") == []
    assert await house.budget.take("slow", 10) == 2


async def test_a_turn_says_when_there_will_be_more(house, due):
    assert await due.lease_in_budget(EMAIL, "daily", 2, MINUTE) == Turn([], None)
    await waiting(house, 3)
    crowded = await due.lease_in_budget(EMAIL, "daily", 2, MINUTE)
    assert (len(crowded.leases), crowded.wait <= timedelta(0)) == (1, True)  # a lane gets half of the window
    await due.lease_in_budget(EMAIL, "daily", 10, MINUTE)
    await waiting(house, since=-MINUTE)
    turn = await due.lease_in_budget(EMAIL, "daily", 10, MINUTE)
    assert turn.leases == []
    assert SHORT < turn.wait <= MINUTE


async def test_many_dispatchers_taking_turns_hold_no_more_than_the_window_allows(house, due):
    await waiting(house, 20)
    turns = await asyncio.gather(*[due.lease_in_budget(EMAIL, "daily", 10, MINUTE) for _ in range(5)])
    assert sum(len(turn.leases) for turn in turns) == 5


async def test_what_is_leased_is_nobody_elses(house, due):
    first, second = await waiting(house, 2)
    (one,) = await due.lease(EMAIL, 1, 10, MINUTE)
    (two,) = await due.lease(EMAIL, 5, 10, MINUTE)
    assert {one.notification, two.notification} == {first, second}
    assert one.token != two.token
    assert await due.lease(EMAIL, 5, 10, MINUTE) == []


async def test_a_channel_leases_its_own_work_only(house, due):
    await waiting(house, 1, channel=Channel.SMS)
    assert await due.lease(EMAIL, 10, 10, MINUTE) == []
    (lease,) = await due.lease(Channel.SMS, 10, 10, MINUTE)
    assert lease.channel is Channel.SMS


async def test_who_has_waited_longest_comes_first(house, due):
    middle, last, first = [await waiting(house, since=MINUTE * minutes) for minutes in (3, 2, 4)]
    assert ids(await due.lease(EMAIL, 2, 10, MINUTE)) == first + middle
    assert ids(await due.lease(EMAIL, 2, 10, MINUTE)) == last


async def test_the_more_urgent_come_first(house, due):
    by_priority = {
        priority: (await waiting(house, 1, priority=priority))[0]
        for priority in (Priority.LOW, Priority.MEDIUM, Priority.CRITICAL, Priority.HIGH)
    }
    leased = ids(await due.lease(EMAIL, 10, 10, MINUTE))
    assert leased == [by_priority[priority] for priority in Priority]


async def test_those_that_waited_for_long_overtake_the_more_urgent(house, due):
    (low,) = await waiting(house, 1, since=timedelta(minutes=21), priority=Priority.LOW)
    (medium,) = await waiting(house, 1, since=timedelta(minutes=2), priority=Priority.MEDIUM)
    (critical,) = await waiting(house, 1, priority=Priority.CRITICAL)
    assert ids(await due.lease(EMAIL, 10, 10, MINUTE)) == [low, critical, medium]


async def test_tenants_take_turns(house, due):
    await waiting(house, 20, since=timedelta(minutes=10), tenant="loud")
    quiet = await waiting(house, 2, tenant="quiet")
    leased = ids(await due.lease(EMAIL, 6, 10, MINUTE))
    assert len(leased) == 6
    assert set(quiet) <= set(leased)


async def test_no_more_are_held_than_the_window_allows(house, due):
    for tenant in ("acme", "north"):
        await waiting(house, 10, tenant=tenant)
    assert len(await due.lease(EMAIL, 10, 8, MINUTE)) == 8
    assert await due.lease(EMAIL, 10, 8, MINUTE) == []
    assert len(await due.lease(EMAIL, 10, 11, MINUTE)) == 3


async def test_many_dispatchers_together_hold_no_more_than_the_window_allows(house, due):
    for tenant in ("acme", "north", "south"):
        await waiting(house, 20, tenant=tenant)
    lots = await asyncio.gather(*(due.lease(EMAIL, 10, 12, MINUTE) for _ in range(8)))
    assert sum(map(len, lots)) == 12


async def test_a_lease_that_lapsed_is_taken_again_under_another_token(house, due):
    (one,) = await waiting(house)
    (lapsed,) = await due.lease(EMAIL, 10, 1, SHORT)
    (taken,) = await house.time.until(lambda: due.lease(EMAIL, 10, 1, MINUTE))
    assert taken.notification == lapsed.notification == one
    assert await due.renew([lapsed], MINUTE) == []
    assert await due.renew([taken], MINUTE) == [taken]


async def test_a_lease_is_held_for_as_long_as_it_was_given_for(house, due):
    await waiting(house)
    begun = house.time.now()
    await due.lease(EMAIL, 10, 10, SHORT)
    await house.time.until(lambda: due.lease(EMAIL, 10, 10, MINUTE))
    assert house.time.now() - begun >= SHORT


async def test_a_renewed_lease_lasts_longer(house, due):
    await waiting(house)
    leases = await due.lease(EMAIL, 10, 10, SHORT)
    assert await due.renew(leases, MINUTE) == leases
    begun = house.time.now()
    await house.time.until(lambda: passed(house, begun + 2 * SHORT))
    assert await due.lease(EMAIL, 10, 10, MINUTE) == []


async def test_a_lease_is_renewed_only_if_it_would_not_last_long_enough(house, due):
    await waiting(house)
    leases = await due.lease(EMAIL, 10, 10, SHORT)
    begun = house.time.now()
    assert await due.renew(leases, MINUTE, enough=SHORT / 100) == leases
    await house.time.until(lambda: due.lease(EMAIL, 10, 10, SHORT / 100))
    assert house.time.now() - begun < MINUTE
    leases = await house.time.until(lambda: due.lease(EMAIL, 10, 10, SHORT))
    assert await due.renew(leases, MINUTE, enough=2 * SHORT) == leases
    begun = house.time.now()
    await house.time.until(lambda: passed(house, begun + 2 * SHORT))
    assert await due.lease(EMAIL, 10, 10, MINUTE) == []


async def test_only_those_still_held_are_renewed(house, due):
    await waiting(house, 3)
    held = await due.lease(EMAIL, 10, 10, MINUTE)
    stranger = Lease(held[0].notification, uuid4(), EMAIL)
    await due.drop(held[1:2])
    assert await due.renew([stranger, *held[1:]], MINUTE) == held[2:]
    assert await due.renew([], MINUTE) == []


async def test_what_is_released_is_due_again_at_once_and_in_its_old_place(house, due):
    first, _ = [await waiting(house, since=MINUTE * minutes) for minutes in (3, 2)]
    leases = await due.lease(EMAIL, 1, 10, MINUTE)
    await due.release(leases)
    assert ids(await due.lease(EMAIL, 1, 10, MINUTE)) == first
    assert await due.renew(leases, MINUTE) == []


async def test_only_the_holder_can_release(house, due):
    (one,) = await waiting(house)
    await due.lease(EMAIL, 10, 10, MINUTE)
    await due.release([Lease(one, uuid4(), EMAIL)])
    assert await due.lease(EMAIL, 10, 10, MINUTE) == []


async def test_what_is_released_for_later_is_nobodys_until_then(house, due):
    one, other = await waiting(house, 2)
    leases = {lease.notification: lease for lease in await due.lease(EMAIL, 2, 10, MINUTE)}
    await due.release([leases[one]], after=MINUTE)
    await due.release([leases[other]], after=SHORT)
    assert await due.renew([*leases.values()], MINUTE) == []
    assert await house.time.until(lambda: _given(due, other))
    assert await due.lease(EMAIL, 2, 10, MINUTE) == []
    assert timedelta(0) < (await due.next_due(EMAIL) or timedelta(0)) <= MINUTE


async def _given(due: DueWork, id: UUID) -> bool:
    return ids(await due.lease(EMAIL, 2, 10, MINUTE)) == [id]


async def test_what_is_set_aside_is_due_again_after_twice_as_long_each_time_and_an_hour_at_most(house, due):
    (ill,) = await waiting(house)
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        leases = await due.lease(EMAIL, 10, 10, MINUTE)
        assert ids(leases) == [ill]
        await due.set_aside(leases)
        assert await due.lease(EMAIL, 10, 10, MINUTE) == []
        assert await due.renew(leases, MINUTE) == []
        assert timedelta(seconds=-10) < await due.next_due(EMAIL) - minutes * MINUTE <= timedelta(0)
        await let_pass(house, minutes * MINUTE)


async def test_what_is_set_aside_is_counted_until_somebody_could_work_on_it(house, due):
    (ill,) = await waiting(house)
    await waiting(house, 2)
    await due.set_aside([lease for lease in await due.lease(EMAIL, 10, 10, MINUTE) if lease.notification == ill])
    (email,) = await due.backlog()
    assert (email.later, email.held, email.unreadable) == (1, 2, 1)
    assert await due.unreadable() == 1
    healed = await house.events.get(Notification, ill)
    now = house.time.now()
    attempted(healed, now).record(Retryable(Reason.PROVIDER_ERROR), POLICY, luck=0.5, now=now, by="worker")
    await house.events.save(healed)
    (email,) = await due.backlog()
    assert email.unreadable == await due.unreadable() == 0


async def test_only_the_holder_can_set_aside(house, due):
    (one,) = await waiting(house)
    await due.set_aside([Lease(one, uuid4(), EMAIL)])
    assert ids(await due.lease(EMAIL, 10, 10, MINUTE)) == [one]


async def test_what_is_dropped_is_never_due_again(house, due):
    await waiting(house)
    await due.drop(await due.lease(EMAIL, 10, 10, MINUTE))
    assert await due.next_due(EMAIL) is None


async def test_only_the_holder_can_drop(house, due):
    (one,) = await waiting(house)
    await due.drop([Lease(one, uuid4(), EMAIL)])
    assert ids(await due.lease(EMAIL, 10, 10, MINUTE)) == [one]


async def test_what_is_due_now_needs_no_wait(house, due):
    await waiting(house)
    assert await due.next_due(EMAIL) <= timedelta(0)
    assert await due.next_due(Channel.SMS) is None


async def test_what_is_due_later_says_when(house, due):
    await waiting(house, since=-MINUTE)
    assert timedelta(seconds=50) < await due.next_due(EMAIL) <= MINUTE
    assert await due.lease(EMAIL, 10, 10, MINUTE) == []


async def test_the_soonest_counts_also_when_it_is_a_lease_that_lapses(house, due):
    await waiting(house)
    await due.lease(EMAIL, 10, 10, timedelta(minutes=2))
    assert timedelta(seconds=100) < await due.next_due(EMAIL) <= timedelta(minutes=2)
    await waiting(house, since=-MINUTE)
    assert timedelta(seconds=50) < await due.next_due(EMAIL) <= MINUTE


async def test_what_comes_due_is_leased_when_its_time_has_come(house, due):
    wanted_at = house.time.now() + SHORT
    (one,) = await waiting(house, since=-SHORT)
    (lease,) = await house.time.until(lambda: due.lease(EMAIL, 10, 10, MINUTE))
    assert lease.notification == one
    assert house.time.now() >= wanted_at


async def test_the_backlog_counts_what_is_due_what_is_not_yet_and_what_is_held(house, due):
    await waiting(house, 3, since=timedelta(minutes=2))
    await waiting(house, 2, since=-timedelta(hours=1))
    await waiting(house, 1, channel=Channel.SMS)
    await due.lease(EMAIL, 1, 10, MINUTE)
    email, sms = await due.backlog()
    assert (email.channel, email.due, email.later, email.held) == ("email", 2, 2, 1)
    assert timedelta(minutes=2) <= email.oldest < timedelta(minutes=3)
    assert (sms.channel, sms.due, sms.later, sms.held) == ("sms", 1, 0, 0)


async def test_dispatchers_never_take_the_same(house, due):
    everything = await waiting(house, 100)
    lots = await asyncio.gather(*[due.lease(EMAIL, 15, 1_000, MINUTE) for _ in range(10)])
    leased = [id for lot in lots for id in ids(lot)]
    assert len(leased) == len(set(leased))
    leased += ids(await due.lease(EMAIL, 1_000, 1_000, MINUTE))
    assert sorted(leased) == sorted(everything)


async def let_pass(house: Any, duration: timedelta) -> None:
    """Where time goes by itself, the work is moved instead."""
    if isinstance(house.time.clock, SetClock):
        house.time.clock.move(duration)
    else:
        moved = "due_at = due_at - %(by)s, rank_at = rank_at - %(by)s"
        await house.database.rows(f"UPDATE schedule SET {moved}", {"by": duration})


async def age(house: Any, duration: timedelta) -> None:
    """The same for how long ago a call succeeded, and something was leased."""
    if isinstance(house.time.clock, SetClock):
        house.time.clock.move(duration)
    else:
        await house.database.rows("UPDATE lanes SET worked_at = worked_at - %(by)s", {"by": duration})
        await house.database.rows("UPDATE schedule SET leased_at = leased_at - %(by)s", {"by": duration})


async def test_no_tenant_holds_more_than_half_of_the_window_even_when_nobody_else_waits(house, due):
    await waiting(house, 20)
    assert len(await due.lease(EMAIL, 10, 9, MINUTE)) == 5
    assert await due.lease(EMAIL, 10, 9, MINUTE) == []
    quiet = await waiting(house, 3, tenant="quiet")
    assert sorted(ids(await due.lease(EMAIL, 10, 9, MINUTE))) == sorted(quiet)


async def test_one_that_waits_alone_goes_also_where_the_window_is_one(house, due):
    await waiting(house, 2)
    assert len(await due.lease(EMAIL, 10, 1, MINUTE)) == 1


async def endpoint(house: Any, *, proven: bool = True, **terms: Any) -> WebhookSubscription:
    """One of which a call has just succeeded, unless it is not to be proven."""
    person = house.events.person("acme", "webhook:1")
    it = subscription(uuid4(), person=person, now=house.time.now(), **terms)
    await house.events.save(it)
    if proven:
        await house.due.open_lane(HOOK, str(it.id))
    return it


async def change(house: Any, it: WebhookSubscription, **terms: Any) -> None:
    known = it.endpoint
    assert isinstance(known, Endpoint)
    wanted = msgspec.structs.replace(it.terms, **terms)
    now = house.time.now()
    it.update(wanted, person=known.person, url=known.url, headers={}, owner_email=None, now=now, by="key:k1")
    await house.events.save(it)


async def hooks(house: Any, to: WebhookSubscription, many: int = 1, **wishes: Any) -> list[UUID]:
    return await waiting(house, many, channel=HOOK, subscription=to.id, template=None, **wishes)


async def test_an_endpoint_gets_no_more_calls_at_a_time_than_it_takes(house, due):
    narrow, wide = await endpoint(house, concurrency=2), await endpoint(house, concurrency=50)
    of_narrow, _ = await hooks(house, narrow, 10), await hooks(house, wide, 10)
    leased = await due.lease(HOOK, 20, 20, MINUTE)
    assert len(leased) == 12
    mine = [lease for lease in leased if lease.notification in of_narrow]
    assert len(mine) == 2
    await due.drop(mine[:1])
    assert len(await due.lease(HOOK, 20, 20, MINUTE)) == 1


async def test_what_waits_for_an_endpoint_that_has_all_it_takes_makes_nobody_look(house, due):
    it = await endpoint(house, concurrency=1)
    await hooks(house, it, 2)
    (lease,) = await due.lease(HOOK, 10, 10, MINUTE)
    assert await due.next_due(HOOK) > MINUTE / 2
    await due.drop([lease])
    assert await due.next_due(HOOK) <= timedelta(0)


async def test_what_waits_for_one_that_is_tried_makes_nobody_look_until_that_has_ended(house, due):
    it = await endpoint(house, concurrency=5)
    await hooks(house, it, 2)
    await due.close_lane(HOOK, str(it.id), timedelta(0))
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 1
    assert await due.next_due(HOOK) > MINUTE / 2


async def test_a_lease_that_lapsed_waits_for_the_pace_too(house, due):
    await hooks(house, await endpoint(house, per_second=0.01), 2)
    await due.lease(HOOK, 10, 10, SHORT)
    begun = house.time.now()
    await house.time.until(lambda: passed(house, begun + 2 * SHORT))
    assert await due.next_due(HOOK) > MINUTE
    assert await due.lease(HOOK, 10, 10, MINUTE) == []


async def test_two_endpoints_of_one_tenant_take_turns(house, due):
    loud, quiet = await endpoint(house), await endpoint(house)
    await hooks(house, loud, 10, since=MINUTE)
    (one,) = await hooks(house, quiet)
    assert one in ids(await due.lease(HOOK, 2, 10, MINUTE))


async def test_an_endpoint_gets_no_more_calls_a_second_than_it_takes(house, due):
    slow = await endpoint(house, concurrency=50, per_second=2)
    await hooks(house, slow, 10)
    begun = house.time.now()
    assert len(await due.lease(HOOK, 10, 100, MINUTE)) == 1
    wait = await due.next_due(HOOK)
    assert timedelta(0) < wait <= timedelta(seconds=0.5)
    assert len(await house.time.until(lambda: due.lease(HOOK, 10, 100, MINUTE))) == 1
    assert house.time.now() - begun >= timedelta(seconds=0.4)


@pytest.mark.parametrize(("pace", "many"), [(100.0, 4), (None, 4), (0.002, 1)])
async def test_another_pace_counts_at_once(house, due, pace, many):
    it = await endpoint(house, concurrency=5, per_second=0.001)
    await hooks(house, it, 5)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 1
    await change(house, it, per_second=pace)
    assert await due.next_due(HOOK) <= timedelta(0)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == many


async def test_what_is_changed_beside_the_pace_leaves_the_pace_alone(house, due):
    it = await endpoint(house, per_second=0.001)
    await hooks(house, it, 2)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 1
    await change(house, it, concurrency=9)
    assert await due.lease(HOOK, 10, 10, MINUTE) == []


@pytest.mark.parametrize("rate", [1e-12, 1e-14, 1e-300])
async def test_a_pace_that_no_clock_could_tell_keeps_no_other_waiting(house, due, rate):
    never, other = await endpoint(house, per_second=rate), await endpoint(house)
    await hooks(house, never, 2)
    await hooks(house, other, 2)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 3
    assert await due.lease(HOOK, 10, 10, MINUTE) == []
    assert timedelta(0) < await due.next_due(HOOK) <= timedelta(days=1)


async def test_a_fast_endpoint_gets_a_tenth_of_a_second_s_worth_at_once(house, due):
    await hooks(house, await endpoint(house, concurrency=100, per_second=50), 20)
    assert len(await due.lease(HOOK, 20, 100, MINUTE)) == 5


async def test_what_is_for_a_paused_endpoint_is_held_until_it_is_resumed(house, due):
    it = await endpoint(house)
    await hooks(house, it, 2)
    it.pause(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    later = await hooks(house, it)
    assert await due.lease(HOOK, 10, 10, MINUTE) == []
    assert await due.next_due(HOOK) is None
    it.resume(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    assert await due.next_due(HOOK) <= timedelta(0)
    leased = ids(await due.lease(HOOK, 10, 10, MINUTE))
    assert len(leased) == 3
    assert set(later) <= set(leased)


async def test_what_a_paused_endpoint_holds_is_no_backlog(house, due):
    it, other = await endpoint(house), await endpoint(house)
    await hooks(house, it, 3, since=timedelta(hours=1))
    await hooks(house, other)
    it.pause(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    (backlog,) = await due.backlog()
    assert (backlog.due, backlog.later, backlog.held) == (1, 3, 0)
    assert backlog.oldest < MINUTE


async def test_a_lease_that_lapsed_on_a_paused_endpoint_makes_nobody_look_again(house, due):
    it = await endpoint(house)
    await hooks(house, it)
    await due.lease(HOOK, 10, 10, SHORT)
    it.pause(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    begun = house.time.now()
    await house.time.until(lambda: passed(house, begun + 2 * SHORT))
    assert await due.next_due(HOOK) is None
    assert await due.lease(HOOK, 10, 10, MINUTE) == []


async def test_what_is_for_a_deleted_endpoint_is_leased_to_be_told_so(house, due):
    it = await endpoint(house)
    it.pause(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    (one,) = await hooks(house, it)
    it.delete(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    assert ids(await due.lease(HOOK, 10, 10, MINUTE)) == [one]


async def test_what_is_for_a_deleted_endpoint_waits_for_none_of_its_terms(house, due):
    it = await endpoint(house, concurrency=1, per_second=0.001)
    await hooks(house, it, 5)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 1
    await due.close_lane(HOOK, str(it.id), MINUTE)
    it.delete(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    assert await due.next_due(HOOK) <= timedelta(0)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 4
    assert await due.closed_lanes(HOOK, [str(it.id)]) == set()


async def test_a_closed_lane_is_tried_by_one_at_a_time_when_its_time_is_over_and_goes_on_when_it_is_opened(house, due):
    it = await endpoint(house)
    lane = str(it.id)
    await hooks(house, it, 4)
    await due.close_lane(HOOK, lane, SHORT)
    assert await due.closed_lanes(HOOK, [lane, "another"]) == {lane}
    assert timedelta(0) < await due.next_due(HOOK) <= SHORT
    assert await due.lease(HOOK, 10, 10, MINUTE) == []
    assert len(await house.time.until(lambda: due.lease(HOOK, 10, 10, MINUTE))) == 1
    assert await due.lease(HOOK, 10, 10, MINUTE) == []
    assert await due.closed_lanes(HOOK, [lane]) == {lane}
    await due.open_lane(HOOK, lane)
    assert await due.closed_lanes(HOOK, [lane]) == set()
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 3


async def test_a_lane_that_is_closed_again_stays_closed_for_the_longer_time(house, due):
    it = await endpoint(house)
    await hooks(house, it)
    await due.close_lane(HOOK, str(it.id), MINUTE)
    await due.close_lane(HOOK, str(it.id), SHORT)
    assert await due.next_due(HOOK) > MINUTE / 2


async def test_all_that_are_only_tried_hold_no_more_than_a_quarter_of_the_window(house, due):
    for _ in range(6):
        it = await endpoint(house)
        await hooks(house, it, since=MINUTE)
        await due.close_lane(HOOK, str(it.id), timedelta(0))
    assert len(await due.lease(HOOK, 10, 8, MINUTE)) == 2
    assert await due.lease(HOOK, 10, 8, MINUTE) == []
    await hooks(house, await endpoint(house), 4)
    assert len(await due.lease(HOOK, 10, 8, MINUTE)) == 4


async def test_an_endpoint_of_which_nothing_has_succeeded_yet_gets_one_call_at_a_time(house, due):
    it = await endpoint(house, proven=False, concurrency=5)
    await hooks(house, it, 6)
    assert len(await due.lease(HOOK, 20, 20, MINUTE)) == 1
    assert await due.lease(HOOK, 20, 20, MINUTE) == []
    assert await due.next_due(HOOK) > MINUTE / 2
    assert await due.closed_lanes(HOOK, [str(it.id)]) == set()
    await due.open_lane(HOOK, str(it.id))
    assert len(await due.lease(HOOK, 20, 20, MINUTE)) == 4


async def test_a_success_speaks_for_an_endpoint_for_five_minutes(house, due):
    it = await endpoint(house, concurrency=5)
    await hooks(house, it, 6)
    await age(house, timedelta(minutes=4))
    assert len(await due.lease(HOOK, 2, 20, MINUTE)) == 2
    await age(house, timedelta(minutes=1))
    assert len(await due.lease(HOOK, 20, 20, MINUTE)) <= 1


async def test_all_those_without_a_success_hold_no_more_than_a_quarter_of_the_window(house, due):
    for _ in range(6):
        await hooks(house, await endpoint(house, proven=False), since=MINUTE)
    assert len(await due.lease(HOOK, 10, 8, MINUTE)) == 2
    assert await due.lease(HOOK, 10, 8, MINUTE) == []
    await hooks(house, await endpoint(house), 4)
    assert len(await due.lease(HOOK, 10, 8, MINUTE)) == 4


async def test_an_endpoint_that_lets_calls_wait_gets_one_at_a_time_beside_those_until_they_have_ended(house, due):
    it = await endpoint(house, concurrency=5)
    await hooks(house, it, 8)
    slow = await due.lease(HOOK, 2, 20, 10 * MINUTE)
    await age(house, SLOW_AFTER - SECOND)
    assert len(await due.lease(HOOK, 1, 20, 10 * MINUTE)) == 1
    await age(house, SECOND)
    assert await due.lease(HOOK, 20, 20, 10 * MINUTE) == []
    assert await due.next_due(HOOK) > MINUTE
    await age(house, SLOW_AFTER - SECOND)
    assert len(await due.lease(HOOK, 20, 20, 10 * MINUTE)) == 1
    await due.drop(slow)
    await age(house, SECOND - SLOW_AFTER)
    assert len(await due.lease(HOOK, 20, 20, 10 * MINUTE)) == 3


async def test_an_endpoint_that_lets_all_wait_that_it_takes_gets_no_more(house, due):
    await hooks(house, await endpoint(house, concurrency=2), 4)
    assert len(await due.lease(HOOK, 20, 20, 10 * MINUTE)) == 2
    await age(house, SLOW_AFTER)
    assert await due.lease(HOOK, 20, 20, 10 * MINUTE) == []


async def test_many_that_let_calls_wait_leave_room_for_those_that_do_not(house, due):
    for _ in range(8):
        await hooks(house, await endpoint(house, concurrency=5), 5, since=MINUTE)
    assert len(await due.lease(HOOK, 8, 20, 10 * MINUTE)) == 8
    await age(house, SLOW_AFTER)
    assert len(await due.lease(HOOK, 20, 20, 10 * MINUTE)) == 2
    await hooks(house, await endpoint(house, concurrency=50), 20)
    assert len(await due.lease(HOOK, 20, 20, 10 * MINUTE)) == 10


async def test_slow_work_without_terms_goes_on_as_before(house, due):
    await waiting(house, 3)
    assert len(await due.lease(EMAIL, 1, 10, 10 * MINUTE)) == 1
    await age(house, 2 * SLOW_AFTER)
    assert len(await due.lease(EMAIL, 10, 10, 10 * MINUTE)) == 2


async def test_those_that_are_tried_take_no_place_of_those_that_are_new(house, due):
    for _ in range(6):
        it = await endpoint(house)
        await hooks(house, it, since=MINUTE)
        await due.close_lane(HOOK, str(it.id), timedelta(0))
    assert len(await due.lease(HOOK, 10, 8, MINUTE)) == 2
    (new,) = await hooks(house, await endpoint(house, proven=False))
    assert ids(await due.lease(HOOK, 10, 8, MINUTE)) == [new]


async def test_who_has_no_terms_is_not_closed(house, due):
    await waiting(house, 2)
    await due.close_lane(EMAIL, "acme", MINUTE)
    assert await due.closed_lanes(EMAIL, ["acme"]) == set()
    assert len(await due.lease(EMAIL, 10, 10, MINUTE)) == 2


async def test_a_call_that_fails_after_its_subscription_was_deleted_leaves_no_closed_lane(house, due):
    it = await endpoint(house)
    await hooks(house, it, 2)
    it.delete(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    await due.close_lane(HOOK, str(it.id), MINUTE)
    assert await due.closed_lanes(HOOK, [str(it.id)]) == set()
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 2


async def test_who_resumes_begins_with_an_open_lane(house, due):
    it = await endpoint(house)
    await hooks(house, it, 2)
    await due.close_lane(HOOK, str(it.id), MINUTE)
    it.pause(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    it.resume(now=house.time.now(), by="key:k1")
    await house.events.save(it)
    assert len(await due.lease(HOOK, 10, 10, MINUTE)) == 2


async def bundled(
    house: Any, bundle: UUID, many: int = 1, *, wait: timedelta = timedelta(0), **wishes: Any
) -> list[Notification]:
    """What waits for its digest, the oldest first by their ids."""
    now = house.time.now()
    usual = {"person": house.events.person("acme", "ada@example.com"), "now": now}
    made = sorted((notification(uuid4(), **(usual | wishes)) for _ in range(many)), key=lambda each: each.id)
    for each in made:
        each.wait(Reason.DIGEST, now + wait, now=now, by="key:k1", bundle=bundle)
    await house.events.save(*made)
    return made


async def test_what_goes_in_one_digest_is_found_whoever_holds_it_and_due_or_not(house, due):
    bundle, other = uuid4(), uuid4()
    ours = await bundled(house, bundle, 2) + await bundled(house, bundle, wait=MINUTE)
    await bundled(house, other)
    await waiting(house)
    assert len(await due.lease(EMAIL, 10, 10, MINUTE)) == 4
    assert sorted(await due.bundled(bundle, 10)) == sorted(each.id for each in ours)
    assert len(await due.bundled(bundle, 2)) == 2
    assert await due.bundled(uuid4(), 10) == []


async def test_what_goes_in_one_digest_has_one_order_and_what_is_leased_first_is_its_first(house, due):
    bundle = uuid4()
    later = await bundled(house, bundle, wait=MINUTE, priority=Priority.HIGH)
    low = await bundled(house, bundle, 2, priority=Priority.LOW)
    high = await bundled(house, bundle, 2, priority=Priority.HIGH)
    order = [each.id for each in [*high, *low, *later]]
    (first,) = leases = await due.lease(EMAIL, 1, 10, MINUTE)
    assert first.notification in order[:2]
    assert await due.bundled(bundle, 10) == order
    await due.release(leases, after=timedelta(seconds=1))
    assert await due.bundled(bundle, 10) == order


async def test_what_was_set_aside_is_behind_what_goes_in_the_same_digest(house, due):
    made = await bundled(house, bundle := uuid4(), 2)
    first, second = [each.id for each in made]
    leases = {lease.notification: lease for lease in await due.lease(EMAIL, 2, 10, MINUTE)}
    await due.set_aside([leases[first]])
    assert await due.bundled(bundle, 10) == [second, first]


async def test_what_has_left_its_bundle_is_in_none(house, due):
    merged, called, ended, waits, away = await bundled(house, bundle := uuid4(), 5)
    now = house.time.now()
    digest = notification(uuid4(), person=merged.person, now=now, members=[merged.id])
    merged.merge(digest, now=now, by="worker")
    attempted(called, now).put_off(now=now, by="worker")
    ended.cancel(now=now, by="key:k1")
    waits.wait(Reason.QUIET_HOURS, now, now=now, by="worker")
    away.merge(digest, now=now, by="worker")
    await house.events.save(merged, called, ended, waits, away)
    assert await due.bundled(bundle, 10) == [waits.id]
    away.part(digest, now=now, by="worker")
    await house.events.save(away)
    assert await due.bundled(bundle, 10) == sorted([waits.id, away.id])
    assert called.id in ids(await due.lease(EMAIL, 10, 10, MINUTE))


async def passed(house: Any, moment: Any) -> bool:
    return house.time.now() >= moment
