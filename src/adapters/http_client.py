"""The one place where outgoing HTTP clients are made, and the one way to ask them.

aiohttp's session, and of httpx only the headers: its client costs three times the request itself. Nothing comes from
the environment (no proxy, no .netrc), nothing is decompressed (194 kB of gzip can hold 200 MB), no redirect followed,
no cookie kept.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any

import aiohttp
import httpx
import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from adapters.remarks import failure, remark

_LONGEST_WAIT = timedelta(days=1)
_MOST_INTERIM = 10
_SLICE = 4096  # bytes; the heads in so many are all in memory at once


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
    """Certainly no byte of the request left: it failed, or took too long, before that.

    `error` is what the operating system, the TLS library or whoever made the socket said, if one of them did.
    """

    timed_out: bool
    detail: str
    error: OSError | None = None


class NoAnswer(msgspec.Struct, frozen=True):
    """The request may have arrived, all of it or some, and no answer was understood."""

    timed_out: bool
    detail: str


Exchange = Answer | NotSent | NoAnswer


class HttpClient:
    """Opens its session in the loop that first asks for it; close it with `aclose()`."""

    def __init__(self, open_session: Callable[[], aiohttp.ClientSession]) -> None:
        self._open_session = open_session

    @cached_property
    def session(self) -> aiohttp.ClientSession:
        return self._open_session()

    async def aclose(self) -> None:
        await self.session.close()


def http_client(
    *,
    connections: int = 100,
    socket_factory: aiohttp.SocketFactoryType | None = None,
    resolver: AbstractResolver | None = None,
    connect_within: timedelta | None = None,
    idle: timedelta = timedelta(seconds=15),
    tls: ssl.SSLContext | None = None,
) -> HttpClient:
    """A client of at most `connections` connections at a time, each closed when it was not used for `idle`.

    `socket_factory` is asked for every socket with the address that will really be dialled, literals included, and
    may refuse by raising OSError, as `resolver` may for names. `connect_within` is for one address, TLS included.
    `tls` replaces the trust in public certificate authorities.
    """

    def connector() -> aiohttp.TCPConnector:
        return _Connector(
            limit=connections,
            ssl=tls or httpx.create_ssl_context(trust_env=False),
            socket_factory=socket_factory,
            resolver=resolver,
            use_dns_cache=socket_factory is None,
            keepalive_timeout=idle.total_seconds(),
        )

    return HttpClient(partial(_session, connector, connect_within))


async def exchange(
    client: HttpClient,
    method: str,
    url: str,
    *,
    content: bytes = b"",
    headers: dict[str, str],
    deadline: timedelta,
    cap: int = 64 * 1024,
    body_within: timedelta | None = None,
) -> Exchange:
    """Send one request and read at most `cap` bytes of the answer, all within `deadline`.

    The body is read for no longer than `body_within`, if that is given. Waiting for a free connection counts. A failure
    is a value; only cancellation passes through.
    """
    progress = _Progress()
    token = _progress.set(progress)
    try:
        "".join([*headers, *headers.values()]).encode("ascii")  # aiohttp would write anything, as UTF-8
        async with (
            asyncio.timeout(deadline.total_seconds()),
            client.session.request(
                method, url, data=content or None, headers=headers, allow_redirects=False
            ) as response,
        ):
            await progress.read(response, cap, body_within)
    except aiohttp.ConnectionTimeoutError:
        return progress.ended(timed_out=True, detail="no connection in time")
    except TimeoutError:
        return progress.ended(timed_out=True, detail=f"no answer within {deadline.total_seconds():g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return progress.ended(timed_out=False, detail=_words(error), error=_cause(error))
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


def _words(error: Exception) -> str:
    """Why, without the URL: the library's own words for most errors have it."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "the URL cannot be called"
        case aiohttp.ClientResponseError(message=said):
            return remark(said) or "no HTTP"
    return failure(_cause(error) or error)


def _cause(error: Exception) -> OSError | None:
    """What aiohttp has wrapped into an error of its own."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    return error if isinstance(error, OSError) else None


class _Progress:
    """How far an exchange has come, which is all that tells what its failure means."""

    def __init__(self) -> None:
        self.sent = False
        self._complete = False
        self._response: aiohttp.ClientResponse | None = None
        self._body = bytearray()

    async def read(self, response: aiohttp.ClientResponse, cap: int, within: timedelta | None) -> None:
        """Keep what fits and comes in time; not complete once there is more than that."""
        self._response = response
        try:
            async with asyncio.timeout(within.total_seconds() if within else None):
                async for chunk in response.content.iter_any():
                    room = cap - len(self._body)
                    self._body += chunk[:room]
                    if len(chunk) > room:
                        return
        except TimeoutError:
            return
        self._complete = True

    def ended(self, *, timed_out: bool, detail: str, error: OSError | None = None) -> Exchange:
        if (response := self._response) is not None:
            headers = httpx.Headers(response.raw_headers)
            cut = timed_out and not self._complete
            return Answer(response.status, headers, bytes(self._body), self._complete, cut)
        return NoAnswer(timed_out, detail) if self.sent else NotSent(timed_out, detail, error)


_progress: ContextVar[_Progress] = ContextVar("progress")


class _Request(aiohttp.ClientRequest):
    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Note that bytes may leave from here on; aiohttp's own tracing tells it too, for a quarter more CPU."""
        progress = _progress.get()
        progress.sent = True
        try:
            return await super().send(conn)
        except ValueError:  # of a header that could end early; they are checked before the first byte
            progress.sent = False
            raise


class _Handler(ResponseHandler):
    """Hangs up on whoever sends interim answers (1xx) without end: no deadline bounds what they cost until then."""

    _heads = 0

    def data_received(self, data: bytes) -> None:
        while len(data) > _SLICE and self._payload in (None, EMPTY_PAYLOAD):
            super().data_received(data[:_SLICE])
            data = data[_SLICE:] if self.transport else b""
        super().data_received(data)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        self._heads = self._heads + 1 if 100 <= data[0].code < 200 else 0
        if self._heads <= _MOST_INTERIM:
            super().feed_data(data, size)
        else:
            self.abort()


class _Connector(aiohttp.TCPConnector):
    """aiohttp has no public way to say who reads what arrives."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(self._handler)

    def _handler(self) -> ResponseHandler:
        return _Handler(self._loop)


def _session(connector: Callable[[], aiohttp.TCPConnector], connect_within: timedelta | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector(),
        request_class=_Request,
        headers={"accept-encoding": "identity", "user-agent": "Carillon"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        # theirs for the whole gives up at another time than exchange(), and in other words
        timeout=aiohttp.ClientTimeout(sock_connect=connect_within.total_seconds() if connect_within else None),
        trust_env=False,
    )
