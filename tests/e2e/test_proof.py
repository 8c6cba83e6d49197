"""Proving what was sent, as a caller of the API sees it, on the real templates and their archive."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import msgspec
import pytest

from application.caller import Scope
from domain.receipts import ProviderReceipt, ReceiptKind
from tests.application import Service, Tenant, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/notifications"


async def sent(tenant: Tenant, address: str = "jane@example.com", **wishes: Any) -> str:
    id, _ = await tenant.send_one(address, **wishes)
    await tenant.detail_when(id, status="sent")
    return id


async def proof(tenant: Tenant, id: str) -> Any:
    answer = await tenant.get(f"{API}/{id}/proof")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def verdict(tenant: Tenant, id: str) -> tuple[str, str | None]:
    (call,) = (await proof(tenant, id))["calls"]
    return call["verdict"], call["reason_code"]


async def version_of(tenant: Tenant, id: str) -> str:
    version: str = (await tenant.detail(id))["template_version"]
    return version


async def test_what_was_sent_is_proved(tenant: Tenant) -> None:
    id = await sent(tenant)
    found = await proof(tenant, id)
    (call,) = found["calls"]
    assert (call["verdict"], call["reason_code"], call["provider"]) == ("matches", None, "capture")
    assert (call["call"], call["attempt"], call["generation"]) == (1, 1, 1)
    assert (found["template"], found["template_version"]) == ("welcome", await version_of(tenant, id))


async def test_it_is_proved_in_every_language_and_zone_and_with_secrets(tenant: Tenant) -> None:
    reset = {
        "user_name": "Anna",
        "product_name": "Tallyho",
        "reset_url": "https://app.tallyho.example.com/reset/s3cret",
        "expires_in_minutes": 30,
    }
    recipient = {"email": "jane@example.com", "name": "Jäne", "locale": "de-AT", "time_zone": "Pacific/Auckland"}
    answer = await tenant.post(API, {"type": "password_reset", "recipients": [recipient], "variables": reset})
    assert answer.status_code == 202, answer.text
    id = answer.json()["notifications"][0]["id"]
    await tenant.detail_when(id, status="sent")
    answer = await tenant.get(f"{API}/{id}/proof")
    assert answer.json()["calls"][0]["verdict"] == "matches"
    for said in ("s3cret", "Anna", "jane", "Jäne"):
        assert said not in answer.text


async def test_what_was_sent_once_more_by_hand_is_proved_too(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant)
    await service.parts.take_receipt(bounced(id))
    await tenant.detail_when(id, status="bounced")
    assert (await tenant.post(f"{API}/{id}/retry")).status_code == 202
    await tenant.detail_when(id, status="sent")
    calls = (await proof(tenant, id))["calls"]
    assert [(call["generation"], call["verdict"]) for call in calls] == [(1, "matches"), (2, "matches")]


def bounced(id: str) -> Any:
    return ProviderReceipt(
        provider="capture",
        event_id=f"bounce of {id}",
        kind=ReceiptKind.SOFT_BOUNCED,
        said="bounced",
        provider_id=None,
        notification=UUID(id),
        generation=1,
        occurred_at=datetime.now(UTC),
    )


async def test_after_an_erasure_nothing_can_be_told(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant, "max@example.com")
    await service.parts.store.forget(tenant.name, "max@example.com")
    assert await verdict(tenant, id) == ("cannot_be_told", "person_erased")


async def test_a_template_that_was_tampered_with_is_seen_though_the_service_runs_on(conninfo: str) -> None:
    async with running(conninfo) as service:
        tenant = await service.tenant()
        id = await sent(tenant)
        version = await version_of(tenant, id)
        archive = "UPDATE template_bundles SET bundle = {} WHERE version = %s"
        await service.parts.database.rows(archive.format(r"bundle || '\x20'"), (version,))
        assert await verdict(tenant, id) == ("differs", "template_altered")
        await service.parts.database.rows("DELETE FROM template_bundles WHERE version = %s", (version,))
        assert await verdict(tenant, id) == ("cannot_be_told", "template_missing")
        assert await sent(tenant)  # from the texts at hand


async def test_a_log_that_was_tampered_with_is_seen(service: Service, tenant: Tenant) -> None:
    one, other = await sent(tenant), await sent(tenant)
    change = "UPDATE stored_events SET state = %s WHERE originator_id = %s AND topic = %s"
    history = {e.topic: e for e in await service.parts.store.entries(0, 10_000) if e.stream == UUID(one)}

    rendered = msgspec.json.decode(history["notification.rendered"].state)
    rendered["sender"]["address"] = "somebody@acme.example"
    given = (msgspec.json.encode(rendered), UUID(one), "notification.rendered")
    await service.parts.database.rows(change, given)
    assert await verdict(tenant, one) == ("differs", "content_differs")

    given = (history["notification.queued"].state, UUID(other), "notification.queued")
    await service.parts.database.rows(change, given)
    assert await verdict(tenant, other) == ("differs", "record_altered")


async def test_only_who_may_read_and_whose_it_is_gets_a_proof(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant)
    stranger, sender = await service.tenant(), await service.tenant(Scope.SEND, name=tenant.name)
    assert (await stranger.get(f"{API}/{id}/proof")).status_code == 404
    assert (await tenant.get(f"{API}/{uuid4()}/proof")).status_code == 404
    assert (await sender.get(f"{API}/{id}/proof")).status_code == 403


async def test_the_example_of_the_description_is_an_answer(service: Service) -> None:
    schema: Any = service.app.openapi_schema.to_schema()
    answer = schema["paths"]["/api/v1/notifications/{id}/proof"]["get"]["responses"]["200"]["content"]
    described = answer["application/json"]
    jsonschema.validate(described["example"], {**described["schema"], "components": schema["components"]})
