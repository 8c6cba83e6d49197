"""A provider in trouble: it refuses, hangs, drips, talks nonsense, or is gone and comes back."""

import asyncio
import statistics
import time
from collections import Counter

from tests.faults.cluster import DEADLINE
from tests.faults.history import Event
from tests.faults.trial import Trial
from tests.faults.waiting import until

_FIRST_WAIT = 60.0
_JITTER = 0.2
_ATTEMPTS = 3


async def brown_out(trial: Trial, *, sends: int) -> None:
    """Of the requests 30 % get 429, 20 % 500, 10 % no answer, 5 % a reset, 5 % a 200 that is no answer.

    All come to an end: sent, or given up after three attempts that failed.
    """
    trial.may_give_up = True
    shares = {"_429": 0.3, "_500": 0.2, "hang": 0.1, "reset": 0.05, "garbage": 0.05}
    await trial.cluster.provider_does(**shares)
    async with trial.sending(sends):
        pass
    verdict = await trial.settled()
    since = time.monotonic()
    await trial.cluster.provider_does()
    trial.recovered(await trial.all_as_before(since))
    await trial.settled()
    arrivals = [a for a in trial.cluster.arrivals(trial.provider) if a.notification in trial.acknowledged]
    met = Counter(a.fault for a in arrivals if a.fault)
    trial.note(**{f"met_{fault}": times for fault, times in met.items()})
    _tried_enough(trial, verdict.given_up, await trial.cluster.events(trial.began))


async def slow_answers(trial: Trial, *, seconds: float) -> None:
    """Of the answers 30 % come a byte at a time and never end, 30 % take half of the deadline; the rest goes on."""
    trial.may_give_up = True
    async with trial.traffic():
        await asyncio.sleep(seconds / 2)
        began = time.time()
        await trial.cluster.provider_does(drip=0.3, slow=0.3)
        await asyncio.sleep(seconds)
        ended = time.time()
        await trial.cluster.provider_does()
        trial.recovered(await trial.all_as_before(time.monotonic()))
    verdict = await trial.settled()
    trial.note(
        p95_before_ms=_p95_until_arrival(trial, 0.0, began), p95_meanwhile_ms=_p95_until_arrival(trial, began, ended)
    )
    _tried_enough(trial, verdict.given_up, await trial.cluster.events(trial.began))


async def retry_storm(trial: Trial, *, sends: int) -> None:
    """Nothing listens at the provider's address, all fail at once; it comes back before anybody tries again.

    Who failed waits for about a minute, and all of them together do not come at the same moment.
    """
    cluster = trial.cluster
    await cluster.close_provider()
    async with trial.sending(sends):
        pass
    failed: dict[str, float] = {}

    async def all_failed() -> bool:
        failed.update(_failures(await cluster.events(trial.began)))
        return len(failed) >= sends

    await until(all_failed, "every first attempt fails", pause=0.5)
    trial.tell("until they try again")
    await cluster.open_provider()
    back = time.monotonic()
    trial.watch(back)
    longest = _FIRST_WAIT * (1 + _JITTER)
    await until(
        lambda: trial.arrived() == len(trial.acknowledged), "all arrive by themselves", within=longest + 60, pause=0.2
    )
    trial.recovered(time.monotonic() - back, within=longest + 10)
    by_address = {each.address: each.id for each in trial.load.acknowledged}
    arrivals = [a for a in cluster.arrivals(trial.provider) if a.address in by_address]
    waits = [a.time - failed[by_address[a.address]] for a in arrivals]
    per_second = Counter(int(a.time) for a in arrivals)
    trial.note(soonest=round(min(waits), 1), latest=round(max(waits), 1), most_in_a_second=max(per_second.values()))
    trial.expect(min(waits) >= _FIRST_WAIT * (1 - _JITTER) - 0.5, f"nobody tries again after {min(waits):.1f} s")
    trial.expect(
        max(per_second.values()) < sends / 3, f"they come one after the other, not {max(per_second.values())} at once"
    )
    await trial.settled()


def _tried_enough(trial: Trial, given_up: frozenset[str], events: list[Event]) -> None:
    failures = Counter(e.notification for e in events if e.topic == "notification.failed")
    trial.expect(
        all(failures[id] == _ATTEMPTS for id in given_up), f"what is given up has failed {_ATTEMPTS} times before"
    )


def _failures(events: list[Event]) -> dict[str, float]:
    """When each failed for the first time."""
    found: dict[str, float] = {}
    for event in events:
        if event.topic == "notification.failed" and event.time:
            found.setdefault(event.notification, event.time.timestamp())
    return found


def _p95_until_arrival(trial: Trial, after: float, before: float) -> float:
    """Milliseconds from an answer to the arrival, of those acknowledged in that stretch; 0 if it came before."""
    arrived: dict[str, float] = {}
    for each in trial.cluster.arrivals(trial.provider):
        arrived.setdefault(each.address, each.time)
    waits = [
        max(0.0, arrived[each.address] - each.time)
        for each in trial.load.acknowledged
        if each.address in arrived and after <= each.time < before
    ]
    return round(statistics.quantiles(waits, n=20)[-1] * 1000) if len(waits) > 1 else 0.0


assert DEADLINE / 2 > 0.7, "a slow answer must come in time"
