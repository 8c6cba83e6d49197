"""Every record is stored as what it becomes, set aside, or left out and counted. In memory."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from adapters.event_mapper import EventMapper
from adapters.kafka.envelope import read_record
from adapters.memory.api_keys import MemoryApiKeys
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.records import MemoryRecordCounts
from adapters.memory.wakeup import MemoryWakeups
from adapters.paths import JmesPaths
from adapters.person_keys import PersonKeys
from application.caller import Caller
from application.commands.mappings import MappingUses
from application.commands.parked import MOST_REPLAYED, ParkedUses, ReplayParked
from application.commands.send import AcceptedNotification, IdempotencyKey, SendAnswer
from application.commands.send_webhook import EventAnswer, SendWebhook
from application.commands.sending import SendNotification
from application.inbound import intake
from application.inbound.event import Record
from application.inbound.intake import ACCEPTED, DIFFERENT, EMPTY, NOT_MEANT, PARKED, UNMAPPED, Intake
from application.inbound.mappings import House, MappingsInForce
from application.inbound.tenants import TenantsWithKeys
from application.ports.log import ConflictError, StoreUnavailableError
from application.ports.templates import RendererUnavailableError
from application.problems import InvalidCommandError, KeyReusedError, NotFoundError, Problem
from application.processes.consume import consume
from domain.ids import mappings_id
from domain.mapping import (
    MOST_MAPPINGS,
    Mapping,
    Mappings,
    MappingTerms,
    NotificationTerms,
    RecipientPaths,
    TooManyMappingsError,
    WebhookTerms,
)
from domain.parked import Origin, ParkedRecord, ParkReason
from domain.vocabulary import Channel, Status
from tests.fakes.chance import LoadedDice, SetClock

ADMIN = Caller("acme", "key:k1")
WELCOME = MappingTerms(
    topic="users",
    event="user.created",
    notification=NotificationTerms(
        type="welcome", recipient=RecipientPaths(email="data.email"), variables={"name": "data.name"}
    ),
)
TOLD = MappingTerms(topic="users", event="user.created", condition="data.told", webhook=WebhookTerms(type="user.new"))
HOUSE = House({"users": "tenant_id"}, {"told": Mapping("told", 0, TOLD), "welcome": Mapping("welcome", 0, WELCOME)})


class Lines:
    def __init__(self) -> None:
        self.reasons: list[ParkReason] = []
        self.differing: list[tuple[int, str]] = []
        self.errors: list[BaseException | None] = []

    def parked(self, record: Record, reason: ParkReason, error: BaseException | None) -> None:
        self.reasons.append(reason)
        self.errors.append(error)

    def different(self, record: Record, mapping: str) -> None:
        self.differing.append((record.origin.offset, mapping))

    def taken(self, *_: object) -> None: ...

    def waits(self, error: Exception) -> None:
        self.errors.append(error)


class Rig:
    """An intake whose commands are kept in a list, and fail as `trouble` says."""

    def __init__(self, nobody: str = "operator") -> None:
        self.clock, self.dice, self.lines = SetClock(), LoadedDice(), Lines()
        self.keys = MemoryApiKeys(self.clock)
        sealing = PersonKeys(bytes(32))
        self.events = MemoryEventStore(MemoryDueWork(self.clock), MemoryWakeups(), EventMapper(sealing), sealing)
        self.paths = JmesPaths()
        self.in_force = MappingsInForce(HOUSE, self.events, self.clock)
        self.sent: dict[tuple[str, str], tuple[SendNotification, str]] = {}
        self.told: dict[str, SendWebhook] = {}
        self.trouble: Callable[[], None] = lambda: None
        self.intake = Intake(
            read=read_record,
            mappings=self.in_force,
            paths=self.paths,
            tenants=TenantsWithKeys(self.keys, self.clock),
            accept=self.accept,
            tell=self.tell,
            events=self.events,
            persons=self.events,
            clock=self.clock,
            fingerprint=bytes.hex,
            log=self.lines,
            nobody=nobody,
        )
        self.mappings = MappingUses(self.in_force, self.paths, read_record, self.events, self.clock)
        self.parked = ParkedUses(self.intake, None, self.events, self.events, self.clock)

    async def accept(self, command: SendNotification, caller: Caller, key: IdempotencyKey) -> SendAnswer:
        self.trouble()
        if "name" not in command.variables:
            raise InvalidCommandError([Problem("variables.name", "is missing")])
        known, digest = self.sent.setdefault((caller.tenant, key.key), (command, key.body_digest))
        if digest != key.body_digest:
            raise KeyReusedError("another body")
        to = AcceptedNotification(self.dice.id(), Channel.EMAIL, known.recipients[0], Status.PENDING)
        return SendAnswer(self.dice.id(), 1, [to])

    async def tell(self, command: SendWebhook, caller: Caller) -> EventAnswer:
        self.trouble()
        assert command.id
        self.told[command.id] = command
        return EventAnswer(command.id, 1, [])

    async def customer(self, name: str) -> None:
        await self.keys.create(name, "test", [])

    async def take(self, *records: Record) -> dict[str, int]:
        tally = await self.intake.take(records)
        assert all(topic == "users" for topic, _ in tally)
        return {fact: count for (_, fact), count in tally.items()}

    async def parked_record(self, of: Record) -> ParkedRecord:
        found = await self.events.get(ParkedRecord, of.origin.id)
        assert found
        return found


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.customer("acme")
    return rig


def record(value: Any = None, *, offset: int = 0, **changed: Any) -> Record:
    usual = {
        "id": "e-1",
        "type": "user.created",
        "tenant_id": "acme",
        "data": {"email": "jane@example.com", "name": "J"},
    }
    raw = value if value is not None else msgspec.json.encode(usual | changed)
    return Record(origin=Origin(topic="users", partition=0, offset=offset, timestamp=1_000), key=b"k", value=raw)


async def test_an_event_is_accepted_once_under_a_key_that_no_request_can_have(rig):
    assert await rig.take(record()) == {ACCEPTED: 1, NOT_MEANT: 1}
    assert await rig.take(record(offset=7)) == {ACCEPTED: 1, NOT_MEANT: 1}
    ((tenant, key),) = rig.sent
    assert (tenant, key) == ("acme", "kafka\x00welcome\x00id\x00\x00e-1")


async def test_the_same_event_of_another_tenant_is_another_one(rig):
    await rig.customer("globex")
    await rig.take(record(), record(tenant_id="globex"))
    assert len(rig.sent) == 2


async def test_the_same_id_with_other_data_is_the_same_event_counted_and_logged(rig):
    other = record(data={"email": "max@example.com", "name": "Max"}, offset=1)
    assert await rig.take(record()) == {ACCEPTED: 1, NOT_MEANT: 1}
    assert await rig.take(other) == {DIFFERENT: 1, NOT_MEANT: 1}
    assert rig.lines.reasons == []
    assert rig.lines.differing == [(1, "welcome")]


async def test_data_in_another_order_are_the_same_data(rig):
    await rig.take(record())
    assert await rig.take(record(data={"name": "J", "email": "jane@example.com"})) == {ACCEPTED: 1, NOT_MEANT: 1}


async def test_an_event_may_become_several_things(rig):
    data = {"email": "jane@example.com", "name": "Jane", "told": True}
    assert await rig.take(record(data=data)) == {ACCEPTED: 2}
    (told,) = rig.told.values()
    assert (told.type, told.data) == ("user.new", data)


async def test_what_nobody_maps_is_left_out_and_counted(rig):
    assert await rig.take(record(type="user.deleted"), record(type="x", tenant_id="who")) == {UNMAPPED: 2}
    assert await rig.take(Record(origin=record().origin, key=b"k", value=None)) == {EMPTY: 1}
    assert await rig.events.head() == 0


async def test_what_cannot_become_anything_is_set_aside_once(rig):
    poison = record(data={"email": "jane@example.com"})
    assert await rig.take(poison) == {NOT_MEANT: 1, PARKED: 1}
    assert await rig.take(poison, poison) == {NOT_MEANT: 2, PARKED: 2}
    parked = await rig.parked_record(poison)
    assert await rig.events.head() == 1
    assert (parked.tenant, parked.reason, parked.mappings) == ("acme", ParkReason.INVALID, ("welcome",))
    assert parked.body.problems == ("welcome: variables.name: is missing",)
    assert (parked.body.value, parked.body.key) == (poison.value, b"k")


async def test_what_else_an_event_becomes_is_stored_all_the_same(rig):
    assert await rig.take(record(data={"email": "jane@example.com", "told": True})) == {ACCEPTED: 1, PARKED: 1}
    assert len(rig.told) == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"tenant_id": "nobody"}, ParkReason.UNKNOWN_TENANT),
        ({"tenant_id": "x" * 300}, ParkReason.NO_TENANT),
        ({"tenant_id": None}, ParkReason.UNKNOWN_TENANT),
        ({"data": []}, ParkReason.NO_EVENT),
    ],
)
async def test_what_is_nobody_s_is_looked_after_by_whoever_runs_the_service(rig, changed, reason):
    bad = record(**changed)
    await rig.take(bad)
    parked = await rig.parked_record(bad)
    assert (parked.tenant, parked.reason) == ("operator", reason)


async def test_without_anybody_to_look_after_it_it_is_nobody_s():
    rig = Rig(nobody="")
    bad = record(tenant_id=None)
    await rig.take(bad)
    parked = await rig.parked_record(bad)
    assert (parked.tenant, parked.reason) == ("", ParkReason.NO_TENANT)


async def test_records_without_a_tenant_are_those_of_whoever_is_said_to_be_theirs(rig):
    await rig.customer("operator")
    rig.clock.move(timedelta(seconds=2))
    assert await rig.take(record(tenant_id=None)) == {ACCEPTED: 1, NOT_MEANT: 1}
    assert {tenant for tenant, _ in rig.sent} == {"operator"}


@pytest.mark.parametrize("said", ["", "x" * 201, 1.5, True, {"name": "acme"}, ["acme"]])
async def test_who_names_a_tenant_that_can_be_none_is_not_taken_for_another(rig, said):
    await rig.customer("operator")
    rig.clock.move(timedelta(seconds=2))
    bad = record(tenant_id=said)
    assert await rig.take(bad) == {PARKED: 1}
    assert rig.sent == {}
    parked = await rig.parked_record(bad)
    assert (parked.tenant, parked.reason) == ("operator", ParkReason.NO_TENANT)


async def test_whatever_records_take_to_be_read_all_else_goes_on_meanwhile(rig, monkeypatch):
    """Each tick of another task falls between two pieces of the work, however many there are."""
    monkeypatch.setattr(intake, "_SLICE", 0.0)
    pieces, most = 0, 0

    def counted(*given: Any, work: Any) -> Any:
        nonlocal pieces
        pieces += 1
        return work(*given)

    async def tick() -> None:
        nonlocal pieces, most
        while True:
            most, pieces = max(most, pieces), 0
            await asyncio.sleep(0)

    monkeypatch.setattr(rig.intake, "_read", partial(counted, work=rig.intake._read))
    monkeypatch.setattr(intake, "become", partial(counted, work=intake.become))
    ticking = asyncio.create_task(tick())
    data = {"email": "jane@example.com", "name": "Jane", "told": True}
    tally = await rig.take(*(record(id=f"e-{n}", offset=n, data=data) for n in range(100)))
    ticking.cancel()
    assert tally == {ACCEPTED: 200}
    assert 1 <= most <= 3


async def test_of_large_records_few_are_in_hand_at_the_same_time(rig, monkeypatch):
    monkeypatch.setattr(intake, "_MOST_IN_HAND", 1_000)
    begun: list[int] = []

    async def accept(command: SendNotification, caller: Caller, key: IdempotencyKey) -> SendAnswer:
        begun.append(1)
        await asyncio.sleep(0)
        assert len(begun) <= 3
        answer = await rig.accept(command, caller, key)
        begun.pop()
        return answer

    monkeypatch.setattr(rig.intake, "_accept", accept)
    large = {"email": "jane@example.com", "name": "x" * 200}
    several = [record(id=f"e-{n}", offset=n, data=large) for n in range(20)]
    huge = record(id="huge", offset=20, data={"email": "jane@example.com", "name": "x" * 2_000})
    assert await rig.take(*several, huge) == {ACCEPTED: 21, NOT_MEANT: 21}


async def test_of_a_large_record_only_the_beginning_is_kept(rig):
    large = record(b" " * 10_000_000)
    assert await rig.take(large) == {PARKED: 1}
    parked = await rig.parked_record(large)
    assert (parked.reason, parked.complete, parked.size) == (ParkReason.TOO_LARGE, False, 10_000_001)
    assert len(parked.body.value) == 4096


async def test_of_a_record_that_cannot_be_read_the_place_is_parked(rig):
    torn = Record(origin=record().origin, key=None, value=None, unreadable="CorruptRecordException")
    assert await rig.take(torn) == {PARKED: 1}
    parked = await rig.parked_record(torn)
    assert (parked.tenant, parked.reason, parked.complete) == ("operator", ParkReason.UNREADABLE, False)
    answer = await rig.parked.replay(ReplayParked(ids=[torn.origin.id]), ADMIN, "operator")
    assert answer.records[0].problems == ["only its beginning was kept"]


async def test_a_mistake_of_ours_sets_one_record_aside_and_is_told_in_full(rig):
    def bug() -> None:
        raise ZeroDivisionError("jane@example.com")

    rig.trouble = bug
    assert await rig.take(record()) == {NOT_MEANT: 1, PARKED: 1}
    assert rig.lines.reasons == [ParkReason.FAILED]
    assert isinstance(rig.lines.errors[0], ZeroDivisionError)
    assert (await rig.parked_record(record())).body.problems == ("welcome: ZeroDivisionError",)


async def test_what_cannot_be_checked_is_tried_a_few_times_and_then_set_aside(rig, monkeypatch):
    monkeypatch.setattr("application.inbound.intake._PAUSE", 0.0)
    calls = []

    def away() -> None:
        calls.append(1)
        raise RendererUnavailableError("busy")

    rig.trouble = away
    assert await rig.take(record()) == {NOT_MEANT: 1, PARKED: 1}
    assert rig.lines.reasons == [ParkReason.UNAVAILABLE]
    assert len(calls) == 3


async def test_who_was_erased_meanwhile_is_met_anew(rig, monkeypatch):
    monkeypatch.setattr("application.inbound.intake._PAUSE", 0.0)
    errors = [ConflictError("a key is gone")]

    def once() -> None:
        if errors:
            raise errors.pop()

    rig.trouble = once
    assert await rig.take(record()) == {ACCEPTED: 1, NOT_MEANT: 1}


async def test_a_mapping_that_takes_too_much_sets_its_tenant_s_events_aside(rig):
    await rig.mappings.write("told", msgspec.structs.replace(TOLD, condition="data.items[*].a"), ADMIN)
    assert await rig.take(record(data={"items": [{"a": 1}] * 20_000})) == {PARKED: 1}
    assert rig.lines.reasons == [ParkReason.TOO_COSTLY]


async def test_a_parked_record_becomes_what_it_should_once_and_what_it_was_before_nothing_more(rig):
    bad = record(data={"email": "jane@example.com", "told": True})
    await rig.take(bad)
    told = dict(rig.told)
    command = ReplayParked(ids=[bad.origin.id])
    answer = await rig.parked.replay(command, ADMIN, "acme")
    assert not answer.records[0].replayed
    assert answer.records[0].problems == ["welcome: variables.name: is missing"]
    variables = {"name": "data.email"}
    assert WELCOME.notification
    mended = msgspec.structs.replace(WELCOME.notification, variables=variables)
    await rig.mappings.write("welcome", msgspec.structs.replace(WELCOME, notification=mended), ADMIN)
    for _ in range(2):
        assert (await rig.parked.replay(command, ADMIN, "acme")).records[0].replayed
    assert (await rig.parked_record(bad)).replayed
    assert len(rig.sent) == 1
    assert rig.told == told
    assert [type(each.event) for each in await rig.events.history(bad.origin.id)][1:] == [ParkedRecord.Replayed]


async def test_what_was_replayed_is_erased_and_what_it_became_stays_known(rig):
    bad = record(data={"email": "jane@example.com"})
    await rig.take(bad)
    await rig.mappings.write("welcome", msgspec.structs.replace(WELCOME, enabled=False), ADMIN)
    told = msgspec.structs.replace(TOLD, condition=None)
    await rig.mappings.write("told", told, ADMIN)
    command = ReplayParked(ids=[bad.origin.id])
    first, again = [(await rig.parked.replay(command, ADMIN, "acme")).records[0] for _ in range(2)]
    assert first.replayed
    assert first.became == again.became == list(rig.told)
    detail = await rig.parked.one("acme", bad.origin.id)
    assert (detail.value, detail.problems) == (None, [])


async def test_where_one_of_several_is_not_there_none_is_replayed(rig):
    bad = record(data={"email": "jane@example.com", "told": True})
    await rig.take(bad)
    rig.told.clear()
    with pytest.raises(NotFoundError):
        await rig.parked.replay(ReplayParked(ids=[bad.origin.id, record(offset=9).origin.id]), ADMIN, "acme")
    assert rig.told == {}


async def test_those_that_stay_parked_are_left_behind_however_many_they_are(rig):
    bad = [record(data={}, id=f"e-{n}", offset=n) for n in range(MOST_REPLAYED + 1)]
    for each in bad:
        await rig.take(each)

    class Reader:
        async def oldest(self, tenant, reason, topic, after, limit):
            rows = [SimpleNamespace(id=each.origin.id, position=n) for n, each in enumerate(bad, 1)]
            return [row for row in rows if row.position > after][:limit]

    parked = ParkedUses(rig.intake, Reader(), rig.events, rig.events, rig.clock)
    first = await parked.replay(ReplayParked(), ADMIN, "acme")
    assert (len(first.records), first.more, first.next) == (MOST_REPLAYED, True, MOST_REPLAYED)
    last = await parked.replay(ReplayParked(after=first.next), ADMIN, "acme")
    assert [each.id for each in last.records] == [bad[-1].origin.id]
    assert (last.more, last.next) == (False, None)


async def test_what_is_written_during_a_look_counts_at_once_all_the_same(rig, monkeypatch):
    looked, go_on = asyncio.Event(), asyncio.Event()
    length = rig.events.length

    async def slow(id: Any) -> int:
        found = await length(id)
        looked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(rig.events, "length", slow)
    looking = asyncio.create_task(rig.in_force.all("acme"))
    await looked.wait()
    monkeypatch.setattr(rig.events, "length", length)
    await rig.mappings.write("mine", TOLD, ADMIN)
    go_on.set()
    await looking
    assert "mine" in await rig.in_force.all("acme")


async def test_what_is_discarded_is_erased_and_others_are_not(rig):
    bad, other = record(b"{"), record(b"[", offset=1)
    await rig.take(bad, other)
    await rig.parked.discard(bad.origin.id, ADMIN, "operator")
    answer = await rig.parked.replay(ReplayParked(ids=[bad.origin.id]), ADMIN, "operator")
    assert answer.records[0].problems == ["its content is erased"]
    assert (await rig.parked.one("operator", bad.origin.id)).value is None
    assert (await rig.parked.one("operator", other.origin.id)).value == "["


async def test_nobody_sees_the_parked_records_of_others(rig):
    bad = record(data={})
    await rig.take(bad)
    for use in (rig.parked.one("globex", bad.origin.id), rig.parked.discard(bad.origin.id, ADMIN, "globex")):
        with pytest.raises(NotFoundError):
            await use
    assert (await rig.parked.one(None, bad.origin.id)).said_tenant == "acme"


async def test_a_mapping_of_one_s_own_takes_the_place_of_the_house_s_until_it_is_removed(rig):
    off = msgspec.structs.replace(WELCOME, enabled=False)
    first = await rig.mappings.write("welcome", off, ADMIN)
    assert (first.version, first.of) == (1, "you")
    assert (await rig.mappings.write("welcome", off, ADMIN)).version == 1
    assert await rig.take(record()) == {NOT_MEANT: 1}
    await rig.mappings.remove("welcome", ADMIN)
    assert await rig.take(record()) == {ACCEPTED: 1, NOT_MEANT: 1}
    assert (await rig.mappings.write("welcome", off, ADMIN)).version == 2
    with pytest.raises(NotFoundError):
        await rig.mappings.remove("told", ADMIN)


async def test_what_another_process_has_written_is_in_force_within_a_second(rig):
    await rig.take(record())
    elsewhere = MappingUses(
        MappingsInForce(HOUSE, rig.events, rig.clock), rig.paths, read_record, rig.events, rig.clock
    )
    await elsewhere.write("welcome", msgspec.structs.replace(WELCOME, enabled=False), ADMIN)
    rig.clock.move(timedelta(seconds=1))
    assert await rig.take(record(id="e-2")) == {NOT_MEANT: 1}


async def test_of_a_poll_one_look_is_enough_for_a_tenant_s_keys_and_mappings(rig, monkeypatch):
    asked: list[object] = []
    for whose, name in ((rig.keys, "tenant_has_one"), (rig.events, "length")):
        ask = getattr(whose, name)

        async def counted(what: object, ask: Any = ask) -> Any:
            asked.append(what)
            await asyncio.sleep(0)
            return await ask(what)

        monkeypatch.setattr(whose, name, counted)
    await rig.take(*(record(id=f"e-{n}", offset=n) for n in range(50)))
    assert asked == ["acme", mappings_id("acme")]


async def test_there_is_room_for_so_many_mappings_and_always_for_removing_one(rig):
    mappings = Mappings.begin("acme", now=rig.clock.now(), by="key:k1")
    for n in range(MOST_MAPPINGS):
        mappings.write(f"m{n}", TOLD, now=rig.clock.now(), by="key:k1")
    with pytest.raises(TooManyMappingsError):
        mappings.write("one-more", TOLD, now=rig.clock.now(), by="key:k1")
    mappings.remove("m0", now=rig.clock.now(), by="key:k1")
    assert len(mappings.kept) == MOST_MAPPINGS - 1


class Flow:
    """Hands out each of its lots once, then waits for ever."""

    joined = True

    def __init__(self, *lots: Sequence[Record]) -> None:
        self.lots = list(lots)
        self.read: list[Record] = []
        self.empty = asyncio.Event()

    async def next(self) -> Sequence[Record]:
        if not self.lots:
            self.empty.set()
            await asyncio.Event().wait()
        return self.lots.pop(0)

    async def done(self, records: Sequence[Record]) -> None:
        self.read += records


async def test_nothing_counts_as_read_while_the_store_is_away(rig, monkeypatch):
    monkeypatch.setattr("application.processes.consume._FIRST_PAUSE", 0.0)
    flow, counts, failures = Flow([], [record()], [record(offset=1)]), MemoryRecordCounts(), [1, 2, 3]

    def away() -> None:
        assert not flow.read
        if failures:
            failures.pop()
            raise StoreUnavailableError("away")
        rig.trouble = lambda: None

    rig.trouble = away
    well = asyncio.Event()

    async def is_well() -> None:
        well.set()

    task = asyncio.create_task(consume(flow, rig.intake.take, counts, rig.lines, is_well))
    await asyncio.wait_for(flow.empty.wait(), 5)
    task.cancel()
    assert [each.origin.offset for each in flow.read] == [0, 1]
    assert well.is_set()
    assert len(rig.lines.errors) == 3
    assert await counts.all() == {("users", ACCEPTED): 2, ("users", NOT_MEANT): 2}
