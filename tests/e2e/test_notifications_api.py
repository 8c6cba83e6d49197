"""Sending, reading back, cancelling and sending once more, as a caller of the API sees it."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters.postgres.append_events import APPEND_LOCK
from application.caller import Scope
from application.commands.sending import MOST_RECIPIENTS
from domain.outcomes import Outcome
from entrypoints.http import notifications
from tests.application import WELCOME, Service, Tenant, running, until, welcome

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/notifications"

INTERVIEW = {
    "candidate_name": "Anna Berger",
    "candidate_email": "anna.berger@example.org",
    "company_name": "Nordlicht Energie",
    "hr_name": "Tom Feldmann",
    "hr_email": "tom.feldmann@nordlicht.example.com",
    "interview_id": "INT-20417",
    "interview_title": "First conversation",
    "position_title": "Backend Engineer",
    "question_count": 6,
    "total_time_limit": 45,
    "interview_url": "https://interviews.example.com/i/INT-20417",
}

DETAIL_FIELDS = {
    *("id", "type", "channel", "template", "template_version", "recipient", "recipient_user_id", "subject"),
    *("content_preview", "status", "reason_code", "provider", "provider_id", "provider_response", "error_message"),
    *("retry_count", "created_at", "sent_at", "delivered_at", "opened_at", "clicked_at", "updated_at", "cost"),
    *("context",),
}


def now() -> datetime:
    return datetime.now(UTC)


def later(seconds: float) -> str:
    return (now() + timedelta(seconds=seconds)).isoformat()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Sending


async def test_a_send_is_answered_with_its_id_its_position_and_every_notification(tenant: Tenant) -> None:
    answer = await tenant.post(API, welcome("jane@example.com", "Max@EXAMPLE.com"))

    assert answer.status_code == 202
    body = answer.json()
    assert body.keys() == {"id", "position", "notifications"}
    UUID(body["id"])
    assert body["position"] > 0
    told = {"id", "channel", "recipient", "status", "reason_code", "until", "duplicate_of"}
    assert [each.keys() for each in body["notifications"]] == [told] * 2
    assert [each["channel"] for each in body["notifications"]] == ["email", "email"]
    assert [each["recipient"]["email"] for each in body["notifications"]] == ["jane@example.com", "Max@EXAMPLE.com"]
    assert [each["status"] for each in body["notifications"]] == ["pending", "pending"]
    assert len({each["id"] for each in body["notifications"]} | {body["id"]}) == 3


async def test_a_send_is_answered_only_after_the_commit(service: Service, tenant: Tenant) -> None:
    async with await psycopg.AsyncConnection.connect(service.parts.conninfo, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (APPEND_LOCK,))
        answer = asyncio.create_task(tenant.send_one())

        async def append_waits() -> Any:
            cursor = await connection.execute(
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", (APPEND_LOCK,)
            )
            return await cursor.fetchone()

        await until(append_waits)
        assert not answer.done()
        await connection.execute("SELECT pg_advisory_unlock(%s)", (APPEND_LOCK,))
        id, position = await answer
        cursor = await connection.execute(
            "SELECT notification_id FROM stored_events WHERE originator_id = %s AND originator_version = 1", (id,)
        )
        assert await cursor.fetchone() == (position,)


async def test_it_arrives_in_the_language_of_its_reader(service: Service, tenant: Tenant) -> None:
    german = [{"email": "anna@example.com", "name": "Anna", "locale": "de"}]
    english = [{"email": "anna@example.com", "locale": "en-GB"}]
    in_german, _ = await tenant.send_one(recipients=german)
    in_english, _ = await tenant.send_one(recipients=english)

    mail = await service.mail(in_german)
    assert mail.subject == "Willkommen bei Tallyho, Anna"
    assert (mail.to.address, mail.to.name) == ("anna@example.com", "Anna")
    assert 'lang="de"' in (mail.html or "")
    assert (await service.mail(in_english)).subject == "Welcome to Tallyho, Anna"
    assert (await tenant.detail_when(in_german, status="sent"))["subject"] == mail.subject


async def test_camel_case_variables_are_understood(service: Service, tenant: Tenant) -> None:
    spelled = {"userName": "Anna", "productName": "Tallyho", "actionUrl": WELCOME["action_url"]}
    id, _ = await tenant.send_one(variables=spelled)
    assert (await service.mail(id)).subject == "Welcome to Tallyho, Anna"


async def test_a_thousand_recipients_are_accepted_and_one_more_is_not(service: Service, tenant: Tenant) -> None:
    at_noon = {"scheduled_at": "2099-01-01T12:00:00Z"}
    addresses = [f"reader{i}@example.com" for i in range(MOST_RECIPIENTS)]
    body = await tenant.send(*addresses, **at_noon)
    assert [each["recipient"]["email"] for each in body["notifications"]] == addresses
    stored = await service.events(tenant)

    answer = await tenant.post(API, welcome(*addresses, "one-too-many@example.com", **at_noon))

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["recipients"]
    assert await service.events(tenant) == stored


async def test_one_bad_address_among_many_refuses_them_all_and_is_named_by_its_index(
    service: Service, tenant: Tenant
) -> None:
    addresses = [f"reader{i}@example.com" for i in range(50)]
    addresses[17], addresses[41] = "not an address", "x@y"
    stored = await service.events(tenant)

    answer = await tenant.post(API, welcome(*addresses))

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["recipients[17].email", "recipients[41].email"]
    assert "not an address" not in answer.text
    assert await service.events(tenant) == stored
    assert await tenant.listed() == []


# Reading back


async def test_the_detail_says_everything_there_is_to_say(service: Service, tenant: Tenant) -> None:
    context = {"source": "shop", "correlation_id": "order-7", "metadata": {"order": 7}}
    id, _ = await tenant.send_one(recipients=[{"email": "Jane@EXAMPLE.com", "user_id": "u-1"}], context=context)
    mail = await service.mail(id)

    detail = await tenant.detail_when(id, status="sent")

    assert detail.keys() >= DETAIL_FIELDS
    assert detail["id"] == id
    assert (detail["type"], detail["template"], detail["channel"]) == ("welcome", "welcome", "email")
    assert (detail["category"], detail["priority"], detail["purpose"]) == ("registration", "high", "transactional")
    assert len(detail["template_version"]) == 64
    assert (detail["recipient"], detail["recipient_user_id"]) == ("Jane@example.com", "u-1")
    assert detail["subject"] == mail.subject
    assert detail["content_preview"] == " ".join(mail.text.split())[:140]
    assert (detail["provider"], detail["provider_id"]) == ("capture", str(mail.id))
    assert detail["context"] == context
    assert detail["retry_count"] == 0
    assert moment(detail["created_at"]) <= moment(detail["sent_at"]) <= moment(detail["updated_at"]) <= now()
    absent = ("reason_code", "provider_response", "error_message", "delivered_at", "opened_at", "clicked_at", "cost")
    assert {name: detail[name] for name in absent} == dict.fromkeys(absent)


async def test_the_status_names_every_call_to_a_provider(service: Service, tenant: Tenant) -> None:
    id, _ = await tenant.send_one()
    await tenant.detail_when(id, status="sent")
    await service.idle()

    status = (await tenant.get(f"{API}/{id}/status")).json()

    assert (status["id"], status["status"], status["retry_count"]) == (id, "sent", 0)
    (attempt,) = status["attempts"]
    assert (attempt["attempt"], attempt["provider"], attempt["outcome"]) == (1, "capture", "sent")
    assert attempt["milliseconds"] >= 0


async def test_the_audit_trail_comes_from_the_log_itself(tenant: Tenant) -> None:
    id, position = await tenant.send_one()
    await tenant.detail_when(id, status="sent")

    events = (await tenant.get(f"{API}/{id}/events")).json()

    assert [each["event"] for each in events] == ["notification.queued", "notification.rendered", "notification.sent"]
    assert [each["version"] for each in events] == [1, 2, 3]
    assert events[0]["position"] == position
    assert sorted(each["position"] for each in events) == [each["position"] for each in events]
    assert events[0]["by"].startswith("key:")
    assert events[1]["by"].startswith("worker")
    assert events[0]["personal"]["address"] == "jane@example.com"
    assert events[0]["personal"]["variables"] == WELCOME
    assert events[0]["data"]["template"]["name"] == "welcome"


async def test_secret_variables_are_nowhere_to_be_read(service: Service, tenant: Tenant) -> None:
    secret = "https://app.tallyho.example.com/password/new?token=never-show-this"
    variables = {"user_name": "Anna", "product_name": "Tallyho", "reset_url": secret, "expires_in_minutes": 30}
    id, _ = await tenant.send_one(type="password_reset", variables=variables)
    assert secret in (await service.mail(id)).text
    await tenant.detail_when(id, status="sent")

    for path in (f"{API}/{id}", f"{API}/{id}/events", f"{API}/{id}/status", API):
        assert "never-show-this" not in (await tenant.get(path)).text


async def test_waiting_for_a_position_shows_the_own_write(tenant: Tenant) -> None:
    for _ in range(20):
        id, position = await tenant.send_one()
        assert (await tenant.detail(id, wait_for=position))["id"] == id
        assert id in [each["id"] for each in await tenant.listed(wait_for=position)]
        assert (await tenant.get(f"{API}/{id}/status", wait_for=position)).status_code == 200


async def test_a_position_of_the_future_is_not_waited_for_for_ever(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "PATIENCE", 0.1)
    id, position = await tenant.send_one(scheduled_at=later(3600))
    for path in (API, f"{API}/{id}", f"{API}/{id}/status"):
        answer = await tenant.get(path, wait_for=position + 1_000_000)
        assert (answer.status_code, answer.json()["code"]) == (503, "not_caught_up")
        assert int(answer.headers["Retry-After"]) >= 1


# Lists


async def test_lists_filter_by_everything_they_say_they_do(service: Service, tenant: Tenant) -> None:
    sent, _ = await tenant.send_one("jane@example.com")
    interview, _ = await tenant.send_one("max@example.com", type="interview_invitation", variables=INTERVIEW)
    of_user, _ = await tenant.send_one(recipients=[{"email": "jane@example.com", "user_id": "u-7"}])
    waiting, _ = await tenant.send_one("max@example.com", scheduled_at=later(3600))
    expired, _ = await tenant.send_one("late@example.com", expires_at=later(-1))
    await tenant.detail_when(expired, status="expired")
    await service.idle()
    made = {id: (await tenant.detail(id))["created_at"] for id in (sent, interview, of_user, waiting, expired)}

    async def found(**filters: Any) -> set[str]:
        return {each["id"] for each in await tenant.listed(**filters)}

    assert await found() == set(made)
    assert [each["id"] for each in await tenant.listed()] == sorted(made, reverse=True)
    assert await found(status="sent") == {sent, interview, of_user}
    assert await found(status="deferred") == {waiting}
    assert await found(status="expired") == {expired}
    assert await found(status="bounced") == set()
    assert await found(channel="email") == set(made)
    assert await found(channel="sms") == set()
    assert await found(type="interview_invitation") == {interview}
    assert await found(type="no_such_type") == set()
    assert await found(recipient="max@example.com") == {interview, waiting}
    assert await found(recipient_user_id="u-7") == {of_user}
    assert await found(**{"from": made[of_user]}) == {of_user, waiting, expired}
    assert await found(to=made[of_user]) == {sent, interview}
    assert await found(**{"from": made[interview], "to": made[waiting]}) == {interview, of_user}
    assert await found(recipient="jane@example.com", status="sent", recipient_user_id="u-7") == {of_user}


async def test_a_recipient_is_found_however_the_domain_was_written(service: Service, tenant: Tenant) -> None:
    id, position = await tenant.send_one("Jane@Example.COM")
    assert [each["id"] for each in await tenant.listed(recipient="Jane@Example.COM", wait_for=position)] == [id]
    assert [each["id"] for each in await tenant.listed(recipient="Jane@example.com")] == [id]


async def test_pages_stay_as_they_are_while_new_ones_arrive(service: Service, tenant: Tenant) -> None:
    there = [(await tenant.send_one(scheduled_at=later(3600)))[0] for _ in range(25)]
    await service.idle()

    seen: list[str] = []
    sizes = []
    cursor = None
    while cursor or not sizes:
        asked = {"limit": 10, **({"cursor": cursor} if cursor else {})}
        page = (await tenant.get(API, **asked)).json()
        seen += [each["id"] for each in page["notifications"]]
        sizes.append(len(page["notifications"]))
        cursor = page["next_cursor"]
        _, position = await tenant.send_one(scheduled_at=later(3600))
        await tenant.listed(wait_for=position)

    assert sizes == [10, 10, 5]
    assert seen == there[::-1]


async def test_a_page_that_just_fits_is_the_last(service: Service, tenant: Tenant) -> None:
    body = await tenant.send(*(f"reader{i}@example.com" for i in range(10)), scheduled_at=later(3600))
    page = (await tenant.get(API, limit=10, wait_for=body["position"])).json()
    assert (len(page["notifications"]), page["next_cursor"]) == (10, None)


async def test_another_tenants_cursor_is_refused(service: Service, tenant: Tenant) -> None:
    body = await tenant.send("a@example.com", "b@example.com", scheduled_at=later(3600))
    page = (await tenant.get(API, limit=1, wait_for=body["position"])).json()
    assert page["next_cursor"]

    answer = await (await service.tenant()).get(API, cursor=page["next_cursor"])

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["cursor"]


# When


async def test_what_is_scheduled_waits_and_then_goes_on_time(service: Service, tenant: Tenant) -> None:
    due = now() + timedelta(seconds=2)
    body = await tenant.send(*(f"reader{i}@example.com" for i in range(100)), scheduled_at=due.isoformat())
    ids = {each["id"] for each in body["notifications"]}
    assert {each["status"] for each in body["notifications"]} == {"deferred"}
    one = await tenant.detail(min(ids), wait_for=body["position"])
    assert (one["status"], one["reason_code"], moment(one["scheduled_at"])) == ("deferred", "scheduled", due)

    async def all_there() -> Any:
        mails = await service.mails()
        return ids <= mails.keys() and [mails[id].captured_at for id in ids]

    lateness = sorted((at - due).total_seconds() for at in await until(all_there))
    assert lateness[0] >= 0
    assert lateness[98] < 2  # p99


async def test_what_is_too_late_expires_and_is_never_sent(service: Service, tenant: Tenant) -> None:
    id, _ = await tenant.send_one(expires_at=later(-1))
    detail = await tenant.detail_when(id, status="expired")
    assert (detail["reason_code"], detail["sent_at"], detail["provider"]) == ("expired", None, None)
    await service.idle()
    assert id not in await service.mails()


async def test_urgent_ones_overtake(conninfo: str) -> None:
    async with running(conninfo, EMAIL_CONCURRENCY="1", DISPATCH_WINDOW="1") as service:
        tenant = await service.tenant()
        await service.parts.budget.pause("capture", timedelta(seconds=1), "test")
        order = {}
        for priority in ("low", "medium", "critical", "high", "low", "critical"):
            id, _ = await tenant.send_one(priority=priority)
            order[id] = priority
        await service.idle()
        arrived = sorted((await service.mails()).values(), key=lambda mail: mail.id)
        said = [order[mail.tags["notification_id"]] for mail in arrived]
    assert said == ["critical", "critical", "high", "medium", "low", "low"]


# Cancelling and sending once more


async def test_what_is_cancelled_in_time_is_never_sent(service: Service, tenant: Tenant) -> None:
    id, _ = await tenant.send_one(scheduled_at=later(1))
    answer = await tenant.post(f"{API}/{id}/cancel")
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("id", "result", "status")} == {
        "id": id,
        "result": "cancelled",
        "status": "cancelled",
    }
    again = await tenant.post(f"{API}/{id}/cancel")
    assert again.json()["result"] == "cancelled"
    detail = await tenant.detail(id, wait_for=answer.json()["position"])
    assert (detail["status"], detail["reason_code"]) == ("cancelled", "cancelled_by_caller")

    other, _ = await tenant.send_one(scheduled_at=later(1.5))  # by the time it arrives the first would have, too
    await service.mail(other)
    assert id not in await service.mails()


async def test_what_was_sent_cannot_be_cancelled(tenant: Tenant) -> None:
    id, _ = await tenant.send_one()
    await tenant.detail_when(id, status="sent")
    answer = (await tenant.post(f"{API}/{id}/cancel")).json()
    assert (answer["result"], answer["status"]) == ("too_late", "sent")


async def test_a_cancel_never_lies_while_the_message_is_on_its_way(
    service: Service, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[str] = Counter()
    sender = service.parts.email_sender
    send = sender.send

    async def slowly(*what: Any) -> Outcome:
        await asyncio.sleep(0.05)  # else all may be gone before the first cancel comes
        return await send(*what)

    monkeypatch.setattr(sender, "send", slowly)
    for _ in range(10):  # until both answers were seen, which the first round nearly always brings
        body = await tenant.send(*(f"reader{i}@example.com" for i in range(200)))
        ids = [each["id"] for each in body["notifications"]]
        await service.mail(ids[0])
        answers = await asyncio.gather(*(tenant.post(f"{API}/{id}/cancel") for id in reversed(ids)))
        results = {each.json()["id"]: each.json()["result"] for each in answers}
        await service.idle()
        mailed = set(await service.mails())

        assert {id for id, result in results.items() if result == "cancelled"} == set(ids) - mailed
        listed = {each["id"]: each["status"] for each in await tenant.listed(limit=200)}
        said = {id: "cancelled" if result == "cancelled" else "sent" for id, result in results.items()}
        assert {id: listed[id] for id in ids} == said
        seen.update(results.values())
        if len(seen) == 2:
            break
    assert set(seen) == {"cancelled", "too_late"}


async def test_what_came_to_nothing_is_sent_once_more_by_hand(service: Service, tenant: Tenant) -> None:
    id, _ = await tenant.send_one(expires_at=later(-1))
    await tenant.detail_when(id, status="expired")

    answer = await tenant.post(f"{API}/{id}/retry")

    assert answer.status_code == 202
    assert answer.json().keys() == {"id", "status", "position"}
    assert answer.json()["status"] == "pending"
    await service.mail(id)
    detail = await tenant.detail_when(id, status="sent")
    assert detail["retry_count"] == 1
    refused = await tenant.post(f"{API}/{id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")


# Idempotency


async def test_the_same_request_again_gets_the_same_answer_byte_for_byte(service: Service, tenant: Tenant) -> None:
    body = welcome("jane@example.com", "max@example.com", scheduled_at=later(3600))
    first = await tenant.post(API, body, Idempotency_Key="order-1")
    stored = await service.events(tenant)
    for _ in range(3):
        again = await tenant.post(API, body, Idempotency_Key="order-1")
        assert (again.status_code, again.content) == (202, first.content)
    assert await service.events(tenant) == stored


async def test_a_known_key_with_another_body_is_a_conflict(tenant: Tenant) -> None:
    await tenant.post(API, welcome("jane@example.com"), Idempotency_Key="order-1")
    for other in (welcome("max@example.com"), welcome("jane@example.com", variables={}), {"type": "nonsense"}):
        answer = await tenant.post(API, {**welcome("jane@example.com"), **other}, Idempotency_Key="order-1")
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")


async def test_a_refused_request_does_not_use_up_its_key(tenant: Tenant) -> None:
    refused = await tenant.post(API, welcome("nonsense"), Idempotency_Key="order-1")
    assert refused.status_code == 422
    accepted = await tenant.post(API, welcome("jane@example.com"), Idempotency_Key="order-1")
    assert accepted.status_code == 202


async def test_two_hundred_requests_at_once_under_one_key_are_one(service: Service, tenant: Tenant) -> None:
    body = welcome("jane@example.com")
    answers = await asyncio.gather(*(tenant.post(API, body, Idempotency_Key="order-1") for _ in range(200)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    await service.idle()
    assert len(await tenant.listed()) == 1


async def test_a_key_belongs_to_its_tenant(service: Service, tenant: Tenant) -> None:
    key = f"order-{uuid4()}"
    other = await service.tenant()
    ours = await tenant.post(API, welcome("jane@example.com"), Idempotency_Key=key)
    theirs = await other.post(API, welcome("max@example.com"), Idempotency_Key=key)
    assert (ours.status_code, theirs.status_code) == (202, 202)
    assert ours.json()["id"] != theirs.json()["id"]


async def test_a_key_is_remembered_over_a_restart(conninfo: str) -> None:
    body = welcome("jane@example.com")
    async with running(conninfo) as service:
        tenant = await service.tenant(name="acme")
        first = await tenant.post(API, body, Idempotency_Key="order-1")
        await service.idle()
    async with running(conninfo) as service:
        tenant = await service.tenant(name="acme")
        again = await tenant.post(API, body, Idempotency_Key="order-1")
        other = await tenant.post(API, welcome("max@example.com"), Idempotency_Key="order-1")
        assert len(await tenant.listed()) == 1
    assert (again.status_code, again.content) == (202, first.content)
    assert other.status_code == 409


# Service to service


async def test_an_internal_send_needs_no_command(service: Service, tenant: Tenant) -> None:
    for body in (welcome("jane@example.com"), {"command": "SendNotification", **welcome("jane@example.com")}):
        answer = await tenant.post("/internal/send", body)
        assert answer.status_code == 202
        assert answer.json().keys() == {"id", "position", "notifications"}
        await service.mail(answer.json()["notifications"][0]["id"])


async def test_send_email_takes_one_recipient(service: Service, tenant: Tenant) -> None:
    body = {"command": "SendEmail", "type": "welcome", "recipient": {"email": "jane@example.com"}, "variables": WELCOME}
    answer = await tenant.post("/internal/send", body, Idempotency_Key="order-1")
    assert answer.status_code == 202
    (one,) = answer.json()["notifications"]
    assert (await service.mail(one["id"])).to.address == "jane@example.com"
    again = await tenant.post("/internal/send", body, Idempotency_Key="order-1")
    assert again.content == answer.content


async def test_cancel_and_retry_are_internal_commands_as_well(service: Service, tenant: Tenant) -> None:
    waiting, _ = await tenant.send_one(scheduled_at=later(3600))
    cancelled = await tenant.post("/internal/send", {"command": "CancelNotification", "id": waiting})
    assert (cancelled.status_code, cancelled.json()["result"]) == (202, "cancelled")

    expired, _ = await tenant.send_one(expires_at=later(-1))
    await tenant.detail_when(expired, status="expired")
    retried = await tenant.post("/internal/send", {"command": "RetryNotification", "id": expired})
    assert (retried.status_code, retried.json()["status"]) == (202, "pending")
    await service.mail(expired)


async def test_an_unknown_command_is_refused_by_name(tenant: Tenant) -> None:
    answer = await tenant.post("/internal/send", {"command": "SendPigeon", **welcome("jane@example.com")})
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["command"]


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_key_can_do_what_its_scopes_say_and_no_more(service: Service, scope: Scope) -> None:
    id, _ = await (everything := await service.tenant()).send_one(scheduled_at=later(3600))
    limited = await service.tenant(scope, name=everything.name)
    body = welcome("jane@example.com", scheduled_at=later(3600))
    needed = {
        Scope.READ: [
            ("GET", API),
            ("GET", f"{API}/{id}"),
            ("GET", f"{API}/{id}/status"),
            ("GET", f"{API}/{id}/events"),
        ],
        Scope.SEND: [("POST", API), ("POST", f"{API}/{id}/retry"), ("POST", f"{API}/{id}/cancel")],
        Scope.INTERNAL: [("POST", "/internal/send")],
    }
    await service.idle()
    for given, calls in needed.items():
        for method, path in calls:
            answer = await limited.request(method, path, json=body if method == "POST" else None)
            if given is scope:
                assert answer.status_code < 300 or answer.json()["code"] == "not_retryable"
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
