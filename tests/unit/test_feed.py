"""What a subscription is for is found whatever lies between, and replays leave alone what is on its way. In memory."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from application.commands import replay_webhook as replays
from application.commands.replay_webhook import ReplayAnswer, ReplayWebhook, replay_webhook
from application.problems import InvalidCommandError
from application.projections.happenings import HappeningRow, Happenings
from application.queries import feed as feeds
from application.queries.feed import Feed, feed
from application.webhooks import FilterWish
from domain.happening import Happening
from domain.notification import Notification
from domain.outcomes import Accepted, Refused
from domain.personal import Envelope
from domain.vocabulary import Reason, Status
from tests.examples import POLICY
from tests.unit.test_webhook_commands import ACME, House


class LogReader:
    """The read models, straight from the log."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def after(self, tenant: str, position: int, limit: int) -> Sequence[HappeningRow]:
        recorded = await self._house.events.read(position, 10_000, [Happening.Told.TOPIC])
        rows = [Happenings().fold((), None, each) for each in recorded]
        return [row for row in rows if row.tenant == tenant][:limit]

    async def failed(self, tenant: str, subscription: UUID, since: datetime, limit: int) -> Sequence[UUID]:
        queued = await self._house.events.read(0, 10_000, [Notification.Queued.TOPIC])
        known = [await self._house.events.get(Notification, each.event.originator_id) for each in queued]
        return [n.id for n in known if n and n.status is Status.FAILED and n.subscription == subscription][:limit]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_AT_ONCE", 3)


async def read(house: House, id: UUID, after: int = 0, limit: int = 50) -> Feed:
    return await feed(id, after, limit, ACME, events=house.events, reader=LogReader(house))


async def replay(house: House, id: UUID, **wish: Any) -> ReplayAnswer:
    reader = LogReader(house)
    return await replay_webhook(
        ReplayWebhook(**wish), id, ACME, happenings=reader, failed=reader, **house.ports("persons", "dice")
    )


async def fail(house: House, id: UUID) -> None:
    notification = await house.events.get(Notification, id)
    assert notification
    envelope = Envelope(person=notification.person, subject=None, preview="")
    now = house.clock.now()
    notification.attempt("webhook", None, "", envelope, sender=None, reply_to=None, now=now, by="w")
    notification.record(Refused(Reason.ENDPOINT_ERROR), POLICY, now=now, luck=0.5, by="w")
    await house.events.save(notification)


async def test_every_page_goes_on_where_the_one_before_ended(house: House) -> None:
    for n in range(17):
        await house.send("order.created" if n % 4 == 0 else "payment.failed", data={"n": n})
    id = (await house.create("order.*")).webhook.id
    found, after, more = [], 0, True
    while more:
        page = await read(house, id, after, limit=2)
        found += [each.data for each in page.events]
        after, more = page.next, page.more
    assert found == [{"n": 0}, {"n": 4}, {"n": 8}, {"n": 12}, {"n": 16}]
    assert (await read(house, id, after)).events == []


async def test_a_long_search_ends_with_where_to_go_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_MOST_LOOKED_AT", 6)
    for _ in range(10):
        await house.send("payment.failed")
    await house.send("order.created")
    id = (await house.create("order.*")).webhook.id
    first = await read(house, id)
    assert (first.events, first.more) == ([], True)
    assert len((await read(house, id, first.next)).events) == 1


async def test_what_was_erased_is_told_of_without_its_data_and_fits_no_filter(house: House) -> None:
    await house.send("order.created", organization_id="north", data={"n": 1})
    everything = (await house.create("*")).webhook.id
    await house.events.forget("acme", "happening:north")
    page = await read(house, everything)
    assert [(each.type, each.data) for each in page.events] == [("order.created", None)]


async def test_a_replay_retries_what_failed_repeats_what_was_sent_and_leaves_the_rest(house: House) -> None:
    id = (await house.create("order.*")).webhook.id
    failed, waiting = [(await house.send()).notifications[0].notification for _ in range(2)]
    await fail(house, failed)
    head = await house.events.head()
    assert (await replay(house, id, after=0, dry_run=True)).count == 1
    assert await house.events.head() == head
    assert (await replay(house, id, after=0)).count == 1
    notification = await house.events.get(Notification, failed)
    assert notification
    assert (notification.status, notification.generation) == (Status.PENDING, 2)
    assert await house.events.length(waiting) == 1


async def test_what_failed_is_found_once(house: House) -> None:
    id = (await house.create("order.*")).webhook.id
    for _ in range(3):
        await fail(house, (await house.send()).notifications[0].notification)
    since = house.clock.now()
    assert [(await replay(house, id, failed_since=since)).count for _ in range(2)] == [3, 0]


async def test_who_came_later_gets_what_others_were_told_before(house: House) -> None:
    await house.create("order.*")
    told = await house.send()
    later = (await house.create("order.*")).webhook.id
    assert (await replay(house, later, event=told.id)).count == 1
    queued = await house.events.read(0, 1000, [Notification.Queued.TOPIC])
    assert [each.event.subscription == later for each in queued] == [False, True]
    assert len({each.event.happening for each in queued}) == 1


async def sent(house: House, id: UUID) -> None:
    notification = await house.events.get(Notification, id)
    assert notification
    envelope = Envelope(person=notification.person, subject=None, preview="")
    now = house.clock.now()
    notification.attempt("webhook", None, "", envelope, sender=None, reply_to=None, now=now, by="w")
    notification.record(Accepted(None), POLICY, now=now, luck=0.5, by="w")
    await house.events.save(notification)


async def queued_for(house: House, id: UUID) -> list[UUID]:
    queued = await house.events.read(0, 10_000, [Notification.Queued.TOPIC])
    return [each.event.originator_id for each in queued if each.event.subscription == id]


async def test_what_is_replayed_again_while_it_waits_is_queued_once_and_once_more_after_it_was_sent(
    house: House,
) -> None:
    told = await house.send()
    later = (await house.create("order.*")).webhook.id
    for n in range(1, 12):
        wish = {"event": told.id} if n % 2 else {"after": 0}
        counts = [(await replay(house, later, **wish, dry_run=dry)).count for dry in (True, False, True, False)]
        assert counts == [1, 1, 0, 0]
        assert len(await queued_for(house, later)) == n
        await sent(house, (await queued_for(house, later))[-1])


async def test_a_repeat_that_failed_is_retried_and_not_told_anew(house: House) -> None:
    id = (await house.create("order.*")).webhook.id
    told = await house.send()
    await sent(house, told.notifications[0].notification)
    assert (await replay(house, id, event=told.id)).count == 1
    _, repeat = await queued_for(house, id)
    await fail(house, repeat)
    assert (await replay(house, id, event=told.id)).count == 1
    assert len(await queued_for(house, id)) == 2
    assert (notification := await house.events.get(Notification, repeat))
    assert notification.generation == 2


async def test_replays_at_the_same_moment_count_together_what_was_queued(house: House) -> None:
    for _ in range(5):
        await house.send()
    later = (await house.create("order.*")).webhook.id
    answers = await asyncio.gather(*(replay(house, later, after=0) for _ in range(3)))
    assert len(await queued_for(house, later)) == 5
    assert sum(each.count for each in answers) == 5


@pytest.mark.parametrize(
    "terms",
    [{"organization_id": "south"}, {"event_types": ["payment.*"]}, {"filters": [FilterWish(path="total", equals=6)]}],
)
async def test_one_event_is_not_replayed_to_whom_it_is_not_for(house: House, terms: dict[str, Any]) -> None:
    told = await house.send(organization_id="north")
    id = (await house.create(**terms)).webhook.id
    for dry_run in (True, False):
        with pytest.raises(InvalidCommandError) as caught:
            await replay(house, id, event=told.id, dry_run=dry_run)
        assert [problem.path for problem in caught.value.problems] == ["event"]
    assert await queued_for(house, id) == []


class Loads:
    """How many happenings were loaded at a time, and whether with their payloads."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[int, bool]] = []
        get_many = house.events.get_many

        async def noted(kind: Any, ids: Any, *, personal: bool = True) -> Any:
            if kind is Happening:
                self.made.append((len(ids), personal))
            return await get_many(kind, ids, personal=personal)

        monkeypatch.setattr(house.events, "get_many", noted)


async def test_no_more_is_loaded_than_the_next_few_that_may_fit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_AT_ONCE", 500)
    for n in range(30):
        await house.send("order.created" if n % 2 else "payment.failed")
    id = (await house.create("order.*")).webhook.id
    loads = Loads(house, monkeypatch)
    assert len((await read(house, id, limit=1)).events) == 1
    assert loads.made == [(4, True)]


async def test_an_answer_has_at_most_a_mebibyte_of_data_or_one_event(house: House) -> None:
    for size in (1_000, 500_000, 600_000, 2_000_000, 1_000):
        await house.send(data={"text": "x" * size})
    id = (await house.create("*")).webhook.id
    pages = [await read(house, id)]
    while pages[-1].more:
        pages.append(await read(house, id, pages[-1].next))
    assert [[len((each.data or {})["text"]) for each in page.events] for page in pages] == [
        [1_000, 500_000],
        [600_000],
        [2_000_000],
        [1_000],
    ]


@pytest.mark.parametrize("filters", [[], [FilterWish(path="total", equals=5)]])
async def test_a_replay_of_everything_reads_payloads_only_where_a_filter_asks_and_stores_as_it_goes(
    house: House, monkeypatch: pytest.MonkeyPatch, filters: list[FilterWish]
) -> None:
    monkeypatch.setattr(replays, "_BATCH", 5)
    for _ in range(13):
        await house.send()
    id = (await house.create("order.*", filters=filters)).webhook.id
    loads = Loads(house, monkeypatch)
    assert (await replay(house, id, after=0, dry_run=True)).count == 13
    assert {personal for _, personal in loads.made} == {bool(filters)}
    assert max(count for count, _ in loads.made) <= 4
    answer = await replay(house, id, after=0)
    assert (answer.count, answer.more) == (13, False)
    assert len(await queued_for(house, id)) == 13
