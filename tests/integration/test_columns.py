"""Columns as PostgreSQL reads them."""

from uuid import UUID

import psycopg
import pytest

from adapters.postgres.columns import Bigints, Blobs, Texts, Uuids

COLUMNS = [
    ("uuid", Uuids([UUID(int=1), UUID(int=2**128 - 1)])),
    ("text", Texts(["", "NULL", 'a "quoted", {braced} \\ one', "Grüße an Łukasz, 你好"])),
    ("bytea", Blobs([b"", b"\x00\xff", bytes(range(256)) * 40])),
    ("bigint", Bigints([0, -1, 2**63 - 1, -(2**63)])),
]


@pytest.mark.parametrize(("kind", "values"), COLUMNS)
@pytest.mark.parametrize("many", ["none", "one", "all"])
def test_what_goes_in_comes_out(conninfo: str, kind: str, values: list[object], many: str) -> None:
    given = type(values)({"none": [], "one": values[:1], "all": values}[many])
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(f"SELECT unnest(%b::{kind}[])", (given,)).fetchall()
    assert [value for (value,) in rows] == list(given)
