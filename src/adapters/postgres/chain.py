"""The links of the tenants' chains. Nothing here changes or removes one."""

from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from adapters.postgres.database import Database
from application.ports.log import ConflictError
from domain.chain import Link

CREATE_CHAIN = """
    CREATE TABLE chain_links (
        tenant text NOT NULL,
        first_position bigint NOT NULL,
        last_position bigint NOT NULL,
        events bigint NOT NULL,
        hash bytea NOT NULL,
        PRIMARY KEY (tenant, last_position)
    );
    CREATE INDEX chain_links_last_position ON chain_links (last_position);
    INSERT INTO process_positions (process, position) VALUES ('chain', 0);
"""

_LINK = "tenant, first_position, last_position, events, hash"

_HEADS_OF = f"""
    SELECT head.* FROM unnest(%s::text[]) AS asked (name), LATERAL (
        SELECT {_LINK} FROM chain_links WHERE tenant = asked.name ORDER BY last_position DESC LIMIT 1
    ) head ORDER BY head.tenant COLLATE "C"
"""

_ALL_HEADS = f"""
    WITH RECURSIVE tenants (tenant) AS (
        (SELECT tenant FROM chain_links ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT l.tenant FROM chain_links l WHERE l.tenant > t.tenant ORDER BY l.tenant LIMIT 1)
        FROM tenants t WHERE t.tenant IS NOT NULL
    )
    SELECT head.* FROM tenants t CROSS JOIN LATERAL (
        SELECT {_LINK} FROM chain_links l WHERE l.tenant = t.tenant ORDER BY last_position DESC LIMIT 1
    ) head ORDER BY t.tenant COLLATE "C"
"""

_EXTEND = f"""
    WITH moved AS (
        UPDATE process_positions SET position = %s WHERE process = 'chain' AND position = %s RETURNING position
    ), put AS (
        INSERT INTO chain_links ({_LINK})
        SELECT new.* FROM moved, unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[]) AS new
    )
    SELECT position FROM moved
"""


class PostgresChain:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def position(self) -> int:
        rows = await self._database.rows("SELECT position FROM process_positions WHERE process = 'chain'")
        return int(rows[0][0])

    async def heads(self, tenants: Collection[str] | None = None) -> list[Link]:
        if tenants is None:
            return _links(await self._database.rows(_ALL_HEADS))
        return _links(await self._database.rows(_HEADS_OF, (list(tenants),)))

    async def links(self, after: int, until: int) -> list[Link]:
        return _links(
            await self._database.rows(
                f"SELECT {_LINK} FROM chain_links WHERE last_position > %s AND last_position <= %s"
                ' ORDER BY last_position, tenant COLLATE "C"',
                (after, until),
            )
        )

    async def extend(self, links: Sequence[Link], position: int, *, after: int) -> None:
        columns = [[getattr(link, name) for link in links] for name in Link.__struct_fields__]
        try:
            moved = await self._database.rows(_EXTEND, (position, after, *columns))
        except psycopg.errors.UniqueViolation:
            raise ConflictError("a link that is there already") from None
        if not moved:
            raise ConflictError(f"the chain does not stand at {after}")


def _links(rows: Sequence[tuple[Any, ...]]) -> list[Link]:
    return [Link(*row) for row in rows]
