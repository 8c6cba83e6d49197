"""The sender of webhooks among people who wish it ill: where it never connects, and what it never waits for."""

import asyncio
import ssl
import threading
import time
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from adapters.http_client import NotSent, exchange, http_client
from adapters.webhook.guard import BlockedAddressError, guarded_socket, look_up
from adapters.webhook.sender import HttpWebhookSender
from adapters.webhook.signing import new_secret
from application.ports.webhooks import WebhookRequest
from domain.endpoint import is_public
from domain.outcomes import Accepted, Outcome, Retryable
from domain.vocabulary import Reason
from tests.fakes.receiver import FakeReceiver
from tests.hostile_addresses import BLOCKED, EVERYWHERE, NEVER, SPELLINGS_OF_LOOPBACK

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
DEADLINE = timedelta(seconds=0.5)
SECRETS = (new_secret(bytes(32)),)


@asynccontextmanager
async def sending(**options: Any) -> AsyncIterator[Callable[..., Awaitable[Outcome]]]:
    sender = HttpWebhookSender(**{"in_house": LOOPBACK, "deadline": DEADLINE} | options)

    async def send(url: str) -> Outcome:
        request = WebhookRequest(id="evt_1", url=url, headers={}, body=b"{}", secrets=SECRETS)
        return (await sender.send(request, datetime.now(UTC))).outcome

    try:
        yield send
    finally:
        await sender.close()


@pytest.fixture
async def receiver() -> AsyncIterator[FakeReceiver]:
    async with FakeReceiver() as receiver:
        yield receiver


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that anything tries to connect to, whether or not somebody is there."""
    addresses: list[Any] = []

    async def refuse(_loop: Any, _socket: Any, address: Any) -> None:
        addresses.append(address)
        raise ConnectionRefusedError("the test dials nobody")

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", refuse)
    return addresses


def answers(*addresses: str) -> Callable[[str, int], list[str]]:
    """A DNS that knows one answer to everything."""
    return lambda host, port: list(addresses)


def is_blocked(outcome: Outcome) -> bool:
    return isinstance(outcome, Retryable) and outcome.reason is Reason.ADDRESS_BLOCKED


# Where it never connects


async def test_no_name_leads_to_a_private_or_special_address(dialled: list[Any]) -> None:
    dns: dict[str, list[str]] = {}
    async with sending(in_house=[], lookup=lambda host, port: dns[host]) as send:
        for n, address in enumerate(BLOCKED):
            dns[f"{n}.example.com"] = [address]
            assert is_blocked(await send(f"https://{n}.example.com/")), address
    assert dialled == []


async def test_with_every_network_in_house_the_metadata_of_a_cloud_is_not_dialled(dialled: list[Any]) -> None:
    dns: dict[str, list[str]] = {}
    async with sending(in_house=EVERYWHERE, lookup=lambda host, port: dns[host]) as send:
        for n, address in enumerate(NEVER):
            dns[f"{n}.example.com"] = [address]
            for scheme in ("http", "https"):
                assert is_blocked(await send(f"{scheme}://{n}.example.com:8080/")), address
    assert dialled == []


async def test_one_wrong_address_among_others_is_enough(dialled: list[Any]) -> None:
    for addresses in (["1.1.1.1", "10.0.0.1"], ["2606:4700::1111", "8.8.8.8", "::ffff:127.0.0.1"]):
        async with sending(in_house=[], lookup=answers(*addresses)) as send:
            assert is_blocked(await send("https://hooks.example.com/"))
    assert dialled == []


async def test_an_address_of_the_internet_is_dialled(dialled: list[Any]) -> None:
    async with sending(in_house=[], lookup=answers("1.1.1.1")) as send:
        for url in ("https://hooks.example.com/", "https://8.8.8.8/", "https://[2606:4700::1111]/"):
            outcome = await send(url)
            assert isinstance(outcome, Retryable)
            assert outcome.reason is Reason.CONNECTION_FAILED
    assert [address[0] for address in dialled] == ["1.1.1.1", "8.8.8.8", "2606:4700::1111"]


async def test_a_name_that_changes_its_mind_is_looked_at_each_time(dialled: list[Any]) -> None:
    minds = iter([["1.1.1.1"], ["127.0.0.1"], ["1.1.1.1"]])
    async with sending(in_house=[], lookup=lambda host, port: next(minds)) as send:
        blocked = [is_blocked(await send("https://hooks.example.com/")) for _ in range(3)]
    assert blocked == [False, True, False]
    assert [address[0] for address in dialled] == ["1.1.1.1", "1.1.1.1"]


class _GullibleResolver:
    """Looks at nothing: what the DNS answered between the look and the call, for instance."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        return [{"hostname": host, "host": self._address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


async def _dial(url: str, **options: Any) -> Any:
    client = http_client(socket_factory=guarded_socket(is_public), **options)
    try:
        return await exchange(client, "POST", url, content=b"{}", headers={}, deadline=timedelta(seconds=5))
    finally:
        await client.aclose()


async def test_the_address_that_is_really_dialled_is_looked_at_whatever_the_dns_said(receiver: FakeReceiver) -> None:
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::1"):
        came = await _dial(receiver.url(host="hooks.example.com"), resolver=_GullibleResolver(address))
        assert isinstance(came, NotSent)
        assert isinstance(came.error, BlockedAddressError)
    assert receiver.connections == 0


async def test_no_spelling_of_loopback_is_dialled_even_if_nobody_looked_at_the_url(receiver: FakeReceiver) -> None:
    async with sending(in_house=[], lookup=look_up) as send:
        for host in [*SPELLINGS_OF_LOOPBACK, "127.0.0.1", "[::1]", "[::ffff:7f00:1]", "0.0.0.0", "localhost."]:
            assert isinstance(await _dial(receiver.url(host=host)), NotSent), host
            assert is_blocked(await send(receiver.url(host=host).replace("http:", "https:"))), host
    assert receiver.connections == 0


async def test_a_redirect_leads_nowhere(receiver: FakeReceiver) -> None:
    async with sending() as send:
        for path in ("redirect", "metadata"):
            assert isinstance(await send(receiver.url(path)), Retryable)
    assert [arrival.path for arrival in receiver.arrivals] == ["/redirect", "/metadata"]


async def test_proxies_of_the_environment_are_not_used(receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, receiver.url(""))
        monkeypatch.setenv(name.lower(), receiver.url(""))
    async with FakeReceiver() as other, sending(lookup=answers("127.0.0.1")) as send:
        assert await send(other.url(host="hooks.example.com")) == Accepted(None)
        assert isinstance(await send(other.url(host="hooks.example.com").replace("http:", "https:")), Retryable)
    assert receiver.connections == 0


async def test_only_networks_that_were_allowed_are_in_house(receiver: FakeReceiver) -> None:
    async with sending(in_house=[ip_network("10.0.0.0/8")], lookup=answers("127.0.0.1")) as send:
        assert is_blocked(await send(receiver.url(host="receiver")))
        assert is_blocked(await send(receiver.url()))
    assert receiver.connections == 0


async def test_without_tls_a_name_must_lead_into_the_house(dialled: list[Any]) -> None:
    async with sending(lookup=answers("1.1.1.1")) as send:
        assert is_blocked(await send("http://hooks.example.com/"))
    assert dialled == []


async def test_a_connection_is_used_again_for_the_same_host_only(receiver: FakeReceiver) -> None:
    async with sending(lookup=answers("127.0.0.1")) as send:
        for host in ("a.example.com", "a.example.com", "b.example.com"):
            assert await send(receiver.url(host=host)) == Accepted(None)
    assert [arrival.connection for arrival in receiver.arrivals] == [1, 1, 2]


async def test_an_open_connection_is_no_way_around_the_guard(receiver: FakeReceiver) -> None:
    def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "a.example.com" else ["10.0.0.1"]

    async with sending(lookup=lookup) as send:
        assert await send(receiver.url(host="a.example.com")) == Accepted(None)
        assert is_blocked(await send(receiver.url(host="b.example.com")))
    assert receiver.connections == 1


# Names


async def test_a_name_without_an_address_is_a_lost_connection() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    for lookup in (unknown, answers()):
        async with sending(lookup=lookup) as send:
            outcome = await send("https://hooks.example.com/")
            assert isinstance(outcome, Retryable)
            assert outcome.reason is Reason.CONNECTION_FAILED


class HangingDns:
    """Knows all names but those that begin with `hangs`, which it ponders until it is left."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._over = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host.startswith("hangs"):
            self._over.wait()
        return ["127.0.0.1"]

    def __enter__(self) -> "HangingDns":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither names nor idle connections are waited for."""
    monkeypatch.setattr("adapters.webhook.sender._CONNECT", timedelta(seconds=0.1))
    monkeypatch.setattr("adapters.webhook.sender._IDLE", timedelta(0))


@pytest.mark.usefixtures("impatient")
async def test_a_name_that_the_dns_is_silent_about_is_a_timeout() -> None:
    with HangingDns() as dns:
        async with sending(lookup=dns, deadline=timedelta(minutes=1)) as send:
            outcome = await send("https://hangs.example.com/")
    assert outcome == Retryable(Reason.TIMEOUT, timedelta(minutes=1), ANY)


@pytest.mark.usefixtures("impatient")
async def test_a_name_that_hangs_is_asked_for_once_and_leaves_threads_to_new_ones(receiver: FakeReceiver) -> None:
    with HangingDns() as dns:
        async with sending(lookup=dns, connections=1, deadline=timedelta(minutes=1)) as send:
            for _ in range(4):
                await send("https://hangs.example.com/")
            assert await send(receiver.url(host="new.example.com")) == Accepted(None)
    assert dns.asked == ["hangs.example.com", "new.example.com"]


@pytest.mark.usefixtures("impatient")
async def test_names_that_are_known_have_threads_that_no_name_that_hangs_can_take(receiver: FakeReceiver) -> None:
    with HangingDns() as dns:
        async with sending(lookup=dns, connections=1, deadline=timedelta(minutes=1)) as send:
            assert await send(receiver.url(host="known.example.com")) == Accepted(None)
            for n in range(4):
                await send(f"https://hangs-{n}.example.com/")
            assert await send(receiver.url(host="known.example.com")) == Accepted(None)
    assert dns.asked.count("known.example.com") == 2


async def test_names_that_hang_hold_up_nobody_else(receiver: FakeReceiver) -> None:
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def lookup(host: str, port: int) -> list[str]:
        if host.startswith("hangs"):
            asyncio.run_coroutine_threadsafe(held.wait(), loop).result()
        return ["127.0.0.1"]

    async with sending(lookup=lookup, connections=5) as send:
        try:
            hanging = [send(f"https://hangs-{n}.example.com/") for n in range(4)]
            outcomes = await asyncio.gather(*hanging, send(receiver.url(host="works.example.com")))
            assert outcomes[-1] == Accepted(None)
            assert {outcome.reason for outcome in outcomes[:-1]} == {Reason.TIMEOUT}
        finally:
            held.set()


# Those who answer too slowly, too much, or for ever


SLOW_OR_ENDLESS = ["endless", "chunked", "bomb", "headless", "continue", "drip", "dripping-head", "hang"]


@pytest.mark.parametrize("path", SLOW_OR_ENDLESS)
async def test_the_slot_is_free_at_the_deadline_and_memory_does_not_grow(receiver: FakeReceiver, path: str) -> None:
    async with sending(connections=10) as send, most_memory() as grown:
        began = time.monotonic()
        await asyncio.gather(*(send(receiver.url(path)) for _ in range(10)))
        assert time.monotonic() - began < 4 * DEADLINE.total_seconds()
        assert await send(receiver.url("ok")) == Accepted(None)
        await until(lambda: len(receiver.open) <= 1)
    assert grown() < 20_000_000


@asynccontextmanager
async def most_memory() -> AsyncIterator[Callable[[], int]]:
    """By how much the process was ever larger than at the start."""
    process = psutil.Process()
    start = most = process.memory_info().rss

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    try:
        yield lambda: most - start
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what it waits for happens in a server
            await asyncio.sleep(0.01)


async def test_a_2xx_counts_however_the_rest_of_the_answer_goes_on(receiver: FakeReceiver) -> None:
    async with sending() as send:
        for path in ("endless", "chunked", "bomb", "drip"):
            assert await send(receiver.url(path)) == Accepted(None)


async def test_a_body_that_drips_keeps_the_place_for_half_a_second_only(receiver: FakeReceiver) -> None:
    async with sending(deadline=timedelta(seconds=60)) as send:
        began = time.monotonic()
        assert await send(receiver.url("drip")) == Accepted(None)
        assert time.monotonic() - began < 30


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of hooks.example.com, which nobody but itself vouches for."""
    return _certificate(tmp_path_factory.mktemp("tls"), "hooks.example.com")


@pytest.fixture
async def secure_receiver(certificate: Path) -> AsyncIterator[FakeReceiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with FakeReceiver(tls=context) as receiver:
        yield receiver


async def test_a_certificate_that_is_trusted_and_for_this_name_is_accepted(
    secure_receiver: FakeReceiver, certificate: Path
) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with sending(lookup=answers("127.0.0.1"), tls=trusting) as send:
        assert await send(secure_receiver.url(host="hooks.example.com")) == Accepted(None)
        assert _failed_at_tls(await send(secure_receiver.url(host="other.example.com")))
    (arrival,) = secure_receiver.arrivals
    assert arrival.headers["host"] == f"hooks.example.com:{secure_receiver.port}"


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure_receiver: FakeReceiver) -> None:
    async with sending(lookup=answers("127.0.0.1")) as send:
        assert _failed_at_tls(await send(secure_receiver.url(host="hooks.example.com")))
    assert secure_receiver.arrivals == []


async def test_who_speaks_no_tls_is_told_nothing() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as plain, sending() as send:
        assert _failed_at_tls(await send(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/hook"))
    assert not any(b"/hook" in each for each in heard)


def _failed_at_tls(outcome: Outcome) -> bool:
    return isinstance(outcome, Retryable) and outcome.reason is Reason.TLS_FAILED and _is_silent(outcome.detail)


def _is_silent(detail: str) -> bool:
    return bool(detail) and not any(named in detail for named in ("example", "127.0.0.1"))


def _certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return file
