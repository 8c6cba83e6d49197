"""API keys that last as long as the process."""

from collections.abc import Collection

import msgspec

from adapters.api_keys import fits, new_text, taken_apart
from application.ports.api_keys import ApiKey
from application.ports.time_and_chance import Clock


class MemoryApiKeys:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}
        self._digests: dict[str, bytes] = {}

    async def create(
        self, tenant: str, name: str, scopes: Collection[str], owner_email: str | None = None
    ) -> tuple[ApiKey, str]:
        id, text, self._digests[id] = new_text()
        key = ApiKey(
            id=id,
            tenant=tenant,
            name=name,
            scopes=frozenset(scopes),
            created_at=self._clock.now(),
            owner_email=owner_email,
        )
        self._keys[id] = key
        return key, text

    async def find(self, text: str) -> ApiKey | None:
        id, secret = taken_apart(text) or ("", "")
        key = self._keys.get(id)
        return key if fits(secret, self._digests.get(id)) and key and not key.revoked_at else None

    async def all(self) -> list[ApiKey]:
        return list(self._keys.values())

    async def tenant_has_one(self, tenant: str) -> bool:
        return any(key.tenant == tenant and not key.revoked_at for key in self._keys.values())

    async def revoke(self, id: str) -> bool:
        key = self._keys.get(id)
        if key is None or key.revoked_at:
            return False
        self._keys[id] = msgspec.structs.replace(key, revoked_at=self._clock.now(), owner_email=None)
        return True
