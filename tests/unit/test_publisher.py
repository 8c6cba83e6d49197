"""What other systems are told, how often, and in which order. In memory."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import jsonschema
import msgspec
import pytest

from adapters.event_mapper import EventMapper, event_classes
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.event_topic import MemoryEventTopic
from adapters.memory.troubles import MemoryTroubles
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from application import announced
from application.announced import FACTS, TOPICS, UNTOLD
from application.caller import Caller
from application.commands.publishing import ChoosePublishing, choose_publishing, chosen_publishing
from application.ports.log import AlteredError
from application.ports.publishing import Announcement, Untold
from application.processes import publish
from application.processes.publish import Publisher
from domain.notification import Notification
from domain.outcomes import Accepted, Refused, Retryable
from domain.standing import Standing
from domain.vocabulary import Channel, Reason, Status
from tests import announcements
from tests.examples import NOON, POLICY, attempted, notification
from tests.fakes.chance import SetClock

ACME = Caller("acme", "key:k1")

_AN_ID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""May by chance have anything in it that can be written in hexadecimal, such as `ada`."""


class Place:
    def __init__(self) -> None:
        self.at = 0
        self.moves: list[int] = []

    async def position(self) -> int:
        return self.at

    async def move(self, position: int) -> None:
        self.at = position
        self.moves.append(position)


class Picky(MemoryEventTopic):
    """Does not take what `refuses` says, nor what comes behind it with the same key."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Callable[[Announcement], bool] = lambda _: False

    async def publish(self, announcements: Sequence[Announcement]) -> Untold | None:
        if self.in_the_way:
            return await super().publish(announcements)
        keys = set[str]()
        for each in announcements:
            if self.refuses(each) or each.key in keys:
                keys.add(each.key)
        untold = {each.id for each in announcements if each.key in keys}
        await super().publish([each for each in announcements if each.id not in untold])
        return Untold(frozenset(untold), "refused") if untold else None


class House:
    """A log, the topic, and what the publisher said."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(MemoryDueWork(self.clock), MemoryWakeups(), EventMapper(self.keys), self.keys)
        self.topic, self.place, self.troubles = Picky(), Place(), MemoryTroubles(self.clock)
        self.said: list[str] = []

    def publisher(self, batch: int = 1_000) -> Publisher:
        return Publisher(self.events, self.events, self.topic, self.place, self.troubles, self, batch)

    def published(self, events: int, position: int, milliseconds: float) -> None:
        self.said.append(f"published {events}")

    def unpublished(self, problem: str, position: int) -> None:
        self.said.append(problem)

    async def queue(self, **wishes: Any) -> Notification:
        person = self.events.person("acme", "ada@example.com")
        it = notification(uuid4(), person=person, now=self.clock.now(), **wishes)
        await self.events.save(it)
        return it

    async def send(self, it: Notification, outcome: Any = None) -> None:
        attempted(it, self.clock.now(), provider="resend")
        it.record(outcome or Accepted("re_1"), POLICY, luck=0.5, now=self.clock.now(), by="worker")
        await self.events.save(it)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(each.body) for each in self.topic.told]

    @property
    def types(self) -> list[str]:
        return [each["type"] for each in self.told]


@pytest.fixture
def house() -> House:
    return House()


def test_every_event_of_a_notification_is_told_or_named_as_one_that_is_not() -> None:
    kinds = {kind.TOPIC for topic, kind in event_classes().items() if topic.startswith("notification.")}
    assert {*TOPICS, *(kind.TOPIC for kind in UNTOLD)} == kinds
    assert len(set(FACTS)) == len(FACTS)


async def test_what_happens_to_a_notification_is_told_in_order_as_cloud_events(house: House) -> None:
    it = await house.queue(correlation_id="order-1042", source="shop")
    await house.send(it)
    assert await house.publisher().turn() == 2
    queued, sent = house.told
    assert sent == {
        "specversion": "1.0",
        "id": f"{it.id}/3",
        "source": "urn:carillon:acme",
        "type": "email.sent",
        "subject": str(it.id),
        "time": sent["time"],
        "datacontenttype": "application/json",
        "data": {
            "notification_id": str(it.id),
            "tenant_id": "acme",
            "channel": "email",
            "type": it.type,
            "category": it.category,
            "purpose": it.purpose,
            "priority": it.priority,
            "request_id": queued["data"]["request_id"],
            "source": "shop",
            "correlation_id": "order-1042",
            "provider": "resend",
            "provider_id": "re_1",
        },
    }
    assert [each.key for each in house.topic.told] == [str(it.id)] * 2
    assert queued["type"] == "email.queued"
    assert queued["data"]["due_at"]


async def test_the_channel_and_the_end_make_the_type(house: House) -> None:
    await house.send(await house.queue(), Refused(Reason.INVALID_RECIPIENT))
    await house.send(await house.queue(channel=Channel.WEBHOOK), Retryable(Reason.TIMEOUT))
    await house.publisher().turn()
    assert house.types == [
        "email.queued",
        "email.attempt_failed",
        "email.failed",
        "webhook.queued",
        "webhook.attempt_failed",
        "webhook.retried",
    ]
    assert house.told[2]["data"]["reason"] == "invalid_recipient"
    assert house.told[1]["data"]["attempt"] == 1


async def test_what_could_not_be_made_failed_without_an_attempt(house: House) -> None:
    it = await house.queue()
    it.fail(Reason.RENDER_FAILED, "no such filter", now=house.clock.now(), by="worker")
    await house.events.save(it)
    await house.publisher().turn()
    assert house.types == ["email.queued", "email.failed"]


async def test_nothing_personal_is_told_until_the_tenant_asks_for_it(house: House) -> None:
    await house.send(await house.queue(recipient_user_id="u-1"))
    publisher = house.publisher()
    await publisher.turn()
    bodies = [_AN_ID.sub(b"", each.body) for each in house.topic.told]
    assert not any(word in body for body in bodies for word in (b"ada", b"Ada", b"u-1", b"recipient"))

    await choose_publishing(ChoosePublishing(personal_data=True), ACME, events=house.events, clock=house.clock)
    it = await house.queue(recipient_user_id="u-1")
    await publisher.turn()
    assert house.told[-1]["data"]["recipient"]["user_id"] == "u-1"
    assert house.told[-1]["data"]["recipient"]["address"] == it.letter.address  # type: ignore[union-attr]

    await choose_publishing(ChoosePublishing(personal_data=False), ACME, events=house.events, clock=house.clock)
    await house.send(it)
    await publisher.turn()
    assert "recipient" not in house.told[-1]["data"]


async def test_of_whom_was_forgotten_nothing_is_told(house: House) -> None:
    await choose_publishing(ChoosePublishing(personal_data=True), ACME, events=house.events, clock=house.clock)
    await house.queue(recipient_user_id="u-1")
    await house.events.forget("acme", "ada@example.com")
    await house.publisher().turn()
    assert "recipient" not in house.told[-1]["data"]


async def test_one_that_cannot_be_read_holds_up_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await choose_publishing(ChoosePublishing(personal_data=True), ACME, events=house.events, clock=house.clock)
    spoiled, whole = await house.queue(), await house.queue()
    read = house.events.get_many

    async def refusing(kind: Any, ids: Any, **wishes: Any) -> Any:
        if spoiled.id in ids:
            raise AlteredError
        return await read(kind, ids, **wishes)

    monkeypatch.setattr(house.events, "get_many", refusing)
    await house.publisher().turn()
    assert {each["subject"]: "recipient" in each["data"] for each in house.told} == {
        str(spoiled.id): False,
        str(whole.id): True,
    }


async def test_to_choose_the_same_again_stores_nothing(house: House) -> None:
    assert not (await chosen_publishing(ACME, events=house.events)).personal_data
    for _ in range(2):
        answer = await choose_publishing(
            ChoosePublishing(personal_data=True), ACME, events=house.events, clock=house.clock
        )
        assert (answer.personal_data, answer.position) == (True, 1)
    assert (await chosen_publishing(ACME, events=house.events)).personal_data
    assert not (await chosen_publishing(Caller("globex", "key:k2"), events=house.events)).personal_data


async def test_whoever_takes_over_goes_on_where_the_other_stood(house: House) -> None:
    it = await house.queue(correlation_id="order-1042")
    await house.publisher().turn()
    await house.send(it)
    await house.publisher().turn()
    assert house.types == ["email.queued", "email.sent"]
    assert house.told[1]["data"]["correlation_id"] == "order-1042"


async def test_the_place_moves_behind_what_nobody_is_told(house: House) -> None:
    it = await house.queue()
    attempted(it)
    position = await house.events.save(it)
    publisher = house.publisher()
    await publisher.turn()
    assert house.place.at == position
    assert await publisher.turn() == 0
    assert house.place.moves == [position]


async def test_a_log_longer_than_a_batch_is_told_whole(house: House) -> None:
    ids = [(await house.queue()).id for _ in range(7)]
    publisher = house.publisher(batch=3)
    assert [await publisher.turn() for _ in range(4)] == [3, 3, 1, 0]
    assert [each["subject"] for each in house.told] == [str(id) for id in ids]


async def test_while_nothing_is_taken_the_place_stays_and_it_is_said_once(house: House) -> None:
    await house.queue()
    house.topic.in_the_way = "no broker can be reached"
    publisher = house.publisher()
    for _ in range(3):
        await publisher.turn()
    assert house.place.at == 0
    assert house.said == ["no broker can be reached"]
    assert await house.troubles.known() == {"publisher": "no broker can be reached"}
    house.topic.in_the_way = None
    await publisher.turn()
    assert house.types == ["email.queued"]
    assert await house.troubles.known() == {}
    assert house.place.at == 1


async def test_a_topic_that_is_away_is_noticed_before_there_is_anything_to_tell(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_ASK_EVERY", 0.0)
    publisher = house.publisher()
    house.topic.in_the_way = "there is no topic"
    assert await publisher.turn() == 0
    assert await house.troubles.known() == {"publisher": "there is no topic"}
    house.topic.in_the_way = None
    await publisher.turn()
    assert await house.troubles.known() == {}


async def test_what_has_arrived_behind_what_has_not_is_not_told_again(house: House) -> None:
    first, stuck, last = [await house.queue() for _ in range(3)]
    await house.send(stuck)
    house.topic.refuses = lambda each: each.key == str(stuck.id)
    publisher = house.publisher()
    for _ in range(2):
        await publisher.turn()
    assert house.place.at == 1
    assert [each["subject"] for each in house.told] == [str(first.id), str(last.id)]
    house.topic.refuses = lambda _: False
    await publisher.turn()
    assert [each["subject"] for each in house.told[2:]] == [str(stuck.id)] * 2
    assert house.types[2:] == ["email.queued", "email.sent"]
    assert house.place.at == await house.events.head()


async def test_another_one_tells_again_what_was_told_beyond_the_place_under_the_same_id(house: House) -> None:
    stuck, ahead = await house.queue(), await house.queue()
    house.topic.refuses = lambda each: each.key == str(stuck.id)
    await house.publisher().turn()
    house.topic.refuses = lambda _: False
    await house.publisher().turn()
    assert [each["id"] for each in house.told] == [f"{ahead.id}/1", f"{stuck.id}/1", f"{ahead.id}/1"]


@pytest.mark.parametrize(
    ("became", "fact", "more"),
    [
        (Standing(Status.SENT, None, NOON, None, None), "sent", {}),
        (Standing(Status.DELIVERED, None, NOON, NOON, None), "delivered", {"occurred_at": "2026-03-01T12:00:00Z"}),
        (
            Standing(Status.BOUNCED, Reason.HARD_BOUNCE, NOON, None, NOON),
            "bounced",
            {"reason": "hard_bounce", "occurred_at": "2026-03-01T12:00:00Z"},
        ),
        (
            Standing(Status.FAILED, Reason.PROVIDER_REFUSED, None, None, None),
            "failed",
            {"reason": "provider_refused"},
        ),
        (
            Standing(Status.FAILED, Reason.PROVIDER_REJECTED_LATER, NOON, None, None),
            "rejected",
            {"reason": "provider_rejected_later"},
        ),
        (
            Standing(Status.SUPPRESSED, Reason.UNSUBSCRIBED, None, None, None),
            "suppressed",
            {"reason": "unsubscribed"},
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_became_of_a_digest_is_told_of_what_is_in_it(
    house: House, became: Standing, fact: str, more: dict[str, Any]
) -> None:
    it = await house.queue(correlation_id="order-1042")
    now, digest = house.clock.now(), cast("Notification", Digest(uuid4(), became))
    it.wait(Reason.DIGEST, now, now=now, by="key:k1", bundle=uuid4())
    it.merge(digest, now=now, by="worker")
    it.follow(digest, now=now, by="digest")
    again = cast("Notification", Digest(digest.id, Standing(Status.DEFERRED, Reason.DIGEST, None, None, None)))
    it.follow(again, now=now, by="digest")
    await house.events.save(it)
    await house.publisher().turn()
    *before, followed = house.told
    assert [each["type"] for each in before] == ["email.queued", "email.deferred", "email.merged"]
    assert followed["type"] == f"email.{fact}"
    assert followed["data"]["correlation_id"] == "order-1042"
    assert followed["data"]["digest_id"] == str(digest.id)
    assert {name: value for name, value in followed["data"].items() if name in ("reason", "occurred_at")} == more


class Digest(msgspec.Struct, frozen=True):
    """As much of one as its members look at."""

    id: UUID
    standing: Standing
    reason_code: Reason | None = None


async def test_origins_are_forgotten_and_found_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "MOST_KNOWN", 1)
    publisher = house.publisher()
    them = [await house.queue(correlation_id=f"order-{n}") for n in range(3)]
    await publisher.turn()
    assert len(publisher._origins) == 1
    for it in them:
        await house.send(it)
    await publisher.turn()
    assert [each["data"]["correlation_id"] for each in house.told[3:]] == ["order-0", "order-1", "order-2"]


def test_the_tenant_in_the_source_is_quoted() -> None:
    event = notification(UUID(int=1), tenant="a b/ü").collect_events()[0]
    told = announced.announcement(event, announced.origin_of(event), None)
    assert json.loads(told.body)["source"] == "urn:carillon:a%20b%2F%C3%BC"


def test_the_schema_that_others_read_is_what_is_told() -> None:
    assert json.loads(announcements.FILE.read_bytes()) == announcements.SCHEMA


def test_every_type_is_explained() -> None:
    table = (announcements.FILE.parent / "notification-events.md").read_text().split("## Types")[1].split("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`([a-z_]+)`", "".join(rows))) == sorted(FACTS)


def test_the_example_that_others_read_is_as_its_schema_says() -> None:
    page = (announcements.FILE.parent / "notification-events.md").read_text()
    jsonschema.validate(json.loads(page.split("```json")[1].split("```")[0]), announcements.SCHEMA)
