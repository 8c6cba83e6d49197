"""What is broken while messages are on their way, and what became of them. The sizes are the caller's to choose."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg

from tests.faults.cluster import Cluster, Provider, Role
from tests.faults.history import ENDS, Event, Verdict, check
from tests.faults.load import Load
from tests.faults.process import Process
from tests.faults.waiting import until

_names = count(1)


class Scenario:
    """One stretch of a cluster's history, from now on, with a sender of its own."""

    def __init__(self, cluster: Cluster, provider: Provider, began: int) -> None:
        self.cluster = cluster
        self.provider = provider
        self.began = began
        self.load = self.another_load()

    @classmethod
    async def begin(cls, cluster: Cluster, provider: Provider = "resend") -> "Scenario":
        await cluster.full_set(provider)
        return cls(cluster, provider, await cluster.head())

    def another_load(self) -> Load:
        return Load(f"run{next(_names)}", lambda: self.cluster.address, self.cluster.api_keys)

    def arrived(self) -> int:
        self.cluster.check_that_all_live()
        ours = {each.address for each in self.load.acknowledged}
        return len({each.address for each in self.cluster.arrivals(self.provider)} & ours)

    async def arrivals_reach(self, number: int) -> None:
        await until(lambda: self.arrived() >= number, f"{number} arrivals")

    async def settled(self) -> Verdict:
        """Once all that was acknowledged has come to an end, without waiting for the times of retries."""
        ids = [each.id for each in self.load.acknowledged]

        async def all_ended() -> bool:
            self.cluster.check_that_all_live()
            await self.cluster.skip_the_wait()
            ((ended,),) = await self.cluster.query(
                "SELECT count(DISTINCT originator_id) FROM stored_events"
                " WHERE originator_id = ANY(%s::uuid[]) AND topic = ANY(%s)",
                (ids, list(ENDS)),
            )
            return bool(ended == len(ids))

        await until(all_ended, "all that was acknowledged has come to an end")
        return await self.verdict()

    async def verdict(self) -> Verdict:
        """As things stand now."""
        events = await self.cluster.events(self.began)
        return check(self.load.acknowledged, self.cluster.arrivals(self.provider), events)


async def workers_killed(scenario: Scenario, *, sends: int, kills: int) -> tuple[Verdict, int]:
    """Kill one worker after the other while it has calls on their way; answers how many calls that cut short."""
    cluster, cut_short = scenario.cluster, 0
    async with sending(scenario, sends):
        for kill in range(1, kills + 1):
            await scenario.arrivals_reach(kill * sends // (kills + 2))
            worker = cluster.all_of("worker")[0]
            await until(lambda worker=worker: cluster.calls_on_their_way(worker), "calls on their way")
            worker.kill()
            cut_short += len(await cluster.calls_on_their_way(worker))
            cluster.start("worker", scenario.provider)
    return await scenario.settled(), cut_short


async def dispatcher_killed(scenario: Scenario, *, sends: int) -> Verdict:
    async with sending(scenario, sends):
        await scenario.arrivals_reach(sends // 3)
        scenario.cluster.one("dispatcher").kill()
        scenario.cluster.start("dispatcher", scenario.provider)
    return await scenario.settled()


async def redis_lost(scenario: Scenario, *, sends: int, losses: int) -> tuple[Verdict, float]:
    """Empty Redis again and again, then stop it and start it; answers the seconds it took to catch up."""
    redis, dispatcher = scenario.cluster.redis, scenario.cluster.one("dispatcher")
    async with sending(scenario, sends):
        for loss in range(1, losses + 1):
            await scenario.arrivals_reach(loss * sends // (losses + 2))
            redis.forget_everything()
        await scenario.arrivals_reach((losses + 1) * sends // (losses + 2))
        redis.stop()
        said = dispatcher.said.count("queue does not answer")
        extra = asyncio.create_task(scenario.load.send(20))
        await until(lambda: dispatcher.said.count("queue does not answer") > said, "the dispatcher misses Redis")
        await redis.start()
        began = time.monotonic()
        await extra
    verdict = await scenario.settled()
    return verdict, time.monotonic() - began


async def postgres_restarted(
    scenario: Scenario, *, sends: int, restarts: int, away: float = 0.0
) -> tuple[Verdict, float]:
    """Crash the database while requests come in and bring it back after `away` seconds.

    Answers the longest time from then on until the read models moved on.
    """
    cluster, longest = scenario.cluster, 0.0
    async with sending(scenario, sends):
        for restart in range(1, restarts + 1):
            await scenario.arrivals_reach(restart * sends // (restarts + 1))
            cluster.crash_postgres()
            await asyncio.sleep(away)
            await asyncio.to_thread(cluster.postgres.restart, "immediate")
            longest = max(longest, await _until_the_read_models_move_on(scenario))
    return await scenario.settled(), longest


async def _until_the_read_models_move_on(scenario: Scenario) -> float:
    began = time.monotonic()
    fresh = scenario.another_load()
    await fresh.send(1)
    await until(lambda: _reached(scenario.cluster, fresh.positions[0]), "the read models move on")
    scenario.load.acknowledged += fresh.acknowledged
    return time.monotonic() - began


async def api_killed(scenario: Scenario, *, clients: int, sends: int, kills: int) -> tuple[Verdict, int]:
    """Kill the API as soon as something is stored; answers how many requests were stored and not answered by then."""
    cluster, unanswered = scenario.cluster, 0
    async with sending(scenario, sends, clients=clients):
        for kill in range(1, kills + 1):
            await until(lambda kill=kill: len(scenario.load.acknowledged) >= kill * sends // (kills + 1), "answers")
            api = cluster.one("api")
            unanswered += await _stopped_before_answering(scenario, api)
            api.kill()
            cluster.start("api", scenario.provider)
    return await scenario.settled(), unanswered


async def _stopped_before_answering(scenario: Scenario, api: Process) -> int:
    """Stop the API at a moment when it has stored requests and not answered them; answers how many."""
    async with await scenario.cluster.listen() as connection:
        async for _ in connection.notifies():
            api.pause()
            await _quiet(scenario)
            if unanswered := await _stored_and_not_answered(scenario):
                return unanswered
            api.resume()
    raise AssertionError("nothing was stored")


async def _quiet(scenario: Scenario) -> None:
    """Until what was on its way when the API stopped has been read."""
    seen = -1
    while seen != (seen := len(scenario.load.acknowledged)):  # noqa: ASYNC110 - the load has no event for it
        await asyncio.sleep(0.03)


async def _stored_and_not_answered(scenario: Scenario) -> int:
    """To ask while the API stands still."""
    answered = {each.id for each in scenario.load.acknowledged}
    events = await scenario.cluster.events(scenario.began)
    return len({e.notification for e in events if e.topic == "notification.queued"} - answered)


async def wakeups_lost(scenario: Scenario, *, sends: int) -> tuple[Verdict, int, float, float]:
    """Cut the listening connections all the time.

    Answers how many that were, and the longest it took to send and to be seen by readers.
    """
    cluster, cut, longest_send, longest_read = scenario.cluster, 0, 0.0, 0.0

    async def cutting() -> None:
        nonlocal cut
        while True:
            cut += await cluster.cut_listeners()
            await asyncio.sleep(0.02)

    cutter = asyncio.create_task(cutting())
    try:
        for sent in range(1, sends + 1):
            began = time.monotonic()
            await scenario.load.send(1)
            await scenario.arrivals_reach(sent)
            longest_send = max(longest_send, time.monotonic() - began)
            head, began = await cluster.head(), time.monotonic()
            await until(lambda head=head: _reached(cluster, head), "readers see it")
            longest_read = max(longest_read, time.monotonic() - began)
    finally:
        cutter.cancel()
        with suppress(asyncio.CancelledError):
            await cutter
    return await scenario.settled(), cut, longest_send, longest_read


async def worker_paused(scenario: Scenario, *, sends: int) -> tuple[Verdict, int, Callable[[], str]]:
    """Let a worker sleep past its leases and go on.

    Answers how things stood before it went on, how many of its calls others took over, and what it says from then on.
    """
    cluster = scenario.cluster
    async with sending(scenario, sends):
        await scenario.arrivals_reach(sends // 4)
        worker = cluster.all_of("worker")[0]
        await until(lambda: _caught_with_calls(scenario, worker), "a worker waiting for the provider")
    verdict = await scenario.settled()
    taken_over = _taken_over(await cluster.events(scenario.began), worker)
    before = len(worker.said)
    worker.resume()
    return verdict, taken_over, lambda: worker.said[before:]


async def schedule_dropped(scenario: Scenario, *, waiting: int, to_a_request: int = 100) -> tuple[Verdict, str]:
    """Drop the table of the work that is due and make it again from the log; answers what that said."""
    later = datetime.now(UTC) + timedelta(days=1)
    await scenario.load.send(waiting // to_a_request, recipients=to_a_request, scheduled_at=later)
    await scenario.cluster.query("DROP TABLE schedule")
    said = await scenario.cluster.carillon("rebuild", "schedule")
    assert scenario.arrived() == 0, "sent before its time"
    return await scenario.settled(), said


async def worker_stopped(scenario: Scenario, *, sends: int) -> tuple[Verdict, int, int]:
    """Ask a worker to stop while it has calls on their way; answers its exit code and the calls it cut short."""
    cluster = scenario.cluster
    async with sending(scenario, sends):
        await scenario.arrivals_reach(sends // 4)
        worker = cluster.all_of("worker")[0]
        await until(lambda: cluster.calls_on_their_way(worker), "calls on their way")
        worker.ask_to_stop()
        code = await worker.stopped()
        cut_short = len(await cluster.calls_on_their_way(worker))
    return await scenario.settled(), code, cut_short


async def hasty_worker_killed(scenario: Scenario, *, sends: int, program: list[str]) -> Verdict:
    """Put a worker that notes a message as sent before it sends it in the place of the others, and kill it."""
    cluster = scenario.cluster
    for worker in cluster.all_of("worker"):
        worker.kill()
    hasty = cluster.start("worker", scenario.provider, program=program)
    await cluster.ready()
    async with sending(scenario, sends):
        arrived_before = len(cluster.arrivals(scenario.provider))

        async def ahead() -> bool:
            events = await cluster.events(scenario.began)
            noted = sum(e.topic == "notification.sent" for e in events)
            return noted > len(cluster.arrivals(scenario.provider)) - arrived_before + 5

        await until(ahead, "messages are noted as sent that have not arrived")
        hasty.kill()
        cluster.start("worker", scenario.provider)
    return await scenario.settled()


async def _caught_with_calls(scenario: Scenario, worker: Role) -> bool:
    """Pause it while it waits for the provider; let it go on if that was at the wrong moment."""
    if not await scenario.cluster.calls_on_their_way(worker):
        return False
    worker.pause()
    await asyncio.sleep(0.1)  # what the database was committing for it
    arrived = {each.notification for each in scenario.cluster.arrivals(scenario.provider)}
    if arrived & await scenario.cluster.calls_on_their_way(worker):
        return True
    worker.resume()
    return False


def _taken_over(events: Iterable[Event], worker: Role) -> int:
    """Calls that this worker announced and somebody else then noted as of unknown outcome."""
    caller, found = dict[str, str](), 0
    for event in events:
        if event.topic == "notification.rendered":
            caller[event.notification] = event.by
        elif event.topic == "notification.failed" and event.reason == "outcome_unknown":
            found += caller[event.notification].endswith(worker.signature)
    return found


@asynccontextmanager
async def sending(scenario: Scenario, sends: int, clients: int = 10) -> AsyncIterator[None]:
    """Send for as long as the block lasts, and longer, until all is acknowledged. A failure of either ends both."""
    async with asyncio.TaskGroup() as group:
        group.create_task(scenario.load.send(sends, clients=clients))
        yield


async def _reached(cluster: Cluster, position: int) -> bool:
    try:
        return await cluster.projected() >= position
    except psycopg.Error:
        return False
