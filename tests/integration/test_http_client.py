"""The outgoing HTTP client against servers that do what servers on the internet do."""

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.http_client import Answer, Exchange, NoAnswer, NotSent, exchange, http_client, retry_after

DEADLINE = timedelta(seconds=0.4)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """Talks to each that connects, then closes the connection."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    finally:
        listening.close()
        for one in talks:
            one.cancel()
        await asyncio.gather(*talks)


def says(reply: bytes, *, then_hang: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        if then_hang:
            await reader.read()

    return talk


def drips(head: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    return talk


async def ask(url: str, *, content: bytes = b"", cap: int = 1000, connections: int = 2) -> Exchange:
    client = http_client(connections=connections)
    try:
        return await exchange(client, "POST", url, content=content, headers={}, deadline=DEADLINE, cap=cap)
    finally:
        await client.aclose()


async def answer_to(talk: Talk, *, content: bytes = b"", cap: int = 1000) -> Exchange:
    async with server(talk) as url:
        began = time.monotonic()
        came = await ask(url, content=content, cap=cap)
        assert time.monotonic() - began < 4 * DEADLINE.total_seconds()
        return came


async def test_an_answer_has_status_headers_and_body():
    came = await answer_to(says(b"HTTP/1.1 201 Created\r\nX-A: b\r\ncontent-length: 2\r\n\r\nok"))
    assert isinstance(came, Answer)
    assert (came.status, came.headers["x-a"], came.body, came.complete) == (201, "b", b"ok", True)


async def test_a_body_is_cut_at_the_cap():
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    came = await answer_to(endless, cap=100)
    assert came == Answer(200, httpx.Headers(), b"x" * 100, complete=False)


@pytest.mark.parametrize(("size", "complete"), [(99, True), (100, True), (101, False)])
async def test_the_cap_itself_is_not_too_much(size: int, complete: bool):
    came = await answer_to(says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size), cap=100)
    assert isinstance(came, Answer)
    assert (len(came.body), came.complete, came.timed_out) == (min(size, 100), complete, False)


async def test_a_dripping_body_is_cut_at_the_deadline():
    came = await answer_to(drips(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"))
    assert isinstance(came, Answer)
    assert (came.status, came.complete, came.timed_out) == (200, False, True)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX-A: "])
async def test_a_dripping_head_is_no_answer(head: bytes):
    assert await answer_to(drips(head)) == NoAnswer(True, "no answer within 0.4 s")


async def test_a_body_that_breaks_off_is_not_complete():
    came = await answer_to(says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"))
    assert isinstance(came, Answer)
    assert (came.body, came.complete, came.timed_out) == (b"abc", False, False)


async def test_interim_answers_may_be_some():
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 10
    came = await answer_to(says(interim + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
    assert isinstance(came, Answer)
    assert (came.status, came.body) == (200, b"ok")


async def test_interim_answers_without_end_are_no_answer_long_before_the_deadline():
    async with server(says(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, then_hang=True)) as url:
        client = http_client()
        began = time.monotonic()
        came = await exchange(client, "POST", url, headers={}, deadline=timedelta(seconds=60))
        await client.aclose()
    assert time.monotonic() - began < 30
    assert isinstance(came, NoAnswer)
    assert not came.timed_out


async def test_a_server_that_accepts_and_says_nothing_is_given_up_before_the_deadline():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as url:
        client = http_client(connect_within=timedelta(seconds=0.2))
        secure = url.replace("http:", "https:")
        came = await exchange(client, "POST", secure, headers={}, deadline=timedelta(seconds=60))
        await client.aclose()
    assert came == NotSent(True, "no connection in time")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x00\xff" * 50,
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\x00A: b\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_no_answer(reply: bytes):
    came = await answer_to(says(reply))
    assert isinstance(came, NoAnswer)
    assert not came.timed_out
    assert came.detail


async def test_a_reason_phrase_may_be_any_bytes():
    came = await answer_to(says(b"HTTP/1.1 200 \xff\xfe\xe4\r\ncontent-length: 0\r\n\r\n"))
    assert isinstance(came, Answer)
    assert (came.status, came.complete) == (200, True)


async def test_a_redirect_is_an_answer_and_not_followed():
    came = await answer_to(says(b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"))
    assert isinstance(came, Answer)
    assert came.status == 307


async def test_nothing_is_decompressed_and_nothing_compressed_is_asked_for():
    bomb = gzip.compress(b"\0" * 1_000_000)
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb)

    came = await answer_to(talk, cap=10_000)
    assert isinstance(came, Answer)
    assert came.body == bomb
    assert b"accept-encoding: identity\r\n" in heads[0].lower()


async def test_an_early_answer_to_a_request_that_nobody_reads_is_an_answer():
    came = await answer_to(
        says(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig", then_hang=True), content=b"x" * 2**20
    )
    assert isinstance(came, Answer)
    assert came.status == 413


async def test_cookies_are_not_kept():
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n")

    client = http_client()
    async with server(talk) as url:
        for _ in range(2):
            await exchange(client, "POST", url.replace("127.0.0.1", "localhost"), headers={}, deadline=DEADLINE)
        await client.aclose()
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No\r\n\r\n")

    assert isinstance(await answer_to(talk), Answer)
    assert b"authorization" not in heads[0].lower()


async def test_connections_are_used_again():
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    client = http_client()
    async with server(talk) as url:
        for _ in range(5):
            await exchange(client, "POST", url, headers={}, deadline=DEADLINE)
        await client.aclose()
    assert count == 1


# What was certainly not sent


async def test_nobody_listening_means_not_sent():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    came = await ask(f"http://127.0.0.1:{port}/")
    assert isinstance(came, NotSent)
    assert (came.timed_out, came.detail) == (False, "Connection refused")  # by whom is not for everybody to know


async def test_what_is_no_http_is_told_without_the_url():
    async with server(says(b"nonsense\r\n\r\n")) as url:
        came = await ask(f"{url}path?token=s3cret")
    assert isinstance(came, NoAnswer)
    assert came.detail
    assert "127.0.0.1" not in came.detail
    assert "s3cret" not in came.detail


async def test_a_listener_that_never_accepts_means_not_sent():
    """A TLS handshake that is never answered: connected, and nothing of the request on its way."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as url:
        assert await ask(url.replace("http:", "https:")) == NotSent(True, "no answer within 0.4 s")


async def test_a_failed_tls_handshake_means_not_sent():
    async with server(says(b"HTTP/1.1 400 plain HTTP here\r\n\r\n")) as url:
        came = await ask(url.replace("http:", "https:"))
    assert isinstance(came, NotSent)


async def test_waiting_for_a_connection_to_get_free_means_not_sent():
    async with server(says(b"", then_hang=True)) as url:
        client = http_client(connections=1)
        first = asyncio.create_task(exchange(client, "POST", url, headers={}, deadline=3 * DEADLINE))
        await asyncio.sleep(0)
        second = await exchange(client, "POST", url, headers={}, deadline=DEADLINE)
        assert second == NotSent(True, "no answer within 0.4 s")
        assert await first == NoAnswer(True, "no answer within 1.2 s")
        await client.aclose()


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/", "http://", "nonsense", "http://[::1", "http://127.0.0.1:99999/", f"http://{'a' * 70}.x/"],
)
async def test_an_address_that_is_none_means_not_sent(url: str):
    came = await ask(url)
    assert isinstance(came, NotSent)
    assert came.detail
    assert url not in came.detail


@pytest.mark.parametrize("header", [("X-A", "b\r\nX-C: d"), ("X-A\n", "b"), ("X-A", "b\0"), ("X-A", "ü"), ("Ü", "b")])
@pytest.mark.parametrize("content", [b"", b"body"])
async def test_a_header_that_cannot_be_one_line_of_ascii_means_not_sent(header: tuple[str, str], content: bytes):
    client = http_client()
    async with server(says(b"HTTP/1.1 204 No\r\n\r\n")) as url:
        came = await exchange(client, "POST", url, content=content, headers=dict([header]), deadline=DEADLINE)
        await client.aclose()
    assert isinstance(came, NotSent)
    assert came.detail


async def test_a_socket_factory_sees_the_address_dialled_and_may_refuse():
    seen = []

    def refuse(address):
        seen.append(address[4][0])
        raise OSError("not there")

    client = http_client(socket_factory=refuse)
    came = await exchange(client, "POST", "http://127.0.0.1:9/", headers={}, deadline=DEADLINE)
    await client.aclose()
    assert isinstance(came, NotSent)
    assert seen == ["127.0.0.1"]


async def test_cancellation_passes_through():
    async with server(says(b"", then_hang=True)) as url:
        client = http_client()
        asking = asyncio.create_task(exchange(client, "POST", url, headers={}, deadline=timedelta(seconds=9)))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await client.aclose()


def test_a_client_made_outside_a_loop_works_inside_one():
    client = http_client(tls=ssl.create_default_context())

    async def once() -> Exchange:
        async with server(says(b"HTTP/1.1 204 No\r\n\r\n")) as url:
            came = await exchange(client, "POST", url, headers={}, deadline=DEADLINE)
        await client.aclose()
        return came

    came = asyncio.run(once())
    assert isinstance(came, Answer)


# Retry-After

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(minutes=2)),
        (" 7 ", timedelta(seconds=7)),
        ("999999999999999999999", timedelta(days=1)),
        ("Sun, 01 Mar 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 01 Mar 2026 12:00:30 -0000", timedelta(seconds=30)),
        ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta(0)),
        ("Sun, 01 Mar 2099 11:00:00 GMT", timedelta(days=1)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, wait: timedelta | None):
    assert retry_after(httpx.Headers([(b"retry-after", value.encode())]), NOW) == wait


def test_no_retry_after_asks_for_nothing():
    assert retry_after(httpx.Headers(), NOW) is None


@patient
@given(
    st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,12} [A-Z][a-z]{2} \d{1,12} \d+:\d+:\d+ [+-]?\w+", fullmatch=True)
)
def test_no_retry_after_is_ever_worse_than_useless(value: str):
    wait = retry_after(httpx.Headers([(b"retry-after", value.encode())]), NOW)
    assert wait is None or timedelta(0) <= wait <= timedelta(days=1)
