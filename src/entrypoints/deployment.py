"""Where a process runs: on a database that was given or the one it brings along, with the keys that belong to it."""

import asyncio
import base64
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import psycopg

from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresUnavailableError
from adapters.person_keys import WrongMasterKeyError
from adapters.postgres.database import Database, open_pool
from adapters.postgres.migrations import migrate, missing
from adapters.templates.problems import TemplateFolderError
from entrypoints.bootstrap import create_views
from entrypoints.settings import SettingError, Settings


class NotMigratedError(Exception):
    """The database is not at the state that this version needs."""


NOT_READY = (EmbeddedPostgresUnavailableError, NotMigratedError, TemplateFolderError, WrongMasterKeyError)
"""What can be wrong with the set-up, each with a message for the operator."""


@contextmanager
def prepared(settings: Settings, *, migrating: bool) -> Iterator[tuple[str, bytes]]:
    """A database that is up to date, and the master key of its data. Raises one of NOT_READY or SettingError."""
    if settings.database_url:
        _bring_up_to_date(settings.database_url, migrating=migrating)
        yield settings.database_url, _master_key(settings, may_make=migrating)
    else:
        with EmbeddedPostgres(settings.data) as server:
            conninfo = server.start()
            _bring_up_to_date(conninfo, migrating=True)
            yield conninfo, _master_key(settings, may_make=True)


def kept_secret(file: Path, make: Callable[[], str]) -> str:
    """The secret in this file, which only its owner can read; made at the first use, once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        with NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}-") as new:
            new.write(make() + "\n")
            new.flush()
            Path(new.name).chmod(0o600)
            with _someone_else_was_first():
                os.link(new.name, file)
    return file.read_text().strip()


@contextmanager
def _someone_else_was_first() -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        return


def _bring_up_to_date(conninfo: str, *, migrating: bool) -> None:
    try:
        if not migrating and missing(conninfo):
            raise NotMigratedError("the database is not up to date: run `carillon migrate` first")
        if migrating:
            migrate(conninfo)
            asyncio.run(_make_views(conninfo))
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise SettingError("DATABASE_URL", f"names a database that does not answer: {reason}") from None


async def _make_views(conninfo: str) -> None:
    async with open_pool(conninfo, most=1) as pool:
        await create_views(Database(pool))


def _master_key(settings: Settings, *, may_make: bool) -> bytes:
    if settings.master_key:
        return settings.master_key
    file = settings.data / "master-key"
    if not file.exists() and not may_make:
        raise SettingError("CARILLON_MASTER_KEY", "must be set: the key that people's data are sealed with")
    return base64.b64decode(kept_secret(file, lambda: base64.b64encode(secrets.token_bytes(32)).decode()))
