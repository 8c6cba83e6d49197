"""What a worker does with webhooks. In memory, with endpoints that answer as they are told to."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from eventsourcing.persistence import StoredEvent

from adapters.address_digest import address_digests
from adapters.event_mapper import EventMapper
from adapters.http_client import Answer, NoAnswer
from adapters.memory.budget import MemoryProviderBudget
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.rate_limiter import MemoryRateLimiter
from adapters.memory.wakeup import MemoryWakeups
from adapters.memory.webhooks import MemoryWebhookSender
from adapters.person_keys import PersonKeys, WrongMasterKeyError
from application.carriers.carrier import WorkRules
from application.carriers.webhook import WebhookCarrier
from application.limiting import Limiting
from application.processes.deliver import Delivery
from application.queries.proof import prove
from application.readers import Readers
from application.subscriptions import key_name
from domain.happening import Addressed, Happening
from domain.health import Health
from domain.notification import Notification
from domain.personal import Endpoint, Letter, Payload, SigningSecret
from domain.retry import STANDARD_WEBHOOKS
from domain.subscription import Terms, WebhookSubscription
from domain.vocabulary import Channel, Doubt, Reason, Status, Verdict
from tests.digests import gathering
from tests.examples import WEBHOOK_SECRET, attempted, notification
from tests.fakes.chance import LoadedDice, SetClock

HOOK = Channel.WEBHOOK
MINUTE = timedelta(minutes=1)
URL = "https://hooks.acme.example/in"
DOWN = Answer(500, httpx.Headers({"x-trace": "t1"}), b"<h1>down</h1>")
HUNG = NoAnswer(timed_out=True, detail="no answer within 30 s")


class Lines:
    def __init__(self) -> None:
        self.lanes: list[str] = []

    def lane(self, what: str, *_: Any, **__: Any) -> None:
        self.lanes.append(what)

    def attempt(self, *_: Any) -> None: ...

    def note(self, *_: Any, **__: Any) -> None: ...

    def unreadable(self, *_: Any) -> None: ...


class House:
    def __init__(self, deadline: timedelta = MINUTE / 2) -> None:
        self.clock = SetClock()
        self.due = MemoryDueWork(self.clock)
        keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(self.due, MemoryWakeups(), EventMapper(keys), keys)
        self.sender, self.lines = MemoryWebhookSender(), Lines()
        carrier = WebhookCarrier(
            events=self.events,
            due=self.due,
            sender=self.sender,
            rules=WorkRules(lease=2 * MINUTE, deadline=deadline),
            retries=STANDARD_WEBHOOKS,
            clock=self.clock,
            log=self.lines,
        )
        readers = Readers(self.events, address_digests(bytes(32)))
        self.delivery = Delivery(
            events=self.events,
            due=self.due,
            carriers={HOOK: carrier},
            budget=MemoryProviderBudget(self.clock, {}),
            clock=self.clock,
            dice=LoadedDice(),
            log=self.lines,
            readers=readers,
            gathering=gathering(self.events, self.due, readers, self.clock),
            limiting=Limiting(readers, MemoryRateLimiter(), bytes.hex),
            name="worker:1",
        )

    async def subscribe(
        self, *, url: str = URL, headers: dict[str, str] | None = None, proven: bool = True, **terms: Any
    ) -> Any:
        id = uuid4()
        endpoint = Endpoint(
            person=self.events.person("acme", key_name(id)),
            url=url,
            headers=headers or {},
            secrets=(SigningSecret(WEBHOOK_SECRET),),
        )
        wanted = Terms(**{"name": "billing", "organization": None, "event_types": ("*",)} | terms)
        it = WebhookSubscription.create(id, "acme", wanted, endpoint, now=self.clock.now(), by="key:k1")
        await self.events.save(it)
        if proven:
            await self.due.open_lane(HOOK, str(it.id))
        return it

    async def tell(self, *to: WebhookSubscription, id: str = "evt_1", **data: Any) -> list[Notification]:
        """What happened, with a notification for each of these."""
        happened = Happening.tell(
            "acme",
            id,
            "order.created",
            None,
            Payload(person=self.events.person("acme", "happening:"), data=data),
            [Addressed(each.id, uuid4()) for each in to],
            occurred_at=self.clock.now(),
            now=self.clock.now(),
            by="key:k1",
        )
        made = [
            notification(
                addressed.notification,
                channel=HOOK,
                template=None,
                letter=Letter(person=self.events.person("acme", key_name(addressed.subscription)), address=""),
                subscription=addressed.subscription,
                happening=happened.id,
                now=self.clock.now(),
            )
            for addressed in happened.deliveries
        ]
        await self.events.save(happened, *made)
        return made

    async def work(self) -> int:
        """Attend to what may be leased now; answers how many that were."""
        leases = await self.due.lease(HOOK, 100, 100, 2 * MINUTE)
        if leases:
            await self.delivery.deliver(HOOK, leases)
        return len(leases)

    async def now(self, it: Notification) -> Notification:
        found = await self.events.get(Notification, it.id)
        assert found
        return found

    async def last(self, id: UUID) -> Any:
        return (await self.events.history(id))[-1].event


@pytest.fixture
def house() -> House:
    return House()


async def test_the_endpoint_is_told_what_happened_under_the_event_s_id(house):
    it = await house.subscribe(headers={"X-Team": "billing"})
    (hook,) = await house.tell(it, total=12.5)
    await house.work()
    (sent,) = house.sender.sent
    assert sent.url == URL
    assert msgspec.json.decode(sent.body) == {
        "id": "evt_1",
        "type": "order.created",
        "timestamp": "2026-03-01T12:00:00Z",
        "data": {"total": 12.5},
    }
    assert (sent.headers["webhook-id"], sent.headers["X-Team"]) == ("evt_1", "billing")
    assert (await house.now(hook)).status is Status.SENT


async def test_the_intent_is_stored_before_the_call_and_the_answer_after_it(house):
    house.sender.answers.append(DOWN)
    (hook,) = await house.tell(await house.subscribe())
    await house.work()
    history = [recorded.event for recorded in await house.events.history(hook.id)]
    assert [type(event).__name__ for event in history] == ["Queued", "Rendered", "Failed", "Retried"]
    _, rendered, failed, retried = history
    assert (rendered.personal.url, rendered.provider, rendered.sender) == (URL, "webhook", None)
    assert (failed.reason, failed.personal.response.status) == (Reason.ENDPOINT_ERROR, 500)
    assert (failed.personal.response.headers, failed.personal.response.body) == ({"x-trace": "t1"}, "<h1>down</h1>")
    assert retried.due_at == house.clock.now() + timedelta(seconds=5)


async def test_what_was_accepted_is_kept_with_the_answer_too(house):
    (hook,) = await house.tell(await house.subscribe())
    await house.work()
    sent = await house.last(hook.id)
    assert (sent.personal.response.status, sent.milliseconds) == (200, 1.0)


async def test_every_attempt_is_the_same_bytes_under_the_same_id_signed_anew(house):
    house.sender.answers.append(DOWN)
    await house.tell(await house.subscribe(), total=1)
    await house.work()
    house.clock.move(MINUTE)
    await house.work()
    first, second = house.sender.sent
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


async def test_a_subscription_may_have_a_schedule_of_its_own(house):
    house.sender.answers.extend([DOWN, DOWN])
    (hook,) = await house.tell(await house.subscribe(retries=(90,)))
    await house.work()
    assert (await house.last(hook.id)).due_at == house.clock.now() + timedelta(seconds=90)
    house.clock.move(2 * MINUTE)
    await house.work()
    assert (await house.now(hook)).status is Status.FAILED


async def test_while_a_secret_is_replaced_both_sign(house):
    it = await house.subscribe()
    it.rotate(
        "whsec_" + "A" * 44, MINUTE, person=house.events.person("acme", key_name(it.id)), now=house.clock.now(), by="k"
    )
    await house.events.save(it)
    for n in (1, 2):
        await house.tell(it, id=f"evt_{n}")
        await house.work()
        house.clock.move(2 * MINUTE)
    assert [len(sent.headers["webhook-signature"].split()) for sent in house.sender.sent] == [2, 1]


async def test_one_event_goes_to_many_as_the_same_bytes(house):
    await house.tell(await house.subscribe(), await house.subscribe(url="https://b.acme.example/"), total=1)
    await house.work()
    assert {sent.url for sent in house.sender.sent} == {URL, "https://b.acme.example/"}
    assert len({sent.body for sent in house.sender.sent}) == 1


async def test_what_was_leased_before_it_was_paused_is_given_back_and_uses_up_nothing(house):
    it = await house.subscribe()
    (hook,) = await house.tell(it)
    leases = await house.due.lease(HOOK, 10, 10, MINUTE)
    it.pause(now=house.clock.now(), by="key:k1")
    await house.events.save(it)
    await house.delivery.deliver(HOOK, leases)
    assert house.sender.sent == []
    assert (await house.now(hook)).version == 1
    it.resume(now=house.clock.now(), by="key:k1")
    await house.events.save(it)
    await house.work()
    assert (await house.now(hook)).status is Status.SENT


async def test_what_waited_for_one_that_was_deleted_ends_with_a_reason_and_no_call(house):
    it = await house.subscribe()
    (hook,) = await house.tell(it)
    it.delete(now=house.clock.now(), by="key:k1")
    await house.events.save(it)
    await house.events.forget("acme", key_name(it.id))
    await house.work()
    ended = await house.now(hook)
    assert (ended.status, ended.reason_code) == (Status.SUPPRESSED, Reason.SUBSCRIPTION_DELETED)
    assert house.sender.sent == []


async def test_what_was_erased_is_not_told(house):
    (hook,) = await house.tell(await house.subscribe())
    await house.events.forget("acme", "happening:")
    await house.work()
    assert (await house.now(hook)).reason_code is Reason.PERSON_ERASED
    assert house.sender.sent == []


async def test_a_call_that_a_lost_worker_left_is_made_again_for_receivers_know_the_id(house):
    (hook,) = await house.tell(await house.subscribe())
    known = await house.now(hook)
    await house.events.save(attempted(known, house.clock.now(), provider="webhook"))
    await house.work()
    house.clock.move(MINUTE)
    await house.work()
    assert (await house.now(hook)).status is Status.SENT


async def test_one_whose_subscription_cannot_be_read_keeps_no_other_waiting(house, monkeypatch):
    ill, well = await house.subscribe(), await house.subscribe()
    (bad,), (good,) = await house.tell(ill), await house.tell(well, id="evt_2")
    read = house.events.get_many

    async def some_are_ill(kind: Any, ids: Any) -> Any:
        if kind is WebhookSubscription and ill.id in ids:
            raise WrongMasterKeyError
        return await read(kind, ids)

    monkeypatch.setattr(house.events, "get_many", some_are_ill)
    await house.work()
    assert (await house.now(good)).status is Status.SENT
    assert (await house.now(bad)).status is Status.PENDING
    assert await house.work() == 0  # set aside, so that it is not looked at again and again
    monkeypatch.undo()
    house.clock.move(5 * MINUTE)
    await house.work()
    assert (await house.now(bad)).status is Status.SENT


async def tell_many(house: House, it: WebhookSubscription, many: int) -> None:
    for n in range(many):
        await house.tell(it, id=f"evt_{it.id.hex}_{n}")


async def test_an_endpoint_that_keeps_failing_is_left_in_peace_and_wastes_no_attempts(house):
    it = await house.subscribe(concurrency=1)
    await tell_many(house, it, 20)
    house.sender.answers.extend([DOWN] * 40)
    for _ in range(30):
        await house.work()
    assert len(house.sender.sent) == 10
    assert house.lines.lanes == ["lane closed"]


async def test_after_its_rest_it_is_tried_by_one_call_and_goes_on_when_that_succeeds(house):
    it = await house.subscribe(concurrency=5)
    await tell_many(house, it, 30)
    house.sender.answers.extend([DOWN] * 10)
    while await house.work():
        pass
    tried = len(house.sender.sent)
    house.sender.answers.clear()
    house.sender.answers.append(DOWN)
    house.clock.move(MINUTE)
    assert await house.work() == 1
    assert await house.work() == 0
    house.clock.move(MINUTE)
    assert await house.work() == 1
    assert await house.work() == 5
    assert len(house.sender.sent) == tried + 7
    assert house.lines.lanes[-1] == "lane opened"


async def test_one_that_is_new_goes_on_as_its_terms_allow_once_a_call_has_succeeded(house):
    it = await house.subscribe(concurrency=5, proven=False)
    await tell_many(house, it, 8)
    assert [await house.work() for _ in range(3)] == [1, 5, 2]
    assert house.lines.lanes == []


async def test_one_that_works_stays_proven_and_is_noted_once_a_minute(house, monkeypatch):
    noted, open_lane = [], house.due.open_lane

    async def note(*lane: Any) -> None:
        noted.append(lane)
        await open_lane(*lane)

    it = await house.subscribe(concurrency=5)
    monkeypatch.setattr(house.due, "open_lane", note)
    for n in range(40):
        await house.tell(it, id=f"evt_{n}")
        assert await house.work() == 1
        house.clock.move(MINUTE / 4)
    assert len(noted) == 10
    await tell_many(house, it, 5)
    assert await house.work() == 5


async def test_one_timeout_is_enough_where_nothing_has_succeeded(house):
    it = await house.subscribe(proven=False)
    await tell_many(house, it, 3)
    house.sender.answers.append(HUNG)
    assert await house.work() == 1
    assert await house.work() == 0
    assert house.lines.lanes == ["lane closed"]


async def test_three_timeouts_in_a_row_are_enough(house):
    it = await house.subscribe(concurrency=1)
    await tell_many(house, it, 10)
    await house.work()
    house.sender.answers.extend([HUNG] * 10)
    for _ in range(10):
        await house.work()
    assert len(house.sender.sent) == 1 + 3


async def why(house: House, hook: Notification) -> Reason | None:
    """Why the last call failed."""
    failed = [each.event for each in await house.events.history(hook.id) if isinstance(each.event, Notification.Failed)]
    return failed[-1].reason if failed else None


async def test_one_that_is_gone_is_asked_no_more_at_once(house):
    it = await house.subscribe(concurrency=1)
    first, *_ = await house.tell(it), await tell_many(house, it, 5)
    house.sender.answers.append(Answer(410, httpx.Headers(), b""))
    await house.work()
    assert await why(house, first[0]) is Reason.ENDPOINT_GONE
    assert await house.work() == 0


async def test_what_one_that_is_gone_was_being_told_is_held_until_it_is_resumed(house):
    it = await house.subscribe(retries=(1,))
    hooks = [*await house.tell(it), *await house.tell(it, id="evt_2")]
    for _ in range(2):
        house.sender.answers.extend([Answer(410, httpx.Headers(), b"")] * 2)
        assert await house.work() == 2
        it = await house.events.get(WebhookSubscription, it.id)
        it.judge(Health(gone=True), now=house.clock.now(), by="health")
        await house.events.save(it)
        house.clock.move(MINUTE)
        assert await house.work() == 0
        assert [(await house.now(hook)).is_open for hook in hooks] == [True, True]
        it.resume(now=house.clock.now(), by="key:k1")
        await house.events.save(it)
    assert await house.work() == 2
    assert [(await house.now(hook)).status for hook in hooks] == [Status.SENT] * 2


async def for_ever(*_: Any) -> None:
    await asyncio.Event().wait()


async def refused(*_: Any) -> None:
    raise StoreRefusedError


class StoreRefusedError(Exception):
    pass


async def test_what_an_endpoint_answered_is_recorded_however_long_it_takes_to_close_its_lane(monkeypatch):
    house = House(deadline=timedelta(0))
    monkeypatch.setattr(house.due, "close_lane", for_ever)
    house.sender.answers.append(Answer(410, httpx.Headers(), b""))
    (hook,) = await house.tell(await house.subscribe())
    await soon(house, hook, "Failed")
    assert await why(house, hook) is Reason.ENDPOINT_GONE


async def test_a_success_of_a_closed_lane_is_one_however_long_it_takes_to_open_it(monkeypatch):
    house = House(deadline=timedelta(0))
    it = await house.subscribe()
    (hook,) = await house.tell(it)
    await house.due.close_lane(HOOK, str(it.id), timedelta(0))
    monkeypatch.setattr(house.due, "open_lane", for_ever)
    await soon(house, hook, "Sent")


async def soon(house: House, hook: Notification, end: str) -> None:
    """Work until that has happened; what still goes on is ended."""
    work = asyncio.create_task(house.work())
    async with asyncio.timeout(5):
        while end not in [type(each.event).__name__ for each in await house.events.history(hook.id)]:  # noqa: ASYNC110 - it happens in the store
            await asyncio.sleep(0.01)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_a_lane_that_cannot_be_closed_keeps_no_outcome_from_being_recorded(house, monkeypatch):
    monkeypatch.setattr(house.due, "close_lane", refused)
    house.sender.answers.append(Answer(410, httpx.Headers(), b""))
    (hook,) = await house.tell(await house.subscribe())
    await house.work()
    assert await why(house, hook) is Reason.ENDPOINT_GONE
    assert house.lines.lanes == ["lane left as it is"]


async def test_what_was_sent_can_be_proved_until_it_is_erased(house):
    house.sender.answers.append(DOWN)
    it = await house.subscribe()
    (hook,) = await house.tell(it, total=1)
    await house.work()
    house.clock.move(MINUTE)
    await house.work()

    async def verdicts() -> set[tuple[Verdict, Doubt | None]]:
        proof = await prove(hook.id, "acme", events=house.events, renderer=nothing)
        assert len(proof.calls) == 2
        return {(call.verdict, call.reason_code) for call in proof.calls}

    assert await verdicts() == {(Verdict.MATCHES, None)}
    rendered = next(i for i, s in enumerate(house.events._log) if s.topic == Notification.Rendered.TOPIC)
    stored = house.events._log[rendered]
    digest = (await house.events.history(hook.id))[1].event.digest.encode()
    altered = stored.state.replace(digest, bytes(reversed(digest)))
    house.events._log[rendered] = with_state(stored, altered)
    assert (Verdict.DIFFERS, Doubt.CONTENT_DIFFERS) in await verdicts()
    await house.events.forget("acme", "happening:")
    assert await verdicts() == {(Verdict.CANNOT_BE_TOLD, Doubt.PERSON_ERASED)}


def with_state(stored: StoredEvent, state: bytes) -> StoredEvent:
    return StoredEvent(stored.originator_id, stored.originator_version, stored.topic, state)


def nothing() -> Any:
    raise AssertionError("a webhook has no template")


async def test_others_go_on_while_one_rests(house):
    dead, well = await house.subscribe(concurrency=20), await house.subscribe(url="https://b.acme.example/")
    await tell_many(house, dead, 10)
    house.sender.answers.extend([DOWN] * 10)
    await house.work()
    await tell_many(house, well, 3)
    assert await house.work() == 3
