"""Who is asked for which place, and what becomes of those for whom there is none."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from adapters.address_digest import address_digests
from adapters.event_mapper import EventMapper
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.rate_limiter import MemoryRateLimiter
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from application.limiting import Limiting, TooMany, heed
from application.ports.rate_limiter import Line, Place, RateLimiter
from application.readers import Readers
from domain.decision import SECURITY
from domain.limits import ChannelLimits, Limits, Rates, Rules, Window
from domain.notification import Notification
from domain.personal import Erased, Letter
from domain.vocabulary import Channel, Over, Priority, Purpose, Reason, Status
from tests.examples import NOON, PIN, SOMEBODY, attempted, notification
from tests.fakes.chance import SetClock

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BY: dict[str, Any] = {"now": NOON, "by": "worker"}
BOTH = ChannelLimits(tenant=Rates(per_minute=3), user=Rates(per_hour=1))


class Asked:
    """A limiter in which one line says what it is told to, and which remembers what it was asked."""

    def __init__(self) -> None:
        self.says: list[tuple[str, timedelta]] = []
        self.calls: list[tuple[str, list[Line], datetime | None]] = []

    async def take(self, holder: str, lines: Sequence[Line], now: datetime, latest: datetime | None = None) -> Place:
        self.calls.append((holder, list(lines), latest))
        if not self.says:
            return Place(now)
        name, wait = self.says.pop(0)
        (line,) = [each for each in lines if each.name == name]
        return Place(now + wait, name, line.windows[0].name)

    async def close(self) -> None: ...


class Tenant:
    def __init__(self, limiter: RateLimiter) -> None:
        keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(MemoryDueWork(SetClock()), MemoryWakeups(), EventMapper(keys), keys)
        self.limiting = Limiting(Readers(self.events, address_digests(bytes(32))), limiter, bytes.hex)

    async def choose(self, email: ChannelLimits = BOTH, **rules: Any) -> None:
        limits = Limits.begin("acme", **BY)
        limits.choose(Rules(channels={Channel.EMAIL: email}, **rules), **BY)
        await self.events.save(limits)

    async def asks(self, it: Notification | None = None, now: datetime = NOON) -> TooMany | None:
        return await self.limiting.too_many(it or mail(), now)


def mail(**wishes: Any) -> Notification:
    return notification(uuid4(), **wishes)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def tenant(asked: Asked) -> Tenant:
    return Tenant(asked)


async def test_where_nothing_was_chosen_nobody_is_asked(tenant, asked):
    assert await tenant.asks() is None
    await tenant.choose(ChannelLimits())
    assert await tenant.asks() is None
    assert asked.calls == []


async def test_for_both_limits_one_place_is_asked_for(tenant, asked):
    await tenant.choose()
    it = mail()
    assert await tenant.asks(it) is None
    ((holder, (user, whole), _),) = asked.calls
    assert holder == f"{it.id}/1"
    assert [(each.name, [window.name for window in each.windows]) for each in (user, whole)] == [
        ("user", ["per_hour"]),
        ("tenant", ["per_minute"]),
    ]
    assert user.key != whole.key
    assert "ada@example.com" not in user.key


async def test_a_reader_is_the_user_at_whichever_address_else_the_address(tenant, asked):
    await tenant.choose(ChannelLimits(user=Rates(per_hour=1)))
    other = Letter(person=SOMEBODY, address="ADA@example.com", name=None, variables={})
    elsewhere = msgspec.structs.replace(other, address="ada@acme.example")
    for it in (
        mail(),
        mail(letter=other),
        mail(letter=elsewhere),
        mail(recipient_user_id="u-1"),
        mail(recipient_user_id="u-1", letter=elsewhere),
    ):
        await tenant.asks(it)
    ada, same, other_address, user, user_elsewhere = [line.key for _, (line,), _ in asked.calls]
    assert ada == same
    assert user == user_elsewhere
    assert len({ada, other_address, user}) == 3


@pytest.mark.parametrize(
    ("wishes", "by_its_reader_s", "by_the_tenant_s"),
    [
        ({"category": "account"}, Over.DEFER, Over.DEFER),
        ({"category": "promotion", "purpose": Purpose.MARKETING}, Over.SUPPRESS, Over.DEFER),
        ({"category": "news", "purpose": Purpose.MARKETING}, Over.DEFER, Over.DEFER),
        ({"category": "order"}, Over.SUPPRESS, Over.SUPPRESS),
    ],
)
async def test_what_is_one_too_many_waits_or_is_not_sent_as_its_category_says(
    tenant, asked, wishes, by_its_reader_s, by_the_tenant_s
):
    """If that says nothing, advertising is not sent that is too much for its reader, and all else waits."""
    await tenant.choose(over={"news": Over.DEFER, "order": Over.SUPPRESS})
    asked.says = [("user", HOUR), ("tenant", HOUR)]
    for limit, over in (("user.per_hour", by_its_reader_s), ("tenant.per_minute", by_the_tenant_s)):
        until = NOON + HOUR if over is Over.DEFER else None
        assert await tenant.asks(mail(**wishes)) == TooMany(limit, until)
    for _, lines, _ in asked.calls:
        assert [each.waits for each in lines] == [each is Over.DEFER for each in (by_its_reader_s, by_the_tenant_s)]


@pytest.mark.parametrize("urgent", [{"category": SECURITY}, {"priority": Priority.CRITICAL}])
async def test_what_insists_goes_at_once_and_counts(tenant, asked, urgent):
    await tenant.choose(over={SECURITY: Over.SUPPRESS, "account": Over.SUPPRESS})
    asked.says = [("user", HOUR)]
    assert await tenant.asks(mail(**urgent)) is None
    ((_, lines, latest),) = asked.calls
    assert (latest, [each.waits for each in lines]) == (None, [True, True])


async def test_of_a_crowd_under_a_tenant_s_limit_all_advertising_is_sent_in_the_end():
    tenant = Tenant(MemoryRateLimiter())
    await tenant.choose(ChannelLimits(tenant=Rates(per_minute=10)))
    ends = [await tenant.asks(mail(purpose=Purpose.MARKETING, category="promotion")) for _ in range(100)]
    assert sum(each is None for each in ends) == 10
    assert all(each.until for each in ends if each)


async def test_advertising_never_insists(tenant, asked):
    await tenant.choose()
    asked.says = [("user", HOUR)]
    assert await tenant.asks(mail(purpose=Purpose.MARKETING, priority=Priority.CRITICAL)) is not None


async def test_who_has_waited_for_a_place_is_not_asked_for_it_again(tenant, asked):
    await tenant.choose()
    asked.says = [("user", HOUR)]
    it = mail()
    heed(await tenant.asks(it), it, **BY)
    assert (it.status, it.reason_code, it.due_at) == (Status.DEFERRED, Reason.RATE_LIMITED, NOON + HOUR)
    assert await tenant.asks(it, NOON + HOUR) is None
    assert len(asked.calls) == 1


async def test_who_is_sent_once_more_by_hand_stands_in_line_again(tenant, asked):
    await tenant.choose()
    it = mail()
    heed(TooMany("tenant.per_minute", NOON + HOUR), it, **BY)
    it.fail(Reason.RENDER_FAILED, "", now=NOON + HOUR, by="worker")
    it.retry(now=NOON + HOUR, by="key:k1")
    asked.says = [("tenant", MINUTE)]
    assert await tenant.asks(it, NOON + HOUR) == TooMany("tenant.per_minute", NOON + HOUR + MINUTE)
    assert [holder for holder, _, _ in asked.calls] == [f"{it.id}/2"]


async def test_who_comes_more_than_a_minute_late_has_to_stand_in_line_again(tenant, asked):
    """Else all who were due while nobody worked would go at once."""
    await tenant.choose()
    it = mail()
    heed(TooMany("tenant.per_minute", NOON + HOUR), it, **BY)
    assert await tenant.asks(it, NOON + HOUR + MINUTE) is None
    assert asked.calls == []
    await tenant.asks(it, NOON + HOUR + 2 * MINUTE)
    assert len(asked.calls) == 1


async def test_who_was_late_often_enough_goes(tenant, asked):
    await tenant.choose()
    it, now = mail(), NOON
    for _ in range(10):
        asked.says = [("user", HOUR)]
        too_many = await tenant.asks(it, now)
        if too_many is None:
            break
        heed(too_many, it, now=now, by="worker")
        now = it.due_at + 10 * MINUTE
    assert len(asked.calls) == 4


async def test_who_waited_for_something_else_meanwhile_has_lost_the_place(tenant, asked):
    await tenant.choose()
    it = mail()
    heed(TooMany("tenant.per_minute", NOON + MINUTE), it, **BY)
    it.wait(Reason.QUIET_HOURS, NOON + HOUR, **BY)
    await tenant.asks(it, NOON + HOUR)
    assert len(asked.calls) == 1


async def test_a_call_that_was_begun_has_its_place(tenant, asked):
    await tenant.choose()
    it = attempted(mail())
    it.put_off(**BY)
    assert await tenant.asks(it) is None
    assert asked.calls == []


async def test_what_would_come_too_late_is_due_when_it_expires(tenant, asked):
    await tenant.choose()
    asked.says = [("user", HOUR)]
    it = mail(expires_at=NOON + MINUTE)
    assert await tenant.asks(it) == TooMany("user.per_hour", NOON + MINUTE)
    assert asked.calls[0][2] == NOON + MINUTE


async def test_of_a_reader_who_was_forgotten_only_the_tenant_s_limits_are_asked(tenant, asked):
    await tenant.choose()
    it = mail()
    it.letter = Erased(SOMEBODY)
    await tenant.asks(it)
    ((_, lines, _),) = asked.calls
    assert [each.name for each in lines] == ["tenant"]


async def test_other_channels_and_other_tenants_are_not_limited(tenant, asked):
    await tenant.choose()
    assert await tenant.asks(mail(channel=Channel.SMS, template=PIN)) is None
    assert await tenant.asks(mail(tenant="globex")) is None
    assert asked.calls == []


async def test_what_is_not_sent_says_which_limit_it_was():
    tenant = Tenant(MemoryRateLimiter())
    await tenant.choose(ChannelLimits(user=Rates(per_day=1)), over={"account": Over.SUPPRESS})
    assert await tenant.asks() is None
    it = mail()
    heed(await tenant.asks(it), it, **BY)
    assert (it.status, it.reason_code) == (Status.SUPPRESSED, Reason.RATE_LIMITED)
    assert it.collect_events()[-1].limit == "user.per_day"


def test_the_windows_of_rates_come_the_longest_first():
    assert Rates(burst=1, per_minute=2, per_hour=3, per_day=4).windows() == [
        Window("per_day", 4, 86_400),
        Window("per_hour", 3, 3_600),
        Window("per_minute", 2, 60),
        Window("burst", 1, 1),
    ]


def test_the_same_limits_once_more_leave_no_event():
    limits = Limits.begin("acme", **BY)
    limits.choose(Rules(duplicate_window=60), **BY)
    limits.choose(Rules(duplicate_window=60), **BY)
    assert len(limits.collect_events()) == 2
