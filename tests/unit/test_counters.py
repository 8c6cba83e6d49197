"""Counters in memory do what the library's do, and are forgotten in time."""

import time

from adapters.memory.counters import MemoryCounters


async def test_what_has_run_out_is_forgotten_and_nothing_else(monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    counters = MemoryCounters()
    assert [await counters.incr("short", 30), await counters.incr("short", 3_600)] == [1, 2]
    assert await counters.incr("long", 3_600, 5) == 5
    now += 31
    assert await counters.get("short") == 0
    assert await counters.incr("short", 30) == 1
    now += 61
    await counters.incr("other", 30)
    assert dict(counters.storage) == {"long": 5, "other": 1}
    assert counters.expirations.keys() == {"long", "other"}
