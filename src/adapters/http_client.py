"""The one place where outgoing HTTP clients are made, and the one way to ask them.

The httpx API on aiohttp's connections: httpx's own pool is slow under concurrency. Nothing comes from the environment
(no proxy, no .netrc), nothing is decompressed (194 kB of gzip can hold 200 MB), no redirect followed, no cookie kept.
"""

import asyncio
import ssl
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace

import aiohttp
import httpx
import msgspec
from httpx_aiohttp import AiohttpTransport

from adapters.remarks import remark

_LONGEST_WAIT = timedelta(days=1)


class Answer(msgspec.Struct, frozen=True):
    """The other side answered: `body` as it was sent, never decompressed.

    Not `complete` when it was cut: at the cap, at the deadline (`timed_out`), or because the connection broke.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    complete: bool = True
    timed_out: bool = False


class NotSent(msgspec.Struct, frozen=True):
    """Certainly no byte of the request left: it failed, or took too long, before that."""

    timed_out: bool
    detail: str


class NoAnswer(msgspec.Struct, frozen=True):
    """The request may have arrived, all of it or some, and no answer was understood."""

    timed_out: bool
    detail: str


Exchange = Answer | NotSent | NoAnswer


def http_client(
    *,
    connections: int = 100,
    socket_factory: aiohttp.SocketFactoryType | None = None,
    tls: ssl.SSLContext | None = None,
) -> httpx.AsyncClient:
    """A client of at most `connections` connections at a time; close it with `aclose()`.

    `socket_factory` is asked for every socket with the address that will really be dialled, literals included, and
    may refuse by raising OSError. `tls` replaces the trust in public certificate authorities.
    """
    context = tls or httpx.create_ssl_context(trust_env=False)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=connections, ssl=context, socket_factory=socket_factory, use_dns_cache=socket_factory is None
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_Response,
            trace_configs=[_tracing()],
        )

    return httpx.AsyncClient(
        transport=AiohttpTransport(client=session, verify=context, trust_env=False),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - theirs is per read, so a dripping answer outlasts it; see exchange()
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"accept-encoding": "identity", "user-agent": "Carillon"},
    )


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str | httpx.URL,
    *,
    content: bytes = b"",
    headers: dict[str, str],
    deadline: timedelta,
    cap: int = 64 * 1024,
) -> Exchange:
    """Send one request and read at most `cap` bytes of the answer, all within `deadline`.

    Waiting for a free connection counts. A failure is a value; only cancellation passes through.
    """
    progress = _Progress()
    token = _progress.set(progress)
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            await _converse(client, client.build_request(method, url, content=content, headers=headers), progress, cap)
    except TimeoutError:
        return progress.ended(timed_out=True, detail=f"no answer within {deadline.total_seconds():g} s")
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
        return progress.ended(timed_out=False, detail=remark(str(error) or type(error).__name__))
    finally:
        _progress.reset(token)
    return progress.ended(timed_out=False, detail="")


def retry_after(headers: httpx.Headers, now: datetime) -> timedelta | None:
    """The wait that `Retry-After` asks for, as seconds or as a date (RFC 9110, 10.2.3); never more than a day."""
    value = headers.get("retry-after", "").strip()
    return whole_seconds(value) if value.isdecimal() else _until(value, now)


def whole_seconds(value: str) -> timedelta | None:
    """A header's whole number of seconds, never more than a day; None if it is not one."""
    if not (value.isascii() and value.isdecimal()):
        return None
    return min(timedelta(seconds=int(value[:9])), _LONGEST_WAIT)


def _until(value: str, now: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value)
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), _LONGEST_WAIT)


async def _converse(client: httpx.AsyncClient, request: httpx.Request, progress: "_Progress", cap: int) -> None:
    response = await client.send(request, stream=True)
    progress.answered(response)
    try:
        async for chunk in response.aiter_raw():
            if not progress.read(chunk, cap):
                return
        progress.complete = True
    finally:
        await response.aclose()


class _Progress:
    """How far an exchange has come, which is all that tells what its failure means."""

    def __init__(self) -> None:
        self.sent = False
        self.complete = False
        self._response: httpx.Response | None = None
        self._body = bytearray()

    def answered(self, response: httpx.Response) -> None:
        self._response = response

    def read(self, chunk: bytes, cap: int) -> bool:
        """Keep what fits; False once there is more than that."""
        room = cap - len(self._body)
        self._body += chunk[:room]
        return len(chunk) <= room

    def ended(self, *, timed_out: bool, detail: str) -> Exchange:
        if (response := self._response) is not None:
            cut = timed_out and not self.complete
            return Answer(response.status_code, response.headers, bytes(self._body), self.complete, cut)
        return NoAnswer(timed_out, detail) if self.sent else NotSent(timed_out, detail)


_progress: ContextVar[_Progress | None] = ContextVar("progress", default=None)


def _tracing() -> aiohttp.TraceConfig:
    """aiohttp tells us right before it writes a request; httpx calls everything before and after `ConnectTimeout`."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(_note_sending)
    return tracing


async def _note_sending(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    if progress := _progress.get():
        progress.sent = True


class _Response(aiohttp.ClientResponse):
    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Forget the reason phrase: bytes in it that are no UTF-8 make httpx-aiohttp fail after the answer came."""
        await super().start(connection)
        self.reason = None
        return self
