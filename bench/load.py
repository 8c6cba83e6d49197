"""A load generator that costs little: raw HTTP/1.1 over a fixed number of connections, one request in flight on each.

`python -m bench.load ADDRESS PATH KEY REQUESTS CONNECTIONS BODY` prints one JSON object.
"""

import asyncio
import sys
from time import perf_counter
from typing import Any

import msgspec
import uvloop


class Answers(msgspec.Struct):
    """What came back: `seconds` for all, latencies in milliseconds."""

    requests: int
    seconds: float
    statuses: dict[str, int]
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        if len(self._buffer) < head + 4 + _content_length(self._buffer[:head]):
            return
        self._run.took(self._buffer[9:12].decode(), perf_counter() - self._sent_at)
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost()

    def _next(self) -> None:
        request = self._run.take()
        if request is None:
            self._transport.close()
            return
        self._sent_at = perf_counter()
        self._transport.write(request)


class _Run:
    def __init__(self, requests: int, make: Any, connections: int) -> None:
        self._left = requests
        self._make = make
        self._open = connections
        self._statuses: dict[str, int] = {}
        self._latencies: list[float] = []
        self.done = asyncio.Event()

    def take(self) -> bytes | None:
        if not self._left:
            return None
        self._left -= 1
        made: bytes = self._make(self._left)
        return made

    def took(self, status: str, seconds: float) -> None:
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._latencies.append(seconds * 1000)

    def lost(self) -> None:
        self._open -= 1
        if not self._open:
            self.done.set()

    def answers(self, seconds: float) -> Answers:
        latencies = sorted(self._latencies)
        at = [latencies[int(len(latencies) * share)] for share in (0.5, 0.99)] if latencies else [0.0, 0.0]
        return Answers(len(latencies), seconds, self._statuses, *at)


async def load(
    address: str, path: str, key: str, requests: int, connections: int, body: bytes, *, idempotent: bool = False
) -> Answers:
    """Post `body` so many times. With `idempotent` every request carries an Idempotency-Key of its own."""
    host, _, port = address.removeprefix("http://").partition(":")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    ).encode()
    run_id = f"{perf_counter():.6f}"

    def make(number: int) -> bytes:
        own = f"Idempotency-Key: {run_id}-{number}\r\n".encode() if idempotent else b""
        return head + own + b"\r\n" + body

    run = _Run(requests, make, connections)
    loop = asyncio.get_running_loop()
    began = perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(run), host, int(port))
    await run.done.wait()
    return run.answers(perf_counter() - began)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    address, path, key, requests, connections, body, idempotent = sys.argv[1:]
    answers = uvloop.run(
        load(address, path, key, int(requests), int(connections), body.encode(), idempotent=idempotent == "yes")
    )
    print(msgspec.json.encode(answers).decode())


if __name__ == "__main__":
    main()
