"""What the rows of a projection are kept by."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from adapters.memory.views import MemoryView
from adapters.postgres.database import Database, open_pool
from adapters.postgres.views import PostgresView
from application.ports.log import ConflictError, Recorded
from application.projections.attempts import Attempts
from application.projections.event_types import EventTypesDescribed
from application.projections.happenings import Happenings
from application.projections.metrics import Metrics, Totals
from application.projections.notifications import Notifications
from application.projections.projection import Projection, folded, touched
from application.projections.receipts import Receipts
from application.projections.subscriptions import WebhookSubscriptions
from application.projections.templates import OwnedTemplates
from tests.examples import one_of_each

PROJECTIONS: list[Projection[Any]] = [
    Notifications(),
    Attempts(),
    Metrics(),
    Totals(),
    Receipts(),
    OwnedTemplates(),
    WebhookSubscriptions(),
    Happenings(),
    EventTypesDescribed(),
]

MakeView = Callable[[Projection[Any]], Awaitable[Any]]


class Note(msgspec.Struct, kw_only=True):
    shelf: str
    id: UUID
    text: str | None = None
    parts: list[int] = []
    facts: dict[str, Any] | None = None
    price: Decimal | None = None


class Notes:
    """A projection that nothing is folded into."""

    name = "notes"
    topics = ()
    row = Note
    key_columns = ("shelf", "id")
    indexes: Mapping[str, str] = {"by_text": "(text)"}


def note(**facts: Any) -> dict[tuple[str, UUID], Note]:
    row = Note(**({"shelf": "a", "id": uuid4()} | facts))
    return {(row.shelf, row.id): row}


@pytest.fixture
def make(storage: Database | None) -> MakeView:
    async def make(projection: Projection[Any]) -> Any:
        if storage is None:
            return MemoryView()
        view = PostgresView(storage, projection)
        await view.create()
        return view

    return make


@pytest.fixture
async def view(make: MakeView) -> Any:
    return await make(Notes())


async def test_a_new_view_is_empty_and_stands_at_nought(view):
    assert await view.position() == 0
    assert await view.rows([("a", uuid4())]) == {}
    assert await view.rows([]) == {}


async def test_rows_come_back_as_they_were_written(view):
    rows = note(text="ä\u2028'\"", parts=[1, 2], facts={"a": [None, 1.5, {"b": "ü"}]}, price=Decimal("0.00040"))
    rows |= note(shelf="b")
    await view.write(rows, 7, after=0)
    assert await view.rows(list(rows)) == rows
    assert await view.position() == 7


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda each: each.name)
async def test_the_rows_of_every_projection_come_back_as_they_were_written(make, projection):
    view = await make(projection)
    log = [Recorded(i, e) for i, e in enumerate(one_of_each().values(), 1)]
    wanted = [r for r in log if not projection.topics or type(r.event).TOPIC in projection.topics]
    rows = folded(projection, {}, touched(projection, wanted))
    assert rows
    await view.write(rows, len(log), after=0)
    assert await view.rows(list(rows)) == rows


async def test_only_the_rows_asked_for_are_answered(view):
    one, other = note(), note()
    await view.write(one | other, 1, after=0)
    assert await view.rows([*one, ("a", uuid4())]) == one


async def test_a_row_is_replaced_by_a_later_one_under_the_same_key(view):
    first = note(text="first", parts=[1])
    await view.write(first, 1, after=0)
    second = {key: Note(shelf=key[0], id=key[1], text="second") for key in first}
    await view.write(second, 2, after=1)
    assert await view.rows(list(first)) == second


async def test_of_many_rows_those_that_are_there_are_replaced_and_the_others_added(view):
    first = {key: row for _ in range(150) for key, row in note(text="first", parts=[1], facts={"a": 1}).items()}
    added = {key: row for _ in range(150) for key, row in note(price=Decimal("-12.50"), facts={}).items()}
    await view.write(first, 1, after=0, new=first.keys())
    later = {key: Note(shelf=key[0], id=key[1], text="ä\u2028'\"") for key in list(first)[:100]}
    await view.write(later | added, 2, after=1, new=added.keys())
    assert await view.rows([*first, *added]) == first | later | added
    assert await view.position() == 2


async def test_many_rows_do_not_go_into_a_view_that_stands_elsewhere(view):
    first = {key: row for _ in range(150) for key, row in note(text="first").items()}
    await view.write(first, 5, after=0)
    later = {key: Note(shelf=key[0], id=key[1], text="later") for key in first}
    for new in ([], later.keys()):
        with pytest.raises(ConflictError):
            await view.write(later, 9, after=4, new=new)
    assert await view.rows(list(first)) == first


@pytest.mark.parametrize("others", [0, 150])
async def test_a_row_that_is_there_and_should_be_new_is_not_replaced(view, others):
    """However many are written with it: it would lose what was folded into it before."""
    known, other = note(text="first"), note(text="other")
    await view.write(known | other, 5, after=0)
    added = {key: row for _ in range(others) for key, row in note().items()}
    later = {key: Note(shelf=key[0], id=key[1], text="later") for key in known | other}
    with pytest.raises(ConflictError):
        await view.write(later | added, 9, after=5, new=[*known, *added])
    assert await view.rows([*known, *other, *added]) == known | other
    assert await view.position() == 5
    await view.write(later | added, 9, after=5, new=list(added))
    assert await view.rows([*known, *other, *added]) == later | added


async def test_a_view_moves_on_without_rows_too(view):
    await view.write({}, 5, after=0)
    assert await view.position() == 5


async def test_what_becomes_of_a_row_outside_stays_outside(view):
    rows = note(parts=[1])
    await view.write(rows, 1, after=0)
    (key,) = rows
    (await view.rows([key]))[key].parts.append(2)
    rows[key].parts.append(3)
    assert (await view.rows([key]))[key].parts == [1]


async def test_a_view_that_stands_elsewhere_takes_nothing(view):
    await view.write({}, 5, after=0)
    with pytest.raises(ConflictError):
        await view.write(rows := note(), 9, after=4)
    assert await view.rows(list(rows)) == {}
    assert await view.position() == 5


async def test_of_two_who_write_at_once_one_is_refused(view):
    one, other = note(), note()
    answers = await asyncio.gather(view.write(one, 3, after=0), view.write(other, 4, after=0), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError", "NoneType"]
    assert len(await view.rows([*one, *other])) == 1


# In the database


async def test_rows_and_position_are_written_together_or_not_at_all(database):
    view = PostgresView(database, Notes())
    await view.create()
    rows = note(text="no\x00text")
    with pytest.raises(psycopg.DataError):
        await view.write(rows, 5, after=0)
    assert await view.position() == 0


async def test_a_view_can_be_made_by_several_processes_at_once(database):
    await asyncio.gather(*[PostgresView(database, Notes()).create() for _ in range(5)])
    assert await PostgresView(database, Notes()).position() == 0


async def test_making_a_view_again_leaves_its_rows(database):
    view = PostgresView(database, Notes())
    await view.create()
    await view.write(rows := note(), 3, after=0)
    await view.create()
    assert await view.rows(list(rows)) == rows
    assert await view.position() == 3


@pytest.fixture
async def live(database: Database) -> PostgresView[Note]:
    view = PostgresView(database, Notes())
    await view.create()
    await view.write(note(text="old"), 3, after=0)
    return view


@pytest.fixture
async def shadow(database: Database) -> PostgresView[Note]:
    view = PostgresView(database, Notes(), shadow=True)
    await view.create()
    return view


async def test_a_shadow_is_filled_beside_the_view_and_then_takes_its_place(live, shadow):
    rows = note(text="new")
    await shadow.write(rows, 9, after=0)
    assert await live.rows(list(rows)) == {}
    for _ in range(7):
        await live.rows(list(rows))  # so often that the statement is prepared
    await shadow.replace(live)
    assert await live.rows(list(rows)) == rows
    assert await live.position() == 9


async def test_the_replaced_rows_are_gone(live, shadow, database):
    await shadow.replace(live)
    schemas = await database.rows("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'view_')")
    assert schemas == [("view_notes",)]


async def test_a_view_can_be_replaced_again_and_again(live, database):
    for position in (11, 12):
        shadow = PostgresView(database, Notes(), shadow=True)
        await shadow.create()
        await shadow.write({}, position, after=0)
        await shadow.replace(live)
        assert await live.position() == position


async def test_the_swap_does_not_wait_for_a_reader_who_takes_his_time(live, shadow, database, conninfo):
    await shadow.write({}, 9, after=0)
    async with await psycopg.AsyncConnection.connect(conninfo) as reader:
        await reader.execute("SELECT * FROM view_notes.rows")
        swap = asyncio.create_task(shadow.replace(live))
        await asyncio.wait([swap], timeout=0.5)
        assert not swap.done()
        assert await live.position() == 9
        await reader.commit()
        await swap
    assert await database.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'view_notes_old'") == []


async def test_who_wrote_into_the_replaced_view_is_told(live, shadow):
    await shadow.write({}, 9, after=0)
    await shadow.replace(live)
    with pytest.raises(ConflictError):
        await live.write(note(), 4, after=3)


async def test_who_writes_into_a_view_that_was_replaced_at_the_same_position_is_told(live, shadow):
    await shadow.write({}, 3, after=0)
    await shadow.replace(live)
    with pytest.raises(ConflictError):
        await live.write(note(), 4, after=3)
    assert await live.position() == 3
    await live.write(note(), 4, after=3)


async def test_a_comparison_may_take_longer_than_any_other_statement(live, shadow, conninfo, monkeypatch):
    monkeypatch.setattr("adapters.postgres.database._STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr("adapters.postgres.database._LOCK_SECONDS", 0.3)
    async with open_pool(conninfo, most=2) as pool, await psycopg.AsyncConnection.connect(conninfo) as other:
        await other.execute("LOCK TABLE view_notes.rows")
        comparison = asyncio.create_task(PostgresView(Database(pool), Notes()).differences(shadow, 10))
        await asyncio.wait([comparison], timeout=0.6)
        await other.commit()
        assert len(await comparison) == 1


# In the database, made by another version


class LongerNote(Note, kw_only=True):
    colour: str | None = None


class LongerNotes(Notes):
    row = LongerNote


class SortedNotes(Notes):
    indexes: Mapping[str, str] = {"by_text": "(text DESC)"}


@pytest.mark.parametrize("projection", [LongerNotes(), SortedNotes()], ids=["columns", "indexes"])
async def test_a_view_that_was_made_otherwise_begins_anew(live, database, projection):
    later = PostgresView(database, projection)
    assert await live.is_up_to_date()
    assert not await later.is_up_to_date()
    await later.create()
    assert await later.is_up_to_date()
    assert await later.position() == 0
    assert await database.rows("SELECT 1 FROM view_notes.rows") == []


async def test_who_still_writes_into_a_view_that_began_anew_is_told(live, database):
    await PostgresView(database, LongerNotes()).create()
    with pytest.raises(ConflictError):
        await live.write(note(), 4, after=3)


async def test_a_view_that_took_the_place_of_another_is_as_good_as_one_made_there(live, shadow):
    await shadow.write(rows := note(), 9, after=0)
    await shadow.replace(live)
    assert await live.is_up_to_date()
    await live.create()
    assert await live.rows(list(rows)) == rows


async def test_a_view_that_is_not_there_is_not_up_to_date(database):
    assert not await PostgresView(database, Notes()).is_up_to_date()
