"""A provider that takes everything at once: answers like Resend and counts. `python -m bench.sink` prints its address.

`GET /` answers how many arrived and when the last one did (seconds of the monotonic clock).
"""

import asyncio
from time import monotonic

import uvloop

_arrived = 0
_last = 0.0


class _Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _content_length(self._buffer[:head])
            if len(self._buffer) < head + 4 + length:
                return
            posted = self._buffer.startswith(b"POST")
            self._buffer = self._buffer[head + 4 + length :]
            self._answer(posted)

    def _answer(self, posted: bool) -> None:
        global _arrived, _last
        if posted:
            _arrived += 1
            _last = monotonic()
        body = b'{"id":"m%d"}' % _arrived if posted else b'{"arrived":%d,"last":%.6f}' % (_arrived, _last)
        self._transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
