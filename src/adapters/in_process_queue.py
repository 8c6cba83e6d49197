"""Telling a worker that is in the same process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from adapters.stopping import finished
from application.ports.due_work import Lease
from domain.vocabulary import Channel

Deliver = Callable[[Channel, Sequence[Lease]], Awaitable[None]]


class InProcessQueue:
    """Implements the port DeliveryQueue: each lot is a task, as many as are put. The dispatcher is what bounds them."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._tasks: set[asyncio.Task[Any]] = set()

    async def put(self, channel: Channel, leases: Sequence[Lease]) -> bool:
        task = asyncio.ensure_future(self._deliver(channel, leases))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self, patience: float) -> None:
        """Give what has begun `patience` seconds to end."""
        await finished(self._tasks, patience)
