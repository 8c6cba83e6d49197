"""What a worker does with what it was handed. In memory, with a provider that says what it is told to say."""

import asyncio
from collections.abc import Collection
from datetime import time, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from adapters.person_keys import WrongMasterKeyError
from application.carriers.email import EmailRules
from application.ports.due_work import Lease
from application.ports.email import Email
from application.ports.log import StoreUnavailableError
from application.ports.rate_limiter import Place
from application.processes import attempt
from domain.ids import suppression_id
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.outcomes import Misconfigured, Outcome, Retryable, Throttled
from domain.suppression import Suppression
from domain.template import Content
from domain.vocabulary import Channel, Ground, Purpose, Reason, Status
from domain.wall_clock import QuietHours
from tests.deliveries import DIGEST, MINUTE, House
from tests.examples import SENDER, attempted


@pytest.fixture
def house() -> House:
    return House()


async def test_the_intent_is_stored_before_the_call_and_the_outcome_after_it(house):
    it = await house.accept()
    await house.work()
    history = [type(recorded.event).__name__ for recorded in await house.events.history(it.id)]
    assert history == ["Queued", "Rendered", "Sent"]
    assert (await house.now(it)).provider_id == "re_1"


async def test_what_cannot_be_rendered_just_now_is_sent_when_its_lease_has_lapsed(house):
    it = await house.accept()
    house.words.away = True
    await house.work()
    assert (await house.now(it)).status is Status.PENDING
    house.words.away = False
    await house.work()
    assert house.provider.calls == []
    house.clock.move(2 * MINUTE)
    await house.work()
    assert (await house.now(it)).status is Status.SENT


async def test_a_secret_goes_to_the_reader_and_nowhere_else(house):
    it = await house.accept()
    await house.work()
    ((_, email),) = house.provider.calls
    assert "s3cret" in email.subject
    assert "s3cret" in email.text
    rendered: Any = (await house.events.history(it.id))[1].event
    assert "s3cret" not in rendered.personal.subject + rendered.personal.preview


async def test_the_provider_is_told_what_its_reports_are_about(house):
    it = await house.accept()
    await house.work()
    ((_, email),) = house.provider.calls
    assert email.tags == {"notification_id": str(it.id), "generation": "1", "type": it.type}


async def test_all_attempts_of_a_generation_are_the_same_bytes_under_the_same_key(house):
    house.provider.says = [Retryable(Reason.PROVIDER_ERROR)]
    await house.accept()
    await house.work()
    house.clock.move(2 * MINUTE)
    moved = EmailRules(sender=Mailbox("new@acme.example"))
    await house.work(house.delivery(moved))
    first, second = house.provider.calls
    assert first == second


async def test_a_retry_by_hand_has_a_key_of_its_own(house):
    house.provider.says = [Retryable(Reason.PROVIDER_ERROR)] * 3
    it = await house.accept()
    for _ in range(3):
        await house.work()
        house.clock.move(5 * MINUTE)
    failed = await house.now(it)
    assert failed.status is Status.FAILED
    failed.retry(now=house.clock.now(), by="key:k1")
    await house.events.save(failed)
    await house.work()
    keys = [key for key, _ in house.provider.calls]
    assert len(set(keys[:3])) == 1
    assert keys[3] not in keys[:3]
    assert (await house.now(it)).status is Status.SENT


async def test_what_needed_no_call_costs_no_budget(house):
    assert await house.budget.take("resend", 8) == 8
    for expires_at in (house.clock.now() + timedelta(seconds=1), None):
        await house.accept(expires_at=expires_at)
    house.clock.move(timedelta(seconds=2))
    assert await house.budget.take("resend", 2) == 2
    await house.work()
    assert await house.budget.take("resend", 5) == 1


async def test_after_a_provider_asked_for_patience_no_other_call_of_the_same_task_is_begun(house):
    house.provider.says = [Throttled(MINUTE)]
    for _ in range(3):
        await house.accept()
    one_at_a_time = EmailRules(sender=Mailbox("hello@acme.example"), concurrency=1)
    await house.work(house.delivery(one_at_a_time))
    assert len(house.provider.calls) == 1


async def test_a_sender_ends_by_its_own_deadline(house):
    """It knows that nothing was sent, where the worker could only say that nobody knows."""

    async def hangs(email: Email, key: str | None) -> Outcome:
        await asyncio.sleep(0.1)
        return Retryable(Reason.TIMEOUT)

    house.provider.send = hangs
    it = await house.accept()
    await house.work(house.delivery(EmailRules(sender=SENDER, deadline=timedelta(milliseconds=100))))
    assert (await house.now(it)).may_have_gone_out is False


async def test_a_sender_that_never_ends_is_left_alone_after_the_deadline(house):
    async def hangs(email: Email, key: str | None) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    house.provider.send = hangs
    it = await house.accept()
    await house.work(house.delivery(EmailRules(sender=SENDER, deadline=timedelta(milliseconds=1))))
    assert (await house.now(it)).may_have_gone_out is True


@pytest.mark.parametrize("says", [Throttled(MINUTE), Misconfigured(MINUTE)])
async def test_a_provider_that_cannot_now_is_paused_and_no_attempt_is_used_up(house, says):
    house.provider.says = [says]
    it = await house.accept()
    await house.work()
    assert await house.budget.take("resend", 1) == 0
    deferred = await house.now(it)
    assert (deferred.status, deferred.attempts) == (Status.DEFERRED, 0)


@pytest.mark.parametrize("says", [Throttled(MINUTE), Misconfigured(MINUTE)])
async def test_what_a_provider_said_is_recorded_though_the_pause_cannot_be_stored(house, monkeypatch, says):
    house.provider.says = [says]
    it = await house.accept(purpose=Purpose.MARKETING)
    house.provider.key_lifetime = None

    async def away(*_: Any) -> None:
        """Not before the outcome is recorded, which does not wait for it."""
        while (await house.now(it)).in_flight:  # noqa: ASYNC110 - the log in memory rings no bell
            await asyncio.sleep(0)
        raise StoreUnavailableError

    monkeypatch.setattr(house.budget, "pause", away)
    async with asyncio.timeout(10):
        await house.work()
    deferred = await house.now(it)
    assert (deferred.status, deferred.attempts, deferred.may_have_gone_out) == (Status.DEFERRED, 0, False)
    assert len(house.provider.calls) == 1


async def test_a_key_in_use_pauses_its_own_message_only(house):
    house.provider.says = [Throttled(MINUTE, only_this=True)]
    await house.accept()
    await house.work()
    assert await house.budget.take("resend", 1) == 1


async def test_what_came_too_late_is_not_sent(house):
    it = await house.accept(expires_at=house.clock.now() + MINUTE)
    house.clock.move(2 * MINUTE)
    await house.work()
    assert (await house.now(it)).status is Status.EXPIRED
    assert house.provider.calls == []


async def test_what_was_cancelled_after_it_was_handed_out_is_not_sent(house):
    it = await house.accept()
    leases = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
    known = await house.now(it)
    assert known.cancel(now=house.clock.now(), by="key:k1")
    await house.events.save(known)
    await house.delivery().deliver(Channel.EMAIL, leases)
    assert house.provider.calls == []


async def test_a_lease_that_somebody_else_holds_now_is_left_alone(house):
    await house.accept()
    lapsed = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
    house.clock.move(2 * MINUTE)
    assert await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
    await house.delivery().deliver(Channel.EMAIL, lapsed)
    assert house.provider.calls == []


@pytest.mark.parametrize(("age", "asked"), [(0, 0), (30, 1)])
async def test_what_this_process_took_just_now_is_not_asked_for_again(house, monkeypatch, age: float, asked: int):
    """What has lain for a quarter of its time is."""
    await house.accept()
    leases = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
    renewed, renew = [], house.due.renew

    async def counted(these, duration, *, enough=None):
        renewed.append(these)
        return await renew(these, duration, enough=enough)

    monkeypatch.setattr(house.due, "renew", counted)
    await house.delivery().deliver(Channel.EMAIL, [replace(lease, since=monotonic() - age) for lease in leases])
    assert len(renewed) == asked
    assert len(house.provider.calls) == 1


async def test_what_was_taken_before_the_store_was_away_is_asked_for_again(house, monkeypatch):
    """Somebody else may hold it by then."""
    await house.accept()
    leases = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
    read, tries = house.events.get_many, []

    async def away_at_first(kind, ids):
        tries.append(ids)
        if len(tries) == 1:
            house.clock.move(2 * MINUTE)
            assert await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
            raise StoreUnavailableError
        return await read(kind, ids)

    monkeypatch.setattr(house.events, "get_many", away_at_first)
    await house.delivery().deliver(Channel.EMAIL, [replace(lease, since=monotonic()) for lease in leases])
    assert len(tries) > 1
    assert house.provider.calls == []


async def test_no_call_begins_that_would_outlast_a_lease_taken_long_ago(house, monkeypatch):
    """As where the answer to the lease came late."""
    await house.accept()
    leases = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
    house.words.takes = 0.3
    rules = replace(house.rules, lease=timedelta(seconds=1), deadline=timedelta(seconds=0.4))
    old = [replace(lease, since=monotonic() - 0.2) for lease in leases]
    await house.delivery(rules).deliver(Channel.EMAIL, old)
    assert house.provider.calls == []


async def test_a_call_that_a_lost_worker_left_is_made_again_under_the_same_key(house):
    it = await house.accept()
    known = await house.now(it)
    attempted(known, house.clock.now(), provider="resend", key_until=house.clock.now() + timedelta(hours=24))
    await house.events.save(known)
    await house.work()
    await house.work()
    assert [key for key, _ in house.provider.calls] == [known.idempotency_key]
    assert (await house.now(it)).status is Status.SENT


async def test_what_cannot_be_rendered_ends_with_a_reason_and_no_call(house):
    house.words.broken = True
    it = await house.accept()
    await house.work()
    failed = await house.now(it)
    assert (failed.status, failed.reason_code) == (Status.FAILED, Reason.RENDER_FAILED)
    assert house.provider.calls == []


async def test_whose_reader_was_forgotten_is_not_sent(house):
    it = await house.accept()
    await house.events.forget("acme", "jane@example.com")
    await house.work()
    failed = await house.now(it)
    assert (failed.status, failed.reason_code) == (Status.FAILED, Reason.PERSON_ERASED)
    assert house.provider.calls == []


async def test_one_that_cannot_be_read_does_not_keep_the_others_waiting(house, monkeypatch):
    they = [await house.accept() for _ in range(5)]
    ill = they[2]
    read = house.events.get_many

    async def some_are_ill(kind: type[Notification], ids: Collection[UUID]) -> dict[UUID, Notification]:
        if ill.id in ids:
            raise WrongMasterKeyError
        found: dict[UUID, Notification] = await read(kind, ids)
        return found

    monkeypatch.setattr(house.events, "get_many", some_are_ill)
    await house.work()
    monkeypatch.undo()
    assert [(await house.now(it)).status for it in they] == [
        Status.PENDING if it is ill else Status.SENT for it in they
    ]


async def test_one_that_cannot_be_read_waits_longer_each_time_and_is_sent_once_it_can_be(house, monkeypatch):
    ill = await house.accept()

    async def unreadable(*_: Any) -> dict[UUID, Notification]:
        nonlocal tries
        tries += 1
        raise WrongMasterKeyError

    tries = 0
    with monkeypatch.context() as patch:
        patch.setattr(house.events, "get_many", unreadable)
        for _ in range(60):
            leases = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
            if leases:
                await house.delivery().deliver(Channel.EMAIL, leases)
            house.clock.move(MINUTE)
    assert tries == 6  # after 0, 1, 3, 7, 15 and 31 minutes
    assert [each.unreadable for each in await house.due.backlog()] == [1]
    house.clock.move(60 * MINUTE)
    await house.work()
    assert (await house.now(ill)).status is Status.SENT
    assert await house.due.backlog() == []


async def test_a_worker_that_stops_gives_back_what_it_has_not_begun(house):
    await house.accept()
    stopping = house.delivery()
    stopping.stop()
    await house.work(stopping)
    assert house.provider.calls == []
    await house.work()
    assert len(house.provider.calls) == 1


def test_a_deadline_that_outlasts_half_of_the_lease_is_refused():
    with pytest.raises(ValueError, match="half"):
        EmailRules(sender=Mailbox("a@acme.example"), lease=MINUTE, deadline=MINUTE / 2)


async def test_a_message_that_fails_in_a_way_nobody_foresaw_does_not_harm_the_others_of_its_lot(house):
    bad, good = await house.accept(type="bad"), await house.accept()
    render = house.words.render

    async def rendered(type: str, *args: Any, **wishes: Any) -> Content:
        if type == "bad":
            raise OverflowError
        return await render(type, *args, **wishes)

    house.words.render = rendered
    assert await house.budget.take("resend", 2) == 2
    await house.work()
    assert (await house.now(good)).status is Status.SENT
    assert (await house.now(bad)).is_open
    assert await house.budget.take("resend", 10) == 9  # what was not called costs nothing


async def test_an_outcome_is_brought_to_a_store_that_takes_nothing_with_pauses_that_grow_to_a_second(
    house, monkeypatch
):
    it = await house.accept()
    save, sleep, pauses = house.events.save, asyncio.sleep, list[float]()

    async def without_space(*aggregates: Any, **wishes: Any) -> int:
        if house.provider.calls and len(pauses) < 8:
            raise StoreUnavailableError
        return await save(*aggregates, **wishes)

    async def noted(seconds: float) -> None:
        pauses.extend([seconds] if seconds else [])
        await sleep(0)

    monkeypatch.setattr(house.events, "save", without_space)
    monkeypatch.setattr(attempt.asyncio, "sleep", noted)
    await house.work()
    assert (await house.now(it)).status is Status.SENT
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


async def test_a_call_that_is_too_late_to_begin_is_taken_back_however_long_the_store_is_away(house, monkeypatch):
    """Else the next holder would have to take it for one that may have gone out."""
    it = await house.accept(purpose=Purpose.MARKETING)
    house.provider.key_lifetime = None
    monkeypatch.setattr(attempt, "_ASK_THE_STORE_EVERY", 0)
    loop, late, away, save = asyncio.get_running_loop(), [0.0], [2], house.events.save
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + late[0])

    async def slow(*aggregates: Any, **wishes: Any) -> int:
        if not late[0]:
            late[0] = 100.0  # the intent is stored, but only after the lease is as good as over
            return await save(*aggregates, **wishes)
        if away[0]:
            away[0] -= 1
            raise StoreUnavailableError
        return await save(*aggregates, **wishes)

    monkeypatch.setattr(house.events, "save", slow)
    await house.work()
    assert house.provider.calls == []
    known = await house.now(it)
    assert (known.in_flight, known.status, known.attempts) == (None, Status.DEFERRED, 0)
    assert house.log.noted == ["lease too short for the call"]


async def test_who_has_left_before_it_is_sent_gets_nothing(house):
    it = await house.accept()
    await house.leave()
    await house.work()
    found = await house.now(it)
    assert (found.status, found.reason_code) == (Status.SUPPRESSED, Reason.UNSUBSCRIBED)
    assert house.provider.calls == []
    assert found.due is None


async def test_who_leaves_while_it_is_rendered_gets_nothing(house, monkeypatch):
    it = await house.accept()
    render = house.words.render

    async def leaving(*args: Any, **kwargs: Any) -> Content:
        monkeypatch.undo()
        await house.leave()
        return await render(*args, **kwargs)

    monkeypatch.setattr(house.words, "render", leaving)
    await house.work()
    assert (await house.now(it)).reason_code is Reason.UNSUBSCRIBED
    assert house.provider.calls == []
    history = [type(recorded.event).__name__ for recorded in await house.events.history(it.id)]
    assert history == ["Queued", "Suppressed"], "no intent was stored"


async def test_what_changes_while_it_is_rendered_and_does_not_matter_is_looked_at_again_and_sent(house, monkeypatch):
    it = await house.accept(recipient_user_id="u-1")
    render = house.words.render

    async def choosing(*args: Any, **kwargs: Any) -> Content:
        monkeypatch.undo()
        await house.wish(language="de")
        return await render(*args, **kwargs)

    monkeypatch.setattr(house.words, "render", choosing)
    await house.work()
    assert (await house.now(it)).status is Status.SENT
    assert len(house.provider.calls) == 1


async def test_who_sleeps_by_now_gets_it_when_awake(house):
    it = await house.accept(recipient_user_id="u-1", time_zone="Europe/Berlin")
    await house.wish(quiet_hours=QuietHours(time(12), time(15)))  # it is 13:00 there
    await house.work()
    found = await house.now(it)
    assert (found.status, found.reason_code) == (Status.DEFERRED, Reason.QUIET_HOURS)
    assert found.due_at == house.clock.now() + timedelta(hours=2)
    assert house.provider.calls == []
    house.clock.move(timedelta(hours=2))
    await house.work()
    assert (await house.now(it)).status is Status.SENT


async def test_what_expires_while_its_reader_sleeps_is_never_sent(house):
    it = await house.accept(recipient_user_id="u-1", expires_at=house.clock.now() + timedelta(minutes=30))
    await house.wish(quiet_hours=QuietHours(time(11), time(15)))
    await house.work()
    house.clock.move(timedelta(minutes=30))
    await house.work()
    assert (await house.now(it)).status is Status.EXPIRED


async def test_another_attempt_asks_again(house):
    house.provider.says = [Retryable(Reason.PROVIDER_ERROR)]
    it = await house.accept()
    await house.work()
    await house.leave(Ground.HARD_BOUNCE)
    house.readers.forget(list(house.readers._known))
    house.clock.move(5 * MINUTE)
    await house.work()
    assert (await house.now(it)).reason_code is Reason.HARD_BOUNCE
    assert len(house.provider.calls) == 1


async def test_what_is_one_too_many_is_put_off_to_its_turn_and_then_sent(house):
    await house.limit(per_hour=1)
    first, second = await house.accept(), await house.accept()
    await house.work()
    waiting = [each for each in (await house.now(first), await house.now(second)) if each.sent_at is None]
    assert [(each.status, each.reason_code, each.limited_by) for each in waiting] == [
        (Status.DEFERRED, Reason.RATE_LIMITED, "user.per_hour")
    ]
    assert waiting[0].attempts == 0
    house.clock.move(waiting[0].due_at - house.clock.now())
    await house.work()
    assert len(house.provider.calls) == 2
    assert [type(r.event).__name__ for r in await house.events.history(waiting[0].id)] == [
        "Queued",
        "Deferred",
        "Rendered",
        "Sent",
    ]


async def test_what_is_tried_again_counts_once_and_what_is_sent_once_more_by_hand_counts_again(house):
    await house.limit(per_hour=1)
    house.provider.says = [Retryable(Reason.PROVIDER_ERROR)] * 3
    it = await house.accept()
    for _ in range(3):
        await house.work()
        house.clock.move(5 * MINUTE)
    assert len(house.provider.calls) == 3
    failed = await house.now(it)
    failed.retry(now=house.clock.now(), by="key:k1")
    await house.events.save(failed)
    await house.work()
    assert (await house.now(it)).deferred_for is Reason.RATE_LIMITED


async def test_what_its_provider_keeps_waiting_takes_no_place_meanwhile(house):
    await house.limit(per_hour=2)
    house.provider.says = [Throttled(MINUTE)]
    for _ in range(2):
        await house.accept()
    delivery = house.delivery(EmailRules(sender=Mailbox("hello@acme.example"), concurrency=1))
    for _ in range(5):
        await house.work(delivery)
    house.clock.move(2 * MINUTE)
    await house.work()
    assert len(house.provider.calls) == 3


async def advertised(house: House) -> Notification:
    """Of advertising one mail an hour to each reader, what is one too many being dropped."""
    await house.limit(per_hour=1)
    return await house.accept(purpose=Purpose.MARKETING, category="promotion")


async def test_an_intent_that_was_refused_as_stale_does_not_stand_behind_its_own_place(house):
    it = await advertised(house)
    render = house.words.render

    async def meanwhile(*said: Any, **named: Any) -> Content:
        house.words.render = render
        await house.leave(Ground.SOFT_BOUNCES)
        entry = await house.events.get(
            Suppression, suppression_id("acme", Channel.EMAIL, DIGEST("acme", Channel.EMAIL, "jane@example.com"))
        )
        assert entry.remove(None, source="api", now=house.clock.now(), by="key:k1")
        await house.events.save(entry)
        return await render(*said, **named)

    house.words.render = meanwhile
    await house.work()
    assert [type(r.event).__name__ for r in await house.events.history(it.id)] == ["Queued", "Rendered", "Sent"]


async def test_what_cannot_be_read_while_the_store_is_away_is_read_once_it_is_back(house):
    it = await house.accept()
    renew, tries = house.due.renew, []

    async def away(*given: Any, **named: Any) -> list[Lease]:
        tries.append(given)
        if len(tries) < 3:
            raise StoreUnavailableError
        return await renew(*given, **named)

    house.due.renew = away
    await house.work()
    assert (await house.now(it)).status is Status.SENT


async def test_what_could_not_be_begun_while_the_store_was_away_is_begun_once_it_is_back(house):
    """The others of its lot go meanwhile; nobody waits for a lease to lapse."""
    first, second = await house.accept(), await house.accept()
    save, tries = house.events.save, []

    async def away(*aggregates: Any, **named: Any) -> int:
        if aggregates[0].id == first.id and len(tries) < 2:
            tries.append(house.provider.calls[:])
            raise StoreUnavailableError
        return await save(*aggregates, **named)

    house.events.save = away
    await house.work()
    assert (await house.now(first)).status is (await house.now(second)).status is Status.SENT
    assert len(house.provider.calls) == 2


async def test_whoever_stops_does_not_wait_for_the_store(house):
    it = await house.accept()
    delivery = house.delivery(EmailRules(sender=Mailbox("hello@acme.example")))

    async def away(*_: Any, **__: Any) -> list[Lease]:
        delivery.stop()
        raise StoreUnavailableError

    house.due.renew = house.due.release = away
    await asyncio.wait_for(house.work(delivery), 5)
    assert (await house.now(it)).sent_at is None


async def test_what_was_left_when_the_store_went_away_does_not_stand_behind_its_own_place(house):
    it = await advertised(house)
    save = house.events.save

    async def away(*_: Any, **__: Any) -> int:
        house.events.save = save
        raise StoreUnavailableError

    house.events.save = away
    await house.work()
    house.clock.move(10 * MINUTE)
    await house.work()
    assert (await house.now(it)).status is Status.SENT


async def test_what_a_lost_worker_left_before_its_intent_does_not_stand_behind_its_own_place(house):
    it = await advertised(house)
    rendering = asyncio.Event()

    async def hangs(*_: Any, **__: Any) -> Content:
        rendering.set()
        await asyncio.Event().wait()
        raise AssertionError

    render, house.words.render = house.words.render, hangs
    lost = asyncio.create_task(house.work())
    await rendering.wait()
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    house.words.render = render
    house.clock.move(10 * MINUTE)
    await house.work()
    assert (await house.now(it)).status is Status.SENT


async def test_what_has_no_place_is_not_rendered_and_fills_no_place_of_a_call(house):
    await house.limit(per_hour=1)
    for _ in range(3):
        await house.accept()
    render, rendered = house.words.render, []

    async def counted(*said: Any, **named: Any) -> Content:
        rendered.append(said)
        return await render(*said, **named)

    house.words.render = counted
    await house.work()
    assert (len(rendered), len(house.provider.calls)) == (1, 1)


async def test_who_waits_for_the_limiter_keeps_nobody_from_being_called(house):
    """A limiter may take its time, and those of other tenants are not to feel it."""
    await house.limit(per_hour=1)
    limited, free = await house.accept(), await house.accept(tenant="globex")
    answered, called = asyncio.Event(), asyncio.Event()
    take, send = house.limiter.take, house.provider.send

    async def slow(*said: Any, **named: Any) -> Place:
        await answered.wait()
        return await take(*said, **named)

    async def sent(*said: Any) -> Outcome:
        called.set()
        return await send(*said)

    house.limiter.take, house.provider.send = slow, sent
    one_call = house.delivery(EmailRules(sender=Mailbox("hello@acme.example"), concurrency=1))
    working = asyncio.create_task(house.work(one_call))
    await called.wait()
    assert (await house.now(limited)).in_flight is None
    assert (await house.now(free)).in_flight
    answered.set()
    await working
    assert (await house.now(limited)).status is Status.SENT


async def test_to_look_for_rules_where_there_are_none_never_lets_others_go_first(house):
    """Not one await of it gives the loop away: a step of the coroutine ends it."""
    it = await house.accept()
    await house.work()
    with pytest.raises(StopIteration) as answer:
        house.limiting.too_many(it, house.clock.now()).send(None)
    assert answer.value.value is None
