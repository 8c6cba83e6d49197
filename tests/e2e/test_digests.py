"""Digests as they are asked for, told, sent and explained."""

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from application.readers import Who
from domain.receipts import ProviderReceipt, ReceiptKind
from domain.vocabulary import Channel
from tests.application import Service, Tenant, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC_URL = "https://mail.acme.example.com"
POSTAL_ADDRESS = "Acme Ltd, 1 Main Street, Springfield"
PREFERENCES = "/api/v1/preferences"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(database_of_module: str) -> AsyncIterator[Service]:
    async with running(database_of_module, PUBLIC_URL=PUBLIC_URL, POSTAL_ADDRESS=POSTAL_ADDRESS) as service:
        yield service


async def wish(tenant: Tenant, **wishes: Any) -> Any:
    answer = await tenant.request("PATCH", PREFERENCES, params={"user_id": "u-1"}, json=wishes)
    assert answer.status_code == 200, answer.text
    return answer.json()["preferences"]


def offer(what: str) -> dict[str, Any]:
    return {
        "type": "promotion_reminder",
        "variables": {
            "customer_name": "Jane",
            "shop_name": "Acme",
            "offer": what,
            "ends_at": "2035-01-01T00:00:00Z",
            "offer_url": "https://acme.example.com/offer",
        },
    }


async def told(tenant: Tenant, **more: Any) -> Any:
    """What is told of a message to the user when it is accepted: a welcome, unless it is to be something else."""
    return (await tenant.send(recipients=[{"user_id": "u-1", "email": "jane@example.com"}], **more))["notifications"][0]


async def windows_end(service: Service) -> None:
    """For all that waits."""
    await service.parts.database.rows("UPDATE schedule SET due_at = now(), rank_at = now() WHERE bundle IS NOT NULL")


async def explained(tenant: Tenant, id: str) -> Any:
    return (await tenant.get(f"/api/v1/notifications/{id}/explain")).json()


async def test_how_often_is_asked_for_by_type_and_by_category_and_shown_again(tenant: Tenant):
    found = await wish(
        tenant, types={"welcome": {"frequency": "hourly"}}, categories={"promotion": {"frequency": "weekly"}}
    )
    assert found["types"]["welcome"] == {"enabled": True, "channels": {}, "frequency": "hourly"}
    assert found["categories"]["promotion"]["frequency"] == "weekly"
    assert found == (await tenant.get(PREFERENCES, user_id="u-1")).json()
    body = {"categories": {"promotion": {"frequency": "daily"}}}
    answer = await tenant.request("PUT", PREFERENCES, params={"user_id": "u-1"}, json=body)
    assert answer.json()["preferences"]["types"] == {}
    body["categories"]["promotion"]["frequency"] = "now and then"
    assert (await tenant.request("PUT", PREFERENCES, params={"user_id": "u-1"}, json=body)).status_code == 422


async def test_whoever_sends_is_told_until_when_it_waits(service: Service, tenant: Tenant):
    await wish(tenant, categories={"registration": {"frequency": "daily"}}, time_zone="Asia/Kolkata")
    answer = await told(tenant)
    at = datetime.fromisoformat(answer["until"]).astimezone(ZoneInfo("Asia/Kolkata"))
    assert (answer["status"], answer["reason_code"], at.hour, at.minute) == ("deferred", "digest", 9, 0)
    assert timedelta(0) < at - service.parts.clock.now() <= timedelta(days=1)
    found = await explained(tenant, answer["id"])
    assert found["decision"]["frequency"] == "daily"
    assert found["words"] == "waits: the reader wants it gathered with others"
    assert found["rule"]["may_be_gathered"]


async def test_what_is_scheduled_for_the_time_of_the_digest_is_told_that_it_goes_in_it(tenant: Tenant):
    await wish(tenant, categories={"registration": {"frequency": "daily"}}, time_zone="Asia/Kolkata")
    local = await told(tenant, scheduled_local="09:00")
    at = datetime.fromisoformat(local["until"]).astimezone(ZoneInfo("Asia/Kolkata"))
    assert (local["reason_code"], at.hour, at.minute) == ("digest", 9, 0)
    later = datetime.fromisoformat((await told(tenant))["until"])
    assert datetime.fromisoformat((await told(tenant, scheduled_at=later.isoformat()))["until"]) == later
    assert (await told(tenant, expires_at=later.isoformat()))["status"] == "pending"


async def test_what_was_gathered_goes_out_as_one_message_that_says_who_leaves_where(service: Service, tenant: Tenant):
    await wish(tenant, categories={"promotion": {"frequency": "weekly"}})
    ids = [(await told(tenant, **offer(f"{percent} % off")))["id"] for percent in (10, 20, 30)]
    await windows_end(service)
    details = [await tenant.detail_when(id, status="sent") for id in ids]
    (digest_id,) = {detail["digest_id"] for detail in details}
    mail = await service.mail(digest_id)
    assert ids[0] not in await service.mails()
    assert mail.subject == "Acme: 3 new messages"
    assert re.findall(r"(\d+) % off: until", mail.text) == ["10", "20", "30"]
    assert f"{PUBLIC_URL}/p/" in mail.text
    assert POSTAL_ADDRESS in mail.text
    assert re.fullmatch(rf"<{re.escape(PUBLIC_URL)}/u/[\w-]+>", mail.headers["List-Unsubscribe"])
    digest = await tenant.detail_when(digest_id, status="sent")
    assert (digest["type"], digest["category"], digest["purpose"], digest["priority"]) == (
        "digest",
        "promotion",
        "marketing",
        "low",
    )
    assert digest["members"] == ids
    proof = (await tenant.get(f"/api/v1/notifications/{digest_id}/proof")).json()
    assert [call["verdict"] for call in proof["calls"]] == ["matches"]
    found = await explained(tenant, ids[0])
    assert (found["status"], found["digest_id"]) == ("sent", digest_id)
    assert [step["event"].removeprefix("notification.") for step in found["steps"]] == [
        "queued",
        "deferred",
        "merged",
        "followed",
    ]
    assert (await explained(tenant, digest_id))["members"] == ids


async def test_it_is_too_late_to_cancel_what_is_in_a_digest(service: Service, tenant: Tenant):
    await wish(tenant, categories={"registration": {"frequency": "daily"}})
    gone, *ids = [(await told(tenant))["id"] for _ in range(3)]
    assert (await tenant.post(f"/api/v1/notifications/{gone}/cancel")).json()["result"] == "cancelled"
    await windows_end(service)
    detail = await tenant.detail_when(ids[0], status="sent")
    assert (await tenant.post(f"/api/v1/notifications/{ids[0]}/cancel")).json()["result"] == "too_late"
    assert (await tenant.detail(detail["digest_id"]))["members"] == ids


async def test_what_is_reported_of_a_digest_is_told_of_its_members(service: Service, tenant: Tenant):
    await wish(tenant, categories={"registration": {"frequency": "hourly"}})
    ids = [(await told(tenant))["id"] for _ in range(2)]
    await windows_end(service)
    digest_id = (await tenant.detail_when(ids[0], status="sent"))["digest_id"]
    await bounced(service, digest_id)
    for id in ids:
        assert (await tenant.detail_when(id, status="bounced"))["reason_code"] == "hard_bounce"
    refused = await tenant.post(f"/api/v1/notifications/{ids[0]}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_digest")
    assert digest_id in refused.json()["detail"]
    assert not await service.differences()


async def bounced(service: Service, id: str) -> None:
    receipt = ProviderReceipt(
        provider="capture",
        event_id=id,
        kind=ReceiptKind.BOUNCED,
        said="bounced",
        provider_id=None,
        notification=UUID(id),
        occurred_at=service.parts.clock.now(),
    )
    await service.parts.take_receipt(receipt)


async def test_how_often_is_chosen_on_the_page(service: Service, tenant: Tenant):
    who = Who(tenant.name, Channel.EMAIL, "jane@example.com", "u-1")
    path = f"/p/{service.parts.reader_links.token(who, 'promotion')}"
    form = {"known": ["promotion", "order"], "on": ["promotion", "order"], "often:promotion": "weekly"}
    assert (await service.http.post(path, data=form | {"often:order": "immediate"})).status_code == 200
    found = (await tenant.get(PREFERENCES, user_id="u-1")).json()
    assert found["categories"] == {"promotion": {"enabled": True, "channels": {}, "frequency": "weekly"}}
    assert (await told(tenant, **offer("10 % off")))["reason_code"] == "digest"
    page = (await service.http.get(path)).text
    assert '<option value="weekly" selected>Weekly</option>' in page
    assert "digest" not in page, "what is gathered is of other categories"
    await service.http.post(path, data=form | {"often:promotion": "immediate"})
    assert (await told(tenant, **offer("20 % off")))["status"] == "pending"
    await service.http.post(path, data=form | {"often:promotion": "never", "often:unknown": "daily"})
    found = (await tenant.get(PREFERENCES, user_id="u-1")).json()
    assert {name: each["frequency"] for name, each in found["categories"].items()} == {"promotion": "immediate"}


async def test_without_a_user_there_is_nothing_to_gather_by(service: Service, tenant: Tenant):
    who = Who(tenant.name, Channel.EMAIL, "jane@example.com", None)
    page = (await service.http.get(f"/p/{service.parts.reader_links.token(who, 'promotion')}")).text
    assert "<select" not in page


async def test_what_was_gathered_under_several_leases_goes_out_once(service: Service, tenant: Tenant):
    await wish(tenant, categories={"registration": {"frequency": "daily"}})
    ids = [(await told(tenant))["id"] for _ in range(60)]
    await windows_end(service)
    await tenant.detail_when(ids[-1], status="sent")
    await service.idle()
    digests = {(await tenant.detail(id))["digest_id"] for id in ids}
    assert len(digests) == 1
    mails = await service.mails()
    assert sum(id in mails for id in [*ids, *digests]) == 1
