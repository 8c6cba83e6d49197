"""The tables, in numbered steps that run once each. The read models are made by their views, not here."""

from collections.abc import Sequence
from contextlib import closing, suppress

import psycopg
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.append_events import CREATE_APPEND_EVENTS
from adapters.postgres.captured_mails import CREATE_CAPTURED_MAILS
from adapters.postgres.chain import CREATE_CHAIN
from adapters.postgres.due_work import CREATE_LEASE_IN_BUDGET
from adapters.postgres.offers import CREATE_OFFERS, REPLACE_MAKE_OFFER
from adapters.postgres.schedule import CREATE_LANES, CREATE_SCHEDULE
from adapters.postgres.template_archive import CREATE_TEMPLATE_BUNDLES
from adapters.postgres.troubles import CREATE_TROUBLES

_MIGRATION_LOCK = 0x0CA7_1111

_PERSON_KEYS = """
    CREATE TABLE person_keys (person uuid PRIMARY KEY, subject bytea NOT NULL, wrapped bytea NOT NULL);
    CREATE INDEX person_keys_subject ON person_keys (subject);
"""

_PROVIDER_BUDGETS = """
    CREATE TABLE provider_budgets (
        provider text PRIMARY KEY,
        tokens double precision NOT NULL,
        refilled_at timestamptz NOT NULL,
        day date NOT NULL,
        day_used bigint NOT NULL,
        paused_until timestamptz,
        pause_reason text
    );
"""

_API_KEYS = """
    CREATE TABLE api_keys (
        id text PRIMARY KEY,
        tenant text NOT NULL,
        name text NOT NULL,
        scopes text[] NOT NULL,
        digest bytea NOT NULL,
        created_at timestamptz NOT NULL,
        revoked_at timestamptz
    );
"""

_API_KEY_OWNERS = "ALTER TABLE api_keys ADD COLUMN owner_email text"

_UNREADABLE = "ALTER TABLE schedule ADD COLUMN IF NOT EXISTS unreadable int NOT NULL DEFAULT 0"

_PROCESS_POSITIONS = "CREATE TABLE process_positions (process text PRIMARY KEY, position bigint NOT NULL)"

_LANES = f"""
    {CREATE_LANES}
    DROP INDEX IF EXISTS schedule_due;
    {CREATE_SCHEDULE}
"""

_LANES_WORKED = "ALTER TABLE lanes ADD COLUMN IF NOT EXISTS worked_at timestamptz"

_RECORD_COUNTS = """
    CREATE TABLE record_counts (
        topic text NOT NULL,
        fact text NOT NULL,
        count bigint NOT NULL,
        PRIMARY KEY (topic, fact)
    );
"""

_LEASED_AT = "ALTER TABLE schedule ADD COLUMN IF NOT EXISTS leased_at timestamptz"

_MADE_LAST = "stored_events_notification_id_idx"
"""By the library, of its table: to have it make sure of the rest again would wait for whoever looks after the table."""

_SAMPLED_AS_EVER = """
    SELECT FROM pg_attribute
    WHERE attrelid = 'stored_events'::regclass AND attname = 'state' AND coalesce(attstattarget, -1) = -1
"""
_SAMPLE_LESS = """
    ALTER TABLE stored_events
        SET (autovacuum_analyze_scale_factor = 0.1),
        ALTER originator_id SET STATISTICS 10,
        ALTER originator_id SET (n_distinct = -0.3),
        ALTER originator_version SET STATISTICS 10,
        ALTER topic SET STATISTICS 10,
        ALTER notification_id SET STATISTICS 10,
        ALTER state SET STATISTICS 0
"""
"""The library has 30,000 events looked at each time that the log has grown by a hundredth. We read it by stream, or on
from a position: there is little to know, and how many streams there are is better said than guessed from few events."""

MIGRATIONS: Sequence[tuple[str, str]] = (
    ("schedule", CREATE_SCHEDULE),
    ("person_keys", _PERSON_KEYS),
    ("provider_budgets", _PROVIDER_BUDGETS),
    ("api_keys", _API_KEYS),
    ("process_positions", _PROCESS_POSITIONS),
    ("template_bundles", CREATE_TEMPLATE_BUNDLES),
    ("captured_mails", CREATE_CAPTURED_MAILS),
    ("chain", CREATE_CHAIN),
    ("api_key_owners", _API_KEY_OWNERS),
    ("schedule_unreadable", _UNREADABLE),
    ("lanes", _LANES),
    ("lanes_worked", _LANES_WORKED),
    ("record_counts", _RECORD_COUNTS),
    ("schedule_bundle", CREATE_SCHEDULE),
    ("schedule_leased_at", _LEASED_AT),
    ("offers", CREATE_OFFERS),
    ("append_events_assigning", CREATE_APPEND_EVENTS),
    ("lease_in_budget_beside_offers", CREATE_LEASE_IN_BUDGET),
    ("troubles", CREATE_TROUBLES),
    ("make_offer_in_turn", REPLACE_MAKE_OFFER),
)


def migrate(conninfo: str) -> list[str]:
    """Bring the database up to date and answer the names of the steps that ran. Safe from several processes at once."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, ran_at timestamptz NOT NULL DEFAULT now())"
        )
        ran = {name for (name,) in connection.execute("SELECT name FROM migrations")}
        steps = [(name, sql) for name, sql in MIGRATIONS if name not in ran]
        for name, sql in steps:
            connection.execute(sql)
            connection.execute("INSERT INTO migrations (name) VALUES (%s)", (name,))
        if not _has(connection, _MADE_LAST):
            _create_log(conninfo)
    _sample_the_log_less(conninfo)
    return [name for name, _ in steps]


def _sample_the_log_less(conninfo: str) -> None:
    """Nothing depends on it: whoever holds the table longer than a moment is not waited for, until the next time."""
    with psycopg.connect(conninfo) as connection, suppress(psycopg.errors.LockNotAvailable):
        connection.execute("SET lock_timeout = '2s'")
        if connection.execute(_SAMPLED_AS_EVER).rowcount:
            connection.execute(_SAMPLE_LESS)


def missing(conninfo: str) -> list[str]:
    """The names of the steps that have not run yet."""
    with psycopg.connect(conninfo) as connection:
        made = _has(connection, "migrations")
        ran = {name for (name,) in connection.execute("SELECT name FROM migrations")} if made else set()
    return [name for name, _ in MIGRATIONS if name not in ran]


def _has(connection: psycopg.Connection, table: str) -> bool:
    return connection.execute("SELECT WHERE to_regclass(%s) IS NOT NULL", (table,)).rowcount > 0


def _create_log(conninfo: str) -> None:
    """The library's table, made by the library."""
    given = conninfo_to_dict(conninfo)
    address = [str(given.pop(name, None) or "") for name in ("dbname", "host", "port", "user", "password")]
    with closing(PostgresDatastore(*address)) as datastore:
        datastore.pool.kwargs.update(given)  # type: ignore[union-attr]
        PostgresApplicationRecorder(datastore).create_table()
