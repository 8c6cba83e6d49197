"""A load generator that costs little: raw HTTP/1.1, one request in flight on each connection.

Closed loop: so many connections, each asks again as soon as it has its answer. Open loop (`rate`): a request is due
every 1/rate seconds whatever became of the others, on one more connection if all are busy, and its latency counts from
when it was due, so that a server that stalls cannot hide the requests it kept from being sent. How late the generator
itself was with each is counted, too, and is part of the latency.

`python -m bench.load ORDER` takes the order as JSON and prints the answers as JSON.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import msgspec
import uvloop

_AHEAD = 0.05
"""Seconds in which the generator gets ready; then the first request is due."""

_FRESH = 3.0
"""Seconds that a connection may have been idle: the server closes it after five, perhaps as the request leaves."""


class Order(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to ask. It ends after `requests` or after `seconds`, whichever is given.

    With `idempotent` every request carries an Idempotency-Key of its own. `log` names a file that gets one line for
    each accepted notification: its id and when the request was due (seconds of the monotonic clock).
    """

    address: str
    path: str
    key: str
    body: str
    connections: int = 128
    requests: int | None = None
    seconds: float | None = None
    rate: float | None = None
    idempotent: bool = False
    log: str | None = None


class Answers(msgspec.Struct):
    """What came back: `seconds` for all of them, latencies in milliseconds.

    `late` is how long after it was due a request of the open loop left, at the 99th percentile.
    """

    requests: int
    seconds: float
    statuses: dict[str, int]
    p50: float
    p95: float
    p99: float
    late: float = 0.0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class _Connection(asyncio.Protocol):
    """Hands its answer on and is free again."""

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = b""
        self._due = 0.0
        self.free_since = 0.0
        self.asking = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._run.freed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or len(self._buffer) < head + 4 + _content_length(self._buffer[:head]):
            return
        answer, self._buffer = self._buffer, b""
        self.asking = False
        self._run.answered(answer, head + 4, self._due)
        self._run.freed(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost(self)

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self.asking = True
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()


class _Run:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._asked = 0
        self._began = monotonic()
        self._statuses: dict[str, int] = {}
        self._latencies: list[float] = []
        self._accepted: list[tuple[bytes, float]] = []
        self._late: list[float] = []
        self._free: list[_Connection] = []
        self._open = 0
        self._over = asyncio.Event()
        body = order.body.encode()
        self._host, _, self._port = order.address.removeprefix("http://").partition(":")
        self._head = (
            f"POST {order.path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {order.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        ).encode()
        self._body = b"\r\n" + body

    async def run(self) -> Answers:
        self._began = monotonic()
        if self._order.rate:
            await self._ask_at(self._order.rate)
        else:
            for _ in range(self._order.connections):
                await self._connect()
        await self._over.wait()
        return self._answers(monotonic() - self._began)

    def write_log(self, file: Path) -> None:
        file.write_text("".join(f"{id.decode()} {due:.6f}\n" for id, due in self._accepted))

    async def _ask_at(self, rate: float) -> None:
        """Each as soon as it is due and a connection is free."""
        await asyncio.gather(*(self._connect() for _ in range(self._order.connections)))
        loop, beat = asyncio.get_running_loop(), asyncio.Event()
        self._began = monotonic() + _AHEAD
        dues = [self._began + n / rate for n in range(self._wanted(rate))]
        Thread(target=_beat, args=(dues, lambda: loop.call_soon_threadsafe(beat.set)), daemon=True).start()
        for due in dues:
            while monotonic() < due:
                beat.clear()
                await beat.wait()
            while (free := self._fresh()) is None:
                await self._connect()
            self._late.append((monotonic() - due) * 1000)
            free.ask(self._request(), due)
        self._order.requests = self._asked
        self._close_what_is_free()

    def _fresh(self) -> _Connection | None:
        """The one that was used last; those that have been idle for long are closed."""
        while self._free:
            connection = self._free.pop()
            if monotonic() - connection.free_since < _FRESH:
                return connection
            connection.close()
        return None

    def _wanted(self, rate: float) -> int:
        return self._order.requests or int((self._order.seconds or 0) * rate)

    async def _connect(self) -> None:
        self._open += 1
        await asyncio.get_running_loop().create_connection(lambda: _Connection(self), self._host, int(self._port))

    def freed(self, connection: _Connection) -> None:
        if self._order.rate and self._order.requests != self._asked:
            connection.free_since = monotonic()
            self._free.append(connection)
        elif self._order.rate or self._is_enough():
            connection.close()
        else:
            connection.ask(self._request(), monotonic())

    def _close_what_is_free(self) -> None:
        for connection in list(self._free):
            connection.close()

    def _is_enough(self) -> bool:
        if self._order.requests is not None:
            return self._asked >= self._order.requests
        return monotonic() - self._began >= (self._order.seconds or 0)

    def _request(self) -> bytes:
        self._asked += 1
        own = f"Idempotency-Key: {self._began:.6f}-{self._asked}\r\n".encode() if self._order.idempotent else b""
        return self._head + own + self._body

    def answered(self, answer: bytes, body: int, due: float) -> None:
        status = answer[9:12].decode()
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._latencies.append((monotonic() - due) * 1000)
        if self._order.log and status == "202":
            at = answer.index(b'"notifications":[{"id":"', body) + 24
            self._accepted.append((answer[at : at + 36], due))

    def lost(self, connection: _Connection) -> None:
        """An answer that never came counts; not so a connection that the server closed for having nothing to do."""
        if connection.asking:
            self._statuses["lost"] = self._statuses.get("lost", 0) + 1
        if connection in self._free:
            self._free.remove(connection)
        self._open -= 1
        if not self._open:
            self._over.set()

    def _answers(self, seconds: float) -> Answers:
        latencies = sorted(self._latencies)
        shares = [percentile(latencies, share) for share in (0.5, 0.95, 0.99)]
        return Answers(len(latencies), seconds, self._statuses, *shares, late=percentile(sorted(self._late), 0.99))


def _beat(dues: list[float], strike: Callable[[], object]) -> None:
    """Strikes at each of these moments, as nearly as the system can; the loop's own timers are a millisecond coarse."""
    for due in dues:
        if (early := due - monotonic()) > 0:
            sleep(early)
        with suppress(RuntimeError):  # nobody listens any more
            strike()


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share is not above."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    run = _Run(order)
    answers = uvloop.run(run.run())
    if order.log:
        run.write_log(Path(order.log))
    print(msgspec.json.encode(answers).decode())


if __name__ == "__main__":
    main()
