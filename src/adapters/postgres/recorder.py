"""The library's recorder with one insert for many streams, and the schedule in the same transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError, PersistenceError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.utils import retry
from msgspec.structs import astuple
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from adapters.group_commit import Append, LaneRow
from adapters.postgres.columns import Bigints, Blobs, Texts, Uuids
from adapters.postgres.database import RECONNECT_SECONDS, network_patience
from application.ports import ConflictError, StaleError, StoreUnavailableError

APPEND_LOCK = 0x0CA7_1110
"""The lock under which positions are drawn and committed, so that the log never shows a gap that fills later."""

_PATIENCE_WITH_THE_HOLDER = 2  # seconds: who is stopped in the middle of an append stops everybody else's
_Version = tuple[UUID | str, int]


def open_datastore(conninfo: str, *, connections: int = 1, lock_timeout: int = 5) -> PostgresDatastore:
    """The library's own pool. Its database functions stay off: they drop the lock, and readers would lose events.

    Nobody waits longer than `lock_timeout` seconds for a lock.
    """
    given = conninfo_to_dict(conninfo)
    dbname, host, port, user, password = (
        str(given.pop(name, None) or "") for name in ("dbname", "host", "port", "user", "password")
    )
    datastore = PostgresDatastore(
        dbname,
        host,
        port,
        user,
        password,
        pool_size=connections,
        lock_timeout=lock_timeout,
        idle_in_transaction_session_timeout=_PATIENCE_WITH_THE_HOLDER,
    )
    kwargs = datastore.pool.kwargs
    assert isinstance(kwargs, dict)
    options = f"{given.pop('options', None) or ''} -c lock_timeout={lock_timeout}s"
    kwargs.update(network_patience(conninfo) | given, options=options.strip())
    datastore.pool.reconnect_timeout = RECONNECT_SECONDS
    return datastore


class LogRecorder(PostgresApplicationRecorder):
    """Appends in one statement: lock, wake-up, keys, schedule and events.

    The lock is held for no longer than the server takes to write, whatever else the client has to do; with a statement
    for each, it would be held for as many round trips, and everybody else would wait.
    """

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore)
        if datastore.enable_db_functions:
            raise ValueError("POSTGRES_ENABLE_DB_FUNCTIONS drops the lock that keeps the log gap-free")
        self.lock_table_statements = [SQL("SELECT pg_advisory_xact_lock({0})").format(APPEND_LOCK)]
        self.append_statement = self.statement(locked=True)
        self._append_with_lanes = self.statement(locked=True, lanes=_LANES)

    def statement(self, *, locked: bool, lanes: str = "") -> str:
        """What appends. Without the lock it would lose events for readers; a test shows that it does.

        What comes with lanes, which is seldom, has a statement of its own: the other is what everybody waits for.
        """
        lock = SQL("SELECT append_lock(%b::uuid[], %b::bigint[])" if locked else "SELECT %b::uuid[], %b::bigint[]")
        table = Identifier(self.datastore.schema, self.events_table_name)
        return SQL(_APPEND).format(lock=lock, lanes=SQL(lanes), channel=self.channel_name, table=table).as_string()

    @retry((InterfaceError, OperationalError), max_attempts=2, wait=0.05)
    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, appends: Sequence[Append] = (), **_: Any
    ) -> Sequence[int] | None:
        """Once more after a lost connection; the library's ten times would keep every caller waiting for a minute.

        No pipeline: psycopg (3.3.9) begins to wait for the answer when only as much as fits into the socket's buffer
        was sent, and with an insert of some 200 kB that is for ever.
        """
        if not stored_events:
            return None
        with self.datastore.get_connection() as conn, conn.cursor() as curs:
            lanes = [lane for append in appends for lane in append.lanes]
            statement = self._append_with_lanes if lanes else self.append_statement
            seen = {(id, length) for append in appends for id, length in append.seen.items()}
            values = [
                Uuids(id for id, _ in seen),
                Bigints(length for _, length in seen),
                *(lane_columns(lanes) if lanes else ()),
                *_values(stored_events, appends),
            ]
            curs.execute(statement, values, prepare=True, binary=True)
            return [row["notification_id"] for row in curs.fetchall()]

    def append(self, appends: Sequence[Append]) -> list[int | Exception]:
        """Write all that can be written in one transaction; a conflict fails its own append only.

        Raises StoreUnavailableError when nobody can know what was stored.
        """
        try:
            return self._append(appends)
        except PersistenceError as error:
            raise StoreUnavailableError(str(error)) from error

    def _append(self, appends: Sequence[Append]) -> list[int | Exception]:
        answers: list[int | Exception] = [ConflictError("the stream has grown meanwhile")] * len(appends)
        pending = _without_clashes(appends)
        pending = self._without_stale(pending, _grown_by(pending), answers)
        while pending:
            try:
                positions = self.insert_events(_events(pending), appends=[appends[i] for i in pending])
            except IntegrityError as error:
                stored = self._stored([appends[i] for i in pending])
                rest = self._sort_out(pending, stored, answers)
                rest = self._without_stale(rest, self._lengths(rest), answers)
                if len(rest) == len(pending):
                    raise StoreUnavailableError(str(error)) from error
                pending = rest
            else:
                _hand_out(pending, positions or [], answers)
                break
        return answers

    def _sort_out(
        self,
        pending: Mapping[int, Append],
        stored: Mapping[_Version, tuple[int, bytes]],
        answers: list[int | Exception],
    ) -> dict[int, Append]:
        """After a refused insert: what is free to try again. An append stored before a lost answer is done."""
        rest = {}
        for i, append in pending.items():
            found = [stored.get((e.originator_id, e.originator_version)) for e in append.events]
            if not any(found):
                rest[i] = append
            elif all(f and f[1] == e.state for f, e in zip(found, append.events, strict=True)):
                answers[i] = found[-1][0]  # type: ignore[index]
        return rest

    def _without_stale(
        self, pending: Mapping[int, Append], lengths: Mapping[UUID | str, int], answers: list[int | Exception]
    ) -> dict[int, Append]:
        """Those whose decisions still rest on all that there is."""
        stale = {i for i, append in pending.items() if any(lengths.get(id, 0) > n for id, n in append.seen.items())}
        for i in stale:
            answers[i] = StaleError("what was decided on has changed meanwhile")
        return {i: append for i, append in pending.items() if i not in stale}

    def _lengths(self, pending: Mapping[int, Append]) -> dict[UUID | str, int]:
        """Of the streams that these were decided on."""
        ids = list({id for append in pending.values() for id in append.seen})
        with self.datastore.get_connection() as conn, conn.cursor() as curs:
            curs.execute(
                SQL(
                    "SELECT originator_id, max(originator_version) AS length FROM {0}.{1}"
                    " WHERE originator_id = ANY(%b::uuid[]) GROUP BY originator_id"
                ).format(Identifier(self.datastore.schema), Identifier(self.events_table_name)),
                (ids,),
            )
            return {row["originator_id"]: row["length"] for row in curs.fetchall()}

    def _stored(self, appends: Sequence[Append]) -> dict[_Version, tuple[int, bytes]]:
        events = [event for append in appends for event in append.events]
        with self.datastore.get_connection() as conn, conn.cursor() as curs:
            curs.execute(
                SQL(
                    "SELECT e.originator_id, e.originator_version, e.notification_id, e.state FROM {0}.{1} e"
                    " JOIN unnest(%b::uuid[], %b::bigint[]) AS new (id, version)"
                    " ON e.originator_id = new.id AND e.originator_version = new.version"
                ).format(Identifier(self.datastore.schema), Identifier(self.events_table_name)),
                ([e.originator_id for e in events], [e.originator_version for e in events]),
            )
            return {
                (r["originator_id"], r["originator_version"]): (r["notification_id"], bytes(r["state"]))
                for r in curs.fetchall()
            }


CREATE_APPEND_LOCK = f"""
    CREATE FUNCTION append_lock(ids uuid[], lengths bigint[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock({APPEND_LOCK});
        PERFORM FROM unnest(ids, lengths) AS seen (id, length), LATERAL (
            SELECT FROM stored_events WHERE originator_id = seen.id AND originator_version > seen.length LIMIT 1
        ) AS later;
        IF FOUND THEN
            RAISE unique_violation USING MESSAGE = 'what was decided on has changed meanwhile';
        END IF;
    END $$;
"""
"""Takes the lock, then refuses if one of these streams is longer than that.

It has to be a function: a statement sees what was committed when it began, which was before it waited for the lock;
each statement of a function sees what is committed when that one begins (PostgreSQL, 38.7).
"""

_LANES = """
    terms AS MATERIALIZED (
        SELECT * FROM unnest(%b::text[], %b::text[], %b::int[], %b::float8[], %b::boolean[], %b::boolean[])
          AS said (channel, lane, concurrency, per_second, held, dropped)
    ), unlaned AS (
        DELETE FROM lanes l USING terms WHERE l.channel = terms.channel AND l.lane = terms.lane AND terms.dropped
    ), laned AS (
        INSERT INTO lanes AS l (channel, lane, concurrency, per_second, held)
        SELECT channel, lane, concurrency, per_second, held FROM terms WHERE NOT dropped
        ON CONFLICT (channel, lane) DO UPDATE
        SET concurrency = excluded.concurrency, per_second = excluded.per_second, held = excluded.held,
            closed_until = CASE WHEN excluded.held OR NOT l.held THEN l.closed_until END,
            free_at = CASE WHEN l.per_second IS NOT DISTINCT FROM excluded.per_second THEN l.free_at END
    ),
"""

_APPEND = """
    WITH locked AS MATERIALIZED ({lock}), woken AS MATERIALIZED (SELECT pg_notify({channel}, '')),
    {lanes} known AS (
        INSERT INTO person_keys (person, subject, wrapped)
        SELECT * FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[]) ON CONFLICT (person) DO NOTHING
    ), done AS (
        DELETE FROM schedule WHERE notification_id = ANY(%b::uuid[])
    ), due AS (
        INSERT INTO schedule (notification_id, tenant_id, channel, lane, head_start, due_at, rank_at, attempt)
        SELECT id, tenant, channel, lane, head_start, at, at + head_start, attempt
        FROM (
            SELECT id, tenant, channel, lane, seconds * interval '1 s' AS head_start, coalesce(at, now()) AS at, attempt
            FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::timestamptz[], %b::bigint[])
              AS sent (id, tenant, channel, lane, seconds, at, attempt)
        ) new
        ON CONFLICT (notification_id) DO UPDATE
        SET due_at = excluded.due_at, rank_at = excluded.rank_at, attempt = excluded.attempt,
            lease_until = NULL, lease_token = NULL, unreadable = 0
    )
    INSERT INTO {table} (originator_id, originator_version, topic, state)
    SELECT id, version, topic, state
    FROM locked, woken, unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[])
      WITH ORDINALITY AS new (id, version, topic, state, place) ORDER BY place
    RETURNING notification_id
"""


def lane_columns(rows: Iterable[LaneRow]) -> list[list[Any]]:
    """Channel, lane, concurrency, per_second, held and dropped; of several rows of one lane the last counts."""
    last = {(row.channel, row.lane): row for row in rows}
    return [list(column) for column in zip(*(astuple(last[lane]) for lane in sorted(last)), strict=True)] or [[]] * 6


def _values(events: Sequence[StoredEvent], appends: Sequence[Append]) -> list[Any]:
    keys = [key for append in appends for key in append.keys]
    rows = {row.notification: row for append in appends for row in append.due}
    waiting = [(row, row.due) for row in rows.values() if row.due]
    return [
        Uuids(key.person for key in keys),
        Blobs(key.subject for key in keys),
        Blobs(key.wrapped for key in keys),
        Uuids(id for id, row in rows.items() if row.due is None),
        Uuids(row.notification for row, _ in waiting),
        Texts(row.tenant for row, _ in waiting),
        Texts(row.channel for row, _ in waiting),
        Texts(row.lane for row, _ in waiting),
        Bigints(int(row.head_start.total_seconds()) for row, _ in waiting),
        [None if row.at_once else due.at for row, due in waiting],
        Bigints(due.attempt for _, due in waiting),
        Uuids(event.originator_id for event in events),  # type: ignore[misc]
        Bigints(event.originator_version for event in events),
        Texts(event.topic for event in events),
        Blobs(event.state for event in events),
    ]


def _events(pending: Mapping[int, Append]) -> list[StoredEvent]:
    return [event for append in pending.values() for event in append.events]


def _without_clashes(appends: Sequence[Append]) -> dict[int, Append]:
    """Those that do not claim a place in a stream that an earlier one of the same lot claims."""
    claimed: set[_Version] = set()
    free = {}
    for i, append in enumerate(appends):
        places = {(e.originator_id, e.originator_version) for e in append.events}
        if claimed.isdisjoint(places):
            claimed |= places
            free[i] = append
    return free


def _grown_by(pending: Mapping[int, Append]) -> dict[UUID | str, int]:
    """How long the streams will be that these add to."""
    return {e.originator_id: e.originator_version for append in pending.values() for e in append.events}


def _hand_out(pending: Mapping[int, Append], positions: Sequence[int], answers: list[int | Exception]) -> None:
    end = 0
    for i, append in pending.items():
        end += len(append.events)
        answers[i] = positions[end - 1]
