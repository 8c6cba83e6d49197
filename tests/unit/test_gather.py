"""What waits for a digest goes out once: in it, or by itself, or not at all and for a reason."""

import asyncio
from datetime import time, timedelta

import pytest

from application.ports.log import ConflictError
from application.processes import follow, gather
from domain.notification import GoesWithDigestError, Notification
from domain.outcomes import Refused, Retryable, Throttled, Unknown
from domain.personal import Letter
from domain.preferences import Choice
from domain.receipts import ReceiptKind
from domain.vocabulary import Channel, Frequency, Priority, Purpose, Reason, Status
from domain.wall_clock import QuietHours
from tests.digests import CATEGORY, HOUR, HOURLY, MINUTE, TYPES, House, what

OFF = Choice(enabled=False)


@pytest.fixture
async def house() -> House:
    house = House()
    await house.wish()
    return house


async def test_what_its_reader_wants_by_the_hour_goes_out_at_its_end_as_one_message_in_order(house):
    sent = []
    for _ in range(3):
        sent.append(await house.accept())
        house.clock.move(7 * MINUTE)
    assert all((it.status, it.reason_code) == (Status.DEFERRED, Reason.DIGEST) for it in sent)
    await house.work_on()
    assert house.provider.mails == []
    await house.on_the_hour()
    (mail,) = house.provider.mails
    assert mail.text.split("\n") == [what(it) for it in sent]
    (digest,) = await house.digests()
    assert digest.members == tuple(it.id for it in sent)
    assert mail.tags["notification_id"] == str(digest.id)
    assert [(await house.now(it)).digest_id for it in sent] == [digest.id] * 3
    assert [(await house.now(it)).status for it in sent] == [Status.SENT] * 3


async def test_one_alone_is_sent_as_itself(house):
    it = await house.accept()
    await house.on_the_hour()
    (mail,) = house.provider.mails
    assert mail.text == f"All about {what(it)}"
    assert (await house.now(it)).digest_id is None
    assert await house.digests() == []


async def test_what_differs_in_what_readers_or_the_law_choose_by_is_not_mixed(house):
    await house.wish(categories={CATEGORY: HOURLY, "promotion": HOURLY})
    for more in ({}, {"category": "promotion"}, {"purpose": Purpose.MARKETING}, {"locale": "de"}):
        for _ in range(2):
            await house.accept(**more)
    await house.on_the_hour()
    digests = await house.digests()
    assert sorted((it.category, it.purpose, it.locale, len(it.members)) for it in digests) == [
        ("order", "marketing", "en", 2),
        ("order", "transactional", "de", 2),
        ("order", "transactional", "en", 2),
        ("promotion", "transactional", "en", 2),
    ]


async def test_a_digest_is_as_urgent_as_the_most_urgent_in_it_and_says_of_its_sender_what_the_newest_says(house):
    await house.accept(priority=Priority.HIGH, variables={"shop_name": "Old", "logo_url": "https://acme.example/logo"})
    await house.accept(
        priority=Priority.LOW, variables={"shop_name": "New"}, unsubscribe_url="https://acme.example/u/1"
    )
    await house.on_the_hour()
    (digest,) = await house.digests()
    assert digest.priority is Priority.HIGH
    assert isinstance(digest.letter, Letter)
    said = digest.letter.variables
    assert (said["sender_name"], said["logo_url"]) == ("New", "https://acme.example/logo")
    assert said["unsubscribe_url"] == digest.letter.unsubscribe_url == "https://acme.example/u/1"
    assert [item["preview"][:9] for item in said["messages"]] == ["All about"] * 2
    assert digest.recipient_user_id == "u-1"


@pytest.mark.parametrize(
    "more",
    [{"priority": Priority.CRITICAL}, {"category": "security"}, {"secrets": ["code"]}],
    ids=lambda more: next(iter(more)),
)
async def test_what_is_wanted_at_once_is_never_gathered(house, more):
    await house.wish(categories={CATEGORY: HOURLY, "security": HOURLY})
    it = await house.accept(**more)
    assert it.status is Status.PENDING
    await house.work_on()
    assert (await house.now(it)).status is Status.SENT


async def test_the_way_out_of_a_list_is_no_secret(house):
    assert (await house.accept(secrets=["unsubscribe_url"])).status is Status.DEFERRED


async def test_what_was_accepted_before_its_reader_chose_is_gathered_too(house):
    await house.wish(categories={})
    it = await house.accept()
    await house.wish()
    await house.work_on()
    waiting = await house.now(it)
    assert (waiting.reason_code, waiting.due_at) == (Reason.DIGEST, house.clock.now() + HOUR)


async def test_what_was_on_its_way_before_goes_on_by_itself(house):
    await house.wish(categories={})
    house.provider.says = [Retryable(Reason.PROVIDER_ERROR)]
    it = await house.accept()
    await house.work_on()
    await house.wish()
    house.clock.move(5 * MINUTE)
    await house.work_on()
    assert (await house.now(it)).status is Status.SENT


async def test_what_is_off_by_then_ends_by_its_reason_and_the_rest_goes(house):
    gone, *kept = [await house.accept(type) for type in TYPES]
    await house.wish(types={TYPES[0]: OFF})
    await house.on_the_hour()
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF
    assert house.got() == {what(it): 1 for it in kept}
    assert len(await house.digests()) == 1


async def test_what_is_wished_at_once_by_then_goes_by_itself(house):
    one, *others = [await house.accept(type) for type in TYPES]
    await house.wish(types={TYPES[0]: Choice(frequency=Frequency.IMMEDIATE)})
    await house.on_the_hour()
    assert (await house.now(one)).digest_id is None
    assert house.got() == {what(it): 1 for it in [one, *others]}
    assert [len(digest.members) for digest in await house.digests()] == [2]


async def test_quiet_hours_that_were_chosen_since_are_kept_and_then_it_goes_as_one(house):
    sent = [await house.accept() for _ in range(3)]
    await house.wish(quiet_hours=QuietHours(time(12, 30), time(15)))
    await house.on_the_hour()
    assert house.provider.mails == []
    assert {(await house.now(it)).reason_code for it in sent} == {Reason.QUIET_HOURS}
    house.clock.move(2 * HOUR)
    await house.work_on()
    assert len(house.provider.mails) == 1


async def test_what_has_expired_is_not_in_it(house):
    late = await house.accept(expires_at=house.clock.now() + HOUR + MINUTE)
    await house.accept()
    await house.accept()
    house.clock.move(HOUR + MINUTE)
    await house.work_on()
    assert (await house.now(late)).status is Status.EXPIRED
    assert [len(digest.members) for digest in await house.digests()] == [2]


async def test_what_would_have_expired_by_then_goes_at_once(house):
    it = await house.accept(expires_at=house.clock.now() + 20 * MINUTE)
    assert it.status is Status.PENDING
    await house.work_on()
    assert (await house.now(it)).status is Status.SENT


async def test_what_cannot_be_made_fails_by_itself(house):
    broken, *kept = [await house.accept(type) for type in TYPES]
    house.words.broken = {TYPES[0]}
    await house.on_the_hour()
    assert (await house.now(broken)).reason_code is Reason.RENDER_FAILED
    assert house.got() == {what(it): 1 for it in kept}


async def test_where_there_is_no_text_for_digests_each_goes_by_itself(house):
    sent = [await house.accept() for _ in range(3)]
    house.texts.missing = {"digest"}
    await house.on_the_hour()
    assert house.got() == {what(it): 1 for it in sent}
    assert await house.digests() == []


async def test_where_the_digest_itself_cannot_be_made_each_goes_by_itself(house):
    sent = [await house.accept(type) for type in TYPES]
    house.words.broken = {"digest"}
    await house.on_the_hour()
    assert house.got() == {what(it): 1 for it in sent}
    assert await house.digests() == []


ADDRESS, WAY_OUT = "Acme, 1 Road, Town", "https://notes.acme.example/u/1"


async def advertised(house: House) -> list[Notification]:
    """What shows all that advertising must, by itself: the address because it is in its text."""
    said = {"unsubscribe_url": WAY_OUT, "postal_address": ADDRESS}
    house.words.shows_imprint |= set(TYPES)
    for name in TYPES:
        await house.accept(name, purpose=Purpose.MARKETING, variables=said, unsubscribe_url=WAY_OUT)
    return await house.all()


async def test_a_digest_of_advertising_shows_the_address_of_the_service_where_no_sender_gives_one():
    house = House(ADDRESS)
    await house.wish()
    house.words.shows_imprint = {"digest"}
    for name in TYPES:
        await house.accept(name, purpose=Purpose.MARKETING, unsubscribe_url=WAY_OUT)
    await house.on_the_hour()
    (mail,) = house.provider.mails
    assert ADDRESS in mail.text


async def test_where_the_digest_would_not_show_what_the_law_asks_each_goes_by_itself():
    house = House(ADDRESS)
    await house.wish()
    sent = await advertised(house)
    await house.on_the_hour()
    assert house.got() == {what(it): 1 for it in sent}
    assert await house.digests() == []


@pytest.mark.parametrize("late", [True, False])
async def test_what_a_reader_chooses_about_a_type_named_digest_is_no_choice_about_what_is_in_one(house, late):
    sent = [await house.accept(type) for type in TYPES]
    if late:
        house.clock.move(HOUR)
        await house.work()
    await house.wish(types={"digest": OFF})
    await house.on_the_hour()
    assert len(house.provider.mails) == 1
    assert house.got() == {what(it): 1 for it in sent}


async def test_what_cannot_be_made_just_now_goes_when_its_lease_has_lapsed(house):
    sent = [await house.accept() for _ in range(2)]
    house.words.away = True
    await house.on_the_hour()
    assert "not gathered, left for later" in house.log.noted
    house.words.away = False
    house.clock.move(2 * MINUTE)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in sent}


async def test_more_than_fit_go_in_several(house, monkeypatch):
    monkeypatch.setattr(gather, "MOST_MEMBERS", 3)
    sent = [await house.accept() for _ in range(7)]
    await house.on_the_hour()
    assert [len(digest.members) for digest in await house.digests()] == [3, 3]
    assert house.got() == {what(it): 1 for it in sent}


async def test_two_who_hold_parts_of_it_make_one(house):
    sent = [await house.accept() for _ in range(8)]
    house.clock.move(HOUR)
    leases = await house.due.lease(Channel.EMAIL, 8, 20, MINUTE)
    workers = [house.worker(), house.worker(), house.worker()]
    parts = leases[:3], leases[3:5], leases[5:]
    await asyncio.gather(*(it.deliver(Channel.EMAIL, part) for it, part in zip(workers, parts, strict=True)))
    await house.work_on()
    assert len(await house.digests()) == 1
    assert house.got() == {what(it): 1 for it in sent}


async def test_many_that_are_held_in_many_parts_are_read_as_often_as_they_are_few(house, monkeypatch):
    monkeypatch.setattr(gather, "MOST_MEMBERS", 20)
    sent = [await house.accept() for _ in range(200)]
    reads, conflicts = await house.counted()
    house.clock.move(HOUR)
    parts = [await house.due.lease(Channel.EMAIL, 10, 1_000, MINUTE) for _ in range(20)]
    await asyncio.gather(*(house.worker().deliver(Channel.EMAIL, part) for part in parts))
    assert len(await house.digests()) == 10
    assert (len(reads), len(conflicts)) == (2 * len(sent), 0)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in sent}


async def test_who_does_not_hold_the_first_of_it_leaves_the_rest_for_a_moment(house):
    first, *_ = [await house.accept() for _ in range(6)]
    house.clock.move(HOUR)
    leases = await house.due.lease(Channel.EMAIL, 6, 20, MINUTE)
    assert leases[0].notification == first.id
    await house.delivery.deliver(Channel.EMAIL, leases[3:])
    assert await house.due.lease(Channel.EMAIL, 6, 20, MINUTE) == []
    house.clock.move(timedelta(seconds=1))
    assert len(await house.due.lease(Channel.EMAIL, 6, 20, MINUTE)) == 3
    assert await house.digests() == []


async def test_what_cannot_be_read_does_not_keep_those_that_wait_with_it(house):
    unread, *kept = [await house.accept() for _ in range(3)]
    house.unreadable = {unread.id}
    await house.on_the_hour()
    assert house.got() == {what(it): 1 for it in kept}
    house.unreadable = set()
    house.clock.move(2 * MINUTE)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in (unread, *kept)}


async def test_one_that_is_cancelled_before_is_not_in_it_and_afterwards_it_is_too_late(house):
    gone, *kept = [await house.accept() for _ in range(3)]
    assert gone.cancel(now=house.clock.now(), by="key:k1")
    await house.events.save(gone)
    house.clock.move(HOUR)
    await house.work()
    merged = await house.now(kept[0])
    assert merged.digest_id
    assert not merged.cancel(now=house.clock.now(), by="key:k1")
    await house.work_on()
    assert house.got() == {what(it): 1 for it in kept}


async def merged(house: House, count: int = 3) -> list[Notification]:
    """So many, in a digest that has not gone out yet."""
    sent = [await house.accept(type) for type in TYPES[:count]]
    house.clock.move(HOUR)
    await house.work()
    assert house.provider.mails == []
    (digest,) = await house.digests()
    assert len(digest.members) == count
    return sent


async def test_what_is_switched_off_after_the_merge_is_not_in_what_goes_out(house):
    gone, *kept = await merged(house)
    await house.wish(types={TYPES[0]: OFF})
    await house.work_on()
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF
    dissolved, digest = await house.digests()
    assert (dissolved.status, dissolved.reason_code) == (Status.SUPPRESSED, Reason.DISSOLVED)
    assert digest.members == tuple(it.id for it in kept)
    assert house.got() == {what(it): 1 for it in kept}
    assert {(await house.now(it)).status for it in kept} == {Status.SENT}


async def test_a_digest_whose_reader_has_left_ends_with_a_reason_for_each(house):
    sent = await merged(house)
    await house.leave()
    await house.work_on()
    assert house.provider.mails == []
    assert {(await house.now(it)).reason_code for it in sent} == {Reason.UNSUBSCRIBED}


async def test_who_leaves_at_the_very_moment_gets_nothing(house):
    """What was read of the reader's wishes is old by the time the intent is stored."""
    sent = await merged(house)
    render = house.words.render

    async def left_meanwhile(*args, **more):
        house.words.render = render
        await house.leave(told=False)
        return await render(*args, **more)

    house.words.render = left_meanwhile
    await house.work_on()
    assert house.provider.mails == []
    assert {(await house.now(it)).reason_code for it in sent} == {Reason.UNSUBSCRIBED}


async def untold_when_made(house: House, wishes: dict[str, Choice]) -> None:
    """When the next message is made these are the wishes, and this process does not know of it yet."""
    render = house.words.render

    async def wished_meanwhile(*args, **more):
        house.words.render = render
        await house.wish(types=wishes, told=False)
        return await render(*args, **more)

    house.words.render = wished_meanwhile


async def test_what_is_switched_off_at_the_very_moment_of_the_merge_is_not_merged(house):
    gone, *kept = [await house.accept(type) for type in TYPES]
    await untold_when_made(house, {TYPES[0]: OFF})
    await house.on_the_hour()
    (digest,) = await house.digests()
    assert digest.members == tuple(it.id for it in kept)
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF


async def test_a_digest_is_not_taken_apart_for_what_is_not_wished_any_more(house):
    sent = await merged(house)
    await house.wish(types={TYPES[0]: OFF})
    save = house.events.save

    async def wished_meanwhile(*aggregates, **more):
        house.events.save = save
        await house.wish(told=False)
        return await save(*aggregates, **more)

    house.events.save = wished_meanwhile
    await house.work_on()
    assert house.got() == {what(it): 1 for it in sent}
    assert len(await house.digests()) == 1


async def lost_after(house: House, ticks: int) -> bool:
    """Whether a worker that is lost after so many ticks of the loop had not been done before."""
    leases = await house.due.lease(Channel.EMAIL, 50, 100, MINUTE)
    task = asyncio.create_task(house.worker().deliver(Channel.EMAIL, leases))
    for _ in range(ticks):
        await asyncio.sleep(0)
    lost = task.cancel()
    await asyncio.wait([task])
    return lost


async def test_wherever_a_worker_is_lost_that_merges_or_parts_nothing_is_missing_and_nothing_there_twice():
    for parts in (False, True):
        ticks = 0
        while True:
            house = House()
            await house.wish()
            sent = [await house.accept(type) for type in TYPES]
            house.clock.move(HOUR)
            if parts:
                await house.work()
                await house.wish(types={TYPES[0]: OFF})
            lost = await lost_after(house, ticks)
            house.clock.move(2 * MINUTE)
            await house.work_on()
            assert house.got() == {what(it): 1 for it in (sent[1:] if parts else sent)}
            assert {(await house.now(it)).due for it in sent} == {None}
            if not lost:
                break
            ticks += 1
        assert ticks > 3


async def test_what_expires_before_a_second_attempt_is_taken_out(house):
    house.provider.says = [Throttled(30 * MINUTE, only_this=True)]
    late = await house.accept(expires_at=house.clock.now() + HOUR + 10 * MINUTE)
    kept = [await house.accept() for _ in range(2)]
    await house.on_the_hour()
    house.clock.move(40 * MINUTE)
    await house.work_on()
    assert (await house.now(late)).status is Status.EXPIRED
    assert house.got() == {what(it): 1 for it in kept}


async def test_a_digest_that_may_have_gone_out_is_not_taken_apart(house):
    house.provider.says = [Unknown()]
    sent = await merged(house)
    await house.work()
    await house.wish(types={TYPES[0]: OFF})
    house.clock.move(5 * MINUTE)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in sent}


async def test_members_end_as_their_digest_does(house):
    house.provider.says = [Refused(Reason.PROVIDER_REFUSED)]
    sent = await merged(house)
    await house.work_on()
    assert {((it := await house.now(each)).status, it.reason_code) for each in sent} == {
        (Status.FAILED, Reason.PROVIDER_REFUSED)
    }


@pytest.mark.parametrize(
    ("kinds", "status", "reason"),
    [
        ([ReceiptKind.DELIVERED], Status.DELIVERED, None),
        ([ReceiptKind.OPENED], Status.DELIVERED, None),
        ([ReceiptKind.SOFT_BOUNCED], Status.BOUNCED, Reason.SOFT_BOUNCE),
        ([ReceiptKind.SOFT_BOUNCED, ReceiptKind.DELIVERED], Status.DELIVERED, None),
        ([ReceiptKind.DELIVERED, ReceiptKind.BOUNCED], Status.BOUNCED, Reason.HARD_BOUNCE),
        ([ReceiptKind.REJECTED], Status.FAILED, Reason.PROVIDER_REJECTED_LATER),
    ],
)
async def test_what_is_reported_of_a_digest_is_known_of_its_members(house, kinds, status, reason):
    sent = await merged(house)
    await house.work_on()
    (digest,) = await house.digests()
    for kind in kinds:
        digest.receive(
            kind,
            provider="resend",
            provider_id=digest.provider_id,
            occurred_at=house.clock.now(),
            generation=None,
            detail="",
            now=house.clock.now(),
            by="provider:resend",
        )
        await house.events.save(digest)
        await house.follow()
    assert {((it := await house.now(each)).status, it.reason_code) for each in sent} == {(status, reason)}


async def test_to_follow_again_changes_nothing(house):
    await merged(house)
    await house.work_on()
    head = await house.events.head()
    house.place.at = 0
    await house.follow()
    assert await house.events.head() == head


async def two_digests(house: House) -> tuple[list[Notification], list[Notification]]:
    """What went out in two digests, of which nothing was told yet."""
    await house.wish(categories={CATEGORY: HOURLY, "promotion": HOURLY})
    some = [await house.accept() for _ in range(3)]
    others = [await house.accept(category="promotion") for _ in range(3)]
    house.clock.move(HOUR)
    await house.work()
    await house.work()
    return some, others


def counted_saves(house: House) -> list[int]:
    """How many aggregates each save is of, from now on."""
    save, saved = house.events.save, []

    async def counting(*aggregates, **more):
        saved.append(len(aggregates))
        return await save(*aggregates, **more)

    house.events.save = counting
    return saved


async def test_what_cannot_be_read_keeps_nobody_else_from_following(house):
    (unread, *some), others = await two_digests(house)
    house.unreadable = {unread.id}
    await house.follow()
    assert {(await house.now(it)).status for it in [*some, *others]} == {Status.SENT}
    assert house.log.noted.count("unreadable") == 1
    assert await house.troubles.known() == {"following": "messages of digests that cannot be read: 1"}
    assert house.place.at == await house.events.head() - 5


async def test_all_that_is_to_follow_is_one_save(house):
    await two_digests(house)
    saved = counted_saves(house)
    await house.follow()
    assert saved == [6]


async def test_saves_of_what_follows_have_an_end(house, monkeypatch):
    monkeypatch.setattr(follow, "_MEMBERS_AT_A_TIME", 5)
    some, others = await two_digests(house)
    saved = counted_saves(house)
    await house.follow()
    assert saved == [3, 3]
    assert {(await house.now(it)).status for it in [*some, *others]} == {Status.SENT}


async def test_who_keeps_changing_keeps_nobody_else_from_following(house):
    (restless, *_), others = await two_digests(house)
    save = house.events.save

    async def refused(*aggregates, **more):
        if any(it.id == restless.id for it in aggregates):
            raise ConflictError
        return await save(*aggregates, **more)

    house.events.save = refused
    with pytest.raises(ConflictError):
        await house.follow()
    assert {(await house.now(it)).status for it in others} == {Status.SENT}
    house.events.save = save
    await house.follow()
    assert (await house.now(restless)).status is Status.SENT


async def test_that_members_are_told_late_is_said_while_it_is_so(house, monkeypatch):
    monkeypatch.setattr(follow, "_BATCH", 1)
    await two_digests(house)
    said = []
    tell = house.troubles.tell

    async def telling(part, problem):
        said.append(part)
        await tell(part, problem)

    house.troubles.tell = telling
    await house.follow()
    assert set(said) == {"following"}
    assert await house.troubles.known() == {}


async def test_a_long_stretch_without_digests_is_not_looked_through_again(house):
    following = house.following()
    await following.catch_up(9_999)
    assert house.place.at == 0
    await following.catch_up(10_001)
    assert house.place.at == 10_001


async def failed(house: House) -> tuple[list[Notification], Notification]:
    """What is in a digest that was refused, and that."""
    house.provider.says = [Refused(Reason.PROVIDER_REFUSED)]
    sent = await merged(house)
    await house.work_on()
    (digest,) = await house.digests()
    assert digest.status is Status.FAILED
    return sent, digest


async def retried(house: House, digest: Notification) -> None:
    again = await house.now(digest)
    again.retry(now=house.clock.now(), by="key:k1")
    await house.events.save(again)


async def test_what_is_in_a_digest_that_failed_is_sent_again_with_it_and_never_by_itself(house):
    sent, digest = await failed(house)
    for each in sent:
        it = await house.now(each)
        with pytest.raises(GoesWithDigestError, match=str(digest.id)):
            it.retry(now=house.clock.now(), by="key:k1")
        assert it.pending_events == []
    await retried(house, digest)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in sent}
    assert {(await house.now(it)).status for it in sent} == {Status.SENT}


async def test_what_went_again_by_itself_in_an_older_log_does_not_go_with_its_digest_too(house):
    (one, *others), digest = await failed(house)
    alone = await house.now(one)
    about = {"tenant": "acme", "channel": Channel.EMAIL, "type": alone.type, "by": "key:k1"}
    now = house.clock.now()
    alone.trigger_event(
        Notification.Retried, **about, timestamp=now, generation=2, due_at=now, reason=Reason.RETRIED_BY_CALLER
    )
    await house.events.save(alone)
    await house.work_on()
    await retried(house, digest)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in [one, *others]}


@pytest.mark.parametrize("followed", [True, False])
async def test_a_digest_that_is_sent_again_by_hand_leaves_out_what_is_off_by_then(house, followed):
    (gone, *kept), digest = await failed(house)
    await house.wish(types={TYPES[0]: OFF})
    await retried(house, digest)
    if followed:
        await house.follow()
    await house.work_on()
    assert house.got() == {what(it): 1 for it in kept}
    assert {((it := await house.now(each)).status, it.reason_code) for each in kept} == {(Status.SENT, None)}
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF


async def test_what_bounced_with_its_digest_starts_anew_where_that_is_taken_apart(house):
    gone, *kept = await merged(house)
    await house.work_on()
    (digest,) = await house.digests()
    now = house.clock.now()
    about = {"provider": "resend", "provider_id": digest.provider_id, "generation": None, "detail": ""}
    digest.receive(ReceiptKind.SOFT_BOUNCED, **about, occurred_at=now, now=now, by="provider:resend")
    await house.events.save(digest)
    await house.follow()
    assert {(await house.now(it)).status for it in kept} == {Status.BOUNCED}
    await house.wish(types={TYPES[0]: OFF})
    await retried(house, digest)
    await house.work_on()
    assert {((it := await house.now(each)).status, it.bounced_at) for each in kept} == {(Status.SENT, None)}
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF


async def test_whether_a_digest_may_have_gone_out_is_asked_of_what_goes_out_now(house):
    """After a retry by hand nobody takes what goes out for a repetition, so there is nothing to be kept the same."""
    house.provider.says = [Unknown(Reason.TIMEOUT)]
    gone, *kept = [await house.accept(type, purpose=Purpose.MARKETING) for type in TYPES]
    house.provider.key_lifetime = None
    await house.on_the_hour()
    (digest,) = await house.digests()
    assert digest.status is Status.FAILED
    await house.wish(types={TYPES[0]: OFF})
    await retried(house, digest)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in kept}
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF


async def test_a_digest_is_not_taken_apart_while_it_cannot_be_told_what_is_in_it(house):
    gone, unread, kept = await merged(house)
    await house.wish(types={TYPES[0]: OFF})
    house.unreadable = {unread.id}
    await house.work_on()
    (digest,) = await house.digests()
    assert digest.status is Status.PENDING
    assert (await house.due.unreadable()) == 1
    house.unreadable = set()
    house.clock.move(2 * MINUTE)
    await house.work_on()
    assert house.got() == {what(it): 1 for it in (unread, kept)}
    assert (await house.now(gone)).reason_code is Reason.TYPE_OFF


async def test_nobody_ends_because_a_digest_was_taken_apart(house):
    one, *_ = await merged(house)
    (digest,) = await house.digests()
    digest.suppress(Reason.DISSOLVED, now=house.clock.now(), by="worker")
    member = await house.now(one)
    member.follow(digest, now=house.clock.now(), by="digest")
    assert member.pending_events == []


async def test_whose_reader_was_forgotten_ends_with_that_reason(house):
    sent = await merged(house)
    await house.events.forget("acme", "jane@example.com")
    await house.work_on()
    assert {(await house.now(it)).reason_code for it in sent} == {Reason.PERSON_ERASED}


async def test_whose_reader_was_forgotten_while_it_waited_ends_with_that_reason(house):
    sent = [await house.accept() for _ in range(2)]
    await house.events.forget("acme", "jane@example.com")
    await house.on_the_hour()
    assert {(await house.now(it)).reason_code for it in sent} == {Reason.PERSON_ERASED}
