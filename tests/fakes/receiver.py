"""A receiver of webhooks as a local server, which treats each request as the beginning of its path says.

`/ok/7` is answered 200, `/404/7` with that status, and the rest is in BEHAVIOURS: `/drip/7`, `/endless/7`, ...

In a test:      async with FakeReceiver() as receiver: receiver.url("ok/7") ... receiver.arrivals, receiver.connections
On its own:     python -m tests.fakes.receiver --port 0 --log arrivals.jsonl
As a sink:      python -m tests.fakes.receiver --fast
"""

import argparse
import asyncio
import gzip
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Self

import httptools
import msgspec
import uvloop


class Behaviour(msgspec.Struct, frozen=True):
    """`head` is what is answered first, if anything; `then` how it goes on, with more and more of `chunk`."""

    head: bytes = b""
    then: str = "keep"  # the connection; or "close", "hang", "drip", "endless"
    delay: float = 0.0
    chunk: bytes = b"x" * 65536


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """A whole answer; `retry_after="2"` becomes the header `retry-after: 2`."""
    lines = b"".join(b"%b: %b\r\n" % (k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())
    return Behaviour(b"HTTP/1.1 %d \r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body))


_METADATA = "http://169.254.169.254/latest/meta-data/"
BEHAVIOURS = {
    "ok": answer(200, b"ok", x_request_id="7"),
    "created": answer(201),
    "empty": Behaviour(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "gone": answer(410),
    "busy": answer(429, b"slow down", retry_after="120"),
    "impatient": answer(429, retry_after="1"),
    "patient": answer(503, retry_after="99999999"),
    "maintenance": answer(500, retry_after="300"),
    "redirect": answer(302, location="/ok/redirected"),
    "metadata": answer(307, location=_METADATA),
    "binary": answer(500, b"\xff\xfe\x00<" + b"\xe2\x82" * 10),
    "long": answer(400, b"x" * 5000),
    "headers": answer(500, **{f"x_{n}": "v" * 2000 for n in range(10)}),
    "bomb": answer(200, gzip.compress(bytes(10_000_000)) * 60, content_encoding="gzip"),
    "endless": Behaviour(b"HTTP/1.1 200 OK\r\n\r\n", "endless"),
    "chunked": Behaviour(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n", "endless"),
    "headless": Behaviour(b"HTTP/1.1 200 OK\r\nx-a: ", "endless"),
    "continue": Behaviour(then="endless", chunk=b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "drip": Behaviour(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", "drip"),
    "dripping-head": Behaviour(b"HTTP/1.1 200 OK\r\nx-a: ", "drip"),
    "hang": Behaviour(then="hang"),
    "reset": Behaviour(then="close"),
    "cut": Behaviour(b"HTTP/1.1 500 \r\ncontent-length: 10\r\n\r\nabc", "close"),
    "garbage": Behaviour(b"\x00\xffSMTP ready\r\n\r\n", "close"),
    "slow": Behaviour(answer(200).head, delay=0.3),
}
"""By the first part of the path. A number is answered with that status."""


class Arrival(msgspec.Struct):
    """One request, with the names of its headers in lower case."""

    time: float
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class FakeReceiver:
    """`arrivals` are all requests in order, unless it is `fast`, `connections` all that were ever opened."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, log: Path | None = None, fast: bool = False) -> None:
        self.arrivals: list[Arrival] = []
        self.connections = 0
        self.taken = 0
        self.open: set[_Connection] = set()
        self.fast = fast
        self._tls = tls
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if log else None
        self._server: asyncio.Server | None = None
        self.port = 0

    def url(self, path: str = "ok", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/{path}"

    async def start(self, port: int = 0) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for connection in list(self.open):
            connection.abort()
        if self._log:
            os.close(self._log)
            self._log = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def take(self, arrival: Arrival) -> Behaviour:
        self.taken += 1
        if not self.fast:
            self.arrivals.append(arrival)
        if self._log:
            os.write(self._log, msgspec.json.encode(arrival) + b"\n")
        named = arrival.path.split("/")[1]
        return answer(int(named)) if named.isdecimal() else BEHAVIOURS.get(named, BEHAVIOURS["ok"])


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time."""

    def __init__(self, receiver: FakeReceiver) -> None:
        self._receiver = receiver
        self._number = 0
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._drip: asyncio.TimerHandle | None = None
        self._endless, self._paused = b"", False
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._receiver.connections += 1
        self._number = self._receiver.connections
        self._receiver.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.open.discard(self)
        self._endless = b""
        if self._drip:
            self._drip.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        arrival = Arrival(time.time(), self._path.decode(), self._headers, self._body, self._number)
        behaviour = self._receiver.take(arrival)
        if behaviour.delay:
            asyncio.get_running_loop().call_later(behaviour.delay, self._behave, behaviour)
        else:
            self._behave(behaviour)

    def _behave(self, behaviour: Behaviour) -> None:
        if self._transport.is_closing():
            return
        if behaviour.head:
            self._transport.write(behaviour.head)
        match behaviour.then:
            case "close":
                self._transport.close()
            case "drip":
                self._drip_on()
            case "endless":
                self._endless = behaviour.chunk
                self.resume_writing()

    def abort(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        """Go on for as long as the other side reads."""
        self._paused = False
        while self._endless and not self._paused and not self._transport.is_closing():
            self._transport.write(self._endless)

    def _drip_on(self) -> None:
        self._transport.write(b"x")
        self._drip = asyncio.get_running_loop().call_later(0.02, self._drip_on)


async def _serve(arguments: argparse.Namespace) -> None:
    receiver = await FakeReceiver(log=arguments.log, fast=arguments.fast).start(arguments.port)
    sys.stdout.write(receiver.url("") + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await receiver.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.receiver", description="A local receiver of webhooks.")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--log", type=Path, help="append one JSON line per arrival to this file")
    parser.add_argument("--fast", action="store_true", help="keep nothing, only count")
    uvloop.run(_serve(parser.parse_args()))
