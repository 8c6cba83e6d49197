"""A wake-up for one follower, whoever rings."""

import asyncio
from contextlib import suppress


class Bell:
    """Implements the port Wakeup for one follower."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, timeout: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        self._rung.clear()
