"""What a process makes sure of before it begins, on a database server and on the database it brings along."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from adapters.embedded_postgres import EmbeddedPostgres
from adapters.person_keys import PersonKeys, WrongMasterKeyError
from adapters.postgres.migrations import migrate
from application.projections.notifications import NotificationRow, Notifications
from entrypoints.cli import main
from entrypoints.deployment import NotMigratedError, prepared, up_to_date
from entrypoints.settings import SettingError, Settings, load

KEY, OTHER_KEY = bytes(range(32)), bytes(32)


@pytest.fixture
def data() -> Iterator[Path]:
    """Not in pytest's own folder: each run of pytest closes that to other users, and PostgreSQL never runs as root."""
    with tempfile.TemporaryDirectory(prefix="carillon-tests-") as folder:
        yield Path(folder)


@pytest.fixture
def server(conninfo: str, data: Path) -> dict[str, str]:
    """The environment of a process on a server that was never migrated by this version."""
    return {"DATABASE_URL": conninfo, "CARILLON_DATA": str(data)}


def made(environment: dict[str, str]) -> dict[str, str]:
    """The same, once it was migrated."""
    with up_to_date(load(environment), migrating=True):
        return environment


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def with_key(environment: dict[str, str], key: bytes = KEY) -> Settings:
    return load({**environment, "CARILLON_MASTER_KEY": text(key)})


def meet_somebody(conninfo: str, key: bytes = KEY) -> None:
    keys = PersonKeys(key)
    (stored,) = keys.fresh([keys.person("acme", "jane@example.com")])
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "INSERT INTO person_keys (person, subject, wrapped) VALUES (%s, %s, %s)",
            (stored.person, stored.subject, stored.wrapped),
        )


def begun(settings: Settings, *, everything: bool = False) -> bytes:
    """The master key that a process would begin with."""
    with prepared(settings, everything=everything) as (_, key):
        return key


def invoked(command: str, environment: dict[str, str]) -> Result:
    return CliRunner().invoke(main, [command], env=environment)


# The master key


@pytest.mark.parametrize("everything", [True, False], ids=["run", "a role"])
def test_a_master_key_that_does_not_fit_what_is_stored_is_refused(server, conninfo, everything):
    meet_somebody(conninfo)
    assert begun(with_key(made(server)), everything=everything) == KEY
    with pytest.raises(WrongMasterKeyError):
        begun(with_key(server, OTHER_KEY), everything=everything)


def test_a_master_key_that_does_not_fit_is_one_line(server, conninfo):
    meet_somebody(conninfo)
    wrong = {"CARILLON_MASTER_KEY": text(OTHER_KEY), "EMAIL_PROVIDER": "capture"}
    finished = invoked("api", {**made(server), **wrong})
    assert (finished.exit_code, finished.stderr) == (1, "Error: CARILLON_MASTER_KEY does not fit the stored keys\n")


def test_run_makes_a_master_key_once(server, data):
    key = begun(load(server), everything=True)
    assert begun(load(server), everything=True) == key
    assert (data / "master-key").stat().st_mode & 0o777 == 0o600


def test_run_makes_no_master_key_where_somebody_is_known_under_another(server, conninfo, data):
    meet_somebody(conninfo)
    with pytest.raises(SettingError, match="CARILLON_MASTER_KEY must be set"):
        begun(load(server), everything=True)
    assert not (data / "master-key").exists()


def test_a_role_makes_no_master_key_and_uses_the_one_that_is_kept(server, data):
    made(server)
    with pytest.raises(SettingError, match="CARILLON_MASTER_KEY must be set"):
        begun(load(server))
    assert list(data.iterdir()) == []
    key = begun(load(server), everything=True)
    assert begun(load(server)) == key


def test_a_kept_master_key_that_is_none_is_said_to_be(server, data):
    made(server)
    (data / "master-key").write_text("hunter2\n")
    with pytest.raises(SettingError, match=r"CARILLON_MASTER_KEY must be set: what is in .* is no such key"):
        begun(load(server))


def test_migrate_needs_and_makes_no_master_key(server, data):
    finished = invoked("migrate", {**server, "CARILLON_MASTER_KEY": ""})
    assert (finished.exit_code, finished.output) == (0, "the database is up to date\n")
    assert list(data.iterdir()) == []


def test_on_the_database_it_brings_along_only_run_makes_a_master_key(data):
    settings = load({"CARILLON_DATA": str(data)})
    with EmbeddedPostgres(data):
        with up_to_date(settings, migrating=True):
            pass
        with pytest.raises(SettingError, match="CARILLON_MASTER_KEY must be set"):
            begun(settings)
        assert begun(settings, everything=True) == begun(settings)


# The state of the database


def test_a_role_refuses_a_database_whose_read_models_are_not_there(server):
    with pytest.raises(NotMigratedError, match="carillon migrate"):
        begun(with_key(server))
    assert begun(with_key(made(server))) == KEY


def test_a_role_refuses_read_models_of_another_version_until_they_are_made_anew(server, conninfo, monkeypatch):
    made(server)
    monkeypatch.setattr(Notifications, "row", NewerRow)
    with pytest.raises(NotMigratedError, match="carillon migrate"):
        begun(with_key(server))
    assert begun(with_key(made(server))) == KEY
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT mood FROM view_notifications.rows").fetchall() == []


class NewerRow(NotificationRow, kw_only=True):
    mood: str | None = None


# The queue


@pytest.mark.parametrize("role", ["dispatcher", "worker"])
def test_dispatcher_and_workers_apart_need_a_queue_between_them(server, role):
    apart = {**made(server), "CARILLON_MASTER_KEY": text(KEY), "EMAIL_PROVIDER": "capture", "REDIS_URL": ""}
    finished = invoked(role, apart)
    assert finished.exit_code == 1
    assert finished.stderr == (
        "Error: REDIS_URL must be set when the dispatcher and the workers are processes of their own\n"
    )


def test_a_process_of_the_version_before_appends_until_it_is_replaced(conninfo):
    """Without this its calls could not be recorded, and the next version would take them for abandoned."""
    with psycopg.connect(conninfo, autocommit=True) as database:
        database.execute("DELETE FROM migrations WHERE name = 'append_events_assigning'")
        database.execute("DROP FUNCTION append_events")
        database.execute(
            "CREATE FUNCTION append_events(uuid[]) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT 1::bigint'"
        )
        assert migrate(conninfo) == ["append_events_assigning"]
        assert database.execute("SELECT append_events('{}'::uuid[])").fetchall() == [(1,)]
        assert database.execute("SELECT count(*) FROM pg_proc WHERE proname = 'append_events'").fetchone() == (2,)


def test_tables_that_grow_with_each_message_are_sampled_little(server, conninfo):
    """Otherwise statistics are made of 30,000 wide rows, again and again, while somebody waits for an answer."""
    made(server)
    assert {table for table, _ in sampled(conninfo)} == {"stored_events", "view_notifications.rows"}
    assert max(sampled(conninfo).values()) <= 10


def test_a_log_that_an_older_version_made_is_sampled_less_once_and_then_as_its_owner_says(conninfo):
    with psycopg.connect(conninfo, autocommit=True) as database:
        database.execute("ALTER TABLE stored_events ALTER topic SET STATISTICS -1, ALTER state SET STATISTICS -1")
        migrate(conninfo)
        assert sampled(conninfo)["stored_events", "topic"] == 10
        assert sampled(conninfo)["stored_events", "state"] == 0
        database.execute("ALTER TABLE stored_events ALTER topic SET STATISTICS 500")
        migrate(conninfo)
        assert sampled(conninfo)["stored_events", "topic"] == 500


def test_who_migrates_does_not_wait_for_long_to_sample_less(conninfo):
    with psycopg.connect(conninfo) as vacuum, psycopg.connect(conninfo, autocommit=True) as database:
        database.execute("ALTER TABLE stored_events ALTER state SET STATISTICS -1")
        vacuum.execute("LOCK TABLE stored_events IN SHARE UPDATE EXCLUSIVE MODE")
        migrate(conninfo)
        assert sampled(conninfo)["stored_events", "state"] == 100


def sampled(conninfo: str) -> dict[tuple[str, str], int]:
    """By table and column, the target of its statistics; 100 where nobody has said one."""
    with psycopg.connect(conninfo) as connection:
        targets = connection.execute(
            "SELECT attrelid::regclass::text, attname, coalesce(nullif(attstattarget, -1), 100) FROM pg_attribute"
            " WHERE attnum > 0 AND attrelid = ANY(ARRAY[to_regclass('stored_events'),"
            " to_regclass('view_notifications.rows')])"
        ).fetchall()
    return {(table, column): target for table, column, target in targets}
