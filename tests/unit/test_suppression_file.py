"""What is written to a file of the suppression list is read from it again."""

import csv
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest

from application.caller import Caller
from application.commands.suppressions import import_list
from application.projections.suppressions import ListedFor, SuppressionRow
from application.queries.suppressions import ListSuppressions, as_text, export, of_text
from domain.suppression import Suppression
from domain.vocabulary import Channel, Ground
from tests.digests import KNOWN_BY, House
from tests.examples import NOON

ENTRIES = [
    (Channel.SMS, "+4930123456", None),
    (Channel.EMAIL, "+a@x.com", None),
    (Channel.EMAIL, "-a@x.com", "-x"),
    (Channel.EMAIL, "'a@x.com", "'x"),
    (Channel.EMAIL, "'+a@x.com", "=x"),
    (Channel.PUSH, "@token", "@x"),
    (Channel.EMAIL, "jane@x.com", "x"),
]


class Listed:
    """All of the list on one page."""

    async def page(self, tenant: str, query: ListSuppressions) -> list[SuppressionRow]:
        return [row(*entry) for entry in ENTRIES]

    async def count(self, tenant: str) -> int:
        return len(ENTRIES)


def row(channel: Channel, address: str, category: str | None) -> SuppressionRow:
    entry = ListedFor(ground=Ground.MANUAL, category=category, since=NOON, until=None, source="api", by="key:k1")
    return SuppressionRow(
        id=uuid4(),
        tenant="acme",
        channel=channel,
        address=address,
        address_digest="",
        entries=[entry],
        updated_at=NOON,
        position=1,
    )


async def test_every_address_and_category_that_was_exported_is_imported_as_it_was():
    house = House()
    text = "".join([part async for part in export("acme", reader=Listed())])
    cells = [cell for line in csv.reader(StringIO(text)) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))], "a spreadsheet would calculate"
    lists: dict[str, Any] = {"events": house.events, "persons": house.events, "digest": KNOWN_BY, "clock": house.clock}
    progress = [each async for each in import_list(StringIO(text), 8, Caller("acme", "key:k1"), **lists)]
    assert [fault for each in progress for fault in each.faults] == []
    log = [recorded.event for recorded in await house.events.read(0, 100, ["suppression.begun", "suppression.added"])]
    begun = {each.originator_id: each for each in log if isinstance(each, Suppression.Begun)}
    added = [each for each in log if isinstance(each, Suppression.Added)]
    there = [(each.channel, begun[each.originator_id].personal.address, each.category) for each in added]
    assert sorted(there, key=str) == sorted(ENTRIES, key=str)


@pytest.mark.parametrize("cell", ["", "a", "'", "''", "'a", "''a", "+", "'+", "''+", "-'x", "=1", "\t", "'\r", "a'+"])
def test_a_cell_is_what_it_was_and_no_formula_in_between(cell):
    assert of_text(as_text(cell)) == cell
    assert not as_text(cell).startswith(("=", "+", "-", "@", "\t", "\r"))
