"""The captured mails in PostgreSQL, so that every process fills the same mailbox."""

from datetime import datetime

import msgspec
from psycopg_pool import AsyncConnectionPool

from adapters.email.capture import CapturedMail, captured
from adapters.postgres.database import Database
from application.ports.email import Email

CAPTURED_MAILS_CHANNEL = "captured_mails"
"""Notified with the id of each mail as it comes in."""

# json and not jsonb, which cannot hold the NUL that a text may hold.
CREATE_CAPTURED_MAILS = """
    CREATE TABLE captured_mails (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text UNIQUE,
        captured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        email json NOT NULL
    );
"""

# The update changes nothing; it makes RETURNING answer the id of the one that is there.
_ADD = """
    WITH kept AS (
        INSERT INTO captured_mails (key, email) VALUES (%s, %s::json)
        ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id
    )
    SELECT id, pg_notify('captured_mails', id::text) FROM kept
"""
_SELECT = "SELECT id, captured_at, email::text FROM captured_mails"


class PostgresCapturedMails:
    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._database = Database(pool)

    async def add(self, key: str | None, email: Email) -> int:
        rows = await self._database.rows(_ADD, (key, msgspec.json.encode(email).decode()), binary=False)
        id: int = rows[0][0]
        return id

    async def latest(self, limit: int, before: int | None = None) -> list[CapturedMail]:
        rows = await self._database.rows(
            f"{_SELECT} WHERE id < coalesce(%s, 9223372036854775807) ORDER BY id DESC LIMIT %s", (before, limit)
        )
        return [_mail(*row) for row in rows]

    async def get(self, id: int) -> CapturedMail | None:
        rows = await self._database.rows(f"{_SELECT} WHERE id = %s", (id,))
        return _mail(*rows[0]) if rows else None

    async def clear(self) -> None:
        await self._database.rows("DELETE FROM captured_mails")


def _mail(id: int, captured_at: datetime, email: str) -> CapturedMail:
    return captured(id, captured_at, msgspec.json.decode(email, type=Email))
