"""Databases that tests have for themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier


@contextmanager
def new_database(server: str, *, like: str = "template1") -> Iterator[str]:
    """Where a copy of the database `like` can be reached, which goes away at the end, whoever is still connected."""
    name = f"carillon_test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(like)))
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            # Not WITH (FORCE), which fails where autovacuum is at work; without it PostgreSQL stops that by itself.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user",
                (name,),
            )
            connection.execute(SQL("DROP DATABASE {}").format(Identifier(name)))
