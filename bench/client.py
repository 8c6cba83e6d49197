"""How fast the service's own HTTP client gets messages to the sink when it has nothing else to do.

`python -m bench.client ADDRESS [BYTES]` prints requests per second, with so much in each.
"""

import asyncio
import sys
from datetime import timedelta
from time import perf_counter

import uvloop

from adapters.http_client import exchange, http_client

REQUESTS = 10_000
AT_ONCE = 200
BYTES = 8_000


async def ask(address: str, size: int = BYTES) -> float:
    body = b"x" * size
    client = http_client(connections=AT_ONCE)
    numbers = iter(range(REQUESTS))

    async def some() -> None:
        for number in numbers:
            headers = {"content-type": "application/json", "idempotency-key": f"{number}/1"}
            deadline = timedelta(seconds=10)
            await exchange(client, "POST", f"{address}/emails", content=body, headers=headers, deadline=deadline)

    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())
    seconds = perf_counter() - began
    await client.aclose()
    return REQUESTS / seconds


if __name__ == "__main__":
    print(uvloop.run(ask(sys.argv[1], *map(int, sys.argv[2:]))))
