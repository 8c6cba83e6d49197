"""Personal data, always as one nested value of an event, so that it can be sealed with that person's own key.

`person` is the id of the key, not of anybody: it says nothing once the key is destroyed, and the value then reads as
`Erased`. Everything around it stays readable.
"""

from typing import Any
from uuid import UUID

import msgspec


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a notification goes to and what it says."""

    person: UUID
    address: str
    name: str | None = None
    variables: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What an inbox list would show of one rendered message; secret variables are masked in it."""

    person: UUID
    subject: str | None
    preview: str


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's own words about one message, which tend to repeat the address."""

    person: UUID
    text: str


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
