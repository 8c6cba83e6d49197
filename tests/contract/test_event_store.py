"""What an event store promises, whichever it is; and below, what can only go wrong with a database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.event_mapper import EventMapper
from adapters.group_commit import ClosedError
from adapters.person_keys import PersonKeys
from adapters.postgres import event_store
from adapters.postgres.append_events import APPEND_LOCK
from application.ports.log import AlteredError, ConflictError, Recorded, StaleError, StoreUnavailableError
from domain.acceptance import Acceptance
from domain.notification import Notification
from domain.outcomes import Accepted, Refused
from domain.personal import Erased, Letter
from domain.preferences import Preferences
from domain.receipts import Receipt
from domain.vocabulary import Channel, Reason, Status
from tests.contract.conftest import PostgresHouse
from tests.examples import NOON, POLICY, attempted, notification, one_of_each


class Pending:
    """Events to be saved as they are."""

    def __init__(self, events: Sequence[Any]) -> None:
        self._events = list(events)

    def collect_events(self) -> list[Any]:
        return self._events


def letter_to(house: Any, address: str = "ada@example.com") -> Letter:
    return Letter(person=house.events.person("acme", address), address=address, variables={"code": "31-4159"})


def queued(house: Any, **wishes: Any) -> Notification:
    return notification(uuid4(), **({"letter": letter_to(house), "now": house.time.now()} | wishes))


async def cancelled(house: Any, id: Any, by: str) -> Notification:
    known = await house.events.get(Notification, id)
    known.cancel(now=house.time.now(), by=by)
    return known


async def test_every_type_of_event_comes_back_as_it_was(house):
    events = list(one_of_each(house.events.person("acme", "ada@example.com")).values())
    await house.events.save(Pending(events))
    assert [recorded.event for recorded in await house.events.read(0, 100)] == events
    assert [r.event for r in await house.events.history(events[0].originator_id)] == [
        event for event in events if event.originator_id == events[0].originator_id
    ]


async def test_the_length_of_a_stream_is_how_many_events_it_has(house):
    it, other = queued(house), queued(house)
    assert await house.events.length(it.id) == 0
    await house.events.save(it, other)
    assert await house.events.length(it.id) == 1
    await house.events.save(await cancelled(house, it.id, "key:k1"))
    assert await house.events.length(it.id) == 2


async def test_an_aggregate_comes_back_as_its_events_made_it(house):
    saved = attempted(queued(house))
    await house.events.save(saved)
    assert await house.events.get(Notification, saved.id) == saved


async def test_many_come_back_at_once_and_those_that_are_not_there_are_left_out(house):
    some = [queued(house) for _ in range(3)]
    await house.events.save(*some)
    assert await house.events.get_many(Notification, [n.id for n in some[:2]] + [uuid4()]) == {
        n.id: n for n in some[:2]
    }
    assert await house.events.get(Notification, uuid4()) is None
    assert await house.events.history(uuid4()) == []


async def test_aggregates_of_different_kinds_are_saved_together(house):
    sent = queued(house)
    accepted = Acceptance.record("acme", "key-1", "digest", uuid4(), [sent.id], by="key:k1", now=NOON)
    await house.events.save(accepted, sent)
    assert (await house.events.get(Acceptance, accepted.id)).notifications == [sent.id]
    assert await house.events.get(Notification, sent.id)


async def test_a_conflict_stores_nothing_of_its_save(house):
    def acceptance(digest: str) -> Acceptance:
        return Acceptance.record("acme", "key-1", digest, uuid4(), [], by="key:k1", now=NOON)

    await house.events.save(acceptance("first"))
    second = queued(house)
    with pytest.raises(ConflictError):
        await house.events.save(second, acceptance("second"))
    assert await house.events.get(Notification, second.id) is None
    assert await house.events.head() == 1
    assert await house.due.lease(Channel.EMAIL, 10, 10, timedelta(minutes=1)) == []


async def test_what_was_decided_on_what_still_holds_is_stored(house):
    wishes, sent = Preferences.begin("acme", "u-1", now=NOON, by="key:k1"), queued(house)
    await house.events.save(wishes)
    await house.events.save(sent, seen={wishes.id: 1, uuid4(): 0})
    assert await house.events.get(Notification, sent.id)


async def test_what_was_decided_on_what_has_changed_is_not_stored(house):
    wishes, sent = Preferences.begin("acme", "u-1", now=NOON, by="key:k1"), queued(house)
    await house.events.save(wishes)
    with pytest.raises(StaleError):
        await house.events.save(sent, seen={wishes.id: 0})
    assert await house.events.length(sent.id) == 0
    assert await house.due.lease(Channel.EMAIL, 10, 10, timedelta(minutes=1)) == []


async def test_of_what_is_stored_at_once_nothing_rests_on_what_changes_with_it(house):
    """Whichever comes first: an opt-out that was acknowledged is never overtaken, and others do not notice."""
    wishes = Preferences.begin("acme", "u-1", now=NOON, by="key:k1")
    before, after, other = queued(house), queued(house), queued(house)
    saves = [
        house.events.save(before, seen={wishes.id: 0}),
        house.events.save(wishes),
        house.events.save(after, seen={wishes.id: 0}),
        house.events.save(other, seen={uuid4(): 0}),
    ]
    first, stored, second, unconcerned = await asyncio.gather(*saves, return_exceptions=True)
    assert isinstance(stored, int)
    assert isinstance(unconcerned, int)
    assert isinstance(second, StaleError)
    assert isinstance(first, StaleError) or first < stored


async def test_a_stream_that_has_grown_meanwhile_takes_nothing(house):
    first = queued(house)
    await house.events.save(first)
    behind = await house.events.get(Notification, first.id)
    await house.events.save(await cancelled(house, first.id, "ann"))
    behind.suppress(Reason.HARD_BOUNCE, now=house.time.now(), by="bob")
    with pytest.raises(ConflictError):
        await house.events.save(behind)
    assert (await house.events.get(Notification, first.id)).status is Status.CANCELLED


async def test_of_many_who_save_at_once_only_those_who_clash_are_refused(house):
    contested, free = [queued(house) for _ in range(5)], [queued(house) for _ in range(25)]
    await house.events.save(*contested)
    clashing = [await cancelled(house, n.id, f"caller {i}") for i in range(5) for n in contested]
    answers = await asyncio.gather(*[house.events.save(n) for n in clashing + free], return_exceptions=True)
    refused = [answer for answer in answers if not isinstance(answer, int)]
    assert [type(answer) for answer in refused] == [ConflictError] * 20
    assert all(isinstance(answer, int) for answer in answers[25:])
    assert len(await house.events.read(0, 100)) == 5 + 5 + 25


async def test_a_conflict_within_a_lot_leaves_the_schedule_to_the_winner(house):
    one = queued(house)
    await house.events.save(one)
    ended, kept = await house.events.get(Notification, one.id), await house.events.get(Notification, one.id)
    ended.cancel(now=house.time.now(), by="ann")
    attempted(kept, house.time.now())
    answers = await asyncio.gather(house.events.save(ended), house.events.save(kept), return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, ConflictError]
    assert await house.due.backlog() == []


async def test_positions_rise_and_name_the_last_event_of_a_save(house):
    first = await house.events.save(queued(house), queued(house))
    second = await house.events.save(attempted(queued(house)))
    log = await house.events.read(0, 10)
    assert [r.position for r in log] == sorted({r.position for r in log})
    assert log[1].position == first
    assert log[3].position == second == await house.events.head()


async def test_events_of_a_save_keep_their_order(house):
    many = [attempted(queued(house)) for _ in range(20)]
    await house.events.save(*many)
    saved = [(n.id, version) for n in many for version in (1, 2)]
    assert [(r.event.originator_id, r.event.originator_version) for r in await house.events.read(0, 100)] == saved


async def test_an_empty_log_stands_at_nought(house):
    assert await house.events.head() == 0
    assert await house.events.read(0, 10) == []


async def test_with_nothing_to_save_it_answers_the_last_position(house):
    position = await house.events.save(queued(house))
    assert await house.events.save() == position


async def test_the_log_is_read_on_from_where_one_stands(house):
    await house.events.save(*[attempted(queued(house)) for _ in range(4)])
    first = await house.events.read(0, 3)
    rest = await house.events.read(first[-1].position, 100)
    assert len(first) == 3
    assert len(rest) == 5
    assert first[-1].position < rest[0].position


async def test_the_log_can_be_read_by_topic(house):
    await house.events.save(*[attempted(queued(house)) for _ in range(3)])
    found = await house.events.read(0, 2, ["notification.rendered", "notification.sent"])
    assert [type(r.event) for r in found] == [Notification.Rendered] * 2


async def test_the_log_can_be_read_as_far_as_a_position(house):
    await house.events.save(*[attempted(queued(house)) for _ in range(3)])
    log = await house.events.read(0, 100)
    until = log[4].position
    assert await house.events.read(0, 100, until=until) == log[:5]
    assert await house.events.read(log[1].position, 2, until=until) == log[2:4]
    rendered = [r for r in log[:5] if isinstance(r.event, Notification.Rendered)]
    assert await house.events.read(0, 100, [Notification.Rendered.TOPIC], until=until) == rendered
    assert await house.events.read(until, 100, until=until) == []
    assert await house.events.read(0, 100, until=log[-1].position + 1_000) == log


async def test_what_is_seldom_is_found_however_far_away_it_is(house, monkeypatch):
    monkeypatch.setattr(event_store, "_STRETCH", 2)
    sent = attempted(queued(house))
    sent.record(Accepted(None), POLICY, luck=0, now=NOON, by="worker")
    await house.events.save(*[queued(house) for _ in range(5)], sent, queued(house), attempted(queued(house)))
    log = await house.events.read(0, 100)
    seldom = [Notification.Rendered.TOPIC, Notification.Sent.TOPIC]
    found = [recorded for recorded in log if type(recorded.event).TOPIC in seldom]
    assert len(found) == 3
    assert await house.events.read(0, 100, seldom) == found
    assert await house.events.read(0, 2, seldom) == found[:2]
    assert await house.events.read(0, 100, seldom, until=found[1].position) == found[:2]
    assert await house.events.read(log[-1].position, 100, seldom) == []


async def test_the_log_can_be_read_with_personal_data_left_sealed(house):
    saved = queued(house)
    await house.events.save(saved)
    (sealed,) = await house.events.read(0, 1, personal=False)
    (opened,) = await house.events.read(0, 1)
    assert sealed.event.personal == Erased(saved.person)
    assert opened.event.personal == saved.letter
    assert await house.events.history(saved.id, personal=False) == [sealed]
    known = await house.events.get_many(Notification, [saved.id], personal=False)
    assert known[saved.id].letter == Erased(saved.person)


async def test_sealed_data_that_somebody_moved_are_not_read_and_the_rest_still_is(house):
    one, other = queued(house), queued(house)
    await house.events.save(one, other)
    await house.store_instead(1, (await house.bytes_stored())[1])
    for reads in (house.events.get(Notification, one.id), house.events.history(one.id), house.events.read(0, 10)):
        with pytest.raises(AlteredError):
            await reads
    (recorded,) = await house.events.history(one.id, personal=False)
    assert recorded.event.personal == Erased(one.person)
    assert await house.events.get(Notification, other.id) == other


async def test_a_stream_of_another_kind_is_not_there(house):
    saved = queued(house)
    await house.events.save(saved)
    assert await house.events.get(Receipt, saved.id) is None


async def test_whoever_follows_the_log_misses_nothing_while_others_append(house):
    async def append(many: int) -> None:
        for _ in range(many):
            await house.events.save(queued(house), queued(house))

    async def follow(until: int) -> list[Recorded]:
        seen: list[Recorded] = []
        while len(seen) < until:
            seen += await house.events.read(seen[-1].position if seen else 0, 17)
            await asyncio.sleep(0)
        return seen

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        follower = tasks.create_task(follow(8 * 20 * 2))
        for _ in range(8):
            tasks.create_task(append(20))
    assert follower.result() == await house.events.read(0, 1_000)


async def test_personal_data_cannot_be_read_in_what_is_stored(house):
    await house.events.save(attempted(queued(house)))
    stored = b"".join(await house.bytes_stored())
    assert b"acme" in stored
    for secret in (b"ada@example.com", b"31-4159", b"Ada"):
        assert secret not in stored


async def test_whom_one_forgets_reads_as_erased_and_all_else_still_loads(house):
    ada, bob = queued(house), queued(house, letter=letter_to(house, "bob@example.com"))
    await house.events.save(attempted(ada), bob)
    assert await house.events.forget("acme", " Ada@Example.com") == 1
    left = await house.events.get(Notification, ada.id)
    assert left.letter == Erased(ada.person)
    assert left.in_flight == ada.in_flight
    assert [r.event.personal for r in await house.events.history(ada.id)] == [Erased(ada.person)] * 2
    assert (await house.events.get(Notification, bob.id)).letter == bob.letter


async def test_to_forget_twice_or_somebody_unknown_finds_nobody(house):
    await house.events.save(queued(house))
    assert await house.events.forget("other", "ada@example.com") == 0
    assert await house.events.forget("acme", "ada@example.com") == 1
    assert await house.events.forget("acme", "ada@example.com") == 0


async def test_a_forgotten_person_who_comes_back_is_known_anew(house):
    await house.events.save(old := queued(house))
    await house.events.forget("acme", "ada@example.com")
    await house.events.save(new := queued(house))
    assert (await house.events.get(Notification, new.id)).letter == new.letter
    assert (await house.events.get(Notification, old.id)).letter == Erased(old.person)


async def test_who_decided_before_a_person_was_forgotten_has_to_look_again(house):
    await house.events.save(one := queued(house))
    known = await house.events.get(Notification, one.id)
    await house.events.forget("acme", "ada@example.com")
    with pytest.raises(ConflictError):
        await house.events.save(attempted(known, house.time.now()))
    assert len(await house.events.history(one.id)) == 1


async def test_what_providers_say_of_a_forgotten_person_is_not_kept(house):
    await house.events.save(one := attempted(queued(house)))
    await house.events.forget("acme", "ada@example.com")
    known = await house.events.get(Notification, one.id)
    known.record(Refused(Reason.INVALID_RECIPIENT, "no ada here"), POLICY, luck=0.5, now=house.time.now(), by="worker")
    await house.events.save(known)
    assert await house.events.get(Notification, one.id) == known


async def test_a_cancelled_caller_does_not_take_others_down(house):
    saves = [asyncio.create_task(house.events.save(queued(house))) for _ in range(10)]
    await asyncio.sleep(0)
    saves[3].cancel()
    answers = await asyncio.gather(*saves, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert all(isinstance(answer, int) for answer in answers)
    assert await house.events.save(queued(house)) == await house.events.head()


async def test_work_appears_with_the_event_it_follows_from(house):
    await house.events.save(one := queued(house))
    (lease,) = await house.due.lease(Channel.EMAIL, 10, 10, timedelta(minutes=1))
    assert lease.notification == one.id


async def test_work_vanishes_with_the_event_that_ends_it(house):
    await house.events.save(one := queued(house))
    await house.events.save(await cancelled(house, one.id, "ann"))
    assert await house.due.backlog() == []


async def test_a_call_on_its_way_leaves_the_lease_with_its_holder(house):
    await house.events.save(one := queued(house))
    leases = await house.due.lease(Channel.EMAIL, 10, 10, timedelta(minutes=1))
    await house.events.save(attempted(one, house.time.now()))
    assert await house.due.renew(leases, timedelta(minutes=1)) == leases


async def test_what_is_wanted_later_is_due_later(house):
    await house.events.save(queued(house, scheduled_at=house.time.now() + timedelta(hours=1)))
    assert await house.due.lease(Channel.EMAIL, 10, 10, timedelta(minutes=1)) == []
    (backlog,) = await house.due.backlog()
    assert (backlog.due, backlog.later, backlog.held) == (0, 1, 0)


# With a database


@pytest.fixture
async def here(conninfo):
    async with PostgresHouse(conninfo) as house:
        yield house


@pytest.fixture
async def there(conninfo):
    """Another process on the same database."""
    async with PostgresHouse(conninfo) as house:
        yield house


async def test_of_two_processes_one_gets_the_place(here, there):
    await here.events.save(one := queued(here))
    mine, theirs = await cancelled(here, one.id, "here"), await cancelled(there, one.id, "there")
    answers = await asyncio.gather(here.events.save(mine), there.events.save(theirs), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError", "int"]


async def test_a_process_with_nothing_to_save_knows_what_others_have_saved(here, there):
    position = await here.events.save(queued(here))
    assert await there.events.save() == position


async def test_another_process_reads_what_is_sealed_until_the_person_is_forgotten(here, there):
    await here.events.save(one := queued(here))
    await here.events.forget("acme", "ada@example.com")
    assert (await there.events.get(Notification, one.id)).letter == Erased(one.person)


async def test_a_person_has_several_keys_over_time_and_loses_them_all(here, there):
    await here.events.save(one := queued(here))
    await there.events.save(two := queued(there))
    assert one.person != two.person
    assert await there.events.forget("acme", "ada@example.com") == 2


async def test_a_save_whose_answer_was_lost_succeeds_by_reading_back(here):
    with answer_lost(here.appending):
        position = await here.events.save(one := attempted(queued(here)))
    assert [r.position for r in await here.events.history(one.id)][-1] == position == 2
    assert await here.events.get(Notification, one.id) == one


async def test_a_lot_whose_answer_was_lost_succeeds_for_each_who_was_in_it(here):
    some = [queued(here) for _ in range(10)]
    with answer_lost(here.appending):
        positions = await asyncio.gather(*[here.events.save(n) for n in some])
    log = await here.events.read(0, 100)
    assert {r.event.originator_id: r.position for r in log} == dict(zip([n.id for n in some], positions, strict=True))


async def test_a_store_that_does_not_answer_says_so_soon_and_serves_again_when_it_is_back(here, conninfo, postgres):
    await here.events.save(queued(here))
    loop = asyncio.get_running_loop()
    with out_of_reach(postgres, conninfo):
        started = loop.time()
        with pytest.raises(StoreUnavailableError):
            await here.events.save(queued(here))
        assert loop.time() - started < 3
    assert await here.time.until(lambda: answered(here.events.save(queued(here))))
    assert await here.time.until(lambda: answered(here.events.head())) >= 2


async def test_reading_from_a_store_that_does_not_answer_says_so(here, conninfo, postgres):
    with out_of_reach(postgres, conninfo), pytest.raises(StoreUnavailableError):
        await here.events.read(0, 10)
    await here.events.save(queued(here))
    assert len(await here.time.until(lambda: answered(here.events.read(0, 10)))) == 1


async def test_who_holds_the_append_lock_for_ever_does_not_hold_the_others(here, conninfo):
    with psycopg.connect(conninfo) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        started = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailableError):
            await here.events.save(queued(here))
        assert asyncio.get_running_loop().time() - started < 4


async def test_nothing_is_taken_after_closing(here):
    await here.events.save(queued(here))
    await here.events.close()
    with pytest.raises(ClosedError):
        await here.events.save(queued(here))


async def test_what_waits_at_closing_is_written(here):
    saves = [asyncio.create_task(here.events.save(queued(here))) for _ in range(5)]
    await asyncio.sleep(0.001)
    await here.events.close()
    with suppress(ClosedError):
        await asyncio.gather(*saves)
    assert await here.events.head() == sum(not save.exception() for save in saves) > 0


async def answered(asked: Awaitable[Any]) -> Any:
    """What was asked for, or None while the store does not answer."""
    with suppress(StoreUnavailableError):
        return await asked


@contextmanager
def answer_lost(pool: AsyncConnectionPool) -> Iterator[None]:
    """The next transaction is committed, and the connection breaks before anybody hears of it."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        del pool.connection  # the next one works
        async with pool.connection() as connection:
            yield connection
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    pool.connection = broken  # type: ignore[method-assign, assignment]
    yield


@contextmanager
def out_of_reach(server: str, conninfo: str) -> Iterator[None]:
    """The database refuses everybody, and whoever was connected is thrown out."""
    name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user",
                (name,),
            )
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_what_waited_for_the_lock_sees_what_its_holder_stored(here):
    """A statement sees what was committed when it began; whether a decision still holds is asked after that."""
    house = here
    wishes, sent = Preferences.begin("acme", "u-1", now=NOON, by="key:k1"), queued(house)
    await house.events.save(queued(house))  # whatever is prepared is prepared
    async with house.database.connection() as connection:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            (event,) = wishes.pending_events
            state = EventMapper(PersonKeys(bytes(32))).to_stored(event).state
            await connection.execute(
                "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (%s, 1, %s, %s)",
                (wishes.id, Preferences.Begun.TOPIC, state),
            )
            waiting = asyncio.create_task(house.events.save(sent, seen={wishes.id: 0}))
            await house.time.until(lambda: _somebody_waits_for_the_lock(house))
        with pytest.raises(StaleError):
            await waiting
    assert await house.events.length(sent.id) == 0


async def _somebody_waits_for_the_lock(house: Any) -> bool:
    ((waiting,),) = await house.database.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(waiting)
