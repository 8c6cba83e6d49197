"""Telling a worker that is in the same process."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from adapters.stopping import finished
from application.ports.due_work import Deliver, Lease
from domain.vocabulary import Channel


class InProcessQueue:
    """Implements the port DeliveryQueue: each lot is a task, as many as are put. The dispatcher is what bounds them.

    A lot that fails as a whole is told of; what is in it comes back when its leases lapse.
    """

    def __init__(self, deliver: Deliver, on_failure: Callable[[BaseException], None] = lambda _: None) -> None:
        self._deliver = deliver
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()

    async def put(self, channel: Channel, leases: Sequence[Lease]) -> bool:
        task = asyncio.ensure_future(self._deliver(channel, leases))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            self._on_failure(failure)

    async def close(self, patience: float) -> None:
        """Give what has begun `patience` seconds to end."""
        await finished(self._tasks, patience)
