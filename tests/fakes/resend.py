"""Resend's `POST /emails` as a local server that can be told to fail.

It checks every request against Resend's own description (`tests/specs/resend_emails.json`), remembers keys as Resend
does (the same key and body: the first answer again; another body: 409) and keeps account of all that arrives.

In a test:      async with FakeResend() as resend: resend.script(rate_limited(2), HANG); ... resend.arrivals
On its own:     python -m tests.fakes.resend --port 0 --log arrivals.jsonl --fault 429=0.3 --fault hang=0.1
As a sink:      python -m tests.fakes.resend --fast
While it runs:  PUT /faults with {"429": 0.3, "hang": 0.1} replaces the faults
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httptools
import jsonschema
import msgspec
import uvloop

SPEC = Path(__file__).parents[1] / "specs" / "resend_emails.json"
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


class Fault(msgspec.Struct, frozen=True):
    """How one request is treated. `takes`: the message is taken all the same, only the answer suffers."""

    name: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    takes: bool = False
    then: str = "answer"  # or "hang", "close", "drip"
    delay: float = 0.0  # seconds, of an answer that is as it should be otherwise


def problem(status: int, name: str, message: str, **headers: str) -> Fault:
    """An error as Resend words it; `retry_after="2"` becomes the header `retry-after: 2`."""
    body = msgspec.json.encode({"statusCode": status, "name": name, "message": message})
    return Fault(name, status, tuple((key.replace("_", "-"), value) for key, value in headers.items()), body)


def rate_limited(seconds: int = 1) -> Fault:
    text = "Too many requests. You can only make 2 requests per second."
    return problem(429, "rate_limit_exceeded", text, retry_after=str(seconds))


HANG = Fault("hang", then="hang")
"""Nothing is taken and nothing answered; the connection stays open."""
RESET = Fault("reset", then="close")
"""Nothing is taken; the connection is closed without an answer."""
LOST = Fault("lost", takes=True, then="close")
"""The message is taken; the connection is closed without an answer."""
DRIP = Fault("drip", takes=True, then="drip")
"""The message is taken; the answer comes a byte at a time and never ends."""
SLOW = Fault("slow", takes=True, delay=0.7)
"""The message is taken and the answer is right; it takes its time."""
GARBAGE = Fault("garbage", body=b"<html>\xff\x00 everything is fine", takes=True)
EMPTY = Fault("empty", takes=True)

FAULTS = {fault.name: fault for fault in (HANG, RESET, LOST, DRIP, SLOW, GARBAGE, EMPTY)} | {
    "429": rate_limited(1),
    "500": problem(500, "application_error", "An unexpected error occurred."),
    "503": problem(503, "service_unavailable", "Try again later.", retry_after="1"),
}


class Arrival(msgspec.Struct):
    """One request. `email_id` is set if a message was taken under it, `new` if it was not there before.

    `marks` are what tests wrote into messages to find them by, such as mark-7, in whatever mail they come.
    """

    time: float
    key: str | None
    notification: str | None
    to: str
    subject: str | None = None
    fault: str | None = None
    status: int | None = None
    email_id: str | None = None
    new: bool = False
    marks: tuple[str, ...] = ()


class _Tag(msgspec.Struct):
    name: str
    value: str


class _Known(msgspec.Struct):
    """What the account needs of a request."""

    to: list[str] | str
    subject: str | None = None
    tags: list[_Tag] = []

    @property
    def notification(self) -> str | None:
        return next((tag.value for tag in self.tags if tag.name == "notification_id"), None)


class FakeResend:
    """`arrivals` are all requests in order, `emails` what was taken, by id; `violations` must stay empty.

    Not kept when `fast`: it then only counts, in `taken`.
    """

    def __init__(
        self,
        *,
        fast: bool = False,
        latency: float = 0.0,
        log: Path | None = None,
        faults: dict[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.arrivals: list[Arrival] = []
        self.emails: dict[str, dict[str, Any]] = {}
        self.bodies: list[bytes] = []
        self.violations: list[str] = []
        self.taken = 0
        self._fast = fast
        self._latency = latency
        self.set_faults(faults or {})
        self._luck = random.Random(seed)
        self._scripted: deque[Fault] = deque()
        self._keys: dict[str, tuple[bytes, str]] = {}
        self._in_flight: set[str] = set()
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if log else None
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self, port: int = 0) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def set_faults(self, faults: dict[str, float]) -> None:
        """Which share of the requests to treat how, from now on."""
        self._faults = [(FAULTS[name], share) for name, share in faults.items()]

    def script(self, *faults: Fault) -> None:
        """What to do with the next requests, one each."""
        self._scripted.extend(faults)

    def serve(self, connection: "_Connection", request: "_Request") -> None:
        if (request.method, request.path) == (b"PUT", b"/faults"):
            self.set_faults(msgspec.json.decode(request.body, type=dict[str, float]))
            connection.answer(Fault(""))
            return
        if (request.method, request.path) != (b"POST", b"/emails"):
            connection.answer(problem(404, "not_found", "The requested endpoint does not exist"))
            return
        arrival = request.arrival()
        fault = self._refusal(request) or self._next_fault()
        answer = fault if fault and not fault.takes else self._take(arrival, request.body) or _taken(arrival, fault)
        arrival.fault = answer.name or None
        arrival.status = answer.status if answer.then == "answer" else None
        if b"mark-" in request.body:
            arrival.marks = tuple({mark.decode() for mark in _MARK.findall(request.body)})
        self._write(arrival)
        self._answer(connection, answer, arrival)

    def _answer(self, connection: "_Connection", answer: Fault, arrival: Arrival) -> None:
        wait = self._latency + answer.delay
        if not wait:
            connection.answer(answer)
            return
        key = arrival.key if arrival.new else None
        if key:
            self._in_flight.add(key)
        asyncio.get_running_loop().call_later(wait, self._answer_late, connection, answer, key)

    def _answer_late(self, connection: "_Connection", answer: Fault, key: str | None) -> None:
        if key:
            self._in_flight.discard(key)
        connection.answer(answer)

    def _refusal(self, request: "_Request") -> Fault | None:
        if self._fast:
            return None
        self.bodies.append(request.body)
        given = request.headers.get(b"authorization", b"")
        if not given.startswith(b"Bearer re_"):
            return problem(401, "missing_api_key", "Missing API key in the authorization header.")
        if given.startswith(b"Bearer re_wrong"):
            return problem(403, "invalid_api_key", "API key is invalid")
        found = _violations(request)
        self.violations.extend(found)
        return problem(422, "validation_error", found[0]) if found else None

    def _next_fault(self) -> Fault | None:
        if self._scripted:
            return self._scripted.popleft()
        if not self._faults:
            return None
        chance = self._luck.random()
        for fault, share in self._faults:
            chance -= share
            if chance < 0:
                return fault
        return None

    def _take(self, arrival: Arrival, body: bytes) -> Fault | None:
        """Give it an id; a fault if its key forbids that."""
        key = arrival.key
        digest = b"" if key is None else hashlib.sha256(body).digest()
        if key in self._in_flight:
            text = "Same idempotency key used while original request is still in progress."
            return problem(409, "concurrent_idempotent_requests", text)
        known = self._keys.get(key) if key else None
        if known and known[0] != digest:
            text = "This idempotency key has been used on a request with a different payload."
            return problem(409, "invalid_idempotent_request", text)
        arrival.new = known is None
        arrival.email_id = known[1] if known else str(uuid4())
        if key:
            self._keys[key] = (digest, arrival.email_id)
        if arrival.new:
            self.taken += 1
            if not self._fast:
                self.emails[arrival.email_id] = json.loads(body)
        return None

    def _write(self, arrival: Arrival) -> None:
        if self._log is not None:
            os.write(self._log, msgspec.json.encode(arrival) + b"\n")
        if not self._fast:
            self.arrivals.append(arrival)


_known = msgspec.json.Decoder(_Known)
_MARK = re.compile(rb"mark-\d+")


class _Request:
    def __init__(self) -> None:
        self.method = self.path = self.body = b""
        self.headers: dict[bytes, bytes] = {}

    @property
    def key(self) -> str | None:
        return self.headers.get(b"idempotency-key", b"").decode("latin-1") or None

    def arrival(self) -> Arrival:
        try:
            known = _known.decode(self.body)
        except msgspec.DecodeError:
            known = _Known(to="")
        to = known.to if isinstance(known.to, str) else ",".join(known.to)
        return Arrival(time.time(), self.key, known.notification, to, known.subject)


def _taken(arrival: Arrival, fault: Fault | None) -> Fault:
    if fault and not fault.delay:
        return fault
    body = b'{"id":"%b"}' % (arrival.email_id or "").encode()
    return Fault(fault.name if fault else "", body=body, delay=fault.delay if fault else 0.0)


@cache
def _request_schema() -> jsonschema.Draft202012Validator:
    """Resend's own, and stricter in one thing: a property it does not name is a slip of ours."""
    spec = json.loads(SPEC.read_text())
    spec["$defs"]["SendEmailRequest"]["additionalProperties"] = False
    spec["$defs"]["Tag"] |= {"additionalProperties": False, "required": ["name", "value"]}
    return jsonschema.Draft202012Validator(spec["request"] | {"$defs": spec["$defs"]})


def _violations(request: _Request) -> list[str]:
    if request.headers.get(b"content-type") != b"application/json":
        return ["Content-Type must be application/json"]
    try:
        email = json.loads(request.body)
    except ValueError:
        return ["The body is not JSON"]
    found = [error.message for error in _request_schema().iter_errors(email)]
    if len(request.key or "") > 256:
        found.append("The idempotency key must be 1 to 256 characters")
    return found or [
        f"Tags take only ASCII letters, numbers, _ and -: {text}"
        for tag in email.get("tags", [])
        for text in tag.values()
        if not _TAG.fullmatch(text)
    ]


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, as clients without pipelining speak it."""

    def __init__(self, fake: FakeResend) -> None:
        self._fake = fake
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._drip: asyncio.TimerHandle | None = None
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._fake._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fake._connections.discard(self)
        if self._drip:
            self._drip.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_message_begin(self) -> None:
        self._request = _Request()

    def on_url(self, url: bytes) -> None:
        self._request.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._request.body += body

    def on_message_complete(self) -> None:
        self._request.method = self._parser.get_method()
        self._fake.serve(self, self._request)

    def answer(self, fault: Fault) -> None:
        if self._transport.is_closing():
            return
        match fault.then:
            case "answer":
                self._transport.write(_http(fault))
            case "close":
                self.abort()
            case "drip":
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                self._drip_on()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()

    def _drip_on(self) -> None:
        self._transport.write(b" ")
        self._drip = asyncio.get_running_loop().call_later(0.02, self._drip_on)


def _http(fault: Fault) -> bytes:
    extra = b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in fault.headers)
    head = b"HTTP/1.1 %d \r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (fault.status, extra, len(fault.body)) + fault.body


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.resend", description="A local stand-in for Resend.")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--log", type=Path, help="append one JSON line per arrival to this file")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--fast", action="store_true", help="check nothing, keep nothing but the keys")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    shares = dict(fault.split("=", 1) for fault in arguments.fault)
    fake = FakeResend(
        fast=arguments.fast,
        latency=arguments.latency_ms / 1000,
        log=arguments.log,
        faults={name: float(share) for name, share in shares.items()},
        seed=arguments.seed,
    )
    await fake.start(arguments.port)
    sys.stdout.write(fake.url + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await fake.stop()


if __name__ == "__main__":
    uvloop.run(_serve(_arguments()))
