"""Log lines to Loki: a local server takes them, refuses them, or is not there."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from adapters.loki import LokiPush

LABELS = {"service_name": "carillon", "role": "worker"}


class Loki:
    """Takes what is pushed, or says what it is told to say."""

    def __init__(self) -> None:
        self.address = ""
        self.says = 204
        self.streams: list[Any] = []
        self.requests = 0
        self.taken = asyncio.Event()

    async def __aenter__(self) -> "Loki":
        app = web.Application()
        app.router.add_post("/loki/api/v1/push", self._push)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def lines(self) -> list[str]:
        return [line for stream in self.streams for _, line in stream["values"]]

    async def _push(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.says == 204:
            assert request.content_type == "application/json"
            self.streams += json.loads(await request.read())["streams"]
            self.taken.set()
        return web.Response(status=self.says)


@pytest.fixture
async def loki() -> AsyncIterator[Loki]:
    async with Loki() as loki:
        yield loki


class Told(list[tuple[str, int]]):
    def __call__(self, what: str, dropped: int) -> None:
        self.append((what, dropped))


@pytest.fixture
def told() -> Told:
    return Told()


MakePush = Callable[..., LokiPush]


@pytest.fixture
async def make(told: Told) -> AsyncIterator[MakePush]:
    made: list[LokiPush] = []

    def make(address: str, **wishes: Any) -> LokiPush:
        made.append(LokiPush(address, LABELS, told, **wishes))
        return made[-1]

    yield make
    for push in made:
        await push._client.aclose()


async def test_lines_are_pushed_in_batches_in_their_order_with_their_times(loki, make, told):
    push, began = make(loki.address), time.time_ns()
    for n in range(1_200):
        push.put(f"line {n}")
    assert await push.push()
    assert loki.lines == [f"line {n}" for n in range(1_200)]
    assert [len(stream["values"]) for stream in loki.streams] == [500, 500, 200]
    assert all(stream["stream"] == LABELS for stream in loki.streams)
    times = [int(at) for stream in loki.streams for at, _ in stream["values"]]
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= time.time_ns()
    assert (told, push.dropped) == ([], 0)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_is_not_taken_now_is_kept_and_pushed_once_it_is(loki, make, told, status):
    push, loki.says = make(loki.address), status
    push.put("early")
    assert not await push.push()
    push.put("late")
    assert not await push.push()
    loki.says = 204
    assert await push.push()
    assert loki.lines == ["early", "late"]
    assert told == [(f"does not take lines: status {status}", 0), ("takes lines", 0)]


async def test_nobody_waits_for_a_loki_that_is_not_there_and_what_does_not_fit_is_counted(loki, make, told):
    async with Loki() as gone:
        address = gone.address
    push = make(address, most=10)
    for n in range(25):
        push.put(f"line {n}")
    assert push.dropped == 15
    assert not await push.push()
    assert len(told) == 1
    push._url = f"{loki.address}/loki/api/v1/push"
    assert await push.push()
    assert loki.lines == [f"line {n}" for n in range(10)]
    assert told[1:] == [("takes lines", 15)]


@pytest.mark.parametrize("status", [400, 401])
async def test_what_is_refused_for_good_is_dropped_and_told_once(loki, make, told, status):
    push, loki.says = make(loki.address), status
    for _ in range(2):
        push.put("never")
        assert await push.push()
    assert (loki.requests, push.dropped) == (2, 2)
    assert told == [(f"refuses lines: status {status}", 1)]


async def test_it_pushes_while_it_runs_and_what_is_left_at_the_end(loki, monkeypatch, told):
    monkeypatch.setattr("adapters.loki._EVERY", 0.01)
    push = LokiPush(loki.address, LABELS, told)
    async with push.running():
        push.put("first")
        await asyncio.wait_for(loki.taken.wait(), 10)
        monkeypatch.setattr("adapters.loki._EVERY", 3600.0)
        await asyncio.sleep(0.05)
        push.put("last")
    assert loki.lines == ["first", "last"]


async def test_a_loki_that_hangs_does_not_keep_the_process_from_ending(told, monkeypatch):
    over, closed = asyncio.Event(), asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()
        await writer.wait_closed()
        closed.set()

    monkeypatch.setattr("adapters.loki._LAST_SECONDS", 0.05)
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    push = LokiPush(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", LABELS, told)
    async with asyncio.timeout(3), push.running():
        push.put("stuck")
    server.close()
    over.set()
    await closed.wait()
