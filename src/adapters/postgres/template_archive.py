"""Template bundles in PostgreSQL."""

from collections.abc import Mapping

from adapters.postgres.database import Database

CREATE_TEMPLATE_BUNDLES = """
CREATE TABLE template_bundles (
    version   text        PRIMARY KEY,
    bundle    bytea       NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
)
"""

# In the order of their versions, so that two processes that start together cannot wait for each other.
_PUT = """
INSERT INTO template_bundles (version, bundle)
SELECT version, bundle FROM unnest(%s::text[], %s::bytea[]) AS given (version, bundle) ORDER BY version
ON CONFLICT (version) DO NOTHING
RETURNING version
"""


class PostgresTemplateArchive:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, bundles: Mapping[str, bytes]) -> None:
        await self._database.rows(_PUT, (list(bundles), list(bundles.values())))

    async def get(self, version: str) -> bytes | None:
        rows = await self._database.rows("SELECT bundle FROM template_bundles WHERE version = %s", (version,))
        return bytes(rows[0][0]) if rows else None
