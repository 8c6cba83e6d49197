"""Email by Resend (https://resend.com/docs/api-reference/emails/send-email)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import quote

import httpx
import msgspec

from adapters.email.envelope import objection
from adapters.http_client import Answer, HttpClient, NoAnswer, NotSent, exchange, retry_after, whole_seconds
from adapters.remarks import remark
from application.ports.email import Email
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Retryable, Throttled, Unknown
from domain.vocabulary import Reason

_OPERATOR_NEEDED = timedelta(minutes=5)
_RATE_LIMIT = timedelta(seconds=1)
_MONTHLY_QUOTA = timedelta(hours=6)
_SAME_KEY_IN_FLIGHT = timedelta(seconds=3)

_API_KEY = re.compile(r"[!-~]+")
_KEY = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_-]")
_SPECIAL = re.compile(r'[()<>\[\]:;@\\,."]')
_ABOUT_RECIPIENT = re.compile(r"[`'\"]to[`'\"]")
_ABOUT_SENDER = re.compile(r"[`'\"]from[`'\"]|domain is not verified|testing emails")


class ResendEmailSender:
    """One request per message. Resend remembers a key for 24 hours and answers with the first message's id again.

    Closing the sender closes its client.
    """

    provider = "resend"
    key_lifetime = timedelta(hours=24)

    def __init__(
        self,
        api_key: str,
        base_url: str = "https://api.resend.com",
        *,
        client: HttpClient,
        deadline: timedelta = timedelta(seconds=10),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not _API_KEY.fullmatch(api_key):
            raise ValueError("an API key of Resend is one word of ASCII characters")
        self._url = str(httpx.URL(f"{base_url.rstrip('/')}/emails"))
        self._headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._client = client
        self.deadline = deadline
        self._now = now

    async def send(self, email: Email, key: str | None) -> Outcome:
        """Hand one message over. Under one key the same email is the same bytes, as Resend demands."""
        if refused := objection(email) or _objection_to_key(key):
            return refused
        headers = self._headers if key is None else {**self._headers, "idempotency-key": key}
        match await exchange(
            self._client, "POST", self._url, content=body(email), headers=headers, deadline=self.deadline
        ):
            case Answer() as answer:
                return _judge(answer, self._now())
            case NotSent(timed_out, detail):
                return Retryable(Reason.TIMEOUT if timed_out else Reason.CONNECTION_FAILED, detail=detail)
            case NoAnswer(timed_out, detail):
                return Unknown(Reason.TIMEOUT if timed_out else Reason.OUTCOME_UNKNOWN, detail)

    async def close(self) -> None:
        await self._client.aclose()


class _Tag(msgspec.Struct):
    name: str
    value: str


class _SendEmailRequest(msgspec.Struct, omit_defaults=True, rename={"sender": "from"}):
    sender: str
    to: list[str]
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None
    headers: dict[str, str] = {}
    tags: list[_Tag] = []


class _SendEmailResponse(msgspec.Struct):
    id: str


class _Problem(msgspec.Struct):
    name: str = ""
    message: str = ""


_encoder = msgspec.json.Encoder(order="deterministic")
_accepted = msgspec.json.Decoder(_SendEmailResponse)
_problem = msgspec.json.Decoder(_Problem)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def body(email: Email) -> bytes:
    return _encoder.encode(
        _SendEmailRequest(
            sender=_written(email.sender),
            to=[_written(email.to)],
            subject=email.subject,
            text=email.text,
            html=email.html,
            reply_to=_written(email.reply_to) if email.reply_to else None,
            headers=email.headers,
            tags=[_Tag(_tag(name), _tag(value)) for name, value in sorted(email.tags.items()) if value],
        )
    )


def _written(mailbox: Mailbox) -> str:
    """`Name <address>`, the name quoted where it must be (RFC 5322, 3.2.3)."""
    name = mailbox.name
    if not name:
        return mailbox.address
    return f'"{quote(name)}" <{mailbox.address}>' if _SPECIAL.search(name) else f"{name} <{mailbox.address}>"


def _tag(text: str) -> str:
    return _NOT_IN_TAGS.sub("_", text)[:256]


def _objection_to_key(key: str | None) -> Refused | None:
    if key is None or _KEY.fullmatch(key):
        return None
    return Refused(Reason.PROVIDER_REFUSED, "an idempotency key is 1 to 256 ASCII characters")


def _judge(answer: Answer, now: datetime) -> Outcome:
    """What an answer means (https://resend.com/docs/api-reference/errors)."""
    if 200 <= answer.status < 300:
        return _taken(answer)
    problem = _read_problem(answer)
    detail = problem.message
    match answer.status:
        case 429:
            return Throttled(_patience(problem.name, answer, now), detail)
        case 401 | 403 | 404 | 405:
            return Misconfigured(_OPERATOR_NEEDED, detail)
        case 408:
            return Unknown(Reason.TIMEOUT, detail, retry_after(answer.headers, now))
        case 409 if problem.name == "concurrent_idempotent_requests":
            return Throttled(retry_after(answer.headers, now) or _SAME_KEY_IN_FLIGHT, detail, only_this=True)
        case 409:
            return Unknown(detail=detail)
        case status if status >= 500:
            reason = Reason.PROVIDER_ERROR if status == 500 else Reason.PROVIDER_UNAVAILABLE
            return Unknown(reason, detail, retry_after(answer.headers, now))
        case status if status < 400:
            return Misconfigured(_OPERATOR_NEEDED, f"answered {status}: not the address of Resend's API")
    return _fault_of(problem)


def _taken(answer: Answer) -> Accepted | Unknown:
    if answer.timed_out:
        return Unknown(Reason.TIMEOUT, "the answer did not end")
    try:
        id = remark(_accepted.decode(answer.body).id)
    except _UNDECODABLE:
        id = ""
    return Accepted(id) if id else Unknown(detail=remark(b"no id in the answer: " + answer.body))


def _read_problem(answer: Answer) -> _Problem:
    try:
        problem = _problem.decode(answer.body)
    except _UNDECODABLE:
        problem = _Problem(message=answer.body.decode(errors="replace"))
    return _Problem(problem.name, remark(problem.message) or f"answered {answer.status}")


def _patience(name: str, answer: Answer, now: datetime) -> timedelta:
    asked = retry_after(answer.headers, now)
    if name == "daily_quota_exceeded":
        return max(asked or timedelta(0), _until_tomorrow(now))
    if name == "monthly_quota_exceeded":
        return max(asked or timedelta(0), _MONTHLY_QUOTA)
    return asked or whole_seconds(answer.headers.get("ratelimit-reset", "")) or _RATE_LIMIT


def _until_tomorrow(now: datetime) -> timedelta:
    """Quotas count UTC days."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1) - now


def _fault_of(problem: _Problem) -> Refused | Misconfigured:
    if _ABOUT_RECIPIENT.search(problem.message):
        return Refused(Reason.INVALID_RECIPIENT, problem.message)
    if problem.name == "invalid_from_address" or _ABOUT_SENDER.search(problem.message):
        return Misconfigured(_OPERATOR_NEEDED, problem.message)
    return Refused(Reason.PROVIDER_REFUSED, problem.message)
