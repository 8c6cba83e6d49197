"""Who carries mail."""

from datetime import timedelta
from typing import Protocol

import msgspec

from domain.mailbox import Mailbox
from domain.outcomes import Outcome


class Email(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one recipient. `tags` come back in the provider's callbacks: ids, never personal data."""

    sender: Mailbox
    to: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    html: str | None
    text: str
    headers: dict[str, str] = {}
    tags: dict[str, str] = {}


class EmailSender(Protocol):
    """One provider of email.

    A failure is a value, never an exception; only cancellation passes through. `Retryable` promises that nothing
    went out; where that is not certain the answer is `Unknown`.
    """

    @property
    def provider(self) -> str:
        """Its name in events, metrics and settings."""

    @property
    def key_lifetime(self) -> timedelta | None:
        """How long it remembers a key and will not send twice under it; None: it knows no keys."""

    async def send(self, email: Email, key: str | None) -> Outcome:
        """Hand one message over. `key` names it: also a provider that knows no keys may mark the message with it."""

    async def close(self) -> None: ...
