"""Who may ask."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

import msgspec


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key; the key itself is shown once and never stored.

    `owner_email` is where tests that are sent with it go; it is forgotten when the key is revoked.
    """

    id: str
    tenant: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None
    owner_email: str | None = None


class ApiKeys(Protocol):
    async def create(
        self, tenant: str, name: str, scopes: Collection[str], owner_email: str | None = None
    ) -> tuple[ApiKey, str]:
        """A new key and, this once, its text `ck_<id>_<secret>`."""

    async def find(self, text: str) -> ApiKey | None:
        """The live key with exactly this text. Takes as long for a wrong id as for a wrong secret."""

    async def all(self) -> list[ApiKey]: ...

    async def tenant_has_one(self, tenant: str) -> bool:
        """Whether any live key is this tenant's."""

    async def revoke(self, id: str) -> bool:
        """True if it was live until now. Its owner's address is forgotten."""
