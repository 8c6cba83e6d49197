"""The command line."""

import os
import sys
from collections.abc import Coroutine, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, TextIO
from uuid import UUID

import click
import structlog

from adapters.stopping import beside
from application.addresses import InvalidAddressError, email_address
from application.caller import Scope
from application.commands.parked import ReplayParked
from application.projections.parked import ParkStatus
from domain.parked import ParkReason
from entrypoints import deployment, maintenance, process, roles
from entrypoints.greeting import dev_key, greet, in_public
from entrypoints.http.server import HttpServer, serving
from entrypoints.parts import Parts
from entrypoints.settings import check_queue, load

_STOP_SECONDS = 3.0
"""How long calls may go on when everything in one process is asked to stop."""

_SENDING, _TELLING = 2, 10
"""How nice roles are to the API: a caller waits for its answer, a reader for a message, few for what becomes of it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Carillon, a notification service: tell people and systems things once, on time, and prove it."""


@main.command()
def run() -> None:
    """Everything in one process; on the embedded database unless DATABASE_URL is set."""
    process.start(_run, everything=True)


@main.command()
def api() -> None:
    """The HTTP API alone."""
    process.start(_serve)


@main.command()
def dispatcher() -> None:
    """The dispatcher alone: leases what is due and tells the workers."""
    process.start(_dispatch, queue=True, niceness=_SENDING)


@main.command()
def worker() -> None:
    """A worker alone: renders and sends. Run as many as you like."""
    process.start(_work, queue=True, niceness=_SENDING)


@main.command()
def deliverer() -> None:
    """Dispatcher and worker in one: leases what is due, renders and sends. Needs no Redis."""
    process.start(_deliver, niceness=_SENDING)


@main.command()
def projector() -> None:
    """The projector alone: keeps the read models up with the log."""
    process.start(_follow, niceness=_TELLING)


@main.command()
def consumer() -> None:
    """The consumer alone: takes in what other services tell by Kafka. Run as many as there are partitions."""
    process.start(_take_in, kafka=True, niceness=_SENDING)


@main.command()
def publisher() -> None:
    """The publisher alone: tells other systems over Kafka what happens to notifications."""
    process.start(_publish, kafka=True, niceness=_TELLING)


async def _run(parts: Parts) -> None:
    server = HttpServer(parts)
    key = await dev_key(parts)
    async with (
        roles.delivering(parts, _STOP_SECONDS),
        beside(roles.follow(parts), *_with_kafka(parts)),
        serving(server),
    ):
        greet(server.address, key, parts)
        if parts.settings.webhook_allowed_subnets is process.THIS_MACHINE:
            networks = ", ".join(map(str, process.THIS_MACHINE))
            structlog.get_logger("run").warning("webhooks may go to this machine", networks=networks)
        await process.stop_signal()


def _kafka_roles() -> ModuleType:
    return import_module("entrypoints.kafka_roles")  # which only a process with brokers needs


def _with_kafka(parts: Parts) -> Iterator[Coroutine[Any, Any, None]]:
    if parts.settings.kafka:
        roles_of_kafka = _kafka_roles()
        yield roles_of_kafka.publish(parts)
        yield roles_of_kafka.take_in(parts)


async def _serve(parts: Parts) -> None:
    server = HttpServer(parts)
    async with serving(server):
        click.echo(f"Carillon answers on {server.address}{in_public(parts)}")
        await process.stop_signal()


async def _dispatch(parts: Parts) -> None:
    async with roles.dispatching(parts, check_queue(parts.settings)):
        await process.stop_signal()


async def _work(parts: Parts) -> None:
    async with roles.working(parts, check_queue(parts.settings)):
        await process.stop_signal()


async def _deliver(parts: Parts) -> None:
    async with roles.delivering(parts):
        await process.stop_signal()


async def _follow(parts: Parts) -> None:
    async with beside(roles.follow(parts)):
        await process.stop_signal()


async def _take_in(parts: Parts) -> None:
    async with beside(_kafka_roles().take_in(parts)):
        await process.stop_signal()


async def _publish(parts: Parts) -> None:
    async with beside(_kafka_roles().publish(parts)):
        await process.stop_signal()


@main.command()
def migrate() -> None:
    """Bring the database up to date."""
    with process.explained(), deployment.up_to_date(load(os.environ), migrating=True):
        click.echo("the database is up to date")


@main.command()
@click.argument("projections", nargs=-1, metavar="[PROJECTION]...")
def rebuild(projections: tuple[str, ...]) -> None:
    """Make read models again from the log, beside the live ones: each PROJECTION, or all of them and the schedule."""
    process.once(lambda parts: maintenance.rebuild_views(parts, projections))


@main.command()
@click.argument("name", required=False)
@click.option("--heads", type=click.File(), help="What `carillon chain` printed once, kept elsewhere since.")
def verify(name: str | None, heads: TextIO | None) -> None:
    """Hash the log again and compare with its chain; fold it again and compare with the read models.

    NAME is `chain` or that of a read model; without it, all. Exit 1, and what differs, if anything does.
    """
    kept = maintenance.read_heads(heads) if heads else []
    if process.once(lambda parts: maintenance.verify_stored(parts, name, kept)):
        sys.exit(1)


@main.command()
def chain() -> None:
    """Where the chain of each tenant ends, as tenant:position:hash; to be kept elsewhere, for `verify --heads`."""
    process.once(maintenance.print_heads)


def _address(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    try:
        return text and email_address(text)
    except InvalidAddressError as error:
        raise click.BadParameter(str(error)) from None


@main.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
@click.option("--tenant", required=True, help="Who owns the key and everything sent with it.")
@click.option("--name", default="", help="What the key is for.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice([s.value for s in Scope]), help="Default: send and read."
)
@click.option("--owner-email", callback=_address, help="Where the tests of templates go that are sent with the key.")
def create_key(tenant: str, name: str, scopes: tuple[str, ...], owner_email: str | None) -> None:
    """Make a key. It is shown this once."""

    async def create(parts: Parts) -> None:
        _, text = await parts.api_keys.create(tenant, name, scopes or (Scope.SEND, Scope.READ), owner_email)
        click.echo(text)

    process.once(create)


@keys.command("list")
def list_keys() -> None:
    """All keys, by id; the keys themselves are stored nowhere."""

    async def show(parts: Parts) -> None:
        for key in await parts.api_keys.all():
            state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "live"
            click.echo(f"{key.id}  {key.tenant}  {','.join(sorted(key.scopes))}  {state}  {key.name}")

    process.once(show)


@keys.command("revoke")
@click.argument("id")
def revoke_key(id: str) -> None:
    """Make the key with this id useless, within a second everywhere."""

    async def revoke(parts: Parts) -> bool:
        return await parts.api_keys.revoke(id)

    if not process.once(revoke):
        raise click.ClickException(f"there is no live key {id}")


@main.command()
@click.option("--tenant", default=process.DEV, show_default=True)
@click.argument("body", type=click.File("rb"), default="-")
def send(tenant: str, body: Any) -> None:
    """Send what BODY (a file, or standard input) says, in the JSON of POST /api/v1/notifications."""
    process.once(lambda parts: maintenance.send_one(parts, tenant, body.read()))


@main.group()
def parked() -> None:
    """Records of Kafka that could become nothing and were set aside, everybody's and nobody's."""


@parked.command("list")
@click.option("--status", type=click.Choice([s.value for s in ParkStatus]), help="Default: any.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def list_parked(status: str | None, limit: int) -> None:
    """Newest first, one JSON line each, without what is in them."""
    process.once(lambda parts: maintenance.list_parked(parts, ParkStatus(status) if status else None, limit))


@parked.command("show")
@click.argument("record", type=click.UUID)
def show_parked(record: UUID) -> None:
    """Everything that is kept of RECORD, as JSON."""
    process.once(lambda parts: maintenance.show_parked(parts, record))


@parked.command("replay")
@click.option("--reason", type=click.Choice([r.value for r in ParkReason]), help="Those set aside for this reason.")
@click.option("--topic", help="Those of this topic.")
@click.option("--after", type=click.IntRange(0), default=0, help="Those behind this position, as the last call told.")
@click.argument("records", nargs=-1, type=click.UUID, metavar="[RECORD]...")
def replay_parked(reason: str | None, topic: str | None, after: int, records: tuple[UUID, ...]) -> None:
    """Try again: each RECORD, or the oldest hundred. A JSON line each; exit 1 if any stays parked."""
    command = ReplayParked(ids=list(records), reason=ParkReason(reason) if reason else None, topic=topic, after=after)
    if not process.once(lambda parts: maintenance.replay_parked(parts, command)):
        sys.exit(1)


@parked.command("discard")
@click.argument("records", nargs=-1, required=True, type=click.UUID, metavar="RECORD...")
def discard_parked(records: tuple[UUID, ...]) -> None:
    """Give each RECORD up, whosoever it is: what is in it is erased for good."""
    process.once(lambda parts: maintenance.discard_parked(parts, records))


@main.command()
@click.argument("notification", type=click.UUID)
def prove(notification: UUID) -> None:
    """Make what was sent for NOTIFICATION again and compare it with what was recorded before it was sent.

    A JSON line with the verdict on each call to a provider; exit 1 unless all match.
    """
    if not process.once(lambda parts: maintenance.prove(parts, notification)):
        sys.exit(1)


@main.command()
@click.option("--after", type=int, default=None, help="Begin after this position; default: what comes from now on.")
@click.option("--once", is_flag=True, help="Stop at the end of the log instead of waiting for more.")
def tail(after: int | None, once: bool) -> None:
    """The log as it grows, one JSON line per event, without personal data."""
    process.once(lambda parts: maintenance.tail(parts, after, follow=not once))
