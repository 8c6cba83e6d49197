"""A provider that takes everything at once: answers like Resend and remembers what arrived.

`python -m bench.sink` prints its address. `GET /` answers how many messages arrived, how many of their keys had arrived
before, and when the last one did; `GET /arrivals` one line for each: its notification and when (seconds of the
monotonic clock).
"""

import asyncio
from time import monotonic

import uvloop


class _Arrivals:
    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self._first: dict[bytes, float] = {}

    def note(self, key: bytes) -> None:
        self.count += 1
        self.last = monotonic()
        self._first.setdefault(key, self.last)

    def summary(self) -> bytes:
        repeated = self.count - len(self._first)
        return b'{"arrived":%d,"repeated":%d,"last":%.6f}' % (self.count, repeated, self.last)

    def lines(self) -> bytes:
        return b"".join(b"%s %.6f\n" % (key.partition(b"/")[0], at) for key, at in self._first.items())


class _Sink(asyncio.Protocol):
    def __init__(self, arrivals: _Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(_header(head, b"content-length") or 0)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"post"):
            self._arrivals.note(_header(head, b"idempotency-key") or _of_a_webhook(head))
            body = b'{"id":"m%d"}' % self._arrivals.count
        elif head.startswith(b"get /arrivals "):
            body = self._arrivals.lines()
        else:
            body = self._arrivals.summary()
        self._transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


def _of_a_webhook(head: bytes) -> bytes:
    """Its event's id, and which of the endpoints at this address it came to."""
    return _header(head, b"webhook-id") + head.split(b" ", 2)[1]


def _header(head: bytes, name: bytes) -> bytes:
    at = head.find(b"\r\n" + name + b":")
    return head[at + len(name) + 3 :].split(b"\r\n", 1)[0].strip() if at >= 0 else b""


async def serve() -> None:
    arrivals = _Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: _Sink(arrivals), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
