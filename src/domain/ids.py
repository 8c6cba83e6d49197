"""Ids that follow from what they name. Random and time-ordered ids are drawn by a port and passed in."""

from datetime import UTC, datetime
from hashlib import sha1
from uuid import UUID

_ACCEPTANCES = UUID("6f2b8f0e-0d3c-5a47-9d5e-3a0f5a0b7c11")
_RECEIPTS = UUID("0f6c2b52-7f64-5b0a-8f9b-2e6a4d1c9e27")
_EVENT_TYPES = UUID("5d0c3ad4-8f55-5c1b-9f0e-7a4c2f3b6e18")
_TEMPLATES = UUID("b0e6a7a4-4d0e-5c55-8a0e-3c1f0d9f6a42")
_PREFERENCES = UUID("7d1f3a0e-52c6-5b1d-a3c4-0f6b9d2e8c51")
_SUPPRESSIONS = UUID("c2a94b16-8e0d-5f37-b6a1-4d5e7f90b2a8")
_PUBLISHING = UUID("e5f792e2-b955-54de-ae1f-a2b2d4ede8dd")
_HAPPENINGS = UUID("9c1d7e52-43c8-5e1b-a6f4-7d20b5e3c918")
_BUNDLES = UUID("3e8f5b07-61d9-5a2c-9b74-c05e1d8a46f3")
_MAPPINGS = UUID("3e8a51c7-90b4-5d26-8f1e-c6d2074b9a35")
_RECORDS = UUID("e14b6d90-27fa-5c83-b0d7-5a9c3f81e264")
_TOLD = UUID("58d0c2f6-b73e-5419-92ac-0e7d4b6f1c83")
_LIMITS = UUID("4e6a8c1b-90d7-5f24-8b3e-c1f5a2d7e603")
_SAYINGS = UUID("e83b5d70-1c4f-5a96-9d2e-6f07c8a1b3d5")


def acceptance_id(tenant: str, idempotency_key: str) -> UUID:
    """The stream of one idempotency key of one tenant."""
    return _derived(_ACCEPTANCES, f"{tenant}\x00{idempotency_key}")


def receipt_id(provider: str, event_id: str) -> UUID:
    """The stream of one callback event of one provider."""
    return _derived(_RECEIPTS, f"{provider}\x00{event_id}")


def template_id(tenant: str, name: str) -> UUID:
    """The stream of one template of a tenant's own."""
    return _derived(_TEMPLATES, f"{tenant}\x00{name}")


def preferences_id(tenant: str, user: str) -> UUID:
    """The stream of what one user of a tenant wishes."""
    return _derived(_PREFERENCES, f"{tenant}\x00{user}")


def suppression_id(tenant: str, channel: str, address_digest: str) -> UUID:
    """The stream of one address of a channel, named by a keyed digest of it."""
    return _derived(_SUPPRESSIONS, f"{tenant}\x00{channel}\x00{address_digest}")


def happening_id(tenant: str, event_id: str) -> UUID:
    """The stream of one event that a tenant told us of."""
    return _derived(_HAPPENINGS, f"{tenant}\x00{event_id}")


def limits_id(tenant: str) -> UUID:
    """The stream of how much one tenant lets go out."""
    return _derived(_LIMITS, tenant)


def saying_id(tenant: str, content_digest: str) -> UUID:
    """The stream of one content for one address, named by a keyed digest of both."""
    return _derived(_SAYINGS, f"{tenant}\x00{content_digest}")


def event_type_id(tenant: str, name: str) -> UUID:
    """The stream of one type of event as one tenant describes it."""
    return _derived(_EVENT_TYPES, f"{tenant}\x00{name}")


def mappings_id(tenant: str) -> UUID:
    """The stream of all mappings of one tenant's own."""
    return _derived(_MAPPINGS, tenant)


def record_id(topic: str, partition: int, offset: int, timestamp: int) -> UUID:
    """The stream of one record of Kafka; its timestamp tells it from one of a topic that was made anew."""
    return _derived(_RECORDS, f"{topic}\x00{partition}\x00{offset}\x00{timestamp}")


def told_id(tenant: str, mapping: str, event: str) -> UUID:
    """What an event that came by Kafka is called when it is told on by one mapping."""
    return _derived(_TOLD, f"{tenant}\x00{mapping}\x00{event}")


def publishing_id(tenant: str) -> UUID:
    """The stream of what one tenant wants other systems to be told."""
    return _derived(_PUBLISHING, tenant)


def bundle_id(
    tenant: str,
    channel: str,
    address_digest: str,
    user: str,
    category: str,
    purpose: str,
    locale: str,
    until: datetime,
) -> UUID:
    """What one digest is made of: all of a kind that waits until the same moment for one user at one address."""
    moment = until.astimezone(UTC).isoformat()
    return _derived(_BUNDLES, "\x00".join((tenant, channel, address_digest, user, category, purpose, locale, moment)))


def _derived(names: UUID, name: str) -> UUID:
    """A UUIDv5 (RFC 9562, 5.5), as `uuid.uuid5` makes it in twice the time."""
    digest = int.from_bytes(sha1(names.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    return UUID(int=digest & _FREE | _VERSION_5)


_FREE = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_5 = 5 << 76 | 0x8000 << 48
