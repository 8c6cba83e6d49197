"""What is Resend's own, beyond the contract of every sender."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from adapters.email.resend import ResendEmailSender
from adapters.http_client import http_client
from application.ports.email import Email
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Throttled, Unknown
from domain.vocabulary import Reason
from tests.contract.email_rigs import EMAIL
from tests.fakes.resend import LOST, FakeResend, Fault, problem, rate_limited

NOW = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
KEY = "0198f3a0-0000-7000-8000-000000000001/1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def resend() -> AsyncIterator[FakeResend]:
    async with FakeResend() as server:
        yield server


def sender_to(resend: FakeResend, key: str = "re_right") -> ResendEmailSender:
    return ResendEmailSender(key, resend.url + "/", client=http_client(), now=lambda: NOW)


async def outcome_of(resend: FakeResend, *faults: Fault, email: Email = EMAIL, key: str | None = KEY) -> Outcome:
    resend.script(*faults)
    sender = sender_to(resend)
    try:
        return await sender.send(email, key)
    finally:
        await sender.close()


async def test_the_request_is_the_one_resend_describes(resend: FakeResend):
    assert isinstance(await outcome_of(resend), Accepted)
    (email,) = resend.emails.values()
    assert email["from"] == '"Carillon, Inc. \\"News\\"" <news@carillon.example>'
    assert email["to"] == ["Ödön Horváth <odon@post.example>"]
    assert email["reply_to"] == '"Hilfe (Support)" <help@carillon.example>'
    assert resend.violations == []


async def test_tags_carry_ids_in_the_letters_resend_allows(resend: FakeResend):
    tags = {
        "notification_id": "0198f3a0-0000-7000-8000-000000000001",
        "type": "order.shipped!",
        "empty": "",
        "x": "ü" * 300,
    }
    await outcome_of(resend, email=msgspec.structs.replace(EMAIL, tags=tags))
    (email,) = resend.emails.values()
    assert {tag["name"]: tag["value"] for tag in email["tags"]} == {
        "notification_id": "0198f3a0-0000-7000-8000-000000000001",
        "type": "order_shipped_",
        "x": "_" * 256,
    }
    assert resend.arrivals[0].notification == tags["notification_id"]


async def test_the_same_email_is_the_same_bytes(resend: FakeResend):
    turned = msgspec.structs.replace(
        EMAIL, headers=dict(reversed(EMAIL.headers.items())), tags=dict(reversed(EMAIL.tags.items()))
    )
    first = await outcome_of(resend)
    assert await outcome_of(resend, email=turned) == first
    assert len(set(resend.bodies)) == 1
    assert len(resend.bodies) == 2


async def test_after_a_lost_answer_the_same_key_learns_the_id_and_sends_nothing_new(resend: FakeResend):
    assert isinstance(await outcome_of(resend, LOST), Unknown)
    again = await outcome_of(resend)
    assert isinstance(again, Accepted)
    assert list(resend.emails) == [again.provider_id]


async def test_another_email_under_the_same_key_is_not_known_to_have_gone_out(resend: FakeResend):
    await outcome_of(resend)
    outcome = await outcome_of(resend, email=msgspec.structs.replace(EMAIL, subject="Another"))
    assert isinstance(outcome, Unknown)
    assert "different payload" in outcome.detail
    assert len(resend.emails) == 1


async def test_a_key_that_is_still_at_work_is_asked_for_again_in_seconds():
    async with FakeResend(latency=0.1) as resend:
        outcomes = await asyncio.gather(outcome_of(resend), outcome_of(resend))
    (waiting,) = [outcome for outcome in outcomes if isinstance(outcome, Throttled)]
    assert timedelta(seconds=1) <= waiting.retry_after <= timedelta(seconds=10)
    assert len(resend.emails) == 1


LIMIT = "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (rate_limited(7), timedelta(seconds=7)),
        (problem(429, LIMIT, "Slow", retry_after="Sun, 01 Mar 2026 21:30:20 GMT"), timedelta(seconds=20)),
        (problem(429, LIMIT, "Slow", retry_after="0", ratelimit_reset="3"), timedelta(seconds=3)),
        (problem(429, LIMIT, "Slow", ratelimit_reset="4"), timedelta(seconds=4)),
        (problem(429, LIMIT, "Slow", ratelimit_reset="soon"), timedelta(seconds=1)),
        (problem(429, LIMIT, "Slow"), timedelta(seconds=1)),
        (problem(429, "daily_quota_exceeded", "You have reached your daily quota"), timedelta(hours=2, minutes=30)),
        (problem(429, "daily_quota_exceeded", "Quota", retry_after="1"), timedelta(hours=2, minutes=30)),
        (problem(429, "daily_quota_exceeded", "Quota", retry_after="80000"), timedelta(seconds=80000)),
        (problem(429, "monthly_quota_exceeded", "You have reached your monthly quota"), timedelta(hours=6)),
        (Fault("", 429, body=b"<html>"), timedelta(seconds=1)),
    ],
)
async def test_a_throttled_call_waits_as_long_as_its_kind_demands(resend: FakeResend, fault: Fault, wait: timedelta):
    outcome = await outcome_of(resend, fault)
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after == wait


async def test_a_failing_server_may_say_when_to_come_back(resend: FakeResend):
    outcome = await outcome_of(resend, problem(503, "service_unavailable", "Later", retry_after="30"))
    assert outcome == Unknown(Reason.PROVIDER_UNAVAILABLE, "Later", timedelta(seconds=30))


async def test_a_failure_is_told_in_resends_own_words_cut_to_300_characters(resend: FakeResend):
    outcome = await outcome_of(resend, problem(422, "validation_error", "line\n\x00" + "ü" * 1000))
    assert outcome == Refused(Reason.PROVIDER_REFUSED, "line " + "ü" * 295)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"ok"', b"{}", b'{"id":null}', b'{"id":7}', b'{"id":""}', b'{"id":"a', b"\xff\xfe",
     b"[" * 60000, b'{"id":"' + b"x" * 70000 + b'"}', b'{"id":"\\u0000"}'],
    ids=range(13),
)  # fmt: skip
async def test_an_answer_without_an_id_leaves_the_outcome_unknown(resend: FakeResend, body: bytes):
    outcome = await outcome_of(resend, Fault("", 200, body=body))
    assert isinstance(outcome, Unknown)
    assert len(outcome.detail) <= 300


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"name":7,"message":[]}', b"\xff", b"[" * 60000], ids=range(6))
async def test_an_error_is_judged_by_its_status_when_its_body_says_nothing(resend: FakeResend, body: bytes):
    assert isinstance(await outcome_of(resend, Fault("", 500, body=body)), Unknown)
    assert isinstance(await outcome_of(resend, Fault("", 422, body=body)), Refused)
    assert isinstance(await outcome_of(resend, Fault("", 409, body=body)), Unknown)


async def test_a_wrong_key_is_our_fault_and_never_told(resend: FakeResend):
    sender = sender_to(resend, "re_wrong_secret")
    outcome = await sender.send(EMAIL, KEY)
    await sender.close()
    assert isinstance(outcome, Misconfigured)
    assert "secret" not in outcome.detail


@pytest.mark.parametrize("key", ["", "re_\n", "re a", "re_ü"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_at_the_start(key: str):
    with pytest.raises(ValueError, match="API key") as raised:
        ResendEmailSender(key, client=httpx.AsyncClient())
    assert not key or key not in str(raised.value)


@pytest.mark.parametrize("key", ["", " ", "a\r\nx: y", "ü", "x" * 257, "\x00"])
async def test_an_idempotency_key_that_cannot_stand_in_a_header_sends_nothing(resend: FakeResend, key: str):
    assert isinstance(await outcome_of(resend, key=key), Refused)
    assert resend.arrivals == []


async def test_a_name_with_a_quote_cannot_end_early(resend: FakeResend):
    to = Mailbox("odon@post.example", '" <thief@evil.example>, "')
    await outcome_of(resend, email=msgspec.structs.replace(EMAIL, to=to))
    (email,) = resend.emails.values()
    assert email["to"] == ['"\\" <thief@evil.example>, \\"" <odon@post.example>']


async def test_the_server_runs_alone_and_writes_down_every_arrival(tmp_path: Path):
    log = tmp_path / "arrivals.jsonl"
    options = ["--log", log, "--fast", "--fault", "429=0.5"]
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.resend", *options, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    url = (await server.stdout.readline()).decode().strip()
    sender = ResendEmailSender("re_right", url, client=http_client())
    outcomes = [await sender.send(EMAIL, f"key {number}") for number in range(20)]
    await sender.close()
    server.terminate()
    assert await server.wait() == 0
    arrivals = [json.loads(line) for line in log.read_text().splitlines()]
    assert [arrival["key"] for arrival in arrivals] == [f"key {number}" for number in range(20)]
    assert {arrival["notification"] for arrival in arrivals} == {EMAIL.tags["notification_id"]}
    assert {arrival["to"] for arrival in arrivals} == {"Ödön Horváth <odon@post.example>"}
    taken = [arrival["email_id"] for arrival in arrivals if arrival["new"]]
    assert taken == [outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)]
    assert 0 < len(taken) < 20
