"""The command line."""

import asyncio
import gc
import os
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from importlib import import_module
from ipaddress import ip_network
from types import ModuleType
from typing import Any, TextIO
from uuid import UUID

import click
import msgspec
import structlog
import uvloop

from adapters.loki import LokiPush
from adapters.stopping import stopped
from application.addresses import InvalidAddressError, email_address
from application.caller import Scope
from application.commands.parked import ReplayParked
from application.ports.log import StoreUnavailableError
from application.projections.parked import ParkStatus
from domain.endpoint import Network
from domain.parked import ParkReason
from entrypoints import deployment, logs, maintenance, roles
from entrypoints.bootstrap import opened
from entrypoints.http.callbacks import RESEND_CALLBACK
from entrypoints.parts import Parts
from entrypoints.settings import SettingError, Settings, check_kafka, check_queue, load

_STOP_SECONDS = 3.0
"""How long calls may go on when everything in one process is asked to stop."""

_SENDING, _TELLING = 2, 10
"""How nice roles are to the API: a caller waits for its answer, a reader for a message, few for what becomes of it."""

_THIS_MACHINE: list[Network] = [ip_network("127.0.0.0/8"), ip_network("::1/128")]

_DEV = "dev"
_DEVELOPER = "developer@example.com"

Work = Callable[[Parts], Coroutine[Any, Any, Any]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Carillon, a notification service: tell people and systems things once, on time, and prove it."""


@main.command()
def run() -> None:
    """Everything in one process; on the embedded database unless DATABASE_URL is set."""
    _start(_run, everything=True)


@main.command()
def api() -> None:
    """The HTTP API alone."""
    _start(_serve)


@main.command()
def dispatcher() -> None:
    """The dispatcher alone: leases what is due and tells the workers."""
    _start(_dispatch, queue=True, niceness=_SENDING)


@main.command()
def worker() -> None:
    """A worker alone: renders and sends. Run as many as you like."""
    _start(_work, queue=True, niceness=_SENDING)


@main.command()
def deliverer() -> None:
    """Dispatcher and worker in one: leases what is due, renders and sends. Needs no Redis."""
    _start(_deliver, niceness=_SENDING)


@main.command()
def projector() -> None:
    """The projector alone: keeps the read models up with the log."""
    _start(_follow, niceness=_TELLING)


@main.command()
def consumer() -> None:
    """The consumer alone: takes in what other services tell by Kafka. Run as many as there are partitions."""
    _start(_take_in, kafka=True, niceness=_SENDING)


@main.command()
def publisher() -> None:
    """The publisher alone: tells other systems over Kafka what happens to notifications."""
    _start(_publish, kafka=True, niceness=_TELLING)


async def _run(parts: Parts) -> None:
    server = roles.HttpServer(parts)
    key = await _dev_key(parts)
    async with (
        roles.delivering(parts, _STOP_SECONDS),
        _tasks(roles.follow(parts), *_with_kafka(parts)),
        _serving(server),
    ):
        _greet(server.address, key, parts)
        if parts.settings.webhook_allowed_subnets is _THIS_MACHINE:
            networks = ", ".join(map(str, _THIS_MACHINE))
            structlog.get_logger("run").warning("webhooks may go to this machine", networks=networks)
        await _stop_signal()


def _kafka_roles() -> ModuleType:
    return import_module("entrypoints.kafka_roles")  # which only a process with brokers needs


def _with_kafka(parts: Parts) -> Iterator[Coroutine[Any, Any, None]]:
    if parts.settings.kafka:
        roles_of_kafka = _kafka_roles()
        yield roles_of_kafka.publish(parts)
        yield roles_of_kafka.take_in(parts)


async def _serve(parts: Parts) -> None:
    server = roles.HttpServer(parts)
    async with _serving(server):
        click.echo(f"Carillon answers on {server.address}{_in_public(parts)}")
        await _stop_signal()


async def _dispatch(parts: Parts) -> None:
    async with roles.dispatching(parts, check_queue(parts.settings)):
        await _stop_signal()


async def _work(parts: Parts) -> None:
    async with roles.working(parts, check_queue(parts.settings)):
        await _stop_signal()


async def _deliver(parts: Parts) -> None:
    async with roles.delivering(parts):
        await _stop_signal()


async def _follow(parts: Parts) -> None:
    async with _tasks(roles.follow(parts)):
        await _stop_signal()


async def _take_in(parts: Parts) -> None:
    async with _tasks(_kafka_roles().take_in(parts)):
        await _stop_signal()


async def _publish(parts: Parts) -> None:
    async with _tasks(_kafka_roles().publish(parts)):
        await _stop_signal()


@main.command()
def migrate() -> None:
    """Bring the database up to date."""
    with _explained(), deployment.up_to_date(load(os.environ), migrating=True):
        click.echo("the database is up to date")


@main.command()
@click.argument("projections", nargs=-1, metavar="[PROJECTION]...")
def rebuild(projections: tuple[str, ...]) -> None:
    """Make read models again from the log, beside the live ones: each PROJECTION, or all of them and the schedule."""
    _once(lambda parts: maintenance.rebuild_views(parts, projections))


@main.command()
@click.argument("name", required=False)
@click.option("--heads", type=click.File(), help="What `carillon chain` printed once, kept elsewhere since.")
def verify(name: str | None, heads: TextIO | None) -> None:
    """Hash the log again and compare with its chain; fold it again and compare with the read models.

    NAME is `chain` or that of a read model; without it, all. Exit 1, and what differs, if anything does.
    """
    kept = maintenance.read_heads(heads) if heads else []
    if _once(lambda parts: maintenance.verify_stored(parts, name, kept)):
        sys.exit(1)


@main.command()
def chain() -> None:
    """Where the chain of each tenant ends, as tenant:position:hash; to be kept elsewhere, for `verify --heads`."""
    _once(maintenance.print_heads)


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

    _once(create)


@keys.command("list")
def list_keys() -> None:
    """All keys, by id; the keys themselves are stored nowhere."""

    async def show(parts: Parts) -> None:
        for key in await parts.api_keys.all():
            state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "live"
            click.echo(f"{key.id}  {key.tenant}  {','.join(sorted(key.scopes))}  {state}  {key.name}")

    _once(show)


@keys.command("revoke")
@click.argument("id")
def revoke_key(id: str) -> None:
    """Make the key with this id useless, within a second everywhere."""

    async def revoke(parts: Parts) -> bool:
        return await parts.api_keys.revoke(id)

    if not _once(revoke):
        raise click.ClickException(f"there is no live key {id}")


@main.command()
@click.option("--tenant", default=_DEV, show_default=True)
@click.argument("body", type=click.File("rb"), default="-")
def send(tenant: str, body: Any) -> None:
    """Send what BODY (a file, or standard input) says, in the JSON of POST /api/v1/notifications."""
    _once(lambda parts: maintenance.send_one(parts, tenant, body.read()))


@main.group()
def parked() -> None:
    """Records of Kafka that could become nothing and were set aside, everybody's and nobody's."""


@parked.command("list")
@click.option("--status", type=click.Choice([s.value for s in ParkStatus]), help="Default: any.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def list_parked(status: str | None, limit: int) -> None:
    """Newest first, one JSON line each, without what is in them."""
    _once(lambda parts: maintenance.list_parked(parts, ParkStatus(status) if status else None, limit))


@parked.command("show")
@click.argument("record", type=click.UUID)
def show_parked(record: UUID) -> None:
    """Everything that is kept of RECORD, as JSON."""
    _once(lambda parts: maintenance.show_parked(parts, record))


@parked.command("replay")
@click.option("--reason", type=click.Choice([r.value for r in ParkReason]), help="Those set aside for this reason.")
@click.option("--topic", help="Those of this topic.")
@click.option("--after", type=click.IntRange(0), default=0, help="Those behind this position, as the last call told.")
@click.argument("records", nargs=-1, type=click.UUID, metavar="[RECORD]...")
def replay_parked(reason: str | None, topic: str | None, after: int, records: tuple[UUID, ...]) -> None:
    """Try again: each RECORD, or the oldest hundred. A JSON line each; exit 1 if any stays parked."""
    command = ReplayParked(ids=list(records), reason=ParkReason(reason) if reason else None, topic=topic, after=after)
    if not _once(lambda parts: maintenance.replay_parked(parts, command)):
        sys.exit(1)


@parked.command("discard")
@click.argument("records", nargs=-1, required=True, type=click.UUID, metavar="RECORD...")
def discard_parked(records: tuple[UUID, ...]) -> None:
    """Give each RECORD up, whosoever it is: what is in it is erased for good."""
    _once(lambda parts: maintenance.discard_parked(parts, records))


@main.command()
@click.argument("notification", type=click.UUID)
def prove(notification: UUID) -> None:
    """Make what was sent for NOTIFICATION again and compare it with what was recorded before it was sent.

    A JSON line with the verdict on each call to a provider; exit 1 unless all match.
    """
    if not _once(lambda parts: maintenance.prove(parts, notification)):
        sys.exit(1)


@main.command()
@click.option("--after", type=int, default=None, help="Begin after this position; default: what comes from now on.")
@click.option("--once", is_flag=True, help="Stop at the end of the log instead of waiting for more.")
def tail(after: int | None, once: bool) -> None:
    """The log as it grows, one JSON line per event, without personal data."""
    _once(lambda parts: maintenance.tail(parts, after, follow=not once))


def _start(
    work: Work, *, everything: bool = False, queue: bool = False, kafka: bool = False, niceness: int = 0
) -> None:
    """Run a role until a signal stops it."""

    async def run(parts: Parts) -> None:
        if parts.settings.gives_way and parts.settings.database_url:  # an embedded server would give way with us
            _give_way(niceness)
        await work(parts)

    _once(run, role=True, everything=everything, queue=queue, kafka=kafka)


def _give_way(niceness: int) -> None:
    try:
        os.nice(niceness)
    except OSError as error:
        structlog.get_logger("run").warning("may not give way", error=type(error).__name__)


def _once(work: Work, *, role: bool = False, everything: bool = False, queue: bool = False, kafka: bool = False) -> Any:
    """Open the parts, do the work, close them. Whatever is wrong with the set-up is one line on standard error."""
    with _explained():
        settings = load(os.environ)
        if queue:
            check_queue(settings)
        if kafka:
            check_kafka(settings)
        if not settings.email_provider and (everything or not role):
            settings = msgspec.structs.replace(settings, email_provider="capture")
        loki = _loki(settings)
        logs.configure(settings.log_level, also=loki.put if loki else None)
        if everything:
            settings = _open_to_this_machine(settings)
            settings = msgspec.structs.replace(settings, kafka_tenant=settings.kafka_tenant or _DEV)
        with deployment.prepared(settings, everything=everything) as (conninfo, master_key):
            return uvloop.run(_with_parts(settings, conninfo, master_key, work, loki))


def _loki(settings: Settings) -> LokiPush | None:
    if not settings.loki:
        return None
    log = structlog.get_logger("loki")
    command = click.get_current_context().info_name or "carillon"
    labels = {"service_name": "carillon", "role": command, "instance": socket.gethostname()}
    return LokiPush(settings.loki, labels, lambda what, dropped: log.warning(f"Loki {what}", dropped=dropped))


def _open_to_this_machine(settings: Settings) -> Settings:
    """Whoever tries it out has their receiver beside it; nobody else may reach what only this machine can."""
    if settings.webhook_allowed_subnets or settings.host not in ("127.0.0.1", "::1", "localhost"):
        return settings
    return msgspec.structs.replace(settings, webhook_allowed_subnets=_THIS_MACHINE)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    except deployment.NOT_READY as error:
        raise click.ClickException(str(error)) from None
    except StoreUnavailableError as error:
        raise click.ClickException(f"the database does not answer ({error})") from None


async def _with_parts(
    settings: Settings, conninfo: str, master_key: bytes, work: Work, loki: LokiPush | None = None
) -> Any:
    tune()
    async with loki.running() if loki else nullcontext(), opened(settings, conninfo, master_key) as parts:
        return await work(parts)


def tune() -> None:
    """What was imported is never garbage, and short-lived batches should not make the collector look for it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def _tasks(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the block and stop them when it ends."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        await stopped(*tasks)


@asynccontextmanager
async def _serving(server: roles.HttpServer) -> AsyncIterator[None]:
    """Serve for as long as the block lasts; requests that have begun are answered first."""
    task = asyncio.create_task(server.serve())
    while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers no event for it
        await asyncio.sleep(0.01)
    if task.done():
        await task
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def _stop_signal() -> None:
    """Return at the first Ctrl-C or SIGTERM; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: os._exit(130) if stop.is_set() else stop.set())
    await stop.wait()


async def _dev_key(parts: Parts) -> str:
    """The development key, kept in the data folder and made anew when the database does not know it."""
    file = parts.settings.data / "dev-key"
    everything = {scope.value for scope in Scope}
    if file.exists():
        known = await parts.api_keys.find(text := file.read_text().strip())
        if known and known.scopes >= everything:
            return text
    _, text = await parts.api_keys.create(_DEV, "development key", everything, _DEVELOPER)
    file.unlink(missing_ok=True)
    return deployment.kept_secret(file, lambda: text)


def _greet(address: str, key: str, parts: Parts) -> None:
    where = f"and read it at {address}/mailbox" if parts.settings.email_provider == "capture" else ""
    click.echo(f"""
Carillon answers on {address}{_in_public(parts)}

  API key   {key}
            (also in {parts.settings.data.absolute() / "dev-key"})
  Data      {parts.settings.data.absolute()}

Send a first notification:

  {first_call(address, key, _first_notification(parts))}

{where}
""")


def first_call(address: str, key: str, body: str) -> str:
    """One line for a shell, whatever is quoted in the body."""
    headers = (f"Authorization: Bearer {key}", "Content-Type: application/json")
    said = [part for header in headers for part in ("-H", header)]
    return shlex.join(["curl", f"{address}/api/v1/notifications", *said, "-d", body])


def _in_public(parts: Parts) -> str:
    """Where others reach it, and what a provider has to be told."""
    if not (url := parts.settings.public_url):
        return ""
    callbacks = f"\n  Callbacks {url}{RESEND_CALLBACK} (for Resend)" if parts.callbacks else ""
    return f"\n  In public {url}{callbacks}"


def _first_notification(parts: Parts) -> str:
    welcome = next(type for type in parts.templates.types() if type.name == "welcome")
    variables = {name: v.example for name, v in welcome.variables.items() if v.required}
    recipient = {"email": "jane@example.com", "name": "Jane", "locale": "en"}
    body = {"type": "welcome", "channels": ["email"], "recipients": [recipient], "variables": variables}
    return msgspec.json.encode(body).decode()
