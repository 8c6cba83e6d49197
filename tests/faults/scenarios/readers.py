"""Readers who leave while messages to them are on their way."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from tests.faults.history import Acknowledged, Event
from tests.faults.trial import Trial
from tests.faults.waiting import until

_AT_ONCE = 20
_LEAVE = 0.7  # of the readers
_SOON = 0.08  # seconds after a send was answered, at the latest: about as long as it takes to send it


class _Left(msgspec.Struct, frozen=True):
    """A reader whose opt-out was acknowledged at `position` of the log; `told` is what a later send was answered."""

    message: Acknowledged
    position: int
    told: str


async def opted_out(trial: Trial, *, kills: int) -> None:
    """Readers leave while mails to them are being sent, and workers are killed: nothing is sent after the answer.

    A call that was announced before it may still be made, and no other; not by whom takes over from a killed worker
    either.
    """
    cluster = trial.cluster
    trial.may_give_up = True  # what is suppressed was not sent
    cut_short = 0
    async with _leaving(trial) as left, trial.traffic():
        for _ in trial.faults(kills, "kills"):
            await trial.some_time()
            worker = trial.luck.choice(cluster.all_of("worker"))
            await until(lambda worker=worker: cluster.calls_on_their_way(worker), "calls on their way")
            worker.kill()
            cut_short += len(await cluster.calls_on_their_way(worker))
            cluster.start("worker", trial.provider)
            trial.watch(time.monotonic())
        await trial.some_time()
    verdict = await trial.settled()
    events = await cluster.events(trial.began)
    suppressed = {e.notification for e in events if e.topic == "notification.suppressed"}
    trial.note(left=len(left), cut_short=cut_short, not_sent=len(verdict.given_up))
    trial.expect(left and verdict.given_up, "readers leave before they are written to")
    trial.expect(len(left) > len(verdict.given_up), "and readers leave when it is too late")
    trial.expect(verdict.given_up <= suppressed & {each.message.id for each in left}, "who stays is written to")
    late = _announced_after(left, events)
    trial.expect(not late, f"no call is announced after an opt-out was acknowledged, and {late} were")
    beyond = _made_beyond(trial, left, events)
    trial.expect(not beyond, f"no call is made that was not announced before the opt-out, and {beyond} were")
    trial.expect({each.told for each in left} == {"suppressed"}, "what is accepted after the opt-out is suppressed")


def _announced_after(left: list[_Left], events: list[Event]) -> int:
    when = {each.message.id: each.position for each in left}
    return sum(e.topic == "notification.rendered" and e.position > when.get(e.notification, e.position) for e in events)


def _made_beyond(trial: Trial, left: list[_Left], events: list[Event]) -> int:
    """By what arrived: at an address that left, more than was announced for it before."""
    when = {each.message.id: each for each in left}
    announced = Counter(
        when[e.notification].message.address
        for e in events
        if e.topic == "notification.rendered" and e.notification in when and e.position <= when[e.notification].position
    )
    arrived = Counter(each.address for each in trial.cluster.arrivals(trial.provider))
    return sum(max(0, arrived[address] - announced[address]) for address in {e.message.address for e in left})


@asynccontextmanager
async def _leaving(trial: Trial) -> AsyncIterator[list[_Left]]:
    """Most of those who are written to leave as soon as that is acknowledged, until the block ends."""
    keys: dict[str, str] = {}
    for tenant in trial.cluster.api_keys:
        scopes = ["--scope", "send", "--scope", "readers"]
        keys[tenant] = (await trial.cluster.carillon("keys", "create", "--tenant", tenant, *scopes)).strip()
    left: list[_Left] = []
    stop = asyncio.Event()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session, asyncio.TaskGroup() as group:
        places = asyncio.Semaphore(_AT_ONCE)

        async def leave(message: Acknowledged) -> None:
            async with places:
                await asyncio.sleep(trial.luck.uniform(0, _SOON))
                headers = {"Authorization": f"Bearer {keys[message.tenant]}"}
                answer = await _answered(
                    trial, session, "preferences/unsubscribe", {"address": message.address}, headers
                )
                later = await _answered(trial, session, "notifications", _welcome(message), headers)
                left.append(_Left(message, answer["position"], later["notifications"][0]["status"]))

        async def watch() -> None:
            seen = 0
            while not stop.is_set():
                new, seen = trial.load.acknowledged[seen:], len(trial.load.acknowledged)
                for message in new:
                    if trial.luck.random() < _LEAVE:
                        group.create_task(leave(message))
                await asyncio.sleep(0.005)

        group.create_task(watch())
        try:
            yield left
        finally:
            stop.set()


async def _answered(
    trial: Trial, session: aiohttp.ClientSession, path: str, body: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    async with session.post(f"{trial.cluster.address}/api/v1/{path}", json=body, headers=headers) as response:
        answer: dict[str, Any] = await response.json()
    assert response.status in (200, 202), f"{response.status}: {answer}"
    return answer


def _welcome(message: Acknowledged) -> dict[str, Any]:
    """The same once more, as a bug at the tenant's might ask for it."""
    return {
        "type": "welcome",
        "recipients": [{"email": message.address}],
        "variables": {"user_name": message.key, "product_name": message.tenant, "action_url": "https://acme.example"},
    }
