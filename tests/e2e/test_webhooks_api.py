"""Webhooks as a tenant and a receiver know them: subscribed to, told, verified, looked at, replayed."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import standardwebhooks
import svix

from application.caller import Scope
from application.queries import webhook_deliveries
from tests.application import Service, Tenant, running, until
from tests.fakes.receiver import Arrival, FakeReceiver

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/webhooks"
ORDER = {"order": {"id": "A-7", "total": 12.5}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(database_of_module: str) -> AsyncIterator[Service]:
    async with running(database_of_module, WEBHOOK_ALLOWED_SUBNETS="127.0.0.0/8") as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[FakeReceiver]:
    async with FakeReceiver() as receiver:
        yield receiver


def ok(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def subscribed(tenant: Tenant, receiver: FakeReceiver, path: str = "ok", **wishes: Any) -> tuple[str, Any]:
    """A subscription to all orders: its address in the API, and its secret."""
    said = {"name": "orders", "url": receiver.url(path), "event_types": ["order.*"], **wishes}
    answer = ok(await tenant.post(API, said), 201)
    return f"{API}/{answer['webhook']['id']}", answer["secret"]


async def told(tenant: Tenant, type: str = "order.created", data: Any = ORDER, **wishes: Any) -> Any:
    return ok(await tenant.post("/api/v1/events", {"type": type, "data": data, **wishes}), 202)


async def arrived(receiver: FakeReceiver, count: int = 1) -> list[Arrival]:
    """As soon as there are so many."""

    async def asked() -> list[Arrival] | None:
        return receiver.arrivals if len(receiver.arrivals) >= count else None

    return await until(asked) or []


async def deliveries_when(tenant: Tenant, webhook: str, count: int = 1, **facts: Any) -> list[Any]:
    """The deliveries as soon as there are so many and each says all of this."""

    async def asked() -> Any:
        found = ok(await tenant.get(f"{webhook}/deliveries"))["deliveries"]
        said = [each for each in found if all(each[name] == value for name, value in facts.items())]
        return said if len(said) == len(found) == count else None

    return await until(asked)


async def shown(service: Service) -> None:
    """Return when the read models have come to what is the head of the log now; what is held would never be idle."""
    head = await service.parts.store.head()

    async def asked() -> bool:
        return min((await service.parts.reader.positions()).values()) >= head

    await until(asked)


# Being told


async def test_who_subscribed_is_told_and_verifies_it(tenant: Tenant, receiver: FakeReceiver):
    _, secret = await subscribed(tenant, receiver, headers={"Authorization": "Bearer letmein"})
    answer = await told(tenant, occurred_at="2026-03-01T22:30:00+01:00", organization_id="acme")
    (arrival,) = await arrived(receiver)
    told_of = {"id": answer["id"], "type": "order.created", "organization_id": "acme"}
    expected = {**told_of, "timestamp": "2026-03-01T21:30:00Z", "data": ORDER}
    assert standardwebhooks.Webhook(secret).verify(arrival.body, arrival.headers) == expected
    svix.Webhook(secret).verify(arrival.body, arrival.headers)
    assert arrival.headers["webhook-id"] == answer["id"]
    assert arrival.headers["authorization"] == "Bearer letmein"
    assert len(answer["notifications"]) == 1


async def test_an_event_that_nobody_subscribed_to_is_kept_and_says_so(tenant: Tenant, receiver: FakeReceiver):
    await subscribed(tenant, receiver, event_types=["payment.failed"])
    assert (await told(tenant))["notifications"] == []


async def test_the_same_event_twice_is_one_event_and_another_one_under_its_id_is_refused(
    tenant: Tenant, receiver: FakeReceiver
):
    await subscribed(tenant, receiver)
    first, second = await told(tenant, id="order-7"), await told(tenant, id="order-7")
    assert first == second
    other = await tenant.post("/api/v1/events", {"type": "order.created", "data": {}, "id": "order-7"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert other.json()["title"] == "The id belongs to another event"
    assert len(await arrived(receiver)) == 1


async def test_the_same_can_be_said_between_services(tenant: Tenant, receiver: FakeReceiver):
    await subscribed(tenant, receiver)
    said = {"command": "SendWebhook", "type": "order.created", "data": ORDER}
    answer = ok(await tenant.post("/internal/send", said), 202)
    (arrival,) = await arrived(receiver)
    assert arrival.headers["webhook-id"] == answer["id"]


async def test_with_a_key_pair_the_public_half_is_shown(tenant: Tenant, receiver: FakeReceiver):
    webhook, secret = await subscribed(tenant, receiver, signature="asymmetric")
    assert secret is None
    assert ok(await tenant.get(webhook))["public_key"].startswith("whpk_")
    await told(tenant)
    (arrival,) = await arrived(receiver)
    assert arrival.headers["webhook-signature"].startswith("v1a,")
    assert "x-webhook-signature" not in arrival.headers


async def test_while_a_secret_is_rotated_nobody_fails_to_verify(tenant: Tenant, receiver: FakeReceiver):
    webhook, old = await subscribed(tenant, receiver, concurrency=20)

    async def tell() -> None:
        for _ in range(15):
            await told(tenant)

    telling = [asyncio.create_task(tell()) for _ in range(4)]
    await arrived(receiver, 5)
    new = ok(await tenant.post(f"{webhook}/rotate-secret", {"grace_seconds": 3600}))["secret"]
    await asyncio.gather(*telling)
    arrivals = await arrived(receiver, 60)
    for arrival in arrivals:
        standardwebhooks.Webhook(old).verify(arrival.body, arrival.headers)
    standardwebhooks.Webhook(new).verify(arrivals[-1].body, arrivals[-1].headers)


async def test_a_secret_is_rotated_without_a_body_too(tenant: Tenant, receiver: FakeReceiver):
    webhook, old = await subscribed(tenant, receiver)
    assert ok(await tenant.post(f"{webhook}/rotate-secret"))["secret"] not in (None, old)
    assert (await tenant.post(f"{webhook}/rotate-secret", b"{")).status_code == 400
    wrong = await tenant.request("POST", f"{webhook}/rotate-secret", content=b"{}", headers={"Content-Type": "text/x"})
    assert wrong.status_code == 415


# Looking at it


async def test_a_subscription_is_listed_changed_and_deleted(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, headers={"X-Team": "s3cret"})
    other, _ = await subscribed(tenant, receiver)
    position = (await told(tenant))["position"]
    page = ok(await tenant.get(API, limit=1, wait_for=position))
    rest = ok(await tenant.get(API, cursor=page["next_cursor"]))
    assert [f"{API}/{each['id']}" for each in page["webhooks"] + rest["webhooks"]] == [other, webhook]
    assert rest["next_cursor"] is None
    detail = ok(await tenant.get(webhook))
    assert (detail["header_names"], detail["state"]) == (["X-Team"], "active")
    assert "s3cret" not in json.dumps([page, rest, detail])
    assert "whsec_" not in json.dumps([page, rest, detail])
    changed = {"name": "all", "url": receiver.url("ok/2"), "event_types": ["*"]}
    assert ok(await tenant.request("PUT", webhook, json=changed))["webhook"]["event_types"] == ["*"]
    position = ok(await tenant.request("DELETE", webhook))["position"]
    assert (await tenant.get(webhook)).status_code == 404
    assert len(ok(await tenant.get(API, wait_for=position))["webhooks"]) == 1


async def test_what_is_shown_of_a_subscription_can_be_put_again(tenant: Tenant, receiver: FakeReceiver):
    filters = [
        {"path": "a.b", "equals": None},
        {"path": "c", "any_of": [1, "x", True]},
        {"path": "d", "exists": True},
        {"path": "e", "exists": False},
    ]
    webhook, _ = await subscribed(tenant, receiver, filters=filters, headers={"X-Team": "s3cret"}, per_second=2.5)
    detail = ok(await tenant.get(webhook))
    assert detail["filters"] == filters
    writable = {"name", "url", "event_types", "organization_id", "filters", "concurrency", "per_second"}
    said = {name: detail[name] for name in writable | {"retry_schedule", "owner_email"}}
    again = ok(await tenant.request("PUT", webhook, json=said))["webhook"]
    assert again == {name: detail[name] for name in again}


async def test_headers_stay_unless_others_are_given(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, headers={"X-Team": "s3cret"})
    said = {"name": "orders", "url": receiver.url("ok"), "event_types": ["order.*"]}
    steps: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["X-Team"]),
        ({"headers": {"X-Crew": "a"}}, ["X-Crew"]),
        ({"url": receiver.url("headers")}, ["X-Crew"]),
        ({"url": "https://hooks.example.com/"}, []),
        ({"headers": {"X-Crew": "a"}}, ["X-Crew"]),
        ({"headers": {}}, []),
    ]
    for changes, names in steps:
        answer = ok(await tenant.request("PUT", webhook, json={**said, **changes}))
        assert answer["webhook"]["header_names"] == names


async def test_the_record_of_an_endpoint_is_shown(service: Service, tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver)
    await told(tenant)
    await deliveries_when(tenant, webhook, status="sent")
    await shown(service)
    detail = ok(await tenant.get(webhook))
    assert (detail["sent"], detail["failed"], detail["failure_count"]) == (1, 0, 0)
    assert detail["last_success_at"] == detail["last_triggered_at"]


async def test_each_attempt_is_shown_with_what_was_answered(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, "headers", retry_schedule=[1])
    answer = await told(tenant)
    (delivery,) = await deliveries_when(tenant, webhook, status="failed")
    assert (delivery["event_id"], delivery["type"], delivery["reason_code"]) == (
        answer["id"],
        "order.created",
        "endpoint_error",
    )
    assert [attempt["attempt"] for attempt in delivery["attempts"]] == [1, 2]
    for attempt in delivery["attempts"]:
        assert (attempt["status"], attempt["url"]) == ("failed", receiver.url("headers"))
        assert (attempt["response"]["status"], attempt["error_message"]) == (500, "answered 500")
        assert attempt["response"]["headers"]["x-0"].startswith("vvv")
        assert attempt["response"]["milliseconds"] > 0
    assert len({arrival.headers["webhook-id"] for arrival in receiver.arrivals}) == 1


async def test_who_may_only_read_is_not_told_of_the_endpoint(service: Service, tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, "headers", retry_schedule=[1])
    notification = (await told(tenant))["notifications"][0]["notification"]
    await deliveries_when(tenant, webhook, status="failed")
    reader = await service.tenant(Scope.READ, name=tenant.name)
    trail = f"/api/v1/notifications/{notification}/events"
    full, partial = ok(await tenant.get(trail)), ok(await reader.get(trail))
    assert [each["event"] for each in partial] == [each["event"] for each in full]
    assert receiver.url("headers") in json.dumps(full)
    assert "x-0" in json.dumps(full)
    assert not any({"url", "response"} & set(each["personal"] or ()) for each in partial)
    assert receiver.url("headers") not in json.dumps(partial)


async def test_the_curl_line_sends_it_again_and_it_verifies(tenant: Tenant, receiver: FakeReceiver):
    webhook, secret = await subscribed(tenant, receiver, headers={"X-Team": "s3cret"})
    await told(tenant, data={"text": 'it\'s "quoted" $HOME `ls` ünï'})
    (delivery,) = await deliveries_when(tenant, webhook, status="sent")
    assert "s3cret" not in delivery["curl"]
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", delivery["curl"] + " -sS", stdout=-1, env={"PATH": os.environ["PATH"]}
    )
    await shell.communicate()
    first, second = receiver.arrivals
    assert first.body == second.body
    standardwebhooks.Webhook(secret).verify(second.body, second.headers)


async def test_deliveries_come_in_pages(service: Service, tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver)
    ids = [(await told(tenant))["id"] for _ in range(3)]
    await shown(service)
    page = ok(await tenant.get(f"{webhook}/deliveries", limit=2))
    rest = ok(await tenant.get(f"{webhook}/deliveries", limit=2, cursor=page["next_cursor"]))
    assert [each["event_id"] for each in page["deliveries"] + rest["deliveries"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert ok(await tenant.get(f"{webhook}/deliveries", status="failed"))["deliveries"] == []


async def test_what_is_long_is_left_out_of_the_curl_line_and_read_from_a_file(
    tenant: Tenant, receiver: FakeReceiver, tmp_path: Path
):
    webhook, secret = await subscribed(tenant, receiver, "ok/{1,2}[3-4]")
    await told(tenant, data={"text": "'" * 40_000})
    (delivery,) = await deliveries_when(tenant, webhook, status="sent")
    assert len(delivery["curl"]) < 1000
    (tmp_path / "body").write_bytes(receiver.arrivals[0].body)
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", delivery["curl"] + " -sS", stdout=-1, env={"PATH": os.environ["PATH"]}, cwd=tmp_path
    )
    await shell.communicate()
    first, second = receiver.arrivals
    assert first.body == second.body
    standardwebhooks.Webhook(secret).verify(second.body, second.headers)


async def test_a_page_of_deliveries_ends_where_it_would_be_too_large(
    service: Service, tenant: Tenant, receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webhook_deliveries, "_MOST_BYTES", 3000)
    webhook, _ = await subscribed(tenant, receiver)
    ok(await tenant.post(f"{webhook}/pause", {}))
    ids = [(await told(tenant, data={"text": "x" * size}))["id"] for size in (1, 1, 4000, 1)]
    await shown(service)
    found, cursor = [], ""
    while cursor is not None:
        page = ok(await tenant.get(f"{webhook}/deliveries", **({"cursor": cursor} if cursor else {})))
        found.append([each["event_id"] for each in page["deliveries"]])
        cursor = page["next_cursor"]
    assert found == [ids[3:], ids[2:3], ids[1::-1]]


# Trying, holding and sending again


async def test_who_tries_out_an_endpoint_twice_at_a_time_is_asked_to_wait(tenant: Tenant):
    async with FakeReceiver() as silent:
        webhook, _ = await subscribed(tenant, silent, "hang")
        first = asyncio.create_task(tenant.post(f"{webhook}/test", {}))
        await arrived(silent)
        second = await tenant.post(f"{webhook}/test", {})
        assert (second.status_code, second.json()["code"]) == (429, "too_many_tests")
        assert int(second.headers["retry-after"]) > 0
    assert ok(await first)["taken"] is False


async def test_a_test_answers_with_what_came_of_it(tenant: Tenant, receiver: FakeReceiver):
    webhook, secret = await subscribed(tenant, receiver)
    answer = ok(await tenant.post(f"{webhook}/test"))
    assert (answer["taken"], answer["reason_code"], answer["response"]["status"]) == (True, None, 200)
    (arrival,) = receiver.arrivals
    assert standardwebhooks.Webhook(secret).verify(arrival.body, arrival.headers)["type"] == "webhook.test"


async def test_a_test_says_what_is_wrong(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, "404")
    answer = ok(await tenant.post(f"{webhook}/test"))
    assert (answer["taken"], answer["reason_code"], answer["response"]["status"]) == (False, "endpoint_error", 404)
    assert answer["error_message"] == "answered 404"


async def test_what_happens_while_it_is_paused_is_sent_when_it_is_resumed(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver)
    assert ok(await tenant.post(f"{webhook}/pause"))["webhook"]["state"] == "paused"
    held = await told(tenant)
    ok(await tenant.post(f"{webhook}/test"))
    await asyncio.sleep(0.2)
    assert [arrival.headers["webhook-id"] == held["id"] for arrival in receiver.arrivals] == [False]
    assert ok(await tenant.post(f"{webhook}/resume"))["webhook"]["state"] == "active"
    assert (await arrived(receiver, 2))[1].headers["webhook-id"] == held["id"]


async def test_what_was_given_up_is_counted_and_then_sent_again(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, "500", retry_schedule=[1])
    for _ in range(3):
        await told(tenant)
    before = [each["created_at"] for each in await deliveries_when(tenant, webhook, 3, status="failed")]
    mended = {"name": "orders", "url": receiver.url("ok"), "event_types": ["order.*"]}
    ok(await tenant.request("PUT", webhook, json=mended))
    wish = {"failed_since": min(before)}
    assert ok(await tenant.post(f"{webhook}/replay", {**wish, "dry_run": True}))["count"] == 3
    assert ok(await tenant.post(f"{webhook}/replay", wish))["count"] == 3
    await deliveries_when(tenant, webhook, 3, status="sent")
    assert ok(await tenant.post(f"{webhook}/replay", wish))["count"] == 0


async def test_who_comes_later_can_be_told_of_everything(service: Service, tenant: Tenant, receiver: FakeReceiver):
    ids = [(await told(tenant, data={"n": n}))["id"] for n in range(5)]
    await told(tenant, "payment.failed")
    filters = [{"path": "n", "any_of": [1, 2, 3]}]
    webhook, _ = await subscribed(tenant, receiver, filters=filters)
    await shown(service)
    assert ok(await tenant.post(f"{webhook}/replay", {"after": 0, "dry_run": True}))["count"] == 3
    await asyncio.sleep(0.1)
    assert receiver.arrivals == []
    answer = ok(await tenant.post(f"{webhook}/replay", {"after": 0}))
    assert (answer["count"], answer["more"]) == (3, False)
    assert sorted(each.headers["webhook-id"] for each in await arrived(receiver, 3)) == sorted(ids[1:4])


async def test_one_event_is_sent_again_under_its_id_and_not_while_it_is_on_its_way(
    tenant: Tenant, receiver: FakeReceiver
):
    webhook, _ = await subscribed(tenant, receiver)
    await told(tenant, id="order-8")
    await deliveries_when(tenant, webhook, status="sent")
    assert ok(await tenant.post(f"{webhook}/replay", {"event": "order-8"}))["count"] == 1
    first, second = await arrived(receiver, 2)
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    ok(await tenant.post(f"{webhook}/pause"))
    await told(tenant, id="order-9")
    assert ok(await tenant.post(f"{webhook}/replay", {"event": "order-9"}))["count"] == 0
    assert (await tenant.post(f"{webhook}/replay", {"event": "order-10"})).status_code == 404
    assert (await tenant.post(f"{webhook}/replay", {})).status_code == 422
    assert (await tenant.post(f"{webhook}/replay", {"event": "order-8", "after": 0})).status_code == 422


async def test_the_feed_has_what_a_webhook_would_have_said(tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver, organization_id="north")
    ok(await tenant.post(f"{webhook}/pause"))
    ids = [(await told(tenant, organization_id="north", data={"n": n}))["id"] for n in range(3)]
    await told(tenant, organization_id="south")
    await told(tenant, "payment.failed", organization_id="north")
    position = (await told(tenant))["position"]
    feed = ok(await tenant.get(f"{webhook}/feed", limit=2, wait_for=position))
    rest = ok(await tenant.get(f"{webhook}/feed", limit=2, after=feed["next"]))
    assert [each["id"] for each in feed["events"] + rest["events"]] == ids
    assert [each["data"] for each in feed["events"]] == [{"n": 0}, {"n": 1}]
    assert (feed["more"], rest["more"]) == (True, False)
    assert ok(await tenant.get(f"{webhook}/feed", after=rest["next"])) == {
        "events": [],
        "next": rest["next"],
        "more": False,
    }


# What is refused


@pytest.mark.parametrize(
    ("wishes", "path"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "http://example.com@127.0.0.1/"}, "url"),
        ({"url": "https://example.com/#x"}, "url"),
        ({"url": "http://example.com/"}, "url"),
        ({"headers": {"Host": "evil.example"}}, "headers.Host"),
        ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"),
        ({"event_types": ["a..b"]}, "event_types[0]"),
        ({"event_types": []}, "event_types"),
        ({"filters": [{"path": "n"}]}, "filters[0]"),
        ({"filters": [{"path": "a..b", "exists": True}]}, "filters[0].path"),
        ({"filters": [{"path": ".", "exists": True}]}, "filters[0].path"),
        ({"retry_schedule": [0]}, "retry_schedule[0]"),
        ({"owner_email": "nobody"}, "owner_email"),
    ],
)
async def test_what_cannot_be_subscribed_says_where(
    tenant: Tenant, receiver: FakeReceiver, wishes: dict[str, Any], path: str
):
    said = {"name": "orders", "url": receiver.url("ok"), "event_types": ["order.*"], **wishes}
    answer = await tenant.post(API, said)
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == [path]


async def test_another_tenants_webhooks_are_not_there(service: Service, tenant: Tenant, receiver: FakeReceiver):
    webhook, _ = await subscribed(tenant, receiver)
    stranger = await service.tenant()
    body = {"name": "mine", "url": receiver.url("ok"), "event_types": ["*"]}
    for method, path, said in [
        ("GET", "", None), ("PUT", "", body), ("DELETE", "", None), ("POST", "/pause", None), ("POST", "/resume", None),
        ("POST", "/test", None), ("POST", "/rotate-secret", {}), ("POST", "/replay", {"after": 0}),
        ("GET", "/deliveries", None), ("GET", "/feed", None),
    ]:  # fmt: skip
        answer = await stranger.request(method, webhook + path, json=said)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
    assert (await stranger.get(API)).json()["webhooks"] == []
    assert receiver.arrivals == []


async def test_to_subscribe_needs_a_scope_of_its_own_and_to_tell_that_of_a_sender(
    service: Service, receiver: FakeReceiver
):
    sender, reader = await service.tenant(Scope.SEND), await service.tenant(Scope.READ)
    assert (await told(sender))["notifications"] == []
    for tenant in (sender, reader):
        assert (await tenant.get(API)).status_code == 403
    assert (await reader.post("/api/v1/events", {"type": "a", "data": {}})).status_code == 403


# The catalogue


async def test_an_event_type_is_described_listed_and_removed(service: Service, tenant: Tenant):
    path = "/api/v1/event-types/order.created"
    said = {"description": "An order was made.", "example": ORDER, "deprecated": "order.placed"}
    answer = ok(await tenant.request("PUT", path, json=said))
    assert {name: answer[name] for name in said} == said
    assert ok(await tenant.get(path))["name"] == "order.created"
    ok(await tenant.request("PUT", "/api/v1/event-types/order.placed", json={}))
    await shown(service)
    page = ok(await tenant.get("/api/v1/event-types", limit=1))
    rest = ok(await tenant.get("/api/v1/event-types", cursor=page["next_cursor"]))
    names = [each["name"] for each in page["event_types"] + rest["event_types"]]
    assert names == ["order.created", "order.placed"]
    position = ok(await tenant.request("DELETE", path))["position"]
    assert (await tenant.get(path)).status_code == 404
    page = ok(await tenant.get("/api/v1/event-types", wait_for=position))
    assert [each["name"] for each in page["event_types"]] == ["order.placed"]
    ok(await tenant.request("PUT", path, json={}))
    assert ok(await tenant.get(path))["deprecated"] is None


async def test_who_tells_of_a_deprecated_type_is_told_what_to_use_instead(tenant: Tenant):
    path = "/api/v1/event-types/order.created"
    assert (await told(tenant))["deprecated"] is None
    ok(await tenant.request("PUT", path, json={"deprecated": "order.placed"}))
    assert (await told(tenant))["deprecated"] == "order.placed"
    ok(await tenant.request("DELETE", path))
    assert (await told(tenant))["deprecated"] is None


async def test_what_does_not_fit_a_checked_type_is_refused_with_its_place(tenant: Tenant):
    order = {"type": "object", "properties": {"total": {"type": "number", "minimum": 0}}, "required": ["total"]}
    schema = {"type": "object", "properties": {"order": order}}
    path = "/api/v1/event-types/order.created"
    earlier = await told(tenant, data={"order": {"total": -5}}, id="order-5")
    ok(await tenant.request("PUT", path, json={"schema": schema, "example": ORDER, "checked": True}))
    await told(tenant)
    assert await told(tenant, data={"order": {"total": -5}}, id="order-5") == earlier
    wrong = await tenant.post("/api/v1/events", {"type": "order.created", "data": {"order": {"total": -1}}})
    assert wrong.status_code == 422
    assert [each["path"] for each in wrong.json()["errors"]] == ["data.order.total"]
    ok(await tenant.request("PUT", path, json={"schema": schema, "checked": False}))
    await told(tenant, data={"order": {"total": -1}})


async def test_an_event_that_takes_too_much_to_check_is_refused(tenant: Tenant):
    schema = {"properties": {"a": {"items": {"anyOf": [{"minimum": n} for n in range(1, 800)]}}}}
    ok(await tenant.request("PUT", "/api/v1/event-types/evil.x", json={"schema": schema, "checked": True}))
    answer = await tenant.post("/api/v1/events", {"type": "evil.x", "data": {"a": [0] * 3000}})
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["data"]
    assert "cannot be checked by the schema" in answer.json()["errors"][0]["message"]
    await told(tenant, "evil.x", {"a": [1] * 3000})


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"schema": {"type": "nothing"}}, "schema"),
        ({"schema": {"$ref": "http://127.0.0.1:1/"}}, "schema"),
        ({"schema": {"properties": {"a": {"$ref": "#"}}}}, "schema"),
        ({"schema": {"pattern": "(?=a)"}}, "schema"),
        ({"schema": {"description": "x" * 17_000}}, "schema"),
        ({"checked": True}, "checked"),
        ({"schema": {"required": ["a"]}, "example": {}}, "example"),
    ],
)
async def test_a_description_that_could_not_be_used_is_refused(tenant: Tenant, said: dict[str, Any], path: str):
    answer = await tenant.request("PUT", "/api/v1/event-types/order.created", json=said)
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == [path]
    assert (await tenant.request("PUT", "/api/v1/event-types/a..b", json={})).status_code == 422
