"""The stored keys as seen at the start, when nothing else is open yet."""

import psycopg

from adapters.person_keys import WrappedKey


def a_stored_key(conninfo: str) -> WrappedKey | None:
    """Any one of them, or None when no person was met yet: all are wrapped by the same master key."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT person, subject, wrapped FROM person_keys LIMIT 1").fetchone()
    return WrappedKey(*row) if row else None
