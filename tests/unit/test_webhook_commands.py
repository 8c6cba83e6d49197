"""What is asked of webhooks, and who is told of what. In memory."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from adapters.event_mapper import EventMapper
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from adapters.webhook.signing import RandomWebhookSecrets
from application import message
from application.caller import Caller
from application.commands.send_webhook import EventAnswer, SendWebhook, send_webhook
from application.commands.webhooks import (
    CreateWebhook,
    FilterWish,
    RotateSecret,
    UpdateWebhook,
    WebhookAnswer,
    create_webhook,
    delete_webhook,
    pause_webhook,
    resume_webhook,
    rotate_secret,
    update_webhook,
)
from application.ports.log import ConflictError, StoreUnavailableError
from application.ports.webhooks import Interest
from application.problems import InvalidCommandError, KeyReusedError, NotFoundError
from application.subscriptions import SubscriptionDirectory
from domain.happening import Happening
from domain.ids import happening_id
from domain.notification import Notification
from domain.personal import Erased, Payload
from domain.subscription import SubscriptionState, WebhookSubscription
from domain.vocabulary import Channel, SecretKind
from tests.fakes.chance import LoadedDice, SetClock
from tests.golden_events import load, mapper

ACME = Caller("acme", "key:k1")
URL = "https://hooks.acme.example/in"


class NoRows:
    """A read model that has seen nothing yet."""

    async def interests(self) -> tuple[int, list[tuple[str, Interest]]]:
        return 0, []


class House:
    def __init__(self) -> None:
        self.clock = SetClock()
        self.due = MemoryDueWork(self.clock)
        keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(self.due, MemoryWakeups(), EventMapper(keys), keys)
        self.directory = SubscriptionDirectory(self.events, NoRows())
        self.secrets = RandomWebhookSecrets()
        self.dice = LoadedDice()

    def ports(self, *names: str) -> dict[str, Any]:
        known = {
            "events": self.events,
            "persons": self.events,
            "secrets": self.secrets,
            "clock": self.clock,
            "dice": self.dice,
            "in_house": (),
            "subscriptions": self.directory,
        }
        return {name: known[name] for name in ("events", "clock", *names)}

    async def create(self, *types: str, caller: Caller = ACME, **wishes: Any) -> WebhookAnswer:
        command = CreateWebhook(**{"name": "billing", "url": URL, "event_types": list(types or ["*"])} | wishes)
        return await create_webhook(command, caller, **self.ports("persons", "secrets", "in_house", "dice"))

    async def send(self, type: str = "order.created", *, caller: Caller = ACME, **wishes: Any) -> EventAnswer:
        command = SendWebhook(type=type, **{"data": {"total": 5}} | wishes)
        return await send_webhook(command, caller, **self.ports("persons", "subscriptions", "dice"))

    async def get(self, id: UUID) -> WebhookSubscription:
        found = await self.events.get(WebhookSubscription, id)
        assert found
        return found


@pytest.fixture
def house() -> House:
    return House()


def told(answer: EventAnswer) -> set[UUID]:
    return {each.webhook for each in answer.notifications}


async def test_the_secret_is_shown_when_it_is_made_and_signs_from_then_on(house):
    answer = await house.create()
    assert answer.secret.startswith("whsec_")
    assert (await house.get(answer.webhook.id)).endpoint.secrets_at(house.clock.now()) == (answer.secret,)
    assert answer.webhook.public_key is None


async def test_with_a_key_pair_the_public_half_is_shown_always(house):
    answer = await house.create(signature=SecretKind.ASYMMETRIC)
    assert answer.secret is None
    assert answer.webhook.public_keys == [answer.webhook.public_key]
    paused = await pause_webhook(answer.webhook.id, ACME, **house.ports("secrets"))
    assert paused.webhook.public_key.startswith("whpk_")
    assert paused.webhook.public_key == answer.webhook.public_key
    assert paused.secret is None


async def test_a_rotation_is_of_the_same_kind_unless_another_is_asked_for(house):
    made = await house.create(signature=SecretKind.ASYMMETRIC)
    for command, prefix in ((RotateSecret(), "whsk_"), (RotateSecret(signature=SecretKind.SYMMETRIC), "whsec_")):
        await rotate_secret(command, made.webhook.id, ACME, **house.ports("persons", "secrets"))
        assert (await house.get(made.webhook.id)).endpoint.secrets[0].text.startswith(prefix)
    assert len((await house.get(made.webhook.id)).endpoint.secrets) == 3


async def test_of_a_key_pair_nobody_is_shown_the_private_half_and_everybody_what_still_verifies(house):
    made = await house.create(signature=SecretKind.ASYMMETRIC)
    first = made.webhook.public_key
    wish = RotateSecret(grace_seconds=60)
    rotated = await rotate_secret(wish, made.webhook.id, ACME, **house.ports("persons", "secrets"))
    assert (made.secret, rotated.secret) == (None, None)
    assert rotated.webhook.public_keys == [rotated.webhook.public_key, first]
    house.clock.move(timedelta(seconds=60))
    later = await pause_webhook(made.webhook.id, ACME, **house.ports("secrets"))
    assert later.webhook.public_keys == [rotated.webhook.public_key]
    shared = RotateSecret(signature=SecretKind.SYMMETRIC)
    answer = await rotate_secret(shared, made.webhook.id, ACME, **house.ports("persons", "secrets"))
    assert answer.secret.startswith("whsec_")
    assert (answer.webhook.public_key, answer.webhook.public_keys) == (None, [rotated.webhook.public_key])
    assert "whsk_" not in repr([made, rotated, later, answer])


async def test_every_fault_is_named_at_once(house):
    with pytest.raises(InvalidCommandError) as caught:
        await house.create(
            "order.*",
            "or der",
            url="http://127.0.0.1/in",
            headers={"Host": "elsewhere"},
            filters=[FilterWish(path="a"), FilterWish(path="b", equals=1, exists=True)],
            owner_email="nobody",
            organization_id="a\0b",
        )
    assert {problem.path for problem in caught.value.problems} == {
        "event_types[1]",
        "url",
        "headers.Host",
        "filters[0]",
        "filters[1]",
        "owner_email",
        "organization_id",
    }


async def test_an_event_goes_to_all_who_subscribed_to_it_and_to_no_tenant_else(house):
    orders, all_of_them = await house.create("order.*"), await house.create()
    await house.create("payment.failed")
    await house.create(caller=Caller("north", "key:k2"))
    answer = await house.send()
    assert told(answer) == {orders.webhook.id, all_of_them.webhook.id}
    for each in answer.notifications:
        notification = await house.events.get(Notification, each.notification)
        assert (notification.channel, notification.subscription) == (Channel.WEBHOOK, each.webhook)
        assert notification.happening == happening_id("acme", answer.id)
    assert len(await house.due.lease(Channel.WEBHOOK, 10, 10, timedelta(minutes=1))) == 2


async def test_organisations_and_filters_narrow_it_down(house):
    north = await house.create(organization_id="north")
    dear = await house.create(filters=[FilterWish(path="total", any_of=[100, 200])])
    everything = await house.create()
    assert told(await house.send()) == {everything.webhook.id}
    assert told(await house.send(organization_id="north")) == {north.webhook.id, everything.webhook.id}
    assert told(await house.send(organization_id="south", data={"total": 200})) == {
        dear.webhook.id,
        everything.webhook.id,
    }


async def test_receivers_are_told_in_which_organisation_it_happened_if_in_any(house):
    bodies = []
    for organization in ("north", None):
        answer = await house.send(organization_id=organization)
        kept = await house.events.get(Happening, happening_id("acme", answer.id))
        bodies.append(msgspec.json.decode(message.webhook(kept)))
    assert [list(body) for body in bodies] == [
        ["id", "type", "timestamp", "organization_id", "data"],
        ["id", "type", "timestamp", "data"],
    ]
    assert bodies[0]["organization_id"] == "north"


def test_what_was_told_before_receivers_heard_of_organisations_is_sent_again_as_it_was():
    told: Any = mapper().to_event(load("happening.told"))
    assert told.organization == "north"
    body = b'{"id":"evt_1","type":"order.created","timestamp":"2026-03-01T11:59:57Z","data":%b}'
    assert message.webhook(told.mutate(None)) == body % msgspec.json.encode(told.personal.data)


async def test_an_event_that_nobody_wants_is_kept_and_says_so(house):
    answer = await house.send()
    assert answer.notifications == []
    kept = await house.events.get(Happening, happening_id("acme", answer.id))
    assert kept.payload.data == {"total": 5}


async def test_the_same_id_is_the_same_event_for_ever(house):
    made = await house.create()
    first = await house.send(id="o-1")
    await house.create()
    house.clock.move(timedelta(days=400))
    again = await house.send(id="o-1")
    assert again == first
    assert told(again) == {made.webhook.id}
    with pytest.raises(KeyReusedError):
        await house.send(id="o-1", data={"total": 6})
    with pytest.raises(KeyReusedError):
        await house.send("order.paid", id="o-1")
    assert (await house.send(id="o-1", caller=Caller("north", "key:k2"))).notifications == []


@pytest.mark.parametrize(("first", "second"), [(True, 1), (False, 0), ([{"a": 1}], [{"a": True}])])
async def test_what_only_python_takes_for_the_same_is_another_event(house, first, second):
    await house.send(id="o-1", data={"paid": first, "b": 1})
    assert (await house.send(id="o-1", data={"b": 1, "paid": first})).id == "o-1"
    with pytest.raises(KeyReusedError):
        await house.send(id="o-1", data={"paid": second, "b": 1})


async def test_sent_twice_at_the_same_moment_it_happens_once(house):
    await house.create()
    answers = await asyncio.gather(*(house.send(id="o-1") for _ in range(8)))
    assert len({msg.notifications[0].notification for msg in answers}) == 1
    assert len(await house.due.lease(Channel.WEBHOOK, 99, 99, timedelta(minutes=1))) == 1


async def test_a_conflict_over_an_event_without_an_id_of_the_caller_s_is_told_as_it_is(house, monkeypatch):
    async def conflicts(*_: Any) -> int:
        raise ConflictError

    monkeypatch.setattr(house.events, "save", conflicts)
    with pytest.raises(ConflictError):
        await house.send()


async def test_what_was_erased_still_is_the_same_event(house):
    await house.send(id="o-1", organization_id="north")
    await house.events.forget("acme", "happening:north")
    kept = await house.events.get(Happening, happening_id("acme", "o-1"))
    assert isinstance(kept.payload, Erased)
    assert (await house.send(id="o-1", organization_id="north")).id == "o-1"


async def test_organisations_that_differ_in_capitals_are_erased_apart(house):
    names = ("acme", "Acme", "ACME", "acme ")
    ids = [(await house.send(organization_id=name)).id for name in names]
    await house.events.forget("acme", "happening:acme")
    kept = [await house.events.get(Happening, happening_id("acme", id)) for id in ids]
    assert [isinstance(each.payload, Erased) for each in kept] == [True, False, False, False]
    assert len({each.payload.person for each in kept}) == 4


@pytest.mark.parametrize(
    ("wishes", "path"),
    [
        ({"type": "order created"}, "type"),
        ({"id": "a.b"}, "id"),
        ({"id": ""}, "id"),
        ({"data": {"a": "\0"}}, "data"),
        ({"organization_id": "\0"}, "organization_id"),
    ],
)
async def test_an_event_that_cannot_be_told_is_refused(house, wishes, path):
    with pytest.raises(InvalidCommandError) as caught:
        await house.send(**wishes)
    assert [problem.path for problem in caught.value.problems] == [path]


async def test_one_that_was_just_made_changed_or_deleted_is_seen_so_by_the_next_event(house):
    made = await house.create("order.*")
    assert told(await house.send()) == {made.webhook.id}
    command = UpdateWebhook(name="billing", url=URL, event_types=["payment.*"])
    await update_webhook(command, made.webhook.id, ACME, **house.ports("persons", "secrets", "in_house"))
    assert told(await house.send()) == set()
    assert told(await house.send("payment.failed")) == {made.webhook.id}
    await delete_webhook(made.webhook.id, ACME, **house.ports("persons"))
    assert told(await house.send("payment.failed")) == set()


async def test_what_happens_while_one_is_paused_is_held_for_it(house):
    made = await house.create()
    await pause_webhook(made.webhook.id, ACME, **house.ports("secrets"))
    assert told(await house.send()) == {made.webhook.id}
    assert await house.due.lease(Channel.WEBHOOK, 10, 10, timedelta(minutes=1)) == []
    answer = await resume_webhook(made.webhook.id, ACME, **house.ports("secrets"))
    assert answer.webhook.state is SubscriptionState.ACTIVE
    assert len(await house.due.lease(Channel.WEBHOOK, 10, 10, timedelta(minutes=1))) == 1


async def test_what_is_deleted_is_erased_and_not_found_any_more(house):
    made = await house.create()
    await delete_webhook(made.webhook.id, ACME, **house.ports("persons"))
    assert isinstance((await house.get(made.webhook.id)).endpoint, Erased)
    with pytest.raises(NotFoundError):
        await pause_webhook(made.webhook.id, ACME, **house.ports("secrets"))


async def test_a_deletion_that_was_interrupted_is_finished_when_it_is_asked_for_again(house):
    made = await house.create()
    it = await house.get(made.webhook.id)
    it.delete(now=house.clock.now(), by="key:k1")
    await house.events.save(it)
    with pytest.raises(NotFoundError):
        await delete_webhook(made.webhook.id, Caller("north", "key:k2"), **house.ports("persons"))
    assert not isinstance((await house.get(made.webhook.id)).endpoint, Erased)
    with pytest.raises(NotFoundError):
        await delete_webhook(made.webhook.id, ACME, **house.ports("persons"))
    assert isinstance((await house.get(made.webhook.id)).endpoint, Erased)


async def test_another_tenant_s_is_not_found(house):
    made = await house.create()
    with pytest.raises(NotFoundError):
        await pause_webhook(made.webhook.id, Caller("north", "key:k2"), **house.ports("secrets"))


async def test_many_who_ask_at_once_read_the_log_once(house, monkeypatch):
    await house.create()
    await house.send()
    read, reads = house.events.read, []

    async def counted(*args: Any, **wishes: Any) -> Any:
        reads.append(args)
        return await read(*args, **wishes)

    monkeypatch.setattr(house.events, "read", counted)
    await house.create()
    found = await asyncio.gather(*(house.directory.of("acme") for _ in range(50)))
    assert {len(each) for each in found} == {2}
    assert len(reads) == 1


async def test_after_a_log_that_was_away_the_next_one_asks_again(house, monkeypatch):
    async def away() -> int:
        raise StoreUnavailableError

    await house.create()
    with monkeypatch.context() as patched:
        patched.setattr(house.events, "head", away)
        with pytest.raises(StoreUnavailableError):
            await house.directory.of("acme")
    assert len(await house.directory.of("acme")) == 1


async def test_the_payload_is_stored_sealed(house):
    answer = await house.send(data={"card": "4111"})
    (recorded,) = await house.events.history(happening_id("acme", answer.id))
    assert recorded.event.personal == Payload(person=recorded.event.personal.person, data={"card": "4111"})
    assert not any(b"4111" in stored.state for stored in house.events._log)


@pytest.mark.parametrize("rate", [0, 1e-14, 1 / 86_401, 10_001])
def test_a_pace_is_between_one_a_day_and_ten_thousand_a_second(rate):
    wishes = {"name": "billing", "url": "https://hooks.acme.example/in", "event_types": ["*"]}
    assert msgspec.convert(wishes | {"per_second": 1 / 86_400}, CreateWebhook).per_second
    with pytest.raises(msgspec.ValidationError, match="per_second"):
        msgspec.convert(wishes | {"per_second": rate}, CreateWebhook)
