"""Whole columns as one parameter each, in PostgreSQL's binary form of an array.

The library's own way finds out of every value what it is; here that is known, which makes it several times as fast.
"""

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

_HEAD = Struct("!iiIii").pack  # dimensions, any NULL, type of the elements, how many, first number
_EMPTY = Struct("!iiI").pack
_LENGTH = Struct("!i").pack
_BIGINT = Struct("!q").pack


class Uuids(list[UUID]): ...


class Texts(list[str]): ...


class Blobs(list[bytes]): ...


class Bigints(list[int]): ...


class _Column(Dumper):
    """Of values none of which is NULL; `written` gives their bytes."""

    format = Format.BINARY
    element: ClassVar[int]
    written: ClassVar[Callable[[Iterable[Any]], Iterable[bytes]]]

    def dump(self, obj: Any) -> bytes:
        if not obj:
            return _EMPTY(0, 0, self.element)
        pieces = [_HEAD(1, 0, self.element, len(obj), 1)]
        for each in type(self).written(obj):
            pieces += _LENGTH(len(each)), each
        return b"".join(pieces)


def _register(column: type, type_name: str, written: Callable[[Any], Iterable[bytes]]) -> None:
    info = types[type_name]
    members = {"oid": info.array_oid, "element": info.oid, "written": staticmethod(written)}
    psycopg.adapters.register_dumper(column, type(f"_{column.__name__}Dumper", (_Column,), members))


_register(Uuids, "uuid", lambda ids: [id.bytes for id in ids])
_register(Texts, "text", lambda texts: [text.encode() for text in texts])
_register(Blobs, "bytea", lambda blobs: blobs)
_register(Bigints, "int8", lambda numbers: [_BIGINT(number) for number in numbers])
