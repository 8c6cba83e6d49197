"""The counters of this process."""

import time

from limits.aio.storage import MemoryStorage

_SWEEP_EVERY = 60.0


class MemoryCounters(MemoryStorage):
    """Those of the library, which looks through all of them at each step, 21 ms with 100,000: here once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._swept_at = 0.0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if now > self._swept_at + _SWEEP_EVERY:
            self._sweep(now)
        await self.get(key)
        self.storage[key] += amount
        self.expirations.setdefault(key, now + expiry)
        return self.storage[key]

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for key in [key for key, until in self.expirations.items() if until <= now]:
            self.storage.pop(key, None)
            del self.expirations[key]
