"""Who asks. The tenant always comes from the key, never from what was sent."""

from enum import StrEnum

import msgspec


class Scope(StrEnum):
    SEND = "send"
    READ = "read"
    INTERNAL = "internal"
    TEMPLATES = "templates"
    READERS = "readers"
    WEBHOOKS = "webhooks"
    ADMIN = "admin"


class Caller(msgspec.Struct, frozen=True):
    """`by` names the caller in events, such as `key:0a1b2c3d4e5f` or `cli`; `owner_email` is whose key it is."""

    tenant: str
    by: str
    scopes: frozenset[str] = frozenset(Scope)
    owner_email: str | None = None
