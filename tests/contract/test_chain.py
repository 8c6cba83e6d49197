"""What the links of a chain, and the stored bytes they are made of, are kept by."""

from typing import Any
from uuid import UUID

import pytest

from adapters.memory.chain import MemoryChain
from adapters.postgres.chain import PostgresChain
from adapters.postgres.database import Database
from application.ports.log import Chain, ConflictError
from application.processes.chain import Chainer, inspect
from domain.chain import Entry, Link
from tests.contract.test_event_store import Pending, queued
from tests.examples import one_of_each


@pytest.fixture
def chain(storage: Database | None) -> Chain:
    return PostgresChain(storage) if storage else MemoryChain()


def link(tenant: str, first: int, last: int) -> Link:
    return Link(tenant, first, last, last - first + 1, bytes(31) + bytes([last]))


A, B, NOBODY, LATER = link("acme", 1, 3), link("Äther", 4, 4), link("", 2, 5), link("acme", 6, 9)


async def extended(chain: Chain) -> None:
    await chain.extend([A, B, NOBODY], 5, after=0)
    await chain.extend([LATER], 9, after=5)


async def test_a_new_chain_is_empty_and_stands_at_nought(chain):
    assert (await chain.position(), await chain.heads(), await chain.links(0, 100)) == (0, [], [])
    assert await chain.heads(["acme"]) == []


async def test_links_come_back_as_they_were_written_in_order_of_their_ends(chain):
    await extended(chain)
    assert await chain.links(0, 100) == [A, B, NOBODY, LATER]
    assert await chain.links(3, 5) == [B, NOBODY]
    assert await chain.position() == 9


async def test_a_head_is_the_last_link_of_a_tenant(chain):
    await extended(chain)
    assert await chain.heads() == [NOBODY, LATER, B]
    assert await chain.heads({"acme", "", "unknown"}) == [NOBODY, LATER]
    assert await chain.heads([]) == []


async def test_who_was_overtaken_is_told_so_and_writes_nothing(chain):
    await chain.extend([A], 3, after=0)
    with pytest.raises(ConflictError):
        await chain.extend([B], 4, after=0)
    assert (await chain.position(), await chain.links(0, 100)) == (3, [A])


@pytest.mark.parametrize("again", [A, link("acme", 2, 3)])
async def test_a_link_that_is_there_is_not_written_again(chain, again):
    await chain.extend([A], 3, after=0)
    with pytest.raises(ConflictError):
        await chain.extend([B, again], 4, after=3)
    assert (await chain.position(), await chain.links(0, 100)) == (3, [A])


# The stored bytes


async def test_the_bytes_are_those_that_are_stored_each_with_its_place_and_its_tenant(house):
    events: list[Any] = list(one_of_each(house.events.person("acme", "ada@example.com")).values())
    await house.events.save(Pending(events))
    entries = await house.events.entries(0, 100)
    assert [(e.stream, e.version, e.topic) for e in entries] == [
        (e.originator_id, e.originator_version, type(e).TOPIC) for e in events
    ]
    assert [e.position for e in entries] == [r.position for r in await house.events.read(0, 100)]
    assert [e.tenant for e in entries] == [getattr(e, "tenant", "") for e in events]
    assert {e.tenant for e in entries} == {"acme", ""}
    assert sorted(e.state for e in entries) == sorted(await house.bytes_stored())
    assert all(type(e.state) is bytes and isinstance(e.stream, UUID) for e in entries)


async def test_the_bytes_are_read_on_from_any_place(house):
    await house.events.save(*(queued(house) for _ in range(7)))
    every = await house.events.entries(0, 100)
    assert await house.events.entries(every[3].position, 2) == every[4:6]
    assert await house.events.entries(every[-1].position, 2) == []


async def test_the_chain_still_holds_when_a_person_was_forgotten(house, chain):
    await house.events.save(queued(house))
    await Chainer(house.events, chain).turn()
    await house.events.forget("acme", "ada@example.com")
    assert await inspect(house.events, chain, lambda *_: None) == []


async def test_both_kinds_of_store_make_the_same_bytes_of_an_entry(house):
    await house.events.save(queued(house, tenant="globex"))
    (entry,) = await house.events.entries(0, 10)
    assert entry == Entry("globex", 1, entry.stream, 1, "notification.queued", (await house.bytes_stored())[0])
