"""What keeps parts from their work is known to all who watch, for as long as it is so."""

from datetime import timedelta

import pytest

from adapters.memory.troubles import MemoryTroubles
from adapters.postgres.database import Database
from adapters.postgres.troubles import PostgresTroubles
from application.ports.publishing import Troubles
from tests.contract.conftest import Passing
from tests.fakes.chance import SetClock


@pytest.fixture
def troubles(storage: Database | None, time: Passing) -> Troubles:
    return PostgresTroubles(storage) if storage else MemoryTroubles(time)


async def test_there_are_none_at_first(troubles):
    assert await troubles.known() == {}
    await troubles.over("publisher")
    assert await troubles.known() == {}


async def test_what_was_told_last_of_a_part_holds_until_it_is_over(troubles):
    await troubles.tell("publisher", "no broker can be reached")
    await troubles.tell("consumer", "no broker can be reached")
    await troubles.tell("publisher", "there is no topic")
    assert await troubles.known() == {"consumer": "no broker can be reached", "publisher": "there is no topic"}
    await troubles.over("publisher")
    assert await troubles.known() == {"consumer": "no broker can be reached"}


async def test_who_says_no_more_is_forgotten_after_a_minute():
    clock = SetClock()
    troubles = MemoryTroubles(clock)
    await troubles.tell("publisher", "no broker can be reached")
    clock.move(timedelta(seconds=59))
    assert await troubles.known()
    clock.move(timedelta(seconds=1))
    assert await troubles.known() == {}


async def test_who_says_no_more_is_forgotten_after_a_minute_in_the_database(database):
    troubles = PostgresTroubles(database)
    await troubles.tell("publisher", "no broker can be reached")
    await database.rows("UPDATE troubles SET told_at = told_at - interval '61 seconds'")
    assert await troubles.known() == {}
    await troubles.tell("publisher", "no broker can be reached")
    assert await troubles.known()
