"""While Redis is away limits hold for each process alone, and nobody waits for it."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from adapters import redis_rate_limiter
from adapters.redis_rate_limiter import RedisRateLimiter
from application.ports.rate_limiter import Line, Place
from domain.limits import Rates
from tests.faults.redis import RedisServer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE_A_MINUTE = Rates(per_minute=1).windows()


async def take(limiter: RedisRateLimiter, key: str) -> Place:
    return await limiter.take(uuid4().hex, [Line(key, ONE_A_MINUTE)], NOON)


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """One that may be broken."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # a path short enough for a socket
        server = RedisServer(Path(folder), Path(folder, "redis.log"))
        await server.start()
        try:
            yield server
        finally:
            server.stop()


async def test_what_is_not_there_is_left_alone_for_a_while(tmp_path):
    lost: list[Exception] = []
    limiter = RedisRateLimiter(f"unix://{tmp_path}/nobody.sock", lost.append)
    places = [await take(limiter, "acme") for _ in range(3)]
    assert places[0] == Place(NOON)
    assert all(place.at > NOON for place in places[1:])
    assert len(lost) == 1
    await limiter.close()


async def test_processes_count_together_again_once_it_is_back(redis, monkeypatch):
    monkeypatch.setattr(redis_rate_limiter, "_LEFT_ALONE", 0.0)
    lost: list[Exception] = []
    one, other = RedisRateLimiter(redis.url, lost.append), RedisRateLimiter(redis.url, lost.append)
    assert (await take(one, "acme")).at == NOON
    assert (await take(other, "acme")).at > NOON
    redis.stop()
    assert (await take(one, "globex")).at == NOON
    assert (await take(other, "globex")).at == NOON, "it has not heard of the other's"
    assert len(lost) == 2
    await redis.start()
    assert (await take(one, "initech")).at == NOON
    assert (await take(other, "initech")).at > NOON
    await one.close()
    await other.close()


async def test_one_that_hangs_is_waited_for_once(redis, monkeypatch):
    monkeypatch.setattr(redis_rate_limiter, "_PATIENCE", 0.1)
    lost: list[Exception] = []
    limiter = RedisRateLimiter(redis.url, lost.append)
    assert (await take(limiter, "acme")).at == NOON
    os.kill(redis.process.pid, signal.SIGSTOP)
    assert [(await take(limiter, "globex")).at > NOON for _ in range(3)] == [False, True, True]
    assert [type(error) for error in lost] == [TimeoutError]
    os.kill(redis.process.pid, signal.SIGCONT)
    await limiter.close()


async def test_a_busy_limiter_is_not_taken_for_a_lost_redis(redis, monkeypatch):
    """Whoever waits for others of this process has not been kept waiting by Redis."""
    monkeypatch.setattr(redis_rate_limiter, "_PATIENCE", 0.3)
    lost: list[Exception] = []
    limiter = RedisRateLimiter(redis.url, lost.append)
    for _ in range(redis_rate_limiter._AT_ONCE):
        await limiter._turns.acquire()
    waiting = asyncio.create_task(take(limiter, "acme"))
    await asyncio.sleep(0.5)
    for _ in range(redis_rate_limiter._AT_ONCE):
        limiter._turns.release()
    assert (await waiting).at == NOON
    assert (await take(limiter, "acme")).at > NOON
    assert lost == []
    await limiter.close()


async def test_processes_that_take_at_the_same_moment_take_different_places_and_know_who_has_which(redis):
    lost: list[Exception] = []
    one, other = RedisRateLimiter(redis.url, lost.append), RedisRateLimiter(redis.url, lost.append)
    lines = [Line("jane", Rates(per_minute=30).windows()), Line("acme", Rates(per_minute=20).windows())]
    places = await asyncio.gather(
        *(limiter.take(f"{n}/{n % 2}", lines, NOON) for n in range(60) for limiter in ([one, other][n % 2],))
    )
    again = await asyncio.gather(
        *(limiter.take(f"{n}/{n % 2}", lines, NOON) for n in range(60) for limiter in ([other, one][n % 2],))
    )
    assert again == places
    assert [sum(place.at == NOON + timedelta(minutes=n) for place in places) for n in range(3)] == [20, 20, 20]
    assert lost == []
    await one.close()
    await other.close()
