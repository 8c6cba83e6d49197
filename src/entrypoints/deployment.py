"""Where a process runs: on a database that was given or the one it brings along, with the keys that belong to it."""

import asyncio
import base64
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

import psycopg
import structlog

from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresUnavailableError
from adapters.person_keys import PersonKeys, WrongMasterKeyError
from adapters.postgres.database import Database, open_pool
from adapters.postgres.migrations import migrate, missing
from adapters.postgres.person_keys import a_stored_key
from adapters.templates.problems import TemplateFolderError
from entrypoints.read_models import create_views, missing_views
from entrypoints.settings import SettingError, Settings
from entrypoints.values import master_key

T = TypeVar("T")


class NotMigratedError(Exception):
    """The database is not at the state that this version needs."""


NOT_READY = (EmbeddedPostgresUnavailableError, NotMigratedError, TemplateFolderError, WrongMasterKeyError)
"""What can be wrong with the set-up, each with a message for the operator."""


@contextmanager
def prepared(settings: Settings, *, everything: bool) -> Iterator[tuple[str, bytes]]:
    """A database that is up to date, and the master key of its data. Raises one of NOT_READY or SettingError.

    Only the process that is `everything` brings a database server up to date itself, and makes a key where there is
    none: of several processes each would make its own.
    """
    with up_to_date(settings, migrating=everything) as conninfo:
        yield conninfo, _master_key(settings, conninfo, may_make=everything)


@contextmanager
def up_to_date(settings: Settings, *, migrating: bool) -> Iterator[str]:
    """A database that is up to date; the embedded one is always brought there. Raises as `prepared` does."""
    if settings.database_url:
        _bring_up_to_date(settings.database_url, migrating=migrating)
        yield settings.database_url
    else:
        with EmbeddedPostgres(settings.data) as server:
            conninfo = server.start()
            server.supervise(_tell_of_revival)
            _bring_up_to_date(conninfo, migrating=True)
            yield conninfo


def _tell_of_revival(error: EmbeddedPostgresUnavailableError | None) -> None:
    log = structlog.get_logger("database")
    if error:
        log.error("embedded database does not start again", error=str(error))
    else:
        log.warning("embedded database had ended and was started again")


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
    with _answering():
        if migrating:
            migrate(conninfo)
            asyncio.run(_with_database(conninfo, create_views))
        elif missing(conninfo) or asyncio.run(_with_database(conninfo, missing_views)):
            raise NotMigratedError("the database is not up to date: run `carillon migrate` first")


async def _with_database(conninfo: str, work: Callable[[Database], Awaitable[T]]) -> T:
    async with open_pool(conninfo, most=1) as pool:
        return await work(Database(pool))


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise SettingError("DATABASE_URL", f"names a database that does not answer: {reason}") from None


def _master_key(settings: Settings, conninfo: str, *, may_make: bool) -> bytes:
    """The key that was set or is kept, proved on what is stored; never a new one where something is."""
    with _answering():
        stored = a_stored_key(conninfo)
    key = settings.master_key or _kept_master_key(settings.data / "master-key", may_make=may_make and not stored)
    if stored:
        PersonKeys(key).check(stored)
    return key


def _kept_master_key(file: Path, *, may_make: bool) -> bytes:
    if not file.exists() and not may_make:
        raise SettingError("CARILLON_MASTER_KEY", "must be set: the key that people's data are sealed with")
    try:
        return master_key(kept_secret(file, lambda: base64.b64encode(secrets.token_bytes(32)).decode()))
    except ValueError:
        raise SettingError("CARILLON_MASTER_KEY", f"must be set: what is in {file} is no such key") from None
