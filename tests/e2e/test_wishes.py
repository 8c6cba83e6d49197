"""What readers wish is heeded: told when a message is accepted, heeded when it is sent, explained afterwards."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from application.caller import Caller
from application.commands.preferences import Unsubscribe
from domain.notification import Notification
from domain.receipts import ProviderReceipt, ReceiptKind
from domain.suppression import Suppression
from tests.application import Service, Tenant, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFERENCES = "/api/v1/preferences"
LIST = "/api/v1/suppressions"
OFFER: dict[str, Any] = {
    "type": "promotion_reminder",
    "variables": {
        "customer_name": "Jane",
        "shop_name": "Acme",
        "offer": "20 % off",
        "ends_at": "2035-01-01T00:00:00Z",
        "offer_url": "https://acme.example.com/offer",
        "discount_code": "SPRING",
        "postal_address": "Acme, 1 Main Street, Springfield",
        "unsubscribe_url": "https://acme.example.com/leave",
    },
}


async def wish(tenant: Tenant, user: str = "u-1", **wishes: Any) -> None:
    answer = await tenant.request("PATCH", PREFERENCES, params={"user_id": user}, json=wishes)
    assert answer.status_code == 200, answer.text


async def accepted(tenant: Tenant, address: str = "jane@example.com", **more: Any) -> Any:
    """What is told of one message when it is accepted."""
    recipient = {"email": address, **({"user_id": "u-1"} | more.pop("recipient", {}))}
    answer = await tenant.send(recipients=[recipient], **more)
    return answer["notifications"][0]


async def explained(tenant: Tenant, id: str, **params: Any) -> Any:
    answer = await tenant.get(f"/api/v1/notifications/{id}/explain", **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def now_there(service: Service, zone: str) -> datetime:
    return service.parts.clock.now().astimezone(ZoneInfo(zone))


def quiet_now(service: Service, zone: str) -> dict[str, str]:
    """An hour before until two hours after now, by the clock there."""
    here = now_there(service, zone)
    return {"starts": f"{here - timedelta(hours=1):%H:%M}", "ends": f"{here + timedelta(hours=2):%H:%M}"}


async def test_what_its_reader_switched_off_is_suppressed_and_told(service: Service, tenant: Tenant):
    await wish(tenant, categories={"registration": {"enabled": False}})
    told = await accepted(tenant)
    assert (told["status"], told["reason_code"]) == ("suppressed", "category_off")
    other = await accepted(tenant, recipient={"user_id": "u-2"})
    assert (other["status"], other["reason_code"], other["until"]) == ("pending", None, None)
    await service.mail(other["id"])
    assert told["id"] not in await service.mails()
    detail = await tenant.detail_when(told["id"], status="suppressed")
    assert detail["reason_code"] == "category_off"


async def test_what_comes_in_quiet_hours_waits_until_they_are_over(service: Service, tenant: Tenant):
    zone = "America/St_Johns"
    await wish(tenant, quiet_hours=quiet_now(service, zone), time_zone=zone)
    told = await accepted(tenant)
    until = datetime.fromisoformat(told["until"])
    assert (told["status"], told["reason_code"]) == ("deferred", "quiet_hours")
    assert timedelta(hours=1, minutes=58) < until - service.parts.clock.now() <= timedelta(hours=2)
    found = await explained(tenant, told["id"])
    assert found["reader"]["quiet_until"] == told["until"]
    assert found["reader"]["time_zone"] == zone
    assert found["words"] == "waits: the reader wants no messages at this hour"


async def test_a_local_time_is_that_of_each_recipient(service: Service, tenant: Tenant):
    zones = ["Asia/Tokyo", "America/New_York"]
    recipients = [{"email": f"reader-{n}@example.com", "time_zone": zone} for n, zone in enumerate(zones)]
    answer = await tenant.send(recipients=recipients, scheduled_local="09:00")
    for told, zone in zip(answer["notifications"], zones, strict=True):
        until = datetime.fromisoformat(told["until"]).astimezone(ZoneInfo(zone))
        assert (told["reason_code"], until.hour, until.minute) == ("local_time", 9, 0)
        assert timedelta(0) < until - service.parts.clock.now() <= timedelta(days=1, hours=1)


async def test_security_passes_opt_outs_and_quiet_hours_but_no_dead_address(service: Service, tenant: Tenant):
    zone = "Europe/Berlin"
    await wish(tenant, channels={"email": False}, quiet_hours=quiet_now(service, zone), time_zone=zone)
    reset = {
        "type": "password_reset",
        "variables": {
            "user_name": "Jane",
            "product_name": "Acme",
            "reset_url": "https://acme.example.com/r",
            "expires_in_minutes": 30,
        },
    }
    await service.mail((await accepted(tenant, **reset))["id"])
    assert (await tenant.post(LIST, {"address": "jane@example.com", "ground": "hard_bounce"})).status_code == 200
    told = await accepted(tenant, **reset)
    assert (told["status"], told["reason_code"]) == ("suppressed", "hard_bounce")


async def test_what_came_back_for_good_is_sent_once_more_only_when_it_was_taken_off_the_list(
    service: Service, tenant: Tenant
):
    ids = [(await tenant.send_one(f"gone-{n}@example.com"))[0] for n in range(2)]
    for n, id in enumerate(ids):
        await tenant.detail_when(id, status="sent")
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
        await tenant.detail_when(id, status="bounced")

        async def on_the_list(address: str = f"gone-{n}@example.com") -> Any:
            return (await tenant.get(LIST, channel="email", address=address)).json()["suppressions"]

        await until(on_the_list)
    assert (await tenant.post(f"{LIST}/remove", {"address": "gone-1@example.com"})).json()["changed"]
    for id in ids:
        assert (await tenant.post(f"/api/v1/notifications/{id}/retry")).status_code == 202
    assert (await tenant.detail_when(ids[0], status="suppressed"))["reason_code"] == "hard_bounce"
    await tenant.detail_when(ids[1], status="sent")


async def test_what_waits_is_not_sent_once_its_reader_has_left(service: Service, tenant: Tenant):
    soon = service.parts.clock.now() + timedelta(seconds=0.7)
    told = await accepted(tenant, scheduled_at=soon.isoformat(), **OFFER)
    assert told["status"] == "deferred"
    body = {"address": "jane@example.com", "category": "promotion"}
    assert (await tenant.post(f"{PREFERENCES}/unsubscribe", body)).status_code == 200
    detail = await tenant.detail_when(told["id"], status="suppressed")
    assert detail["reason_code"] == "unsubscribed"


async def test_the_same_key_gets_the_same_answer_whatever_was_chosen_since(tenant: Tenant):
    await wish(tenant, types={"welcome": {"enabled": False}})
    body = {"type": "welcome", "variables": {}, "recipients": [{"user_id": "u-1", "email": "jane@example.com"}]}
    body["variables"] = {"user_name": "Jane", "product_name": "Acme", "action_url": "https://acme.example.com"}
    first = await tenant.post("/api/v1/notifications", body, Idempotency_Key="once")
    await wish(tenant, types={"welcome": None})
    again = await tenant.post("/api/v1/notifications", body, Idempotency_Key="once")
    assert again.content == first.content
    assert first.json()["notifications"][0]["reason_code"] == "type_off"


async def test_it_is_explained_as_of_any_moment(service: Service, tenant: Tenant):
    before = service.parts.clock.now()
    await wish(tenant, categories={"promotion": {"channels": {"email": False}}}, language="de")
    chosen = service.parts.clock.now()
    told = await accepted(tenant, **OFFER)
    decided = service.parts.clock.now()
    await wish(tenant, categories={"promotion": None})
    found = await explained(tenant, told["id"])
    assert (found["status"], found["reason_code"]) == ("suppressed", "category_off")
    assert found["words"] == "is not sent: the reader switched off messages of this category"
    assert found["rule"] == {
        "category": "promotion",
        "purpose": "marketing",
        "priority": "low",
        "insists": False,
        "may_be_gathered": True,
    }
    assert [step["event"] for step in found["steps"]] == ["notification.queued", "notification.suppressed"]
    assert found["reader"]["preferences"]["categories"] == {}
    assert found["decision"]["outcome"] == "send", "as things are by now"
    then = await explained(tenant, told["id"], as_of=decided.isoformat())
    assert then["reader"]["preferences"]["categories"]["promotion"]["channels"] == {"email": False}
    assert (then["decision"]["outcome"], then["decision"]["reason_code"]) == ("suppress", "category_off")
    assert (then["template"], then["locale"]) == ("promotion_reminder", "de")
    for moment in (before, chosen - timedelta(milliseconds=1)):
        answer = await tenant.get(f"/api/v1/notifications/{told['id']}/explain", as_of=moment.isoformat())
        assert answer.status_code == 404


async def test_what_was_sent_is_explained_with_its_provider_and_nobody_elses(service: Service, tenant: Tenant):
    id, _ = await tenant.send_one()
    await tenant.detail_when(id, status="sent")
    found = await explained(tenant, id)
    assert (found["status"], found["provider"], found["reader"]["suppression"]) == ("sent", "capture", [])
    assert [step["words"] for step in found["steps"]] == [
        "accepted",
        "made, and its provider about to be called",
        "taken by the provider",
    ]
    other = await service.tenant()
    assert (await other.get(f"/api/v1/notifications/{id}/explain")).status_code == 404
    assert (await tenant.get(f"/api/v1/notifications/{id}/explain", as_of="2035-01-01T00:00:00")).status_code == 422


async def test_of_a_thousand_opt_outs_in_the_middle_of_sending_none_is_followed_by_an_intent(
    service: Service, tenant: Tenant
):
    """In the order of the log, which is the order in which they were acknowledged."""
    addresses = [f"reader-{n}@example.com" for n in range(1_000)]
    caller = Caller(tenant.name, "reader")
    start = await service.parts.store.head()
    await tenant.send(*addresses)

    async def leave(address: str) -> int:
        command = Unsubscribe(address=address)
        return (await service.parts.reader_uses.unsubscribe(command, caller)).position

    for lot in range(0, 1_000, 50):
        await asyncio.gather(*(leave(address) for address in addresses[lot : lot + 50]))
    await service.idle()
    history = await service.parts.store.read(start, 10_000)
    listed = {r.event.personal.address: r.position for r in history if isinstance(r.event, Suppression.Begun)}
    queued: Any = {r.event.originator_id: r.event for r in history if isinstance(r.event, Notification.Queued)}
    intents = [
        (listed[queued[r.event.originator_id].personal.address], r.position)
        for r in history
        if isinstance(r.event, Notification.Rendered)
    ]
    suppressed = sum(isinstance(r.event, Notification.Suppressed) for r in history)
    assert len(listed) == 1_000
    assert all(intent < left for left, intent in intents)
    assert len(intents) + suppressed == 1_000
    assert suppressed
