"""What an operator does by hand."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any
from uuid import UUID

import click
import msgspec
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.postgres.schedule import PostgresSchedule
from application.caller import Caller
from application.commands.parked import ListParked, ReplayParked
from application.commands.sending import SendNotification
from application.ports.log import Recorded
from application.problems import InvalidCommandError, NotFoundError
from application.processes.chain import inspect
from application.processes.rebuild import rebuild, verify
from application.processes.reschedule import reschedule
from application.projections.parked import ParkStatus
from application.projections.projection import Projection
from domain.chain import HASH_BYTES, Head
from entrypoints.http.detail import AuditEvent, audit_event
from entrypoints.http.lines import facts
from entrypoints.http.request import MalformedBodyError, decoded
from entrypoints.parts import Parts
from entrypoints.read_models import PROJECTIONS

_BATCH = 500
_log = structlog.get_logger("cli")


async def rebuild_views(parts: Parts, names: Collection[str]) -> None:
    """Rebuild these read models and the schedule by name, or all of them."""
    known = [projection.name for projection in PROJECTIONS]
    if "chain" in names:
        raise click.BadParameter("the chain is evidence: it is never made again", param_hint="PROJECTION")
    if not {"schedule", *known}.issuperset(names):
        raise click.BadParameter(f"must be one of {', '.join(known)}, schedule", param_hint="PROJECTION")
    for projection in [each for each in PROJECTIONS if not names or each.name in names]:
        with _progress(f"rebuild {projection.name}") as progress:
            live, shadow = parts.view(projection), parts.view(projection, shadow=True)
            began = monotonic()
            position = await rebuild(projection, parts.store, live, shadow, progress)
        click.echo(f"{projection.name} stands at {position}, made in {monotonic() - began:.2f} s")
    if not names or "schedule" in names:
        with _progress("rebuild schedule") as progress:
            schedule = PostgresSchedule(parts.database)
            rows = await reschedule(parts.store, parts.store, schedule, parts.settings.webhook_lease, progress)
        click.echo(f"schedule holds {rows} rows")


async def verify_stored(parts: Parts, name: str | None, kept: Sequence[Head]) -> bool:
    """Verify the chain or one read model by name, or all of them; True if anything differs, which is printed."""
    known = {projection.name: projection for projection in PROJECTIONS}
    if name not in (None, "chain", *known):
        raise click.BadParameter(f"must be one of chain, {', '.join(known)}", param_hint="NAME")
    if kept and name in known:
        raise click.BadParameter("are those of the chain", param_hint="--heads")
    if name in known:
        return await _verify_views(parts, known[name])
    if await _verify_chain(parts, kept):
        if name is None:
            click.echo("the log is not what it was: the read models were not compared with it")
        return True
    return name is None and await _verify_views(parts, *PROJECTIONS)


async def _verify_chain(parts: Parts, kept: Sequence[Head]) -> bool:
    position = await parts.chain.position()
    with _progress("verify chain") as progress:
        found = await inspect(parts.store, parts.chain, progress, kept)
    click.echo(f"chain: {'broken' if found else f'the log is what was chained, at least up to {position}'}")
    for each in found:
        click.echo(msgspec.json.encode(each).decode())
    return bool(found)


async def _verify_views(parts: Parts, *projections: Projection[Any]) -> bool:
    wrong = False
    for projection in projections:
        with _progress(f"verify {projection.name}") as progress:
            live, shadow = parts.view(projection), parts.view(projection, shadow=True)
            found = await verify(projection, parts.store, live, shadow, progress)
        click.echo(f"{projection.name}: {'equal to the log' if not found else f'{len(found)} rows differ'}")
        for difference in found:
            click.echo(msgspec.json.encode(difference).decode())
        wrong = wrong or bool(found)
    return wrong


async def print_heads(parts: Parts) -> None:
    for link in await parts.chain.heads():
        click.echo(f"{link.tenant}:{link.last}:{link.hash.hex()}")


def read_heads(lines: Iterable[str]) -> list[Head]:
    """What `print_heads` has printed. Raises click.BadParameter for what it has not."""
    heads = [_head(line.rstrip("\r\n")) for line in lines if line.strip()]
    if not heads:
        raise click.BadParameter("holds no head to compare with", param_hint="--heads")
    return heads


def _head(line: str) -> Head:
    """A tenant's name may hold a colon itself."""
    try:
        tenant, position, hash = line.rsplit(":", 2)
        head = Head(tenant, int(position), bytes.fromhex(hash))
    except ValueError:
        head = None
    if head is None or len(head.hash) != HASH_BYTES:
        raise click.BadParameter(f"{line!r} is not tenant:position:hash", param_hint="--heads")
    return head


async def send_one(parts: Parts, tenant: str, body: bytes) -> None:
    caller = Caller(tenant, "cli")
    try:
        answer = await parts.send(decoded(body, SendNotification), caller)
    except MalformedBodyError as error:
        raise click.ClickException(error.detail) from None
    except InvalidCommandError as error:
        raise click.ClickException(str(error)) from None
    _log.info("command", operation="SendNotification", tenant=tenant, by=caller.by, **facts(answer))
    click.echo(msgspec.json.encode(answer).decode())


async def prove(parts: Parts, notification: UUID) -> bool:
    """True if every call is proved."""
    try:
        proof = await parts.prove(notification)
    except NotFoundError as error:
        raise click.ClickException(str(error)) from None
    click.echo(msgspec.json.encode(proof).decode())
    return proof.holds


async def list_parked(parts: Parts, status: ParkStatus | None, limit: int) -> None:
    for row in await parts.inbound.parked.page(None, ListParked(status=status, limit=limit)):
        click.echo(msgspec.json.encode(row).decode())


async def show_parked(parts: Parts, record: UUID) -> None:
    try:
        detail = await parts.inbound.parked.one(None, record)
    except NotFoundError as error:
        raise click.ClickException(str(error)) from None
    click.echo(msgspec.json.format(msgspec.json.encode(detail)).decode())


async def replay_parked(parts: Parts, command: ReplayParked) -> bool:
    """True if none stays parked."""
    try:
        replay = await parts.inbound.parked.replay(command, Caller("", "cli"), None)
    except NotFoundError as error:
        raise click.ClickException(str(error)) from None
    for each in replay.records:
        click.echo(msgspec.json.encode(each).decode())
    if replay.more:
        click.echo(f"there are more like these: --after {replay.next}", err=True)
    return all(each.replayed for each in replay.records)


async def discard_parked(parts: Parts, records: Sequence[UUID]) -> None:
    try:
        for record in records:
            await parts.inbound.parked.discard(record, Caller("", "cli"), None)
            click.echo(f"{record} is discarded")
    except NotFoundError as error:
        raise click.ClickException(str(error)) from None


async def tail(parts: Parts, after: int | None, *, follow: bool) -> None:
    position = await parts.store.head() if after is None else after
    bell = parts.wakeups.bell()
    while True:
        batch = await parts.store.read(position, _BATCH)
        for recorded in batch:
            click.echo(msgspec.json.encode(_without_personal(recorded)).decode())
        if batch:
            position = batch[-1].position
        elif not follow:
            return
        else:
            await bell.wait(1.0)


class _Line(msgspec.Struct, frozen=True):
    stream: str
    event: AuditEvent


def _without_personal(recorded: Recorded) -> _Line:
    shown = audit_event(recorded)
    return _Line(str(recorded.event.originator_id), msgspec.structs.replace(shown, personal=None))


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; nothing where nobody looks."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
