"""Endpoints in trouble beside endpoints that work."""

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.faults.cluster import FULL_SET, Receiver
from tests.faults.trial import Trial
from tests.faults.waiting import until

_EACH = 50
_RATE = 30.0  # events a second, to those that work, and as many to those that do not
_IN_TROUBLE = ("hang", "dripping-head", "drip", "500", "reset")
_SETTINGS = {"WEBHOOK_ALLOWED_SUBNETS": "127.0.0.0/8", "WEBHOOK_TIMEOUT_MS": "1500"}
_MOST_LONGER = 1.2
_MOST_LONGER_AT_FIRST = 3  # twice the events are told, taken and delivered, on the same cores


async def dead_endpoints(trial: Trial, *, seconds: float) -> None:
    """Fifty endpoints hang, drip, refuse or hang up beside fifty that work.

    Those, and the mail, go on as if they were alone, also before the others are found out.
    """
    cluster = trial.cluster
    for role in cluster.roles:
        role.kill()
    for kind in FULL_SET:
        cluster.start(kind, trial.provider, changes=_SETTINGS)
    await cluster.ready()
    scopes = itertools.chain.from_iterable(("--scope", scope) for scope in ("send", "webhooks"))
    key = (await cluster.carillon("keys", "create", "--tenant", "acme", *scopes)).strip()
    receiver = await cluster.start_receiver()
    async with _speaking(cluster.address, key) as tenant, trial.sending(50):
        working = await tenant.subscribe(receiver, ["ok"])
        alone = await tenant.delays(receiver, working, seconds)
        troubled = await tenant.subscribe(receiver, _IN_TROUBLE)
        telling = asyncio.create_task(tenant.tell_on(troubled))
        trial.tell("until they are found out")
        at_first = await tenant.delays(receiver, working, 3 * seconds)
        beside = await tenant.delays(receiver, working, seconds)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        trial.recovered(await trial.all_as_before(time.monotonic()))
        await tenant.unsubscribe()
    trial.note(
        told=len(alone) + len(at_first) + len(beside),
        p95_alone_ms=round(_p95(alone)),
        p95_at_first_ms=round(_p95(at_first)),
        p95_beside_ms=round(_p95(beside)),
    )
    trial.expect(_p95(at_first) <= _MOST_LONGER_AT_FIRST * _p95(alone), "who works waits hardly longer at first")
    trial.expect(_p95(beside) <= _MOST_LONGER * _p95(alone), "who works waits at most a fifth longer than alone")
    trial.expect(receiver.repeated() == 0, "none of those that work is told of anything twice")


class _Tenant:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._ids: list[str] = []
        self._names = itertools.count(1)

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        async with self._session.request(method, f"/api/v1{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def subscribe(self, receiver: Receiver, behaviours: Sequence[str]) -> list[str]:
        """Fifty endpoints that take turns to behave like these; the types of events that each is for."""
        types = [f"e{next(self._names)}" for _ in range(_EACH)]
        for type, behaviour in zip(types, itertools.cycle(behaviours), strict=False):
            said = {"name": type, "url": f"{receiver.url}{behaviour}/{type}", "event_types": [type]}
            self._ids.append((await self.ask("POST", "/webhooks", said))["webhook"]["id"])
        return types

    async def unsubscribe(self) -> None:
        """What still waits for them comes to its end."""
        for id in self._ids:
            await self.ask("DELETE", f"/webhooks/{id}")

    async def tell_on(self, types: Sequence[str], seconds: float = math.inf) -> dict[str, float]:
        """When each event was told of, by id, one type after another at an even pace."""
        told: dict[str, float] = {}
        began = time.monotonic()
        for n, type in enumerate(itertools.cycle(types)):
            await asyncio.sleep(began + n / _RATE - time.monotonic())
            if time.monotonic() - began > seconds:
                return told
            at = time.time()
            told[(await self.ask("POST", "/events", {"type": type, "data": {"n": n}}))["id"]] = at
        return told

    async def delays(self, receiver: Receiver, types: Sequence[str], seconds: float) -> list[float]:
        """Seconds from telling to arrival, of each event; all arrive."""
        told = await self.tell_on(types, seconds)
        await until(lambda: told.keys() <= receiver.arrived().keys(), "all that work are told", within=120, pause=0.1)
        arrived = receiver.arrived()
        return [arrived[id] - at for id, at in told.items()]


@asynccontextmanager
async def _speaking(address: str | None, key: str) -> AsyncIterator[_Tenant]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(address, headers=headers) as session:
        yield _Tenant(session)


def _p95(delays: Sequence[float]) -> float:
    """In milliseconds."""
    return sorted(delays)[int(0.95 * len(delays))] * 1000
