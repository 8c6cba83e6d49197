"""A worker in the dispatcher's process."""

import asyncio
from uuid import uuid4

from adapters.in_process_queue import InProcessQueue
from application.ports.due_work import Lease
from domain.vocabulary import Channel

LEASES = [Lease(uuid4(), uuid4(), Channel.EMAIL)]


class Worker:
    def __init__(self) -> None:
        self.began: list[list[Lease]] = []
        self.ended = 0
        self.go_on = asyncio.Event()

    async def deliver(self, _: Channel, leases: list[Lease]) -> None:
        self.began.append(leases)
        await self.go_on.wait()
        self.ended += 1


async def test_what_is_put_is_begun_beside_what_is_under_way_and_nobody_waits_for_it():
    worker = Worker()
    queue = InProcessQueue(worker.deliver)
    assert await queue.put(Channel.EMAIL, LEASES)
    assert await queue.put(Channel.EMAIL, LEASES)
    await asyncio.sleep(0)
    assert worker.began == [LEASES, LEASES]
    assert worker.ended == 0


async def test_a_lot_that_fails_is_told_of_and_keeps_no_other_from_its_end():
    async def failing(_: Channel, __: list[Lease]) -> None:
        raise KeyError

    failures: list[BaseException] = []
    queue = InProcessQueue(failing, failures.append)
    assert await queue.put(Channel.EMAIL, LEASES)
    await queue.close(60)
    await asyncio.sleep(0)
    assert [type(failure) for failure in failures] == [KeyError]


async def test_closing_waits_for_what_has_begun():
    worker = Worker()
    queue = InProcessQueue(worker.deliver)
    await queue.put(Channel.EMAIL, LEASES)
    closing = asyncio.create_task(queue.close(60))
    await asyncio.sleep(0)
    assert not closing.done()
    worker.go_on.set()
    await closing
    assert worker.ended == 1


async def test_closing_waits_no_longer_than_it_was_told():
    worker = Worker()
    queue = InProcessQueue(worker.deliver)
    await queue.put(Channel.EMAIL, LEASES)
    await queue.close(0.01)
    assert worker.ended == 0
    worker.go_on.set()
