"""Trying out endpoints takes no more than its share. In memory."""

import asyncio
from datetime import datetime
from uuid import UUID

import pytest

from adapters.webhook.signing import signature_headers
from application.caller import Caller
from application.commands.try_webhook import MOST_TRIALS, TooManyTrialsError, Trials, WebhookTest, try_webhook
from application.ports.webhooks import WebhookCall, WebhookRequest
from domain.outcomes import Accepted
from tests.unit.test_webhook_commands import ACME, House


class SlowSender:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = asyncio.Event()

    async def send(self, request: WebhookRequest, now: datetime) -> WebhookCall:
        self.asked += 1
        await self.go_on.wait()
        return WebhookCall(Accepted(None))


class Bench:
    """Endpoints that are tried out."""

    def __init__(self) -> None:
        self.house, self.sender, self.trials = House(), SlowSender(), Trials()

    async def endpoint(self, caller: Caller = ACME) -> UUID:
        return (await self.house.create(caller=caller)).webhook.id

    async def run(self, id: UUID, caller: Caller = ACME) -> WebhookTest:
        return await try_webhook(
            id, caller, sender=self.sender, trials=self.trials, sign=signature_headers, **self.house.ports("dice")
        )

    async def begin(self, id: UUID, caller: Caller = ACME) -> asyncio.Task[WebhookTest]:
        task = asyncio.create_task(self.run(id, caller))
        for _ in range(10):
            await asyncio.sleep(0)
        return task


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_an_endpoint_is_tried_out_once_at_a_time(bench: Bench) -> None:
    id = await bench.endpoint()
    first = await bench.begin(id)
    with pytest.raises(TooManyTrialsError):
        await bench.run(id)
    bench.sender.go_on.set()
    assert (await first).taken
    assert (await bench.run(id)).taken


async def test_a_tenant_tries_out_two_endpoints_at_a_time_whatever_others_do(bench: Bench) -> None:
    ids = [await bench.endpoint() for _ in range(3)]
    begun = [await bench.begin(id) for id in ids[:2]]
    with pytest.raises(TooManyTrialsError):
        await bench.run(ids[2])
    other = Caller("other", "key:k2")
    begun.append(await bench.begin(await bench.endpoint(other), other))
    bench.sender.go_on.set()
    assert all(each.taken for each in await asyncio.gather(*begun))


async def test_who_gives_up_leaves_the_place_to_the_next(bench: Bench) -> None:
    id = await bench.endpoint()
    first = await bench.begin(id)
    first.cancel()
    await asyncio.wait([first])
    bench.sender.go_on.set()
    assert (await bench.run(id)).taken


async def test_nothing_is_called_before_there_is_a_connection_for_it(bench: Bench) -> None:
    callers = [Caller(f"tenant-{n}", "key:k") for n in range(MOST_TRIALS + 1)]
    begun = [await bench.begin(await bench.endpoint(caller), caller) for caller in callers]
    assert bench.sender.asked == MOST_TRIALS
    bench.sender.go_on.set()
    assert len(await asyncio.gather(*begun)) == bench.sender.asked == MOST_TRIALS + 1
