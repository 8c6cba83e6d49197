"""What is kept of readers, and when it is read again."""

import asyncio
from collections.abc import Collection
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from adapters.address_digest import address_digests
from adapters.event_mapper import EventMapper
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from adapters.stopping import stopped
from application import readers as module
from application.readers import HeardOf, Readers, Who, message_of
from domain.decision import decide
from domain.ids import preferences_id, suppression_id
from domain.personal import Listed
from domain.preferences import Preferences, Wishes
from domain.suppression import Suppression
from domain.vocabulary import Channel, Ground, Priority, Purpose
from tests.examples import NOON, notification
from tests.fakes.chance import SetClock

BY: dict[str, Any] = {"now": NOON, "by": "key:k1"}
DIGEST = address_digests(bytes(32))
JANE = Who("acme", Channel.EMAIL, "jane@example.com", "u-1")
LISTED = suppression_id("acme", Channel.EMAIL, DIGEST("acme", Channel.EMAIL, "jane@example.com"))
USER = preferences_id("acme", "u-1")


class CountedStore(MemoryEventStore):
    """Counts what is read, and may be held up while it reads."""

    reads = 0
    gate: asyncio.Event | None = None
    asked: asyncio.Event

    async def get_many(self, kind: Any, ids: Collection[UUID]) -> Any:
        self.reads += 1
        self.asked.set()
        found = await super().get_many(kind, ids)
        if self.gate:
            await self.gate.wait()
        return found


@pytest.fixture
def wakeups() -> MemoryWakeups:
    return MemoryWakeups()


@pytest.fixture
def store(wakeups: MemoryWakeups) -> CountedStore:
    keys = PersonKeys(bytes(32))
    store = CountedStore(MemoryDueWork(SetClock()), wakeups, EventMapper(keys), keys)
    store.asked = asyncio.Event()
    return store


@pytest.fixture
def readers(store: CountedStore) -> Readers:
    return Readers(store, DIGEST)


def muted() -> Preferences:
    preferences = Preferences.begin("acme", "u-1", **BY)
    preferences.adopt(Wishes(channels={Channel.EMAIL: False}), **BY)
    return preferences


def dead(store: MemoryEventStore) -> Suppression:
    listed = Listed(person=store.person("acme", JANE.address), address=JANE.address)
    suppression = Suppression.begin("acme", Channel.EMAIL, DIGEST("acme", Channel.EMAIL, JANE.address), listed, **BY)
    suppression.add(Ground.HARD_BOUNCE, source="callback", **BY)
    return suppression


async def test_of_somebody_unknown_nothing_is_known_and_that_is_kept(readers, store):
    for _ in range(3):
        (reader,) = await readers.of([JANE])
        assert (reader.wishes, reader.entries) == (Wishes(), ())
        assert reader.seen == {LISTED: 0, USER: 0}
    assert store.reads == 2


async def test_what_is_known_is_what_the_streams_say(readers, store):
    await store.save(muted(), dead(store))
    known, other = await readers.of([JANE, Who("acme", Channel.EMAIL, "JANE@example.com")])
    assert known.wishes.channels == {Channel.EMAIL: False}
    assert [entry.ground for entry in known.entries] == [Ground.HARD_BOUNCE]
    assert known.seen == {LISTED: 2, USER: 2}
    assert (other.wishes, other.entries) == (Wishes(), known.entries), "no user, the same address"


async def test_what_was_forgotten_is_read_again(readers, store):
    await readers.of([JANE])
    await store.save(muted())
    readers.forget([USER])
    (reader,) = await readers.of([JANE])
    assert reader.seen[USER] == 2


async def test_what_this_process_changes_it_knows_at_once(readers, store):
    await readers.of([JANE])
    events = HeardOf(store, readers)
    await events.save(muted())
    assert (await readers.of([JANE]))[0].seen[USER] == 2
    assert await events.get(Preferences, USER)


async def test_whoever_asks_while_others_are_answered_is_answered_with_all_who_do(readers, store):
    store.gate = asyncio.Event()
    strangers = [Who("acme", Channel.EMAIL, f"reader{n}@example.com") for n in range(20)]
    first = asyncio.create_task(readers.of(strangers[:1]))
    await store.asked.wait()
    others = [asyncio.create_task(readers.of([each])) for each in strangers[1:]]
    await asyncio.sleep(0)
    store.gate.set()
    assert len(await first) == 1
    assert all(await asyncio.gather(*others))
    assert store.reads == 2


async def test_who_goes_away_meanwhile_keeps_nobody_from_an_answer(readers, store):
    store.gate = asyncio.Event()
    gone, stays = [asyncio.create_task(readers.of([JANE])) for _ in range(2)]
    await asyncio.sleep(0)
    gone.cancel()
    store.gate.set()
    assert (await stays)[0].entries == ()


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("priority", list(Priority))
async def test_somebody_unknown_gets_what_the_rules_say(readers, purpose, priority):
    it = notification(USER, purpose=purpose, priority=priority)
    (reader,) = await readers.of([JANE])
    assert reader.decide(it, NOON, "UTC") == decide(message_of(it), Wishes(), (), NOON, ZoneInfo("UTC"))


async def test_what_changes_while_it_is_read_is_not_kept(readers, store):
    store.gate = asyncio.Event()
    reading = asyncio.create_task(readers.of([Who("acme", Channel.EMAIL, JANE.address)]))
    for _ in range(5):
        await asyncio.sleep(0)
    await store.save(dead(store))
    readers.forget([LISTED])
    store.gate.set()
    assert (await reading)[0].entries == ()
    assert (await readers.of([JANE]))[0].entries


async def test_the_log_says_what_has_changed(readers, store, monkeypatch):
    monkeypatch.setattr(module, "_POLL", 0)
    following = asyncio.create_task(readers.follow(store))
    await readers.of([JANE])
    await asyncio.sleep(0)
    await store.save(muted())
    for _ in range(1_000):
        await asyncio.sleep(0)
        if (await readers.of([JANE]))[0].seen[USER]:
            break
    await stopped(following)
    assert (await readers.of([JANE]))[0].seen[USER] == 2


async def test_no_more_are_kept_than_there_is_room_for(store):
    readers = Readers(store, DIGEST, most=2)
    for n in range(5):
        await readers.of([Who("acme", Channel.EMAIL, f"reader-{n}@example.com")])
    assert len(readers._known) == 2


async def test_nothing_is_kept_for_longer_than_a_minute(readers, store, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_KEPT", -1.0)
    await readers.of([JANE])
    await readers.of([JANE])
    assert store.reads == 4


def test_an_address_is_known_by_a_digest_of_its_own():
    same = DIGEST("acme", Channel.EMAIL, "jane@example.com")
    assert DIGEST("acme", Channel.EMAIL, " Jane@Example.com") == same
    others = [DIGEST("else", Channel.EMAIL, "jane@example.com"), DIGEST("acme", Channel.SMS, "jane@example.com")]
    assert same not in [*others, address_digests(bytes(range(32)))("acme", Channel.EMAIL, "jane@example.com")]
