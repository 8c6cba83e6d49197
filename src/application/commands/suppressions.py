"""The list of addresses that nothing is sent to: putting one on it, taking one off, and many at once from a file."""

import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress as suppress_errors
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, TextIO
from uuid import UUID

import msgspec
from msgspec import Meta

from application.addresses import InvalidAddressError, address_of
from application.caller import Caller
from application.faults import fault_of
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, Problem
from application.queries.suppressions import of_text
from application.readers import AddressDigest
from domain.ids import suppression_id
from domain.personal import Listed
from domain.suppression import Suppression
from domain.vocabulary import Channel, Ground

_TRIES = 5
_AT_ONCE = 200
_MOST_FAULTS = 100

Address = Annotated[str, Meta(min_length=1, max_length=4096, description="Of the channel")]
Category = Annotated[str, Meta(min_length=1, max_length=100)]


class Suppress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send nothing there any more, at all or of one category, for ever or for a while."""

    channel: Channel = Channel.EMAIL
    address: Address
    ground: Ground = Ground.MANUAL
    category: Category | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None


class Allow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take an address off the list: what stands there on one ground (for one category), or all of it."""

    channel: Channel = Channel.EMAIL
    address: Address
    ground: Ground | None = None
    category: Category | None = None


class SuppressionAnswer(msgspec.Struct, frozen=True):
    """`changed` is false where it was so before."""

    changed: bool
    position: int


class RowFault(msgspec.Struct, frozen=True):
    line: int
    message: str


class ImportProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an import has come: rows read of all, of these new, known and refused. The last one says `finished`."""

    rows: int
    of: int
    added: int
    known: int
    refused: int
    faults: list[RowFault]
    finished: bool


async def suppress(
    command: Suppress,
    caller: Caller,
    source: str = "api",
    *,
    events: EventStore,
    persons: Persons,
    digest: AddressDigest,
    clock: Clock,
) -> SuppressionAnswer:
    """Raises InvalidCommandError naming every fault."""
    address = _address(command.channel, command.address, command.category)
    stream = _stream(command.channel, address, caller.tenant, digest)
    for _ in range(_TRIES):
        known = await events.get(Suppression, stream)
        new = known or _begun(command.channel, address, caller, persons, digest, clock.now())
        added = _add(new, command, source, clock.now(), caller.by)
        try:
            return SuppressionAnswer(added, await events.save(new) if added else await events.save())
        except ConflictError:
            continue
    raise ConflictError("the list keeps changing")


async def allow(
    command: Allow, caller: Caller, *, events: EventStore, digest: AddressDigest, clock: Clock
) -> SuppressionAnswer:
    """Raises InvalidCommandError naming every fault."""
    address = _address(command.channel, command.address, command.category)
    for _ in range(_TRIES):
        known = await events.get(Suppression, _stream(command.channel, address, caller.tenant, digest))
        taken = known is not None and known.remove(
            command.ground, category=command.category, source="api", now=clock.now(), by=caller.by
        )
        try:
            return SuppressionAnswer(taken, await events.save(*([known] if known else [])))
        except ConflictError:
            continue
    raise ConflictError("the list keeps changing")


def import_list(
    text: TextIO,
    lines: int,
    caller: Caller,
    *,
    events: EventStore,
    persons: Persons,
    digest: AddressDigest,
    clock: Clock,
) -> AsyncIterator[ImportProgress]:
    """Put every address of a CSV file with a head on the list, telling after each lot how far that is.

    It is read as it goes on, so `lines` says how many it has, which may be more than there are rows.
    A row that cannot be read is told of and left out. Nothing is undone when it ends early: begin it again. Raises
    InvalidCommandError where the head does not name the columns that are needed.
    """
    reader = csv.DictReader(text, strict=True)
    head: Sequence[str] = []
    with suppress_errors(csv.Error):
        head = reader.fieldnames or []
    if missing := [name for name in ("channel", "address") if name not in head]:
        raise InvalidCommandError([Problem("", f"the first line names no column {' and no '.join(missing)}")])
    return _imported(reader, lines - 1, caller, events, persons, digest, clock)


async def _imported(
    reader: "csv.DictReader[str]",
    of: int,
    caller: Caller,
    events: EventStore,
    persons: Persons,
    digest: AddressDigest,
    clock: Clock,
) -> AsyncIterator[ImportProgress]:
    rows = _rows(reader)
    done = added = known = refused = 0
    while lot := list(islice(rows, _AT_ONCE)):
        faults = [each for each in lot if isinstance(each, RowFault)]
        good = {
            (each.channel, each.address, each.ground, each.category): each for each in lot if isinstance(each, Suppress)
        }
        new = await _add_many(list(good.values()), caller, events, persons, digest, clock)
        done, refused, added = done + len(lot), refused + len(faults), added + new
        known = done - refused - added
        yield ImportProgress(
            rows=done,
            of=max(of, done),
            added=added,
            known=known,
            refused=refused,
            faults=faults[:_MOST_FAULTS],
            finished=False,
        )
    yield ImportProgress(rows=done, of=done, added=added, known=known, refused=refused, faults=[], finished=True)


async def _add_many(
    commands: Sequence[Suppress],
    caller: Caller,
    events: EventStore,
    persons: Persons,
    digest: AddressDigest,
    clock: Clock,
) -> int:
    """All in one save; answers how many are new."""
    for _ in range(_TRIES):
        now = clock.now()
        streams = {_stream(each.channel, each.address, caller.tenant, digest): each for each in commands}
        found = await events.get_many(Suppression, streams)
        new = 0
        for each in commands:
            stream = _stream(each.channel, each.address, caller.tenant, digest)
            if stream not in found:
                found[stream] = _begun(each.channel, each.address, caller, persons, digest, now)
            new += _add(found[stream], each, "import", now, caller.by)
        try:
            await events.save(*found.values())
            return new
        except ConflictError:
            continue
    raise ConflictError("the list keeps changing")


def _rows(reader: "csv.DictReader[str]") -> Iterator[Suppress | RowFault]:
    try:
        for row in reader:
            yield _row(row, reader.line_num)
    except csv.Error as error:
        yield RowFault(reader.line_num, str(error))


def _row(row: dict[str, Any], line: int) -> Suppress | RowFault:
    given = {
        name: of_text(row[name]) for name in ("channel", "address", "ground", "category", "until") if row.get(name)
    }
    try:
        command = msgspec.convert(given, Suppress)
        address = _address(command.channel, command.address, command.category)
    except msgspec.ValidationError as error:
        return RowFault(line, str(error))
    except InvalidCommandError as error:
        return RowFault(line, str(error))
    return msgspec.structs.replace(command, address=address)


def _address(channel: Channel, address: str, category: str | None) -> str:
    problems = [Problem("category", fault)] if (fault := fault_of(category)) else []
    try:
        found = address_of(channel, address)
    except InvalidAddressError as error:
        raise InvalidCommandError([*problems, Problem("address", str(error))]) from None
    if problems:
        raise InvalidCommandError(problems)
    return found


def _stream(channel: Channel, address: str, tenant: str, digest: AddressDigest) -> UUID:
    return suppression_id(tenant, channel, digest(tenant, channel, address))


def _begun(
    channel: Channel, address: str, caller: Caller, persons: Persons, digest: AddressDigest, now: datetime
) -> Suppression:
    listed = Listed(person=persons.person(caller.tenant, address), address=address)
    known_by = digest(caller.tenant, channel, address)
    return Suppression.begin(caller.tenant, channel, known_by, listed, now=now, by=caller.by)


def _add(suppression: Suppression, command: Suppress, source: str, now: datetime, by: str) -> bool:
    return suppression.add(
        command.ground, category=command.category, until=command.until, source=source, now=now, by=by
    )
