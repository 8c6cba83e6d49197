"""What every archive of template bundles promises."""

import asyncio

import pytest

from adapters.memory.template_archive import MemoryTemplateArchive
from adapters.postgres.template_archive import PostgresTemplateArchive
from adapters.templates.bundle import BundleArchive


@pytest.fixture(params=["memory", "postgres"])
def archive(request: pytest.FixtureRequest) -> BundleArchive:
    if request.param == "memory":
        return MemoryTemplateArchive()
    return PostgresTemplateArchive(request.getfixturevalue("database"))


async def test_what_was_put_comes_back_byte_for_byte(archive: BundleArchive) -> None:
    every_byte = bytes(range(256))
    await archive.put({"v1": every_byte, "v2": b"{}"})
    assert await archive.get("v1") == every_byte
    assert await archive.get("v2") == b"{}"


async def test_an_unknown_version_is_none(archive: BundleArchive) -> None:
    assert await archive.get("v1") is None


async def test_a_version_that_is_there_stays_as_it_is(archive: BundleArchive) -> None:
    await archive.put({"v1": b"first"})
    await archive.put({"v1": b"second", "v2": b"new"})
    assert await archive.get("v1") == b"first"
    assert await archive.get("v2") == b"new"


async def test_putting_nothing_is_no_mistake(archive: BundleArchive) -> None:
    await archive.put({})


async def test_many_may_put_the_same_at_once(archive: BundleArchive) -> None:
    bundles = {f"v{number}": str(number).encode() for number in range(50)}
    turned = dict(reversed(bundles.items()))
    await asyncio.gather(*(archive.put(bundles if turn % 2 else turned) for turn in range(8)))
    assert [await archive.get(version) for version in bundles] == list(bundles.values())
