"""Personal data, always as one nested value of an event, so that it can be sealed with that person's own key.

`person` is the id of the key, not of anybody: it says nothing once the key is destroyed, and the value then reads as
`Erased`. Everything around it stays readable.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a notification goes to and what it says. `unsubscribe_url` is where its reader leaves, if there is one."""

    person: UUID
    address: str
    name: str | None = None
    variables: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    unsubscribe_url: str | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What an inbox list would show of one rendered message; secret variables are masked in it.

    `url` is where a webhook was sent to, which may have changed since.
    """

    person: UUID
    subject: str | None
    preview: str
    url: str | None = None


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver answered: the beginning of the body as text, and how long the exchange took."""

    status: int
    headers: dict[str, str] = {}
    body: str = ""
    milliseconds: float


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's own words about one message, which tend to repeat the address; and all of a receiver's answer."""

    person: UUID
    text: str
    response: Response | None = None


class SigningSecret(msgspec.Struct, frozen=True):
    """A secret that requests are signed with: `until` says how long still, None that it is the current one."""

    text: str
    until: datetime | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a subscription's webhooks go, with what in their heads and signed with what; newest secret first.

    All of it may let somebody in who should not be, so it is sealed like what is personal.
    """

    person: UUID
    url: str
    headers: dict[str, str] = {}
    secrets: tuple[SigningSecret, ...] = ()
    owner_email: str | None = None

    def secrets_at(self, moment: datetime) -> tuple[str, ...]:
        return tuple(each.text for each in self.secrets if each.until is None or moment < each.until)


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What a service told us happened."""

    person: UUID
    data: dict[str, Any]


class RecordBody(msgspec.Struct, frozen=True, kw_only=True):
    """A record of Kafka as it came, or its beginning, with what is wrong with it."""

    person: UUID
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    problems: tuple[str, ...] = ()


class ConsentedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address as its reader gave it: `text` is what was shown when it was, `ip` where that came from."""

    person: UUID
    address: str
    text: str | None = None
    ip: str | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An address on a suppression list."""

    person: UUID
    address: str


class Erased(msgspec.Struct, frozen=True):
    """What is left of personal data whose key was destroyed."""

    person: UUID


class PersonErasedError(Exception):
    """What is to be kept of a person cannot be sealed any more: the key was destroyed."""
