"""What waits for a digest goes out once: in it, or by itself, or not at all and for a reason."""

import asyncio
from datetime import time

import pytest

from application.processes import gather
from domain.notification import Notification
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
    late = await house.accept(expires_at=house.clock.now() + 20 * MINUTE)
    await house.accept()
    await house.accept()
    await house.on_the_hour()
    assert (await house.now(late)).status is Status.EXPIRED
    assert [len(digest.members) for digest in await house.digests()] == [2]


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


async def test_a_member_that_failed_is_sent_again_by_itself_and_then_follows_no_longer(house):
    house.provider.says = [Refused(Reason.PROVIDER_REFUSED)]
    one, *_ = await merged(house)
    await house.work_on()
    failed = await house.now(one)
    failed.retry(now=house.clock.now(), by="key:k1")
    await house.events.save(failed)
    await house.work_on()
    (mail,) = house.provider.mails
    assert mail.text == f"All about {what(one)}"
    (digest,) = await house.digests()
    digest.retry(now=house.clock.now(), by="key:k1")
    await house.events.save(digest)
    await house.work_on()
    again = await house.now(one)
    assert (again.digest_id, again.status) == (None, Status.SENT)


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
