"""Waiting for what must come, by asking again."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

_PAUSE = 0.02


async def until(
    condition: Callable[[], Any | Awaitable[Any]], what: str, within: float = 60.0, pause: float = _PAUSE
) -> Any:
    """The first true answer. The limit only ends what would never end: it says nothing about speed."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within
    while True:
        answer = condition()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert loop.time() < give_up, f"not within {within:g} s: {what}"
        await asyncio.sleep(pause)
