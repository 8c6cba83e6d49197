"""API keys: configuration, not history, so a table of its own."""

from collections.abc import Collection

from adapters.api_keys import fits, new_text, taken_apart
from adapters.postgres.database import Database
from application.ports.api_keys import ApiKey

_COLUMNS = "id, tenant, name, scopes, created_at, revoked_at, owner_email"


class PostgresApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, tenant: str, name: str, scopes: Collection[str], owner_email: str | None = None
    ) -> tuple[ApiKey, str]:
        id, text, digest = new_text()
        rows = await self._database.rows(
            "INSERT INTO api_keys (id, tenant, name, scopes, digest, created_at, owner_email)"
            f" VALUES (%s, %s, %s, %s, %s, now(), %s) RETURNING {_COLUMNS}",
            (id, tenant, name, sorted(scopes), digest, owner_email),
        )
        return _key(rows[0]), text

    async def find(self, text: str) -> ApiKey | None:
        parts = taken_apart(text)
        if parts is None:
            return None
        id, secret = parts
        rows = await self._database.rows(
            f"SELECT {_COLUMNS}, digest FROM api_keys WHERE id = %s AND revoked_at IS NULL", (id,)
        )
        stored = bytes(rows[0][-1]) if rows else None
        return _key(rows[0][:-1]) if fits(secret, stored) else None

    async def all(self) -> list[ApiKey]:
        return [_key(row) for row in await self._database.rows(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at")]

    async def tenant_has_one(self, tenant: str) -> bool:
        ((found,),) = await self._database.rows(
            "SELECT EXISTS (SELECT 1 FROM api_keys WHERE tenant = %s AND revoked_at IS NULL)", (tenant,)
        )
        return bool(found)

    async def revoke(self, id: str) -> bool:
        rows = await self._database.rows(
            "UPDATE api_keys SET revoked_at = now(), owner_email = NULL"
            " WHERE id = %s AND revoked_at IS NULL RETURNING id",
            (id,),
        )
        return bool(rows)


def _key(row: tuple) -> ApiKey:  # type: ignore[type-arg]
    id, tenant, name, scopes, created_at, revoked_at, owner_email = row
    return ApiKey(
        id=id,
        tenant=tenant,
        name=name,
        scopes=frozenset(scopes),
        created_at=created_at,
        revoked_at=revoked_at,
        owner_email=owner_email,
    )
