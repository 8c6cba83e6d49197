"""What every sender of webhooks promises; the one over HTTP against a receiver that behaves as receivers do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import standardwebhooks

from adapters.http_client import Answer, Exchange, NoAnswer
from adapters.memory.webhooks import MemoryWebhookSender
from adapters.webhook.sender import HttpWebhookSender
from adapters.webhook.signing import new_secret
from application.ports.webhooks import WebhookCall, WebhookRequest, WebhookSender
from domain.outcomes import Accepted, Outcome, Refused, Retryable
from domain.vocabulary import Reason
from tests.fakes.receiver import BEHAVIOURS, FakeReceiver
from tests.hostile_addresses import BLOCKED, SPELLINGS_OF_LOOPBACK

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
LOOPBACK = [ip_network("127.0.0.0/8")]
SECRET, OLD = new_secret(bytes(range(32))), new_secret(bytes(32))
BODY = '{"id":"evt_1","type":"order.created","timestamp":"2026-03-01T21:30:00Z","data":{"total":"12,50 €"}}'.encode()


class Seen(NamedTuple):
    """A request as it arrived, with the names of its headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class Rig(NamedTuple):
    sender: WebhookSender
    url: Callable[[str], str]
    seen: Callable[[], list[Seen]]


@asynccontextmanager
async def http_rig(in_house: Sequence[Any]) -> AsyncIterator[Rig]:
    sender = HttpWebhookSender(in_house=in_house, deadline=timedelta(seconds=1))
    try:
        async with FakeReceiver() as receiver:
            yield Rig(sender, receiver.url, lambda: [Seen(a.path, a.headers, a.body) for a in receiver.arrivals])
    finally:
        await sender.close()


@asynccontextmanager
async def memory_rig(in_house: Sequence[Any]) -> AsyncIterator[Rig]:
    sender = MemoryWebhookSender(in_house)

    def url(path: str = "ok") -> str:
        sender.answers.append(_as_exchange(path))
        return f"http://127.0.0.1:4000/{path}"

    def seen() -> list[Seen]:
        return [
            Seen("/" + sent.url.split("/", 3)[3], {n.lower(): v for n, v in sent.headers.items()}, sent.body)
            for sent in sender.sent
        ]

    yield Rig(sender, url, seen)


def _as_exchange(path: str) -> Exchange:
    """What comes back from a receiver that behaves like this, without one."""
    if path in ("hang", "dripping-head"):
        return NoAnswer(True, "no answer within 1 s")
    if path in ("reset", "garbage"):
        return NoAnswer(False, "the other side hung up")
    head, _, body = BEHAVIOURS[path].head.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = httpx.Headers([tuple(line.split(b": ", 1)) for line in lines])
    return Answer(int(first.split()[1]), headers, body[:4096])


RIGS = {"http": http_rig, "memory": memory_rig}


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with RIGS[request.param](LOOPBACK) as rig:
        yield rig


@pytest.fixture(params=RIGS)
async def strict_rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Where nothing in house is allowed."""
    async with RIGS[request.param]([]) as rig:
        yield rig


def asking(url: str, **other: Any) -> WebhookRequest:
    known = {"id": "evt_1", "headers": {}, "body": BODY, "secrets": (SECRET,)}
    return WebhookRequest(url=url, **known | other)


async def call(rig: Rig, path: str) -> WebhookCall:
    return await rig.sender.send(asking(rig.url(path)), NOW)


async def outcome_of(rig: Rig, path: str) -> Outcome:
    return (await call(rig, path)).outcome


# What goes out


async def test_what_arrives_is_what_was_sent_with_its_own_headers_and_a_content_type(rig: Rig) -> None:
    request = asking(rig.url("ok"), headers={"Authorization": "Bearer abc", "X-Tenant": "Acme"})
    assert (await rig.sender.send(request, NOW)).outcome == Accepted(None)
    (seen,) = rig.seen()
    assert (seen.path, seen.body) == ("/ok", BODY)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"] == "Bearer abc"
    assert seen.headers["x-tenant"] == "Acme"


async def test_an_independent_library_verifies_what_arrived_with_every_secret_alive(rig: Rig) -> None:
    now = datetime.now(UTC)  # the library takes nothing that is five minutes old
    await rig.sender.send(asking(rig.url("ok"), secrets=(SECRET, OLD)), now)
    (seen,) = rig.seen()
    for secret in (SECRET, OLD):
        assert standardwebhooks.Webhook(secret).verify(seen.body, seen.headers) == json.loads(BODY)
    assert seen.headers["webhook-id"] == "evt_1"
    assert seen.headers["webhook-timestamp"] == seen.headers["x-webhook-timestamp"] == str(int(now.timestamp()))
    assert len(seen.headers["x-webhook-signature"].split(",")) == 2


async def test_each_attempt_is_signed_as_of_its_own_time(rig: Rig) -> None:
    for minutes in (0, 5):
        await rig.sender.send(asking(rig.url("ok")), NOW + timedelta(minutes=minutes))
    first, second = rig.seen()
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 300
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"webhook-id": "evt_2"}, {"X-A": "1\r\nHost: evil.example"}, {"Ü": "x"}]
)
async def test_a_header_that_could_not_have_been_chosen_is_not_sent(rig: Rig, headers: dict[str, str]) -> None:
    outcome = (await rig.sender.send(asking(rig.url("ok"), headers=headers), NOW)).outcome
    assert isinstance(outcome, Retryable)
    assert outcome.reason is Reason.ENDPOINT_ERROR
    assert rig.seen() == []


@pytest.mark.parametrize("id", ["", "evt.1", "evt 1", "evt\r\n1", "ünï", "x" * 257])
async def test_an_id_that_would_make_the_signature_mean_something_else_is_not_sent(rig: Rig, id: str) -> None:
    assert isinstance((await rig.sender.send(asking(rig.url("ok"), id=id), NOW)).outcome, Refused)
    assert rig.seen() == []


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_short",)])
async def test_nothing_goes_out_unsigned(rig: Rig, secrets: tuple[str, ...]) -> None:
    assert isinstance((await rig.sender.send(asking(rig.url("ok"), secrets=secrets), NOW)).outcome, Refused)
    assert rig.seen() == []


# What answers come to


@pytest.mark.parametrize(("path", "status"), [("ok", 200), ("created", 201), ("empty", 204)])
async def test_any_2xx_is_accepted(rig: Rig, path: str, status: int) -> None:
    came = await call(rig, path)
    assert came.outcome == Accepted(None)
    assert came.response is not None
    assert came.response.status == status


async def test_410_is_refused_for_good(rig: Rig) -> None:
    assert await outcome_of(rig, "gone") == Refused(Reason.ENDPOINT_GONE, "answered 410")


@pytest.mark.parametrize(
    ("path", "wait"),
    [("busy", timedelta(seconds=120)), ("impatient", MINUTE), ("patient", timedelta(days=1))],
)
async def test_an_endpoint_that_is_busy_is_left_alone_for_as_long_as_it_asks(
    rig: Rig, path: str, wait: timedelta
) -> None:
    outcome = await outcome_of(rig, path)
    assert isinstance(outcome, Retryable)
    assert (outcome.reason, outcome.wait) == (Reason.ENDPOINT_BUSY, wait)


async def test_other_answers_are_tried_again_by_the_schedule_unless_they_ask_for_more(rig: Rig) -> None:
    long, patient = await outcome_of(rig, "long"), await outcome_of(rig, "maintenance")
    assert long == Retryable(Reason.ENDPOINT_ERROR, None, "answered 400")
    assert patient == Retryable(Reason.ENDPOINT_ERROR, timedelta(seconds=300), "answered 500")


@pytest.mark.parametrize("path", ["redirect", "metadata"])
async def test_a_redirect_is_an_error_and_is_not_followed(rig: Rig, path: str) -> None:
    outcome = await outcome_of(rig, path)
    assert isinstance(outcome, Retryable)
    assert outcome.reason is Reason.ENDPOINT_ERROR
    assert "redirects" in outcome.detail
    assert len(rig.seen()) == 1


@pytest.mark.parametrize("path", ["reset", "garbage"])
async def test_no_answer_is_a_lost_connection_whether_or_not_it_was_taken(rig: Rig, path: str) -> None:
    came = await call(rig, path)
    assert isinstance(came.outcome, Retryable)
    assert (came.outcome.reason, came.outcome.wait, came.response) == (Reason.CONNECTION_FAILED, None, None)


@pytest.mark.parametrize("path", ["hang", "dripping-head"])
async def test_no_answer_in_time_is_a_timeout_and_gets_a_minutes_rest(rig: Rig, path: str) -> None:
    assert await outcome_of(rig, path) == Retryable(Reason.TIMEOUT, MINUTE, "no answer within 1 s")


# What is kept of an answer


async def test_status_headers_body_and_milliseconds_are_kept(rig: Rig) -> None:
    response = (await call(rig, "ok")).response
    assert response is not None
    assert (response.status, response.headers["x-request-id"], response.body) == (200, "7", "ok")
    assert 0 < response.milliseconds < 60_000


async def test_no_more_than_4_kib_of_the_body_are_kept(rig: Rig) -> None:
    response = (await call(rig, "long")).response
    assert response is not None
    assert response.body == "x" * 4096


async def test_whatever_bytes_come_the_text_can_be_stored(rig: Rig) -> None:
    response = (await call(rig, "binary")).response
    assert response is not None
    assert response.body.startswith("\ufffd\ufffd\ufffd<")
    assert "\x00" not in response.body
    assert response.body.encode()


async def test_headers_are_cut_to_what_is_worth_storing(rig: Rig) -> None:
    response = (await call(rig, "headers")).response
    assert response is not None
    assert response.headers["x-0"] == "v" * 300
    assert len(msgspec.json.encode(response.headers)) < 25_000


# Where nothing goes


async def test_no_private_or_special_address_is_called(strict_rig: Rig) -> None:
    for address in [*BLOCKED, *SPELLINGS_OF_LOOPBACK]:
        literal = f"[{address}]" if ":" in address else address
        for scheme in ("http", "https"):
            url = f"{scheme}://{literal}:{strict_rig.url('ok').split(':')[2]}"
            outcome = (await strict_rig.sender.send(asking(url), NOW)).outcome
            assert isinstance(outcome, Retryable), address
            assert outcome.reason is Reason.ADDRESS_BLOCKED, address
            assert address not in outcome.detail
    assert strict_rig.seen() == []


async def test_without_tls_only_what_is_in_house_is_called(rig: Rig) -> None:
    for url in ("http://10.0.0.1:4000/", "http://1.1.1.1:4000/"):
        outcome = (await rig.sender.send(asking(url), NOW)).outcome
        assert isinstance(outcome, Retryable)
        assert outcome.reason is Reason.ADDRESS_BLOCKED


async def test_many_at_once_each_arrive_once(rig: Rig) -> None:
    requests = [asking(rig.url("ok"), id=f"evt_{n}") for n in range(60)]
    calls = await asyncio.gather(*(rig.sender.send(request, NOW) for request in requests))
    assert {type(each.outcome) for each in calls} == {Accepted}
    assert sorted(seen.headers["webhook-id"] for seen in rig.seen()) == sorted(request.id for request in requests)


async def test_closing_twice_is_no_harm(rig: Rig) -> None:
    await call(rig, "ok")
    await rig.sender.close()
    await rig.sender.close()
