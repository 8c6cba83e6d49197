"""What every sender of email promises, held against each of them and a server of its own."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from application.ports.email import Email
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Retryable, Throttled, Unknown
from domain.vocabulary import Reason
from tests.contract.email_rigs import EMAIL, FAULTS, HANG, RIGS, SHORT, Rig, Seen
from tests.fakes.resend import Fault
from tests.fakes.smtp import At

KEY = "0198f3a0-0000-7000-8000-000000000001/1"


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with RIGS[request.param]() as rig:
        yield rig


def every(come_to: str) -> pytest.MarkDecorator:
    """One case per provider and fault that comes to this."""
    cases = [
        pytest.param(name, fault, id=f"{name}-{_named(fault)}")
        for name, faults in FAULTS.items()
        for fault in faults.get(come_to, [])
    ]
    return pytest.mark.parametrize(("name", "fault"), cases)


def _named(fault: At | Fault) -> str:
    if isinstance(fault, At):
        return f"{fault.step} {fault.reply if isinstance(fault.reply, str) else fault.reply.name}"
    return f"{fault.status} {fault.name}"


async def outcome_of(name: str, fault: Any, **options: Any) -> Outcome:
    """What the fault comes to. The next message is not hurt by it."""
    async with RIGS[name](**options) as rig:
        rig.script(fault)
        outcome = await rig.sender.send(EMAIL, KEY)
        assert isinstance(await rig.sender.send(EMAIL, "another key"), Accepted)
        return outcome


async def outcome_in_time(name: str, fault: Any) -> Outcome:
    began = time.monotonic()
    outcome = await outcome_of(name, fault, deadline=SHORT)
    assert time.monotonic() - began < 4 * SHORT.total_seconds()
    return outcome


def has_a_fit_detail(outcome: Any) -> bool:
    return 0 < len(outcome.detail) <= 300 and outcome.detail.isprintable()


# What goes out


async def test_what_arrives_is_what_was_sent(rig: Rig):
    assert isinstance(await rig.sender.send(EMAIL, KEY), Accepted)
    (seen,) = rig.seen()
    assert seen == Seen(EMAIL.sender, [EMAIL.to], EMAIL.reply_to, EMAIL.subject, EMAIL.html, EMAIL.text, EMAIL.headers)


async def test_a_message_may_have_no_html_no_names_and_no_reply_address(rig: Rig):
    email = Email(sender=Mailbox("a@x.example"), to=Mailbox("b@y.example"), subject="", html=None, text="")
    assert isinstance(await rig.sender.send(email, None), Accepted)
    (seen,) = rig.seen()
    assert seen == Seen(email.sender, [email.to], None, "", None, seen.text, {})
    assert seen.text.strip() == ""


async def test_the_providers_id_of_each_message_is_its_own(rig: Rig):
    first, second = [await rig.sender.send(EMAIL, key) for key in ("one", "two")]
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.provider_id
    assert second.provider_id
    assert first.provider_id != second.provider_id
    assert len(rig.seen()) == 2


async def test_without_a_key_nothing_is_taken_for_a_repetition(rig: Rig):
    outcomes = [await rig.sender.send(EMAIL, None) for _ in range(2)]
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(rig.seen()) == 2


async def test_a_key_that_is_remembered_sends_once_and_answers_with_the_first_id(rig: Rig):
    outcomes = [await rig.sender.send(EMAIL, KEY) for _ in range(3)]
    assert len(rig.seen()) == (1 if rig.sender.key_lifetime else 3)
    assert len({outcome.provider_id for outcome in outcomes}) == 1


async def test_only_those_who_remember_keys_say_so(rig: Rig):
    known = {"resend": timedelta(hours=24), "smtp": None, "capture": timedelta(days=365)}
    assert rig.sender.key_lifetime == known[rig.sender.provider]


async def test_many_messages_at_once_each_arrive_once(rig: Rig):
    subjects = [f"Nr. {number}" for number in range(60)]
    emails = [msgspec.structs.replace(EMAIL, subject=subject) for subject in subjects]
    outcomes = await asyncio.gather(*(rig.sender.send(email, email.subject) for email in emails))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert sorted(seen.subject for seen in rig.seen()) == sorted(subjects)


async def test_closing_twice_is_no_harm(rig: Rig):
    await rig.sender.send(EMAIL, KEY)
    await rig.sender.close()
    await rig.sender.close()


# What must not go out


INJECTIONS = [
    "a\r\nBcc: thief@evil.example",
    "a\nBcc: thief@evil.example",
    "a\rBcc: thief@evil.example",
    "a\x00b",
    "a\x0bBcc: thief@evil.example",
    "a\x0cBcc: thief@evil.example",
    "a\x85Bcc: thief@evil.example",
    "a\u2028Bcc: thief@evil.example",
    "a\u2029Bcc: thief@evil.example",
    "=?utf-8?q?a=0d=0aBcc:_thief=40evil.example?=",
    "=?utf-8?b?YQ0KQmNjOiB0aGllZkBldmlsLmV4YW1wbGU=?=",
    "a\r\n\r\nbody",
    "a\u202egnp.exe",
    "a\ud800b",
]
PLACES: dict[str, Callable[[str], Email]] = {
    "subject": lambda text: msgspec.structs.replace(EMAIL, subject=text),
    "sender's name": lambda text: msgspec.structs.replace(EMAIL, sender=Mailbox("news@carillon.example", text)),
    "sender": lambda text: msgspec.structs.replace(EMAIL, sender=Mailbox(text)),
    "recipient's name": lambda text: msgspec.structs.replace(EMAIL, to=Mailbox("odon@post.example", text)),
    "recipient": lambda text: msgspec.structs.replace(EMAIL, to=Mailbox(text)),
    "recipient's domain": lambda text: msgspec.structs.replace(EMAIL, to=Mailbox(f"odon@{text}")),
    "reply-to": lambda text: msgspec.structs.replace(EMAIL, reply_to=Mailbox(text)),
    "reply-to's name": lambda text: msgspec.structs.replace(EMAIL, reply_to=Mailbox("help@carillon.example", text)),
    "header": lambda text: msgspec.structs.replace(EMAIL, headers={"X-Order": text}),
    "header's name": lambda text: msgspec.structs.replace(EMAIL, headers={text: "7"}),
}


async def test_no_value_becomes_a_header_or_a_recipient(rig: Rig):
    for place, with_text in PLACES.items():
        for text in INJECTIONS:
            outcome = await rig.sender.send(with_text(text), None)
            assert isinstance(outcome, Refused), (place, text)
            assert outcome.reason is Reason.PROVIDER_REFUSED
            assert has_a_fit_detail(outcome)
            assert "thief" not in outcome.detail
    assert rig.seen() == []


TWO_IN_ONE = [
    "a@x.example>,<thief@evil.example",
    "a@x.example,thief@evil.example",
    "a@x.example thief@evil.example",
    "a@x.example> SIZE=1",
    "Anna <a@x.example>",
    '"a b"@x.example',
    "a@b@x.example",
    "a..b@x.example",
    "a.@x.example",
    "@x.example",
    "a@",
    "a@[127.0.0.1]",
    "",
    "nobody",
]


async def test_an_address_is_exactly_one(rig: Rig):
    for text in TWO_IN_ONE:
        assert await _reason(rig, PLACES["recipient"](text)) is Reason.INVALID_RECIPIENT, text
        assert await _reason(rig, PLACES["sender"](text)) is Reason.PROVIDER_REFUSED, text
        assert await _reason(rig, PLACES["reply-to"](text)) is Reason.PROVIDER_REFUSED, text
    assert rig.seen() == []


async def _reason(rig: Rig, email: Email) -> Reason | None:
    outcome = await rig.sender.send(email, None)
    return outcome.reason if isinstance(outcome, Refused) else None


@pytest.mark.parametrize(
    "name", ["Bcc", "bcc", "Cc", "To", "From", "Sender", "Subject", "Date", "Message-ID", "Reply-To", "Return-Path",
             "Resent-To", "Content-Type", "Content-Transfer-Encoding", "MIME-Version", "", "X Y", "X:Y", "Ünicode"],
)  # fmt: skip
async def test_a_header_of_the_callers_own_is_never_one_of_ours(rig: Rig, name: str):
    outcome = await rig.sender.send(msgspec.structs.replace(EMAIL, headers={name: "thief@evil.example"}), None)
    assert isinstance(outcome, Refused)
    assert rig.seen() == []


async def test_a_name_with_every_special_character_stays_a_name(rig: Rig):
    name = 'a, b <thief@evil.example>; (c) "d" \\ e: @f [g]'
    assert isinstance(await rig.sender.send(PLACES["recipient's name"](name), None), Accepted)
    (seen,) = rig.seen()
    assert seen.recipients == [Mailbox("odon@post.example", name)]


async def test_half_a_character_in_the_text_is_refused(rig: Rig):
    outcome = await rig.sender.send(msgspec.structs.replace(EMAIL, text="\ud800"), KEY)
    assert isinstance(outcome, Refused)


# What failures come to


@every("throttled")
async def test_a_throttled_call_is_a_value_with_a_wait(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Throttled)
    assert timedelta(seconds=2) <= outcome.retry_after <= timedelta(minutes=1)
    assert has_a_fit_detail(outcome)


@every("misconfigured")
async def test_what_is_wrong_with_us_is_no_fault_of_the_message(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Misconfigured)
    assert outcome.retry_after >= timedelta(minutes=1)
    assert has_a_fit_detail(outcome)


@every("invalid recipient")
async def test_an_address_that_nobody_has_is_refused_as_such(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.INVALID_RECIPIENT
    assert has_a_fit_detail(outcome)


@every("refused")
async def test_what_will_never_go_out_like_this_is_refused(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.PROVIDER_REFUSED
    assert has_a_fit_detail(outcome)


@every("failed")
async def test_what_certainly_did_not_go_out_may_be_tried_again(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Retryable)
    assert has_a_fit_detail(outcome)


@every("failed, perhaps taken")
async def test_a_failure_that_does_not_say_whether_it_went_out_is_not_called_certain(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Unknown)
    assert has_a_fit_detail(outcome)


@every("timed out, not sent")
async def test_a_deadline_before_anything_was_sent_may_be_tried_again(name: str, fault: Any):
    outcome = await outcome_in_time(name, fault)
    assert isinstance(outcome, Retryable)
    assert outcome.reason is Reason.TIMEOUT


@every("timed out, perhaps taken")
async def test_a_deadline_after_it_was_sent_leaves_the_outcome_unknown(name: str, fault: Any):
    outcome = await outcome_in_time(name, fault)
    assert isinstance(outcome, Unknown)
    assert outcome.reason is Reason.TIMEOUT


@every("lost, perhaps taken")
async def test_an_answer_that_is_lost_or_makes_no_sense_leaves_the_outcome_unknown(name: str, fault: Any):
    outcome = await outcome_of(name, fault)
    assert isinstance(outcome, Unknown)
    assert outcome.reason is Reason.OUTCOME_UNKNOWN
    assert has_a_fit_detail(outcome)


@pytest.fixture
def closed_port() -> int:
    """A port of which the kernel says that nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("name", FAULTS)
async def test_when_nobody_listens_nothing_was_sent(name: str, closed_port: int):
    where: dict[str, Any] = {"resend": {"url": f"http://127.0.0.1:{closed_port}"}, "smtp": {"port": closed_port}}
    async with RIGS[name](**where[name]) as rig:
        outcome = await rig.sender.send(EMAIL, KEY)
    assert isinstance(outcome, Retryable)
    assert outcome.reason is Reason.CONNECTION_FAILED
    assert has_a_fit_detail(outcome)
    assert "127.0.0.1" not in outcome.detail
    assert str(closed_port) not in outcome.detail


@pytest.mark.parametrize("name", FAULTS)
async def test_a_deadline_while_waiting_for_a_connection_sends_nothing(name: str):
    async with RIGS[name](connections=1) as rig:
        rig.script(HANG[name])
        first = asyncio.create_task(rig.sender.send(EMAIL, "first"))
        await asyncio.sleep(0)
        rig.sender.deadline = SHORT
        outcome = await rig.sender.send(EMAIL, "second")
        assert outcome == Retryable(Reason.TIMEOUT, detail="no answer within 0.5 s")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize("name", FAULTS)
async def test_cancellation_passes_through_and_the_next_message_goes(name: str):
    async with RIGS[name]() as rig:
        rig.script(HANG[name])
        sending = asyncio.create_task(rig.sender.send(EMAIL, KEY))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sending, SHORT.total_seconds())
        assert sending.cancelled()
        assert isinstance(await rig.sender.send(EMAIL, "another key"), Accepted)
