"""What a command does around its work: settings, logs, a database that is ready, parts; and what ends a role."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from ipaddress import ip_network
from typing import Any

import click
import msgspec
import structlog
import uvloop

from adapters.loki import LokiPush
from application.ports.log import StoreUnavailableError
from domain.endpoint import Network
from entrypoints import deployment, logs
from entrypoints.bootstrap import opened
from entrypoints.parts import Parts
from entrypoints.settings import SettingError, Settings, check_kafka, check_queue, load

DEV = "dev"
"""The tenant of whoever tries Carillon out."""

THIS_MACHINE: list[Network] = [ip_network("127.0.0.0/8"), ip_network("::1/128")]

Work = Callable[[Parts], Coroutine[Any, Any, Any]]


def start(work: Work, *, everything: bool = False, queue: bool = False, kafka: bool = False, niceness: int = 0) -> None:
    """Run a role until a signal stops it."""

    async def run(parts: Parts) -> None:
        if parts.settings.gives_way and parts.settings.database_url:  # an embedded server would give way with us
            _give_way(niceness)
        await work(parts)

    once(run, role=True, everything=everything, queue=queue, kafka=kafka)


def _give_way(niceness: int) -> None:
    try:
        os.nice(niceness)
    except OSError as error:
        structlog.get_logger("run").warning("may not give way", error=type(error).__name__)


def once(work: Work, *, role: bool = False, everything: bool = False, queue: bool = False, kafka: bool = False) -> Any:
    """Open the parts, do the work, close them."""
    with explained():
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
            settings = msgspec.structs.replace(settings, kafka_tenant=settings.kafka_tenant or DEV)
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
    return msgspec.structs.replace(settings, webhook_allowed_subnets=THIS_MACHINE)


@contextmanager
def explained() -> Iterator[None]:
    """What is wrong with the set-up is said in one line on standard error, and ends the command."""
    try:
        yield
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    except deployment.NOT_READY as error:
        raise click.ClickException(str(error)) from None
    except StoreUnavailableError as error:
        raise click.ClickException(f"the database does not answer in time ({error})") from None


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


async def stop_signal() -> None:
    """Return at the first Ctrl-C or SIGTERM; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: os._exit(130) if stop.is_set() else stop.set())
    await stop.wait()
