"""Read models: one schema per projection, whose table follows from its row struct."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, get_args, get_type_hints
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier

from adapters.postgres.database import Database
from adapters.stopping import together
from application.ports.log import ConflictError
from application.processes.rebuild import Difference
from application.projections.projection import Projection

R = TypeVar("R", bound=msgspec.Struct)

_TYPES: dict[Any, str] = {
    UUID: "uuid",
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    datetime: "timestamptz",
    Decimal: "numeric",
    bytes: "bytea",
}
_WORTH_A_COPY = 100
_SAMPLED = 10
"""Statistics are made of 300 times as many rows, each time that a table has grown by a tenth."""
_JSONB = b"\x01"  # what binary jsonb begins with: the version of its format; then comes the text
_SHADOW = "_next"
_OLD = "_old"
_MADE_FOR = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"


class PostgresView(Generic[R]):
    """The rows of one projection and the position they stand at, written together.

    `shadow` names the copy that a rebuild fills beside the live one.
    """

    def __init__(self, database: Database, projection: Projection[R], *, shadow: bool = False) -> None:
        self._database = database
        self._projection = projection
        self._row = projection.row
        self._columns = _columns(projection.row)
        self._key = projection.key_columns
        self._shadow = shadow
        self._place: int | None = None
        self.schema = f"view_{projection.name}{_SHADOW if shadow else ''}"
        self._table = Identifier(self.schema, "rows")
        self._position = Identifier(self.schema, "position")
        self._move = SQL(
            "UPDATE {} SET position = %s, moved_at = now()"
            " WHERE position = %s AND tableoid = coalesce(%s::oid, tableoid)"
            " RETURNING tableoid::bigint AS place"
        ).format(self._position)
        names = SQL(", ").join(map(Identifier, self._columns))
        self._copy_in = SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(self._table, names).as_string()
        self._copy_types = ["bytea" if kind == "jsonb" else kind for kind in self._columns.values()]
        self._documents = [place for place, kind in enumerate(self._columns.values()) if kind == "jsonb"]
        self._upsert = self._upsert_statement().as_string()
        self._select = self._select_statement().as_string()
        self._delete = self._delete_statement().as_string()

    async def create(self) -> None:
        """Make the schema if it is not there yet. Safe from several processes at once.

        One that was made for another row struct gives way to an empty one at position 0, to be filled from the log.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self.schema,))
            found = await connection.execute(_MADE_FOR, (self.schema,))
            outdated = await found.fetchone() != (self._fingerprint(),)
            for statement in [*(self._drop_statements() if outdated else ()), *self._create_statements()]:
                await connection.execute(statement)
            if outdated:
                await connection.execute(self._sample_statement())

    async def is_up_to_date(self) -> bool:
        """Whether the schema is there and was made for this row struct."""
        return await self._database.rows(_MADE_FOR, (self.schema,)) == [(self._fingerprint(),)]

    async def position(self) -> int:
        query = SQL("SELECT position, tableoid::bigint FROM {}").format(self._position)
        ((position, self._place),) = await self._database.rows(query)
        return int(position)

    async def rows(self, keys: Collection[tuple[Any, ...]]) -> dict[tuple[Any, ...], R]:
        if not keys:
            return {}
        found = await self._database.rows(self._select, _transposed(keys))
        return {self._key_of(row): row for row in map(self._from_columns, found)}

    async def write(
        self,
        rows: Mapping[tuple[Any, ...], R],
        position: int,
        *,
        after: int,
        new: Collection[tuple[Any, ...]] = frozenset(),
    ) -> None:
        try:
            if len(rows) < _WORTH_A_COPY:
                await self._write_few(rows, new, position, after)
            else:
                await self._write_many(rows.values(), rows.keys() - new, position, after)
        except psycopg.errors.UniqueViolation:
            raise ConflictError(f"{self.schema} has a row that should be new") from None

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[int]:
        """The position, which nobody moves for as long as the block lasts."""
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.execute(SQL("SELECT position FROM {} FOR UPDATE").format(self._position))
            row = await cursor.fetchone()
            assert row
            yield row[0]

    async def differences(self, other: "PostgresView[R]", limit: int) -> list[Difference]:
        """Rows that are not the same here and in `other`, at most `limit` of each."""
        columns = SQL(", ").join(map(Identifier, self._columns))
        key = SQL(", ").join(map(Identifier, self._key))
        only = SQL(
            "SELECT jsonb_build_array({key}), to_jsonb(d) FROM ("
            " SELECT {columns} FROM {mine} EXCEPT SELECT {columns} FROM {theirs} LIMIT %s) d"
        )
        mine, theirs = [
            {
                msgspec.json.encode(key_values): row
                for key_values, row in await self._however_long_it_takes(
                    only.format(key=key, columns=columns, mine=one._table, theirs=another._table), (limit,)
                )
            }
            for one, another in ((self, other), (other, self))
        ]
        return [Difference(key.decode(), mine.get(key), theirs.get(key)) for key in sorted(mine.keys() | theirs.keys())]

    async def drop(self) -> None:
        await self._database.rows(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(self.schema)))

    async def replace(self, live: "PostgresView[R]") -> None:
        """Put this copy into the place of `live`, in one transaction that no reader waits for."""
        await self._index()
        old = Identifier(live.schema + _OLD)
        rename = SQL("ALTER SCHEMA {} RENAME TO {}")
        async with self._database.connection() as connection:
            await connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(old))
            async with connection.transaction():
                await connection.execute(rename.format(Identifier(live.schema), old))
                await connection.execute(rename.format(Identifier(self.schema), Identifier(live.schema)))
        await self._drop_patiently(old)

    async def _however_long_it_takes(self, query: Composed, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute("SET LOCAL lock_timeout = 0")
            cursor = await connection.execute(query, values)
            return await cursor.fetchall() if cursor.description else []

    async def _write_few(
        self, rows: Mapping[tuple[Any, ...], R], new: Collection[tuple[Any, ...]], position: int, after: int
    ) -> None:
        """Rows and position in one statement: following the log closely is mostly round trips."""
        documents = [
            msgspec.json.encode([row for key, row in rows.items() if (key in new) == begins]).decode()
            for begins in (False, True)
        ]
        self._moved(await self._database.rows(self._upsert, (position, after, self._place, *documents)), after)

    async def _write_many(
        self, rows: Collection[R], old: Collection[tuple[Any, ...]], position: int, after: int
    ) -> None:
        """What is there already is taken out first, for a copy is several times as fast as an upsert."""
        async with self._database.connection() as connection, connection.transaction():
            places = (position, after, self._place)
            query, values = (self._delete, _transposed(old)) if old else (self._move, [])
            moved = await connection.execute(query, [*places, *values], prepare=True, binary=True)
            self._moved(await moved.fetchall(), after)
            await self._copy(connection, rows)

    def _moved(self, places: Sequence[tuple[Any, ...]], after: int) -> None:
        if not places:
            raise ConflictError(f"{self.schema} does not stand at {after}")
        ((self._place,),) = places

    async def _copy(self, connection: psycopg.AsyncConnection[Any], rows: Collection[R]) -> None:
        async with connection.cursor() as cursor, cursor.copy(self._copy_in) as copy:
            copy.set_types(self._copy_types)
            for row in rows:
                await copy.write_row(self._to_columns(row))

    async def _index(self) -> None:
        """A copy gets its indexes when it is full, all at once: to keep them up row by row costs more."""
        await together(*map(self._however_long_it_takes, self._index_statements()))

    async def _drop_patiently(self, schema: Identifier) -> None:
        """Readers that began before the swap may still hold the old tables: ask again rather than make others queue."""
        for _ in range(50):
            async with self._database.connection() as connection:
                with suppress(psycopg.errors.LockNotAvailable):
                    async with connection.transaction():
                        await connection.execute("SET LOCAL lock_timeout = '200ms'")
                        await connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
                    return
            await asyncio.sleep(0.2)

    def _create_statements(self) -> Sequence[Composed | SQL]:
        schema = Identifier(self.schema)
        columns = [
            SQL("{} {}{}").format(Identifier(name), SQL(kind), SQL(" NOT NULL" if name in self._key else ""))
            for name, kind in self._columns.items()
        ]
        key = SQL(", ").join(map(Identifier, self._key))
        return [
            SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema),
            SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))").format(
                self._table, SQL(", ").join(columns), key
            ),
            SQL(
                "CREATE TABLE IF NOT EXISTS {} (position bigint NOT NULL, moved_at timestamptz NOT NULL DEFAULT now(),"
                " one boolean PRIMARY KEY DEFAULT true CHECK (one))"
            ).format(self._position),
            SQL("INSERT INTO {} (position) VALUES (0) ON CONFLICT DO NOTHING").format(self._position),
            *([] if self._shadow else self._index_statements()),
            SQL("COMMENT ON SCHEMA {} IS {}").format(schema, self._fingerprint()),
        ]

    def _sample_statement(self) -> Composed:
        columns = [SQL("ALTER {} SET STATISTICS {}").format(Identifier(name), _SAMPLED) for name in self._columns]
        return SQL("ALTER TABLE {} {}").format(self._table, SQL(", ").join(columns))

    def _drop_statements(self) -> Sequence[Composed]:
        """First the position, as whoever writes begins with that."""
        return [
            SQL("DROP TABLE IF EXISTS {}").format(self._position),
            SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(self.schema)),
        ]

    def _fingerprint(self) -> str:
        """What the tables follow from, the same for a copy, which takes the place of the live ones one day."""
        made_of = (self._columns, self._key, dict(self._projection.indexes))
        return hashlib.sha256(msgspec.json.encode(made_of)).hexdigest()

    def _index_statements(self) -> Sequence[Composed]:
        return [
            SQL("CREATE INDEX IF NOT EXISTS {} ON {} {}").format(Identifier(name), self._table, SQL(definition))
            for name, definition in self._projection.indexes.items()
        ]

    def _upsert_statement(self) -> Composed:
        names = SQL(", ").join(map(Identifier, self._columns))
        typed = SQL(", ").join(SQL("{} {}").format(Identifier(n), SQL(kind)) for n, kind in self._columns.items())
        changed = [
            SQL("{0} = excluded.{0}").format(Identifier(name)) for name in self._columns if name not in self._key
        ]
        return SQL(
            "WITH moved AS ({move}), put AS ({insert} ON CONFLICT ({key}) DO UPDATE SET {changed}), added AS ({insert})"
            " SELECT place FROM moved"
        ).format(
            move=self._move,
            insert=SQL("INSERT INTO {} ({}) SELECT {} FROM moved, json_to_recordset(%s::json) AS new ({})").format(
                self._table,
                names,
                SQL(", ").join(SQL("new.{}").format(Identifier(name)) for name in self._columns),
                typed,
            ),
            key=SQL(", ").join(map(Identifier, self._key)),
            changed=SQL(", ").join(changed),
        )

    def _select_statement(self) -> Composed:
        names = SQL(", ").join(SQL("r.{}").format(Identifier(name)) for name in self._columns)
        return SQL("SELECT {} FROM {} r JOIN {} ON {}").format(names, self._table, *self._among_keys())

    def _delete_statement(self) -> Composed:
        return SQL(
            "WITH moved AS ({}), gone AS (DELETE FROM {} r USING moved, {} WHERE {}) SELECT place FROM moved"
        ).format(self._move, self._table, *self._among_keys())

    def _among_keys(self) -> tuple[Composed, Composed]:
        """The keys given as arrays, and what says that a row `r` is one of these."""
        given = SQL(", ").join(SQL("%b::{}[]").format(SQL(self._columns[name])) for name in self._key)
        names = SQL(", ").join(map(Identifier, self._key))
        same = SQL(" AND ").join(SQL("r.{0} = k.{0}").format(Identifier(name)) for name in self._key)
        return SQL("unnest({}) AS k ({})").format(given, names), same

    def _key_of(self, row: R) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self._key)

    def _to_columns(self, row: R) -> Sequence[Any]:
        values = msgspec.structs.astuple(row)
        if not self._documents:
            return values
        columns = list(values)
        for place in self._documents:
            if columns[place] is not None:
                columns[place] = _JSONB + msgspec.json.encode(columns[place])
        return columns

    def _from_columns(self, values: Sequence[Any]) -> R:
        return msgspec.convert(dict(zip(self._columns, values, strict=True)), self._row, strict=False)


def _transposed(keys: Collection[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*keys, strict=True)]


def _columns(row: type[msgspec.Struct]) -> dict[str, str]:
    return {name: _column_type(hint) for name, hint in get_type_hints(row).items()}


def _column_type(hint: Any) -> str:
    if isinstance(hint, UnionType):
        (hint,) = [each for each in get_args(hint) if each is not NoneType]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "text"
    return _TYPES.get(hint, "jsonb")
