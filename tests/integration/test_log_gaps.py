"""Whoever follows the log must never pass over a position that is filled later."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from adapters.group_commit import Append
from adapters.postgres.append_events import CREATE_APPEND_EVENTS
from adapters.postgres.log_writer import LogWriter, open_append_pool

WRITERS = 8

# Some inserts draw their position and then take their time, as a busy machine may make any of them do.
DELAYED = """
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.2 THEN PERFORM pg_sleep(0.005); END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER dawdle AFTER INSERT ON stored_events FOR EACH STATEMENT EXECUTE FUNCTION dawdle()
"""


_LATER = """
    SELECT notification_id, originator_id, originator_version FROM stored_events
    WHERE notification_id > %s ORDER BY notification_id
"""


class Follower:
    """Reads on from the last position it has seen, as every projection does."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._written = threading.Event()
        self.seen: list[tuple[UUID, int]] = []

    def run(self) -> None:
        position, last_turn = 0, False
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            while not last_turn:
                last_turn = self._written.is_set()
                rows = connection.execute(_LATER, (position,)).fetchall()
                position = rows[-1][0] if rows else position
                self.seen += [(id, version) for _, id, version in rows]

    def finish(self) -> None:
        self._written.set()


def missed_while_writing(conninfo: str, *, saves: int) -> int:
    """How many of the events of concurrent writers a follower never saw."""
    follower = Follower(conninfo)
    with ThreadPoolExecutor(WRITERS + 1) as threads:
        following = threads.submit(follower.run)
        try:
            writing = [threads.submit(write, conninfo, saves) for _ in range(WRITERS)]
            written = {place for each in writing for place in each.result()}
        finally:
            follower.finish()
        following.result()
    assert len(written) == WRITERS * saves * 3
    assert len(follower.seen) == len(set(follower.seen))
    return len(written - set(follower.seen))


def write(conninfo: str, saves: int) -> list[tuple[UUID, int]]:
    return asyncio.run(_write(conninfo, [append() for _ in range(saves)]))


async def _write(conninfo: str, appends: list[Append]) -> list[tuple[UUID, int]]:
    async with open_append_pool(conninfo) as pool:
        writer = LogWriter(pool)
        for each in appends:
            (position,) = await writer.append([each])
            assert isinstance(position, int)
    return [(event.originator_id, event.originator_version) for each in appends for event in each.events]


def append() -> Append:
    id = uuid4()
    return Append([StoredEvent(id, version, "test", os.urandom(20)) for version in (1, 2, 3)], [], [])


@pytest.fixture
def busy(conninfo: str) -> str:
    with psycopg.connect(conninfo) as connection:
        connection.execute(DELAYED)
    return conninfo


def test_a_follower_misses_nothing_of_what_many_write_at_once(conninfo):
    assert missed_while_writing(conninfo, saves=120) == 0


def test_a_follower_misses_nothing_when_some_take_their_time(busy):
    assert missed_while_writing(busy, saves=40) == 0


def test_without_the_lock_events_are_missed_so_the_test_can_see_it(busy):
    without_lock = CREATE_APPEND_EVENTS.replace("PERFORM pg_advisory_xact_lock", "PERFORM abs").replace(
        "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
    )
    assert "advisory" not in without_lock
    with psycopg.connect(busy) as connection:
        connection.execute(without_lock)
    assert missed_while_writing(busy, saves=40) > 0
