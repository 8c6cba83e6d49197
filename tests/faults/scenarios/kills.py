"""Roles that end in the middle of their work, and one that only seems to have."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from msgspec import structs

from tests.faults.cluster import Cluster, Role
from tests.faults.history import Event
from tests.faults.trial import Trial
from tests.faults.waiting import until


async def workers_killed(trial: Trial, *, kills: int) -> None:
    """Kill a worker while it has calls on their way, again and again.

    Without keys what was cut short may go out twice, and so may a call whose answer never came.
    """
    await _killed_with_calls_on_their_way(trial, "worker", kills, {})


async def deliverers_killed(trial: Trial, *, kills: int) -> None:
    """The same where those who send lease for themselves, two of them, and there is no Redis."""
    cluster, without_redis = trial.cluster, {"REDIS_URL": ""}
    for role in [*cluster.all_of("dispatcher"), *cluster.all_of("worker")]:
        role.kill()
    for _ in range(2):
        cluster.start("deliverer", trial.provider, changes=without_redis)
    await cluster.ready()
    await _killed_with_calls_on_their_way(trial, "deliverer", kills, without_redis)


async def _killed_with_calls_on_their_way(trial: Trial, kind: str, kills: int, changes: Mapping[str, str]) -> None:
    cluster, faults, cut_short = trial.cluster, [], Counter[str]()
    async with trial.traffic():
        for _ in trial.faults(kills, "kills"):
            await trial.some_time()
            worker = trial.luck.choice(cluster.all_of(kind))
            at_once = cut_short and trial.luck.random() < 0.5  # also in the middle of an append
            calls = cluster.calls_on_their_way if at_once else partial(_stopped_with_calls, cluster)
            await until(partial(calls, worker), "calls on their way")
            worker.kill()
            faults.append(time.time())
            cut_short.update(await _cut_short(trial, worker))
            cluster.start(kind, trial.provider, changes=changes)
            trial.watch(time.monotonic())
    await trial.settled()
    events = await cluster.events(trial.began)
    trial.note(cut_short=cut_short.total(), without_an_answer=_without_an_answer(events))
    trial.expect(cut_short, "kills cut calls short")
    strange = _interrupted(events) - cut_short
    trial.expect(
        not strange, f"a call is interrupted only by a kill, and {strange.total()} were not on their way at one"
    )
    if trial.provider == "resend":
        await trial.made_good(faults)
        trial.within = None  # one kill follows the other, and the next may hit the same message again


async def _cut_short(trial: Trial, worker: Role) -> set[str]:
    """What a worker who was just killed had on its way, also by what the database still committed for it."""
    found = await trial.cluster.calls_on_their_way(worker)
    await asyncio.sleep(0.2)
    return found | await trial.cluster.calls_on_their_way(worker)


async def apis_killed(trial: Trial, *, kills: int) -> None:
    """Kill the API when it has stored requests and not answered them; all are asked again under the same key."""
    cluster, unanswered = trial.cluster, 0
    async with trial.traffic(clients=20):
        for _ in trial.faults(kills, "kills"):
            await trial.some_time()
            api = cluster.one("api")
            unanswered += await _stopped_before_answering(trial, api)
            api.kill()
            since = time.monotonic()
            cluster.start("api", trial.provider)
            trial.recovered(await trial.all_as_before(since))
    await trial.settled()
    trial.note(stored_and_not_answered=unanswered, asked_again=trial.load.unanswered)
    trial.expect(unanswered, "requests were stored and not answered")


async def dispatchers_killed(trial: Trial, *, kills: int) -> None:
    """Kill the dispatcher under load, again and again."""
    await _killed_and_replaced(trial, "dispatcher", kills)
    await trial.settled()


async def projectors_killed(trial: Trial, *, kills: int) -> None:
    """Kill the projector under load, again and again; the read models are equal to the log in the end."""
    await _killed_and_replaced(trial, "projector", kills)
    await trial.settled()
    await trial.caught_up()


async def all_killed_at_once(trial: Trial, *, rounds: int) -> None:
    """Every role, the database and Redis at the same moment, as by a power cut; all start again together."""
    cluster, faults, cut_short = trial.cluster, [], 0
    async with trial.traffic():
        for _ in trial.faults(rounds, "power_cuts"):
            await trial.some_time()
            roles = cluster.roles
            cluster.crash_postgres()
            for role in roles:
                role.kill()
            cluster.redis.stop()
            since = time.monotonic()
            faults.append(time.time())
            await asyncio.to_thread(cluster.postgres.restart, "immediate")
            back = time.monotonic()
            for role in roles:
                if role.kind == "worker":
                    cut_short += len(await cluster.calls_on_their_way(role))
            await cluster.redis.start()
            for role in roles:
                cluster.start(role.kind, role.provider)
            trial.note(kills=len(roles), postgres_restarts=1, redis_emptied=1)
            trial.recovered(await trial.all_as_before(since, back))
    await trial.settled()
    await trial.made_good(faults)
    await trial.caught_up()
    trial.note(cut_short=cut_short)


async def drained(trial: Trial, *, rounds: int) -> None:
    """SIGTERM to each role under load: it ends by itself, finishes what it has begun, and another takes over."""
    cluster, faults = trial.cluster, []
    async with trial.traffic():
        for _ in trial.faults(rounds, "rounds"):
            for kind in ("worker", "dispatcher", "projector", "api"):
                await trial.some_time()
                await _drain(trial, trial.luck.choice(cluster.all_of(kind)))
                faults.append(time.time())
    await trial.settled()
    await trial.made_good(faults)


async def _drain(trial: Trial, role: Role) -> None:
    cluster = trial.cluster
    if role.kind == "worker":
        await until(lambda: cluster.calls_on_their_way(role), "calls on their way")
    began = time.monotonic()
    role.ask_to_stop()
    code = await role.stopped()
    left = len(await cluster.calls_on_their_way(role))
    cluster.start(role.kind, trial.provider)
    back = time.monotonic()
    await cluster.ready()
    await trial.live_again(back)
    trial.note(stopped=1)
    trial.tallies["longest_stop"] = max(trial.tallies["longest_stop"], round(back - began, 1))
    trial.expect(code == 0, f"a {role.kind} ends by itself with exit code 0, not {code}")
    trial.expect(left == 0, f"a {role.kind} that is asked to stop finishes its calls, and leaves no {left}")


async def worker_paused(trial: Trial, *, sends: int) -> None:
    """A worker sleeps past its leases and goes on: what it brings then is refused.

    It may have fallen asleep with a call announced and not yet made, and make it then: the provider knows its key.
    """
    cluster = trial.cluster
    async with trial.sending(sends):
        await trial.arrivals_reach(sends // 4)
        worker = trial.luck.choice(cluster.all_of("worker"))
        await until(lambda: _caught_with_calls(trial, worker), "a worker waiting for the provider")
        paused = time.time()
    verdict = await trial.settled()
    await trial.made_good([paused])
    taken_over = _taken_over(await cluster.events(trial.began), worker)
    before = len(worker.said)
    worker.resume()
    await trial.live_again(time.monotonic())
    await until(lambda: _given_up(worker.said[before:]) >= taken_over, "it gives up each call that others took over")
    refused = worker.said[before:].count("late outcome refused")
    after = await trial.settled()
    trial.note(taken_over=taken_over, refused=refused, calls_made_late=after.calls - verdict.calls - 1)
    trial.expect(refused, "outcomes that come late are refused")
    one_more = structs.replace(
        verdict, calls=after.calls, acknowledged=verdict.acknowledged + 1, effects=verdict.effects + 1
    )
    trial.expect(after == one_more, "what came late changes nothing")


async def _killed_and_replaced(trial: Trial, kind: str, kills: int) -> None:
    cluster = trial.cluster
    async with trial.traffic():
        for _ in trial.faults(kills, "kills"):
            await trial.some_time()
            cluster.one(kind).kill()
            since = time.monotonic()
            cluster.start(kind, trial.provider)
            trial.recovered(await trial.all_as_before(since))


async def _stopped_before_answering(trial: Trial, api: Role) -> int:
    """Stop the API at a moment when it has stored requests and not answered them; answers how many."""
    async with await trial.cluster.listen() as connection:
        async for _ in connection.notifies():
            api.pause()
            await _quiet(trial)
            if unanswered := await _stored_and_not_answered(trial):
                return unanswered
            api.resume()
    raise AssertionError("nothing was stored")


async def _quiet(trial: Trial) -> None:
    """Until what was on its way when the API stopped has been read."""
    seen = -1
    while seen != (seen := len(trial.acknowledged)):  # noqa: ASYNC110 - the load has no event for it
        await asyncio.sleep(0.03)


async def _stored_and_not_answered(trial: Trial) -> int:
    """To ask while the API stands still."""
    rows = await trial.cluster.query(
        "SELECT originator_id::text FROM stored_events WHERE topic = 'notification.queued'"
        " AND notification_id > greatest(%s, (SELECT max(notification_id) FROM stored_events) - 500)",
        (trial.began,),
    )
    return len({id for (id,) in rows} - trial.acknowledged)


async def _caught_with_calls(trial: Trial, worker: Role) -> bool:
    """Pause it while it waits for the provider; let it go on if that was at the wrong moment."""
    if on_their_way := await _stopped_with_calls(trial.cluster, worker):
        arrived = {each.notification for each in trial.cluster.arrivals(trial.provider)}
        if arrived & on_their_way:
            return True
        worker.resume()
    return False


async def _stopped_with_calls(cluster: Cluster, worker: Role) -> set[str]:
    """Pause it while it has calls on their way, and say which; let it go on if they ended just before that."""
    if not await cluster.calls_on_their_way(worker):
        return set()
    worker.pause()
    await asyncio.sleep(0.1)  # what the database was committing for it
    found = await cluster.calls_on_their_way(worker)
    if not found:
        worker.resume()
    return found


def _taken_over(events: Iterable[Event], worker: Role) -> int:
    """Calls that this worker announced and somebody else then noted as of unknown outcome."""
    caller, found = dict[str, str](), 0
    for event in events:
        if event.topic == "notification.rendered":
            caller[event.notification] = event.by
        elif event.topic == "notification.failed" and event.reason == "outcome_unknown":
            found += caller[event.notification].endswith(worker.signature)
    return found


def _interrupted(events: Iterable[Event]) -> Counter[str]:
    """Whose call was found without an outcome when its lease had lapsed, and how often."""
    failed = (e for e in events if e.topic == "notification.failed" and e.reason == "outcome_unknown" and e.uncertain)
    return Counter(event.notification for event in failed)


def _given_up(said: str) -> int:
    """Calls whose outcome came too late, and those that were not begun because it was too late for them."""
    notes = ("late outcome refused", "lease too short for the call", "moved on elsewhere", "store away")
    return sum(said.count(note) for note in notes)


def _without_an_answer(events: Iterable[Event]) -> int:
    """Calls that were not cut short, and of which nobody knows all the same whether they had an effect."""
    return sum(e.topic == "notification.failed" and e.reason == "timeout" for e in events)
