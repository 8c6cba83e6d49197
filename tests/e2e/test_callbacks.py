"""What Resend reports afterwards, from the signed callback to what the sender reads."""

import asyncio
import base64
import hmac
import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.application import RESEND_SECRET, Service, Tenant, running, until
from tests.fakes.resend import FakeResend

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/notifications"
CALLBACK = "/api/v1/webhooks/resend"


def event(kind: str, *, notification: str | None = None, email_id: str = "", **data: Any) -> dict[str, Any]:
    """A callback as Resend words it. Every event has its own second, in the order of its call."""
    tags = {"notification_id": notification, "type": "welcome"} if notification else {}
    about = {"email_id": email_id or str(uuid4()), "to": ["jane@example.com"], "tags": tags, **data}
    at = datetime.now(UTC) - timedelta(minutes=1) + timedelta(seconds=next(_seconds) % 30)
    return {"type": f"email.{kind}", "created_at": at.isoformat(), "data": about}


_seconds = itertools.count()


def signed(body: bytes, *, id: str = "", at: float | None = None, secret: str = RESEND_SECRET) -> dict[str, str]:
    id, timestamp = id or f"msg_{uuid4().hex}", str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"svix-id": id, "svix-timestamp": timestamp, "svix-signature": signature}
    return {"Content-Type": "application/json", **headers}


async def call_back(service: Service, what: dict[str, Any], **how: Any) -> httpx.Response:
    body = json.dumps(what).encode()
    return await service.http.post(CALLBACK, content=body, headers=signed(body, **how))


async def report(service: Service, *events: dict[str, Any]) -> None:
    for each in events:
        answer = await call_back(service, each)
        assert (answer.status_code, answer.json()) == (200, {"new": True})


async def sent(tenant: Tenant) -> str:
    """To an address of its own: whoever bounced or complained gets nothing more."""
    id, _ = await tenant.send_one(f"{uuid4().hex}@example.com")
    await tenant.detail_when(id, status="sent")
    return id


@pytest.mark.parametrize(
    ("kind", "data", "facts"),
    [
        ("delivered", {}, {"status": "delivered"}),
        (
            "bounced",
            {"bounce": {"type": "Permanent", "message": "550 no such user"}},
            {"status": "bounced", "reason_code": "hard_bounce", "error_message": "550 no such user"},
        ),
        ("bounced", {"bounce": {"type": "Transient"}}, {"status": "bounced", "reason_code": "soft_bounce"}),
        ("failed", {"failed": {"reason": "quota"}}, {"status": "failed", "reason_code": "provider_rejected_later"}),
        ("opened", {}, {"status": "delivered"}),
        ("clicked", {}, {"status": "delivered"}),
        ("complained", {}, {"status": "delivered"}),
    ],
)
async def test_what_is_reported_becomes_the_notifications_state(
    service: Service, tenant: Tenant, kind: str, data: dict[str, Any], facts: dict[str, Any]
) -> None:
    id = await sent(tenant)
    what = event(kind, notification=id, **data)
    await report(service, what)

    detail = await tenant.detail_when(id, **facts)

    if f"{kind}_at" in detail:
        assert datetime.fromisoformat(detail[f"{kind}_at"]) == datetime.fromisoformat(what["created_at"])
    status = (await tenant.get(f"{API}/{id}/status")).json()
    assert status["status"] == facts["status"]
    events = (await tenant.get(f"{API}/{id}/events")).json()
    assert events[-1]["event"] in (f"notification.{kind}", "notification.rejected")
    assert events[-1]["by"] == "provider:resend"
    assert id in [each["id"] for each in await tenant.listed(status=facts["status"])]


async def test_all_facts_are_kept_side_by_side(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant)
    happened = ("delivered", "opened", "clicked", "complained")
    await report(service, *(event(kind, notification=id) for kind in happened))

    async def facts() -> Any:
        detail = await tenant.detail(id)
        return all(detail[f"{kind}_at"] for kind in happened) and detail

    detail = await until(facts)
    assert detail["status"] == "delivered"


async def test_the_order_and_the_number_of_callbacks_do_not_matter(service: Service, tenant: Tenant) -> None:
    said: set[str] = set()
    kinds = ("delivered", "opened", "bounced")
    base = datetime.now(UTC) - timedelta(minutes=2)
    for order in itertools.permutations(range(3)):
        id = await sent(tenant)
        events = [event(kind, notification=id, bounce={"type": "Permanent"}) for kind in kinds]
        for second, each in enumerate(events):
            each["created_at"] = (base + timedelta(seconds=second)).isoformat()
        await report(service, *(events[place] for place in order), *(events[place] for place in order))

        async def facts(id: str = id) -> Any:
            detail = await tenant.detail(id)
            return detail["status"] == "bounced" and all(detail[f"{kind}_at"] for kind in kinds) and detail

        detail = await until(facts)
        said.add(json.dumps({name: detail[name] for name in ("status", "reason_code", *(f"{k}_at" for k in kinds))}))
    assert len(said) == 1


async def test_the_same_callback_is_taken_once(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant)
    what = event("delivered", notification=id)
    answers = await asyncio.gather(*(call_back(service, what, id="msg_same") for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["new"] for answer in answers) == [False] * 19 + [True]
    await tenant.detail_when(id, status="delivered")
    events = (await tenant.get(f"{API}/{id}/events")).json()
    assert [each["event"] for each in events].count("notification.delivered") == 1


async def test_a_callback_of_an_unknown_message_is_kept_and_settled_when_that_is_sent(conninfo: str) -> None:
    async with FakeResend(latency=1.0) as resend:
        environment = {
            "EMAIL_PROVIDER": "resend",
            "RESEND_API_KEY": "re_test",
            "RESEND_BASE_URL": resend.url,
            "RESEND_PER_SECOND": "1000",
            "RESEND_PER_DAY": "1000",
            "RESEND_WEBHOOK_SECRET": RESEND_SECRET,
        }
        async with running(conninfo, **environment) as service:
            tenant = await service.tenant()
            id, _ = await tenant.send_one()

            async def taken() -> list[str]:
                return list(resend.emails)

            (email_id,) = await until(taken)  # the answer comes a second later
            await report(service, event("clicked", email_id=email_id))
            assert (await tenant.detail(id))["provider_id"] is None
            detail = await tenant.detail_when(id, status="delivered")
            assert (detail["provider_id"], bool(detail["clicked_at"])) == (email_id, True)
            await report(service, event("bounced", email_id=email_id, bounce={"type": "Permanent"}))
            await tenant.detail_when(id, status="bounced")
            assert resend.violations == []


async def test_a_stuck_read_model_keeps_no_callback_from_its_notification(service: Service, tenant: Tenant) -> None:
    rows = service.parts.database.rows
    await rows("CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''poison''; END'")
    await rows("CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON view_metrics.rows EXECUTE FUNCTION poison()")
    try:
        id = await sent(tenant)
        await report(service, event("delivered", notification=id))
        await tenant.detail_when(id, status="delivered")
    finally:
        await rows("DROP FUNCTION poison CASCADE")
    await service.idle()


async def test_what_is_reported_of_nobodys_message_changes_nothing(service: Service, tenant: Tenant) -> None:
    await report(
        service,
        event("delivered", notification=str(uuid4())),
        event("delivered", email_id="unknown"),
        event("bounced", email_id=""),
        event("contact.created"),
        {"type": "something.new"},
    )
    body = b"[]"
    assert (await service.http.post(CALLBACK, content=body, headers=signed(body))).status_code == 200
    await service.idle()
    assert await tenant.listed() == []


# Who may say something


async def test_what_was_tampered_with_is_refused_and_not_kept(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant)
    body = json.dumps(event("delivered", notification=id)).encode()
    good = signed(body)
    other = "whsec_" + base64.b64encode(bytes(24)).decode()
    tampered = {
        "the body": (body.replace(b"delivered", b"bounced  "), good),
        "another id": (body, {**good, "svix-id": "msg_other"}),
        "another time": (body, {**good, "svix-timestamp": str(int(good["svix-timestamp"]) + 1)}),
        "another secret": (body, signed(body, secret=other)),
        "no signature": (body, {**good, "svix-signature": ""}),
        "half a signature": (body, {**good, "svix-signature": good["svix-signature"][:20]}),
        "another version": (body, {**good, "svix-signature": good["svix-signature"].replace("v1,", "v2,")}),
        "no headers": (body, {"Content-Type": "application/json"}),
        "an odd time": (body, {**good, "svix-timestamp": "now"}),
        "a huge time": (body, {**good, "svix-timestamp": "9" * 30}),
        "long ago": (body, signed(body, at=time.time() - 301)),
        "long ahead": (body, signed(body, at=time.time() + 310)),
    }
    stored = await service.events()
    for what, (content, headers) in tampered.items():
        answer = await service.http.post(CALLBACK, content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature"), what
        assert answer.headers["content-type"].startswith("application/problem+json")
    assert await service.events() == stored
    assert (await tenant.detail(id))["status"] == "sent"


async def test_a_callback_within_the_window_is_taken(service: Service, tenant: Tenant) -> None:
    id = await sent(tenant)
    answer = await call_back(service, event("delivered", notification=id), at=time.time() - 290)
    assert answer.status_code == 200
    await tenant.detail_when(id, status="delivered")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a":' * 100_000, b"[" * 100_000, b"\x00"])
async def test_what_is_rightly_signed_and_unreadable_is_malformed(service: Service, body: bytes) -> None:
    answer = await service.http.post(CALLBACK, content=body, headers=signed(body))
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_without_a_secret_there_are_no_callbacks(conninfo: str) -> None:
    async with running(conninfo) as service:
        answer = await call_back(service, event("delivered"))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_bounced_can_be_sent_once_more_and_old_reports_do_not_count(
    service: Service, tenant: Tenant
) -> None:
    id = await sent(tenant)
    first = (await tenant.detail(id))["provider_id"]
    await report(service, event("bounced", notification=id, email_id=first, bounce={"type": "Transient"}))
    await tenant.detail_when(id, status="bounced")

    assert (await tenant.post(f"{API}/{id}/retry")).status_code == 202
    detail = await tenant.detail_when(id, status="sent")
    assert detail["provider_id"] != first
    await report(service, event("complained", notification=id, email_id=first))
    await service.idle()
    assert (await tenant.detail(id))["status"] == "sent"


async def test_the_views_and_the_log_agree_after_all_this(service: Service) -> None:
    await service.idle()
    assert await service.differences() == []
