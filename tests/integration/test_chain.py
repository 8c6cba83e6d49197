"""The chain over a running service's log, and what an owner of the database may try to do to it."""

from collections.abc import AsyncIterator, Sequence

import pytest

from application.ports.log import ConflictError
from application.processes.chain import Chainer, inspect
from domain.chain import Break, Fault, Head
from tests.application import Service, Tenant, running


@pytest.fixture
async def service(conninfo: str) -> AsyncIterator[Service]:
    async with running(conninfo) as service:
        yield service


async def lived(service: Service) -> tuple[Tenant, Tenant]:
    """Two tenants have sent, and all of it is chained."""
    one, other = await service.tenant(name="acme"), await service.tenant(name="globex")
    for tenant in (one, other, one):
        await tenant.send("jane@example.com", "max@example.com")
    await service.idle()
    await service.chained()
    return one, other


async def found(service: Service, *kept: Head) -> list[Break]:
    return await inspect(service.parts.store, service.parts.chain, lambda *_: None, kept)


async def positions(service: Service, tenant: str) -> Sequence[int]:
    return [entry.position for entry in await service.parts.store.entries(0, 1_000) if entry.tenant == tenant]


async def test_the_projector_chains_what_the_service_does(service):
    await lived(service)
    assert await found(service) == []
    heads = {head.tenant: head.last for head in await service.parts.chain.heads()}
    assert heads == {tenant: (await positions(service, tenant))[-1] for tenant in ("acme", "globex")}


async def test_it_holds_after_a_person_was_forgotten(service):
    tenant, _ = await lived(service)
    assert await service.parts.store.forget(tenant.name, "jane@example.com")
    assert await found(service) == []


HERE = "WHERE notification_id = %s"
TAMPER = {
    "changed": f"UPDATE stored_events SET state = replace(state::text, '7765', '7766')::bytea {HERE}",
    "removed": f"DELETE FROM stored_events {HERE}",
    "not readable any more": rf"UPDATE stored_events SET state = '\x00' {HERE}",
}


@pytest.mark.parametrize("how", TAMPER)
async def test_what_was_done_to_one_tenant_is_found_at_that_tenant(service, how):
    await lived(service)
    middle = (await positions(service, "acme"))[4]
    await service.parts.database.rows(TAMPER[how], (middle,))
    breaks = [each for each in await found(service) if each.tenant != ""]
    assert [each.tenant for each in breaks] == ["acme"]
    assert breaks[0].after < middle <= breaks[0].until


async def test_two_events_that_changed_places_are_found(service):
    await lived(service)
    first, *_, last = await positions(service, "acme")
    for here, there in ((first, -1), (last, first), (-1, last)):
        await service.parts.database.rows(
            "UPDATE stored_events SET notification_id = %s WHERE notification_id = %s", (there, here)
        )
    assert {each.tenant for each in await found(service)} == {"acme"}


async def test_a_changed_link_is_found(service):
    await lived(service)
    await service.parts.database.rows(r"UPDATE chain_links SET hash = '\x00' WHERE tenant = 'globex'")
    assert {each.tenant for each in await found(service)} == {"globex"}


async def test_a_chain_made_anew_over_changed_events_only_fits_until_somebody_brings_a_head(service):
    await lived(service)
    kept = [Head(head.tenant, head.last, head.hash) for head in await service.parts.chain.heads()]
    parts, (first, *_) = service.parts, await positions(service, "acme")
    async with parts.database.connection() as connection, connection.transaction():
        await connection.execute(TAMPER["changed"], (first,))
        await connection.execute("TRUNCATE chain_links")
        await connection.execute("UPDATE process_positions SET position = 0 WHERE process = 'chain'")
    await Chainer(parts.store, parts.chain).turn()
    assert await found(service) == []
    assert [(each.tenant, each.fault) for each in await found(service, *kept)] == [("acme", Fault.OTHER_HEAD)]


async def test_a_chainer_that_was_overtaken_writes_nothing(service):
    await lived(service)
    links = await service.parts.chain.links(0, 1_000)
    late = Chainer(service.parts.store, service.parts.chain)
    late._position = 0
    with pytest.raises(ConflictError):
        await late.turn()
    assert await service.parts.chain.links(0, 1_000) == links
