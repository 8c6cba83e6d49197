"""What says the same as something before it, and what only looks like that."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from adapters.event_mapper import EventMapper
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from application.ports.log import ConflictError
from application.repetitions import Sayings, say_once
from domain.decision import SECURITY
from domain.notification import Notification
from domain.personal import Letter
from domain.vocabulary import Priority, Purpose, Reason, Status
from tests.examples import NOON, notification
from tests.fakes.chance import SetClock

WINDOW = timedelta(minutes=10)
BY: dict[str, Any] = {"now": NOON, "by": "key:k1"}


class Tenant:
    def __init__(self) -> None:
        keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(MemoryDueWork(SetClock()), MemoryWakeups(), EventMapper(keys), keys)

    def mail(self, address: str = "ada@example.com", name: Any = "Ada", **wishes: Any) -> Notification:
        person = self.events.person("acme", address)
        letter = Letter(person=person, address=address, name=None, variables={"first_name": name, "count": 1})
        return notification(uuid4(), letter=letter, **wishes)

    async def say(self, *mails: Notification, now: datetime = NOON) -> Sayings:
        return await say_once(mails, WINDOW, events=self.events, fingerprint=bytes.hex, now=now, by="key:k1")

    async def accept(self, *mails: Notification, now: datetime = NOON) -> list[Notification]:
        sayings = await self.say(*mails, now=now)
        await self.events.save(*mails, *sayings.changed, seen=sayings.seen)
        return list(mails)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


async def test_the_same_again_is_not_sent_and_says_what_was_first(tenant):
    (first,) = await tenant.accept(tenant.mail())
    (again,) = await tenant.accept(tenant.mail("ADA@example.com"))
    assert first.status is Status.PENDING
    assert (again.status, again.reason_code, again.duplicate_of) == (
        Status.SUPPRESSED,
        Reason.DUPLICATE_CONTENT,
        first.id,
    )


async def test_another_type_address_or_word_is_not_the_same(tenant):
    mails = [
        tenant.mail(),
        tenant.mail(type="goodbye"),
        tenant.mail("eve@example.com"),
        tenant.mail(name="ada"),
        tenant.mail(name=True),
        tenant.mail(name=1),
        tenant.mail(tenant="globex"),
    ]
    for each in mails:
        await tenant.accept(each)
    assert [each.status for each in mails] == [Status.PENDING] * len(mails)


async def test_once_the_window_is_over_it_may_be_said_again_and_a_new_one_begins(tenant):
    await tenant.accept(tenant.mail())
    (late,) = await tenant.accept(tenant.mail(now=NOON + WINDOW), now=NOON + WINDOW)
    assert late.status is Status.PENDING
    soon = NOON + 2 * WINDOW - timedelta(seconds=1)
    (again,) = await tenant.accept(tenant.mail(now=soon), now=soon)
    assert again.duplicate_of == late.id


async def test_of_the_same_in_one_request_one_is_sent(tenant):
    mails = await tenant.accept(tenant.mail(), tenant.mail("eve@example.com"), tenant.mail())
    assert [each.status for each in mails] == [Status.PENDING, Status.PENDING, Status.SUPPRESSED]
    assert mails[2].duplicate_of == mails[0].id


async def test_of_two_at_the_same_moment_one_is_stored_and_the_other_looks_again(tenant):
    one, other = tenant.mail(), tenant.mail()
    saying, too = await tenant.say(one), await tenant.say(other)
    await tenant.events.save(one, *saying.changed, seen=saying.seen)
    with pytest.raises(ConflictError):
        await tenant.events.save(other, *too.changed, seen=too.seen)


@pytest.mark.parametrize("ends", ["cancel", "fail", "suppress", "expire_if_late"])
async def test_what_came_to_nothing_was_not_said(tenant, ends):
    first = tenant.mail(expires_at=NOON + timedelta(seconds=1))
    await tenant.accept(first)
    told = {"fail": (Reason.RENDER_FAILED, ""), "suppress": (Reason.UNSUBSCRIBED,)}.get(ends, ())
    late = {"now": NOON + timedelta(seconds=2), "by": "worker"}
    getattr(first, ends)(*told, **late)
    await tenant.events.save(first)
    (again,) = await tenant.accept(tenant.mail(), now=NOON + timedelta(seconds=3))
    assert again.status is Status.PENDING


async def test_what_is_cancelled_while_it_is_looked_at_is_looked_at_again(tenant):
    (first,) = await tenant.accept(tenant.mail())
    again = tenant.mail()
    sayings = await tenant.say(again)
    assert again.duplicate_of == first.id
    first.cancel(**BY)
    await tenant.events.save(first)
    with pytest.raises(ConflictError):
        await tenant.events.save(again, *sayings.changed, seen=sayings.seen)


@pytest.mark.parametrize("urgent", [{"category": SECURITY}, {"priority": Priority.CRITICAL}])
async def test_what_insists_is_said_however_often(tenant, urgent):
    mails = await tenant.accept(*(tenant.mail(**urgent) for _ in range(3)))
    assert [each.status for each in mails] == [Status.PENDING] * 3
    advertising = await tenant.accept(*(tenant.mail(purpose=Purpose.MARKETING, **urgent) for _ in range(2)))
    assert [each.status for each in advertising] == [Status.PENDING, Status.SUPPRESSED]


async def test_what_its_reader_does_not_want_is_not_said(tenant):
    unwanted = tenant.mail()
    unwanted.suppress(Reason.TYPE_OFF, **BY)
    await tenant.accept(unwanted)
    assert unwanted.reason_code is Reason.TYPE_OFF
    (wanted,) = await tenant.accept(tenant.mail())
    assert wanted.status is Status.PENDING


async def test_what_waits_is_as_good_as_said(tenant):
    waiting = tenant.mail()
    waiting.wait(Reason.QUIET_HOURS, NOON + timedelta(hours=8), **BY)
    await tenant.accept(waiting)
    (again,) = await tenant.accept(tenant.mail())
    assert again.duplicate_of == waiting.id


async def test_nothing_of_what_was_said_can_be_read_in_the_log(tenant):
    (first,) = await tenant.accept(tenant.mail("jane.roe@example.com", "s3cret"))
    sayings = [r.event for r in await tenant.events.read(0, 10) if type(r.event).TOPIC.startswith("saying.")]
    assert [each.notification for each in sayings] == [first.id]
    assert "s3cret" not in str([vars(each) for each in sayings])
    assert "jane" not in str([vars(each) for each in sayings])
