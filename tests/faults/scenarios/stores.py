"""The database and Redis: away, emptied, full, without a place left, or put back from a backup."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.faults.cluster import MOST_CONNECTIONS, Cluster
from tests.faults.trial import LIVE_AGAIN_WITHIN, Trial
from tests.faults.waiting import until

_POLLED_WITHIN = 10.0  # generous: a poll comes every second at the latest, what is slow is the machine


async def postgres_restarted(trial: Trial, *, restarts: int) -> None:
    """Crash the database as often under load; the read models are equal to the log in the end."""
    cluster = trial.cluster
    async with trial.traffic():
        for _ in trial.faults(restarts, "postgres_restarts"):
            await trial.some_time(0.5, 2.0)
            since = time.monotonic()
            cluster.crash_postgres()
            await asyncio.to_thread(cluster.postgres.restart, "immediate")
            back = time.monotonic()
            trial.recovered(await trial.all_as_before(since, back), within=LIVE_AGAIN_WITHIN)
    await trial.settled()
    await trial.caught_up()
    trial.note(asked_again=trial.load.unanswered + trial.load.unavailable)


async def redis_emptied(trial: Trial, *, losses: int) -> None:
    """Empty Redis as often, with hints in it that no worker has read; who sends does not notice."""
    cluster, faults, lost = trial.cluster, [], 0
    async with trial.traffic():
        for _ in trial.faults(losses, "redis_emptied"):
            await trial.some_time(0.5, 1.5)
            workers = cluster.all_of("worker")
            for worker in workers:
                worker.pause()
            await trial.some_time(0.2, 0.4)
            lost += await _handed_out_and_not_begun(trial)
            cluster.redis.forget_everything()
            faults.append(time.time())
            for worker in workers:
                worker.resume()
            trial.watch(time.monotonic())
    await trial.settled()
    await trial.made_good(faults)
    trial.note(hints_lost=lost)
    trial.expect(lost, "Redis is emptied of something")
    _nobody_noticed(trial)


async def redis_away(trial: Trial, *, seconds: float) -> None:
    """Stop Redis for as long under load, and start it with nothing in it; who sends does not notice."""
    redis, dispatcher = trial.cluster.redis, trial.cluster.one("dispatcher")
    async with trial.traffic():
        await trial.some_time()
        said = dispatcher.said.count("queue does not answer")
        redis.stop()
        await until(lambda: dispatcher.said.count("queue does not answer") > said, "the dispatcher misses Redis")
        trial.tell(f"{seconds:g} s without Redis")
        await asyncio.sleep(seconds)
        await redis.start()
        back = time.time()
        await trial.live_again(time.monotonic())
    await trial.settled()
    trial.note(seconds_away=seconds)
    await trial.made_good([back])
    _nobody_noticed(trial)


async def wakeups_lost(trial: Trial, *, sends: int) -> None:
    """Cut the listening connections all the time: polling makes up for it."""
    cluster, cut, slowest = trial.cluster, 0, 0.0

    async def cutting() -> None:
        nonlocal cut
        while True:
            cut += await cluster.cut_listeners()
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        cutter = group.create_task(cutting())
        for sent in range(1, sends + 1):
            began = time.monotonic()
            await trial.load.send(1)
            await trial.arrivals_reach(sent)
            slowest = max(slowest, time.monotonic() - began)
            head, began = await cluster.head(), time.monotonic()
            await until(lambda head=head: trial.readers_see(head), "readers see it")
            slowest = max(slowest, time.monotonic() - began)
        cutter.cancel()
    await trial.settled()
    trial.lived(slowest)
    trial.recovered(slowest, within=_POLLED_WITHIN)
    trial.note(connections_cut=cut)
    trial.expect(cut > sends, "each message finds its wake-up cut")


async def disk_full(trial: Trial, *, seconds: float) -> None:
    """The server cannot extend the log for as long: what is answered is 503, and nothing is half written."""
    async with trial.traffic():
        await trial.some_time()
        async with _no_space(trial.cluster):
            refused = trial.load.unavailable
            await until(lambda: trial.load.unavailable > refused, "requests are refused")
            trial.tell(f"{seconds:g} s without space")
            head = await trial.cluster.head()
            await asyncio.sleep(seconds)
            trial.expect(await trial.cluster.head() == head, "the log does not grow without space")
        since = time.monotonic()
        trial.recovered(await trial.all_as_before(since))
    await trial.settled()
    await trial.caught_up()
    trial.note(refused=trial.load.unavailable)


async def connections_used_up(trial: Trial, *, seconds: float) -> None:
    """Others take every connection of the server, and those of Carillon break: it says 503 until it gets new ones."""
    cluster = trial.cluster
    async with trial.traffic():
        await trial.some_time()
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(await cluster.connection(superuser=True))
            until_then = time.monotonic() + seconds
            trial.tell(f"{seconds:g} s without a free connection")
            while time.monotonic() < until_then:
                for hog in await cluster.hog(MOST_CONNECTIONS):
                    await stack.enter_async_context(hog)
                await ours.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'hog'"
                    " AND datname = current_database() AND pid <> pg_backend_pid()"
                )
                await asyncio.sleep(0.05)
            refused = trial.load.unavailable
        since = time.monotonic()
        trial.recovered(await trial.all_as_before(since))
    await trial.settled()
    await trial.caught_up()
    trial.note(refused=refused)
    trial.expect(refused, "requests are refused with 503 meanwhile")


async def log_locked(trial: Trial, *, seconds: float) -> None:
    """Somebody locks the table of the log for as long: all connections of all pools end up waiting for it."""
    cluster = trial.cluster
    async with trial.traffic():
        await trial.some_time()
        async with await cluster.connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE stored_events IN ACCESS EXCLUSIVE MODE")
            trial.tell(f"{seconds:g} s with the log locked")
            await asyncio.sleep(seconds)
        since = time.monotonic()
        trial.recovered(await trial.all_as_before(since))
    await trial.settled()
    await trial.caught_up()
    trial.note(refused=trial.load.unavailable)
    trial.expect(trial.load.unavailable, "requests are refused with 503 meanwhile")


async def restored(trial: Trial, *, waiting: int) -> None:
    """Put the database back from a backup that was made under load, some time after it.

    What was due in the backup and sent since is sent again, and the provider knows it. What was acknowledged since is
    gone from the log; all of it had arrived.
    """
    cluster, file = trial.cluster, trial.cluster.folder / "backup.dump"
    await trial.load.send(waiting, scheduled_at=datetime.now(UTC) + timedelta(days=1))
    async with trial.traffic():
        await trial.some_time(0.8, 1.6)
        known = trial.acknowledged
        await cluster.dump(file)
        await trial.some_time(1.0, 2.0)
    await until(lambda: trial.arrived() == len(trial.acknowledged) - waiting, "all but those for later arrive")
    await _only_later_ones_wait(trial)
    for role in cluster.roles:
        role.kill()
    calls = (await trial.verdict()).calls
    since = time.monotonic()
    await cluster.restore(file, "restored")
    back = time.monotonic()
    await cluster.full_set(trial.provider)
    trial.recovered(await trial.all_as_before(since, back))
    await trial.settled()
    await trial.caught_up()
    queued = {e.notification for e in await cluster.events(trial.began) if e.topic == "notification.queued"}
    trial.not_in_the_log = frozenset(trial.acknowledged - queued)
    trial.expect(not trial.not_in_the_log & known, "a backup holds all that was acknowledged before it")
    again = (await trial.verdict()).calls - calls - waiting - 1
    trial.note(acknowledged_since=len(trial.not_in_the_log), sent_again=again)


async def schedule_dropped(trial: Trial, *, waiting: int) -> None:
    """Drop the table of the work that is due and make it again from the log."""
    later, to_a_request = datetime.now(UTC) + timedelta(days=1), 50
    await trial.load.send(waiting // to_a_request, recipients=to_a_request, scheduled_at=later)
    await trial.cluster.query("DROP TABLE schedule")
    said = await trial.cluster.carillon("rebuild", "schedule")
    back = time.monotonic()
    trial.expect(f"holds {waiting} rows" in said, f"it is made again with {waiting} rows: {said}")
    trial.expect(trial.arrived() == 0, "nothing is sent before its time")
    await trial.live_again(back)
    await trial.settled()


async def _handed_out_and_not_begun(trial: Trial) -> int:
    """To ask while the workers stand still."""
    ((held,),) = await trial.cluster.query("SELECT count(*) FROM schedule WHERE lease_until > now()")
    begun = [await trial.cluster.calls_on_their_way(worker) for worker in trial.cluster.all_of("worker")]
    return int(held) - sum(map(len, begun))


def _nobody_noticed(trial: Trial) -> None:
    trial.expect(trial.load.unanswered == trial.load.unavailable == 0, "who sends does not notice")


async def _only_later_ones_wait(trial: Trial) -> None:
    async def only_later() -> bool:
        ((due,),) = await trial.cluster.query("SELECT count(*) FROM schedule WHERE due_at < now() + interval '1 hour'")
        return bool(due == 0)

    await until(only_later, "only what is for later waits")


@asynccontextmanager
async def _no_space(cluster: Cluster) -> AsyncIterator[None]:
    """Every append to the log also has to extend a table whose file is the device that is always full.

    So the server meets a real ENOSPC at each of them, and answers with what it says of a full disk.
    """
    await cluster.query("CREATE TABLE no_space (x int)")
    ((name,),) = await cluster.query("SELECT pg_relation_filepath('no_space')")
    file, aside = cluster.data_folder / name, cluster.folder / "no_space"
    _replace(file, aside)
    try:
        await cluster.query(
            "CREATE FUNCTION takes_space() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO no_space VALUES (1); RETURN NULL; END'"
        )
        await cluster.query("CREATE TRIGGER takes_space BEFORE INSERT ON stored_events EXECUTE FUNCTION takes_space()")
        yield
    finally:
        await cluster.query("DROP FUNCTION takes_space CASCADE")
        aside.replace(file)
        await cluster.query("DROP TABLE no_space")


def _replace(file: Path, aside: Path) -> None:
    file.rename(aside)
    file.symlink_to("/dev/full")
