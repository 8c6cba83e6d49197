"""What is kept of the keys that callers show."""

from datetime import timedelta

import pytest

from adapters.memory.api_keys import MemoryApiKeys
from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.database import Database
from application.ports.api_keys import ApiKeys
from tests.contract.conftest import Passing


@pytest.fixture
def keys(storage: Database | None, time: Passing) -> ApiKeys:
    if storage is None:
        return MemoryApiKeys(time)
    return PostgresApiKeys(storage)


async def test_a_new_key_is_found_by_its_text(keys, time):
    key, text = await keys.create("acme", "billing", ["send", "read"])
    assert text.startswith(f"ck_{key.id}_")
    assert (key.tenant, key.name, key.scopes) == ("acme", "billing", {"send", "read"})
    assert abs(key.created_at - time.now()) < timedelta(seconds=5)
    assert await keys.find(text) == key


async def test_the_address_of_its_owner_is_kept_until_it_is_revoked(keys):
    key, text = await keys.create("acme", "billing", [], "jane@example.com")
    assert key.owner_email == "jane@example.com"
    assert (await keys.find(text)).owner_email == "jane@example.com"
    await keys.revoke(key.id)
    (listed,) = await keys.all()
    assert listed.owner_email is None


async def test_no_two_keys_are_alike(keys):
    (one, text), (two, other) = [await keys.create("acme", "billing", []) for _ in range(2)]
    assert one.id != two.id
    assert text.split("_")[-1] != other.split("_")[-1]


@pytest.mark.parametrize("change", [lambda t: t[:-1] + ("0" if t[-1] != "0" else "1"), str.upper, lambda t: t + "0"])
async def test_a_key_is_found_by_exactly_its_text(keys, change):
    _, text = await keys.create("acme", "billing", [])
    assert await keys.find(change(text)) is None


@pytest.mark.parametrize("text", ["", "ck_", "ck_000000000000_" + "0" * 64, "Bearer x", "ck_\x00_\x00", "ключ"])
async def test_what_is_no_key_is_not_found(keys, text):
    assert await keys.find(text) is None


async def test_the_secret_of_another_key_does_not_fit(keys):
    (one, text), (_, other) = [await keys.create("acme", "billing", []) for _ in range(2)]
    assert text != other
    assert await keys.find(f"ck_{one.id}_{other.split('_')[-1]}") is None


async def test_a_revoked_key_is_not_found_and_stays_listed(keys):
    key, text = await keys.create("acme", "billing", [])
    assert await keys.revoke(key.id) is True
    assert await keys.find(text) is None
    (listed,) = await keys.all()
    assert listed.id == key.id
    assert listed.revoked_at is not None


async def test_a_key_is_revoked_once(keys):
    key, _ = await keys.create("acme", "billing", [])
    await keys.revoke(key.id)
    assert await keys.revoke(key.id) is False
    assert await keys.revoke("000000000000") is False


async def test_keys_are_listed_in_the_order_they_were_made(keys):
    made = [(await keys.create("acme", name, []))[0] for name in ("b", "a", "c")]
    assert await keys.all() == made


async def test_the_secret_is_not_in_the_database(database):
    _, text = await PostgresApiKeys(database).create("acme", "billing", [])
    ((row,),) = await database.rows("SELECT api_keys::text FROM api_keys")
    assert text.split("_")[-1] not in row


async def test_a_tenant_has_one_for_as_long_as_one_of_its_keys_is_live(keys):
    assert not await keys.tenant_has_one("acme")
    one, other = [(await keys.create("acme", "billing", []))[0] for _ in range(2)]
    assert await keys.tenant_has_one("acme")
    assert not await keys.tenant_has_one("globex")
    await keys.revoke(one.id)
    assert await keys.tenant_has_one("acme")
    await keys.revoke(other.id)
    assert not await keys.tenant_has_one("acme")
