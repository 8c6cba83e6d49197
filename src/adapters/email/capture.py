"""Email that goes nowhere: it is kept, for people to look at."""

from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from adapters.email.envelope import objection
from application.ports.email import Email
from application.ports.log import StoreUnavailableError
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Outcome, Retryable
from domain.vocabulary import Reason


class CapturedMail(msgspec.Struct, frozen=True, kw_only=True):
    """One email as it would have gone out. Later ones have greater ids."""

    id: int
    captured_at: datetime
    sender: Mailbox
    to: Mailbox
    reply_to: Mailbox | None
    subject: str
    html: str | None
    text: str
    headers: dict[str, str]
    tags: dict[str, str]


class CapturedMails(Protocol):
    """The mailbox that everything captured falls into."""

    async def add(self, key: str | None, email: Email) -> int:
        """Keep it and answer its id. The same key again keeps nothing and answers the id of the first."""

    async def latest(self, limit: int, before: int | None = None) -> list[CapturedMail]:
        """Newest first, those with an id below `before`."""

    async def get(self, id: int) -> CapturedMail | None: ...

    async def clear(self) -> None:
        """Forget all of them, and their keys."""


class CaptureEmailSender:
    """Keeps every message once, whatever its address. Meant for development, demonstrations and tests."""

    provider = "capture"
    key_lifetime = timedelta(days=365)

    def __init__(self, mails: CapturedMails) -> None:
        self._mails = mails

    async def send(self, email: Email, key: str | None) -> Outcome:
        if refused := objection(email):
            return refused
        try:
            return Accepted(str(await self._mails.add(key, email)))
        except StoreUnavailableError as error:
            return Retryable(Reason.PROVIDER_UNAVAILABLE, detail=str(error))

    async def close(self) -> None:
        """There is nothing to close: the mailbox is not its own."""


def captured(id: int, at: datetime, email: Email) -> CapturedMail:
    return CapturedMail(
        id=id,
        captured_at=at,
        sender=email.sender,
        to=email.to,
        reply_to=email.reply_to,
        subject=email.subject,
        html=email.html,
        text=email.text,
        headers=email.headers,
        tags=email.tags,
    )
