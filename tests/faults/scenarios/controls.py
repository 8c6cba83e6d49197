"""Mistakes made on purpose: the checker has to see what each of them loses or repeats."""

import asyncio
import sys

from tests.faults.trial import Trial
from tests.faults.waiting import until

_UNSAFE = (sys.executable, "-m", "tests.faults.unsafe")
_FOR_EVER = {"LEASE_MS": "86400000"}
"""A lease that does not lapse while anybody looks: nothing makes good what the queue has lost."""


async def noted_before_sent(trial: Trial, *, sends: int) -> None:
    """A worker notes messages as sent before it sends them, and is killed: they are lost, whatever the log says."""
    trial.is_control = True
    cluster = trial.cluster
    for worker in cluster.all_of("worker"):
        worker.kill()
    hasty = cluster.start("worker", trial.provider, program=[*_UNSAFE, "hasty"])
    await cluster.ready()
    async with trial.sending(sends):

        async def ahead() -> bool:
            events = await cluster.events(trial.began)
            noted = {e.notification for e in events if e.topic == "notification.sent"}
            return len(noted - {each.notification for each in cluster.arrivals(trial.provider)}) > 5

        await until(ahead, "messages are noted as sent that have not arrived")
        hasty.kill()
        cluster.start("worker", trial.provider)
    verdict = await trial.settled()
    trial.expect(verdict.lost, "the checker sees what is lost")
    trial.expect(not verdict.unfinished, "the log takes it for sent")


async def sent_twice(trial: Trial, *, sends: int) -> None:
    """A worker that sends each message twice: all of them are repeated, though the log says nothing of it."""
    trial.is_control = True
    for worker in trial.cluster.all_of("worker"):
        worker.kill()
    trial.cluster.start("worker", trial.provider, program=[*_UNSAFE, "doubling"])
    await trial.cluster.ready()
    async with trial.sending(sends):
        pass
    verdict = await trial.settled()
    trial.expect(verdict.repeats == sends, f"the checker sees {sends} repetitions, not {verdict.repeats}")
    trial.expect(not verdict.sent_twice, "the log knows nothing of it")
    trial.expect(len(verdict.unexplained) == sends, "the checker finds no call for them in the log")


async def listened_too_late(trial: Trial, *, sends: int) -> None:
    """The queue as the library makes it, with nothing to make good what it loses; then as Carillon makes it.

    What was handed out before the first worker came is lost by the one and not by the other.
    """
    trial.is_control = True
    unsafe = await _handed_out_before_a_worker_came(trial, sends, [*_UNSAFE, "from-now-on"])
    trial.expect(unsafe == 0, f"what was handed out too early is lost: {unsafe} of {sends} arrived")
    trial.seen = verdict = await trial.verdict()
    trial.expect(len(verdict.lost) == len(verdict.unfinished) == sends, f"the checker sees {sends} lost")
    safe = await _handed_out_before_a_worker_came(trial, sends, [sys.executable, "-m", "entrypoints"])
    trial.expect(safe == sends, f"it is our queue that loses nothing: {safe} of {sends} arrived")
    await trial.cluster.query("UPDATE schedule SET lease_until = NULL, lease_token = NULL, rank_at = now()")
    await trial.cluster.full_set(trial.provider)
    await trial.settled()


async def _handed_out_before_a_worker_came(trial: Trial, sends: int, program: list[str]) -> int:
    """How many arrived after all."""
    cluster = trial.cluster
    for role in cluster.roles:
        role.kill()
    before = {each.notification for each in cluster.arrivals(trial.provider)}
    cluster.start("api", trial.provider)
    cluster.start("dispatcher", trial.provider, program=program, changes=_FOR_EVER)
    await cluster.ready()
    cluster.redis.forget_everything()  # with it whatever the dispatcher has prepared for workers
    await trial.load.send(sends)
    await until(lambda: _held(trial), "all are handed out", pause=0.1)
    worker = cluster.start("worker", trial.provider, program=program, changes=_FOR_EVER)
    await cluster.ready()
    probe = trial.another_load()
    await probe.send(1)
    (sent,) = probe.acknowledged
    await until(lambda: any(a.address == sent.address for a in cluster.arrivals(trial.provider)), "a later one arrives")
    await asyncio.sleep(1.0)  # what was on its way to this worker has come by now; what is lost never does
    worker.kill()
    ours = {each.id for each in trial.load.acknowledged}
    return len(({each.notification for each in cluster.arrivals(trial.provider)} - before) & ours)


async def _held(trial: Trial) -> bool:
    ((free,),) = await trial.cluster.query("SELECT count(*) FROM schedule WHERE lease_until IS NULL")
    return bool(free == 0)
