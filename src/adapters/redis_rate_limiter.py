"""Places in a queue, for all processes together."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from limits.aio.storage import RedisStorage
from redis.exceptions import RedisError

from adapters.memory.counters import MemoryCounters
from adapters.rate_limiter import CountingRateLimiter
from application.ports.rate_limiter import Place
from domain.limits import Window

_PATIENCE = 1.0
_LEFT_ALONE = 5.0
_LAG = 0.01


class RedisRateLimiter:
    """Implements the port RateLimiter on counters in Redis.

    While that is away each process counts for itself, and does not ask again for some seconds: limits then hold for
    each process alone, and nobody waits for Redis.
    """

    def __init__(self, url: str, on_loss: Callable[[Exception], None] = lambda _: None) -> None:
        storage = RedisStorage(_address(url), implementation="redispy", key_prefix="carillon:limits")
        self._redis: Any = storage.bridge
        self._shared = CountingRateLimiter(storage, _LAG)
        self._own = CountingRateLimiter(MemoryCounters())
        self._on_loss = on_loss
        self._away_until = 0.0

    async def take(self, key: str, windows: Sequence[Window], now: datetime, latest: datetime | None = None) -> Place:
        if asyncio.get_running_loop().time() >= self._away_until:
            try:
                async with asyncio.timeout(_PATIENCE):
                    return await self._shared.take(key, windows, now, latest)
            except (RedisError, OSError) as error:  # a TimeoutError is one
                self._away_until = asyncio.get_running_loop().time() + _LEFT_ALONE
                self._on_loss(error)
        return await self._own.take(key, windows, now, latest)

    async def close(self) -> None:
        await self._redis.storage.aclose()


def _address(url: str) -> str:
    """As the library calls it."""
    return f"async+redis+unix{url.removeprefix('unix')}" if url.startswith("unix:") else f"async+{url}"
