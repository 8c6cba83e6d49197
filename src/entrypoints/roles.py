"""What a process can be: each role alone, or all of them in one."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic

import structlog

from adapters.in_process_queue import InProcessQueue
from adapters.postgres.leadership import leading
from adapters.postgres.readers import PostgresPlace, PostgresReceiptsReader
from adapters.stopping import beside, finished, stopped, together
from adapters.taskiq_queue import TaskiqDeliveryQueue, TaskiqWorker, redis_brokers
from application.ports.due_work import DeliveryQueue
from application.ports.log import StoreUnavailableError
from application.processes.chain import Chainer
from application.processes.deliver import Delivery
from application.processes.dispatch import Dispatcher
from application.processes.follow import Following
from application.processes.project import Followed, Projector
from application.processes.read_along import ReadAlong
from application.processes.settle import READ, Settlement
from application.processes.suppress import Suppressing
from domain.vocabulary import Channel
from entrypoints.logs import Lines, kind_of
from entrypoints.parts import Parts
from entrypoints.read_models import PROJECTIONS

_TO_RECORD_SECONDS = 5.0
_LAST_TURN_SECONDS = 5.0
_MAIL_TASKS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_WELL_AFTER = 30.0


@asynccontextmanager
async def dispatching(parts: Parts, redis: str) -> AsyncIterator[None]:
    """Lease what is due and tell the workers by Redis; on leaving, the turn that has begun ends first."""
    log = structlog.get_logger("dispatcher")

    def on_loss(error: Exception) -> None:
        log.warning("queue does not answer", error=type(error).__name__)

    brokers = redis_brokers(redis)
    for broker in brokers.values():
        await broker.startup()
    async with _dispatching(parts, TaskiqDeliveryQueue(brokers, on_loss)):
        yield


@asynccontextmanager
async def _dispatching(parts: Parts, queue: DeliveryQueue) -> AsyncIterator[None]:
    dispatcher = parts.dispatcher(queue)
    runs = [partial(dispatcher.run, channel, parts.work.bell(channel)) for channel in dispatcher.channels]
    runs += [partial(dispatcher.pass_on, channel) for channel in dispatcher.offering]
    task = asyncio.create_task(together(*(supervised("dispatcher", run) for run in runs)), name="dispatch")
    try:
        yield
    finally:
        dispatcher.stop()
        await _leave(dispatcher)
        await finished([task], _LAST_TURN_SECONDS)
        await stopped(task)
        await _leave(dispatcher)


async def _leave(dispatcher: Dispatcher) -> None:
    """If the store does not answer, nothing is given to us for long, and what was comes back when it lapses."""
    with suppress(StoreUnavailableError, TimeoutError):
        async with asyncio.timeout(_LAST_TURN_SECONDS):
            await dispatcher.leave()


@asynccontextmanager
async def working(parts: Parts, redis: str) -> AsyncIterator[None]:
    """Deliver what Redis tells of; on leaving, what has begun is finished first.

    Calls get until their deadline, and what they came to is recorded.
    """
    delivery = _delivery(parts)
    brokers = redis_brokers(redis)
    at_once = {Channel.EMAIL: _MAIL_TASKS, Channel.WEBHOOK: parts.settings.webhook_concurrency}
    workers = [TaskiqWorker(broker, delivery.deliver, at_once=at_once[channel]) for channel, broker in brokers.items()]
    for worker, broker in zip(workers, brokers.values(), strict=True):
        await broker.startup()
        await worker.start()
    structlog.get_logger("worker").info("worker started")
    try:
        yield
    finally:
        delivery.stop()
        patience = _patience(parts)
        await asyncio.gather(*(worker.close(patience) for worker in workers))


@asynccontextmanager
async def delivering(parts: Parts, patience: float | None = None) -> AsyncIterator[None]:
    """Lease what is due and deliver it in this process; on leaving, what has begun is finished first, as by a worker.

    With a `patience`, in seconds, what is then still under way has an unknown outcome, as after a crash.
    """
    delivery, log = _delivery(parts), structlog.get_logger("worker")

    def on_failure(error: BaseException) -> None:
        log.error("lot failed, left for later", error=type(error).__name__)

    queue = InProcessQueue(delivery.deliver, on_failure)
    log.info("worker started")
    try:
        async with _dispatching(parts, queue):
            yield
    finally:
        delivery.stop()
        await queue.close(_patience(parts) if patience is None else patience)


def _delivery(parts: Parts) -> Delivery:
    return parts.delivery(f"worker:{socket.gethostname()}:{os.getpid()}")


def _patience(parts: Parts) -> float:
    longest = max(parts.settings.email_deadline, parts.settings.webhook_deadline)
    return longest.total_seconds() + _TO_RECORD_SECONDS


async def follow(parts: Parts) -> None:
    """Keep read models and chain up with the log, settle receipts, judge endpoints, until cancelled.

    One process at a time does it.
    """
    bell = parts.wakeups.bell()

    async def lead() -> None:
        async with leading(parts.conninfo, "projector"), beside(_chain(parts), _judge_health(parts)):
            log = ReadAlong(parts.store)
            settlement = Settlement(
                log,
                parts.store,
                PostgresReceiptsReader(parts.database),
                PostgresPlace(parts.database, "settlement"),
                parts.clock,
            )
            suppressing = Suppressing(
                log,
                parts.store,
                parts.store,
                parts.address_digest,
                PostgresPlace(parts.database, "suppressing"),
                parts.clock,
            )

            following = Following(
                log,
                parts.store,
                PostgresPlace(parts.database, "following"),
                parts.troubles,
                parts.clock,
                Lines("projector"),
            )

            async def after_each(position: int) -> None:
                try:
                    await settlement.catch_up(position)
                finally:
                    try:
                        await suppressing.catch_up(position)
                    finally:
                        await following.catch_up(position)

            followed = [Followed(projection, parts.view(projection)) for projection in PROJECTIONS]
            await Projector(log, followed, Lines("projector")).run(bell, after_each, behind=READ)

    await supervised("projector", lead)


async def _chain(parts: Parts) -> None:
    await supervised("chain", lambda: Chainer(parts.store.lately, parts.chain).run())


async def _judge_health(parts: Parts) -> None:
    await supervised("health", parts.health_check().run)


async def supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Begin again whenever it fails, after pauses that double, until it ends or is cancelled."""
    pause = _FIRST_PAUSE
    while True:
        began = monotonic()
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - supervised: it is logged and begins again
            if monotonic() - began > _WELL_AFTER:
                pause = _FIRST_PAUSE
            structlog.get_logger(name).warning(f"{name} starts again", error=kind_of(error), pause=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
