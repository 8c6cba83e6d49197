"""Each sender of email beside the server it talks to, and every fault that server can have.

`FAULTS` says what each comes to, per provider; the contract holds the sender to it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Any, NamedTuple

from adapters.email.capture import CapturedMail, CaptureEmailSender
from adapters.email.resend import ResendEmailSender
from adapters.email.smtp import SmtpEmailSender
from adapters.http_client import http_client
from adapters.memory.captured_mails import MemoryCapturedMails
from application.ports.email import Email, EmailSender
from domain.mailbox import Mailbox
from tests.fakes import resend, smtp
from tests.fakes.resend import FakeResend, problem, rate_limited
from tests.fakes.smtp import At, FakeSmtp

NOW = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
AMPLE = timedelta(seconds=20)
SHORT = timedelta(seconds=0.5)

EMAIL = Email(
    sender=Mailbox("news@carillon.example", 'Carillon, Inc. "News"'),
    to=Mailbox("odon@post.example", "Ödön Horváth"),
    reply_to=Mailbox("help@carillon.example", "Hilfe (Support)"),
    subject="Ihre Bestellung № 7 ist unterwegs – 荷物が発送されました",
    html="<p>Grüße</p>\n.\n<p>Ende</p>",
    text="Grüße\n.\n.Punkt am Anfang\nFrom hier\n",
    headers={
        "List-Unsubscribe": f"<https://carillon.example/u/{'a1' * 120}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
    tags={"notification_id": "0198f3a0-0000-7000-8000-000000000001", "type": "order.shipped"},
)


class Seen(NamedTuple):
    """A message as it arrived, in words that all servers share."""

    sender: Mailbox
    recipients: list[Mailbox]
    reply_to: Mailbox | None
    subject: str
    html: str | None
    text: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Rig:
    """`script` says what goes wrong with the next message, `seen` what arrived."""

    sender: EmailSender
    script: Callable[..., None]
    seen: Callable[[], list[Seen]]


@asynccontextmanager
async def capture_rig(**_: Any) -> AsyncIterator[Rig]:
    mails = MemoryCapturedMails(lambda: NOW)
    yield Rig(CaptureEmailSender(mails), lambda: None, lambda: [_captured(mail) for mail in mails.kept.values()])


@asynccontextmanager
async def resend_rig(url: str | None = None, connections: int = 10, deadline: timedelta = AMPLE) -> AsyncIterator[Rig]:
    client = http_client(connections=connections)
    async with FakeResend() as server:
        sender = ResendEmailSender("re_right", url or server.url, client=client, deadline=deadline, now=lambda: NOW)
        async with closing(sender):
            yield Rig(sender, server.script, lambda: [_taken(email) for email in server.emails.values()])
        assert server.violations == []


@asynccontextmanager
async def smtp_rig(port: int | None = None, connections: int = 10, deadline: timedelta = AMPLE) -> AsyncIterator[Rig]:
    async with FakeSmtp() as server:
        sender = SmtpEmailSender(
            "127.0.0.1",
            port or server.port,
            starttls=False,
            connections=connections,
            deadline=deadline,
            now=lambda: NOW,
        )
        async with closing(sender):
            yield Rig(sender, server.script, lambda: [_arrived(mail) for mail in server.mails])


RIGS: dict[str, Callable[..., AbstractAsyncContextManager[Rig]]] = {
    "capture": capture_rig,
    "resend": resend_rig,
    "smtp": smtp_rig,
}
HANG = {"resend": resend.HANG, "smtp": At("TEXT", smtp.HANG)}


@asynccontextmanager
async def closing(sender: EmailSender) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await sender.close()


def _captured(mail: CapturedMail) -> Seen:
    return Seen(mail.sender, [mail.to], mail.reply_to, mail.subject, mail.html, mail.text, mail.headers)


def _taken(email: dict[str, Any]) -> Seen:
    return Seen(
        _parsed(email["from"]),
        [_parsed(one) for one in email["to"]],
        _parsed(email["reply_to"]) if "reply_to" in email else None,
        email["subject"],
        email.get("html"),
        email["text"],
        email.get("headers", {}),
    )


def _parsed(text: str) -> Mailbox:
    name, address = parseaddr(text)
    return Mailbox(address, name or None)


def _arrived(mail: smtp.Arrived) -> Seen:
    """The recipients are those of the envelope, whatever the header shows."""
    message = mail.message
    assert not {"Bcc", "Cc", "Resent-To"} & set(message)
    assert len(message.get_all("To", [])) == 1
    (to,) = message["To"].addresses
    return Seen(
        _shown(message["From"].addresses[0]),
        [Mailbox(address, to.display_name or None) for address in mail.recipients],
        _shown(message["Reply-To"].addresses[0]) if message["Reply-To"] else None,
        str(message["Subject"]),
        _body(mail, "html"),
        _body(mail, "plain") or "",
        {name: str(value) for name, value in message.items() if name.startswith(("List-", "X-"))},
    )


def _shown(address: Any) -> Mailbox:
    return Mailbox(address.addr_spec, address.display_name or None)


def _body(mail: smtp.Arrived, kind: str) -> str | None:
    part = mail.message.get_body((kind,))
    return part.get_content().replace("\r\n", "\n") if part else None


FAULTS: dict[str, dict[str, list[Any]]] = {
    "resend": {
        "throttled": [rate_limited(2), problem(429, "rate_limit_exceeded", "Slow", ratelimit_reset="2")],
        "misconfigured": [
            problem(401, "restricted_api_key", "This API key is restricted to only send emails"),
            problem(403, "invalid_api_key", "API key is invalid"),
            problem(403, "validation_error", "The carillon.example domain is not verified."),
            problem(422, "invalid_from_address", "Invalid `from` field."),
            problem(404, "not_found", "The requested endpoint does not exist"),
            problem(405, "method_not_allowed", "This endpoint does not support the specified HTTP method"),
            problem(307, "", "", location="https://elsewhere.example/emails"),
        ],
        "invalid recipient": [
            problem(422, "validation_error", "Invalid `to` field. The email address needs to follow the format"),
            problem(400, "validation_error", "Invalid `to` field."),
        ],
        "refused": [
            problem(422, "validation_error", "Invalid `subject` field."),
            problem(400, "validation_error", "Invalid `reply_to` field."),
            problem(422, "missing_required_field", "Missing `html` or `text` field."),
            problem(451, "security_error", "We may have found a security issue with the request."),
            problem(413, "payload_too_large", "Too large"),
        ],
        "failed, perhaps taken": [
            problem(500, "application_error", "An unexpected error occurred."),
            problem(503, "service_unavailable", "Try again"),
            problem(502, "", ""),
            problem(408, "", ""),
        ],
        "timed out, perhaps taken": [resend.HANG, resend.DRIP],
        "lost, perhaps taken": [
            resend.RESET,
            resend.LOST,
            resend.GARBAGE,
            resend.EMPTY,
            problem(409, "invalid_idempotent_request", "This idempotency key has been used"),
        ],
    },
    "smtp": {
        "throttled": [
            At("GREETING", "421 4.7.0 Too many connections from your address"),
            At("MAIL", "451 4.7.1 Rate limit exceeded"),
            At("RCPT", "450 4.2.1 The user is receiving mail at a rate that prevents delivery"),
            At("RCPT", "452 4.5.3 Too many messages in this session"),
            At("DATA", "421 4.7.28 unusual rate of mail"),
            At("TEXT", "454 Throttling failure: Maximum sending rate exceeded."),
        ],
        "misconfigured": [
            At("GREETING", "554 5.7.1 You are not welcome here"),
            At("MAIL", "530 5.7.0 Must issue a STARTTLS command first"),
            At("MAIL", "550 5.7.1 Sender address rejected: not owned by user carillon"),
            At("MAIL", "553 5.1.8 Sender domain does not exist"),
            At("RCPT", "554 5.7.1 <odon@post.example>: Relay access denied"),
            At("TEXT", "535 5.7.8 Authentication credentials invalid"),
        ],
        "invalid recipient": [
            At("RCPT", "550 5.1.1 No such user here"),
            At("RCPT", "553 5.1.3 Bad address syntax"),
            At("RCPT", "550 User unknown"),
            At("TEXT", "550 5.1.1 <odon@post.example> no such mailbox"),
        ],
        "refused": [
            At("MAIL", "552 5.3.4 Message too big for system"),
            At("RCPT", "552 5.2.2 Mailbox full"),
            At("RCPT", "550 5.7.1 Rejected by policy"),
            At("RCPT", "550 Requested action not taken"),
            At("TEXT", "554 5.7.1 This looks like spam"),
        ],
        "failed": [
            At("GREETING", "421 4.3.2 Shutting down"),
            At("MAIL", "451 4.3.0 Local error in processing"),
            At("RCPT", "450 4.2.0 Greylisted, try again in five minutes"),
            At("DATA", "451 4.3.5 Queue file write error"),
            At("TEXT", "451 4.3.0 Local error in processing"),
            At("GREETING", smtp.DROP),
            At("MAIL", smtp.DROP),
            At("RCPT", smtp.DROP),
            At("DATA", smtp.DROP),
            At("MAIL", "what was that?"),
        ],
        "timed out, not sent": [
            At(step, act) for step in ("GREETING", "MAIL", "RCPT", "DATA") for act in (smtp.HANG, smtp.DRIP)
        ],
        "timed out, perhaps taken": [
            At("TEXT", smtp.HANG, takes=True),
            At("TEXT", smtp.DRIP, takes=True),
        ],
        "lost, perhaps taken": [
            At("TEXT", smtp.DROP),
            At("TEXT", smtp.DROP, takes=True),
            At("TEXT", "what was that?", takes=True),
        ],
    },
}
