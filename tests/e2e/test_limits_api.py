"""How much a tenant lets go out: chosen by API, kept by the workers, told and explained."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from application.caller import Scope
from tests.application import Service, Tenant, welcome
from tests.e2e.test_wishes import OFFER, explained

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/v1/rate-limits"
NOTHING: dict[str, Any] = {"channels": {}, "over": {}, "duplicate_window_seconds": None}
RESET: dict[str, Any] = {
    "type": "password_reset",
    "variables": {
        "user_name": "Jane",
        "product_name": "Acme",
        "reset_url": "https://acme.example.com/r",
        "expires_in_minutes": 30,
    },
}


async def choose(tenant: Tenant, **limits: Any) -> Any:
    answer = await tenant.request("PUT", PATH, json=limits)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def limited(tenant: Tenant, scope: str = "user", **rates: int) -> None:
    await choose(tenant, channels={"email": {scope: rates}})


async def test_limits_are_shown_as_they_were_chosen_and_gone_when_they_are_not_said_any_more(tenant: Tenant):
    assert (await tenant.get(PATH)).json() == NOTHING
    body = {
        "channels": {"email": {"tenant": {"per_minute": 600, "burst": 20}, "user": {"per_hour": 5}}},
        "over": {"order": "suppress"},
        "duplicate_window_seconds": 600,
    }
    answer = await choose(tenant, **body)
    assert answer["limits"] == (await tenant.get(PATH)).json()
    assert answer["limits"]["over"] == {"order": "suppress"}
    assert answer["limits"]["channels"]["email"]["user"] == {
        "per_minute": None,
        "per_hour": 5,
        "per_day": None,
        "burst": None,
    }
    assert (await choose(tenant))["limits"] == NOTHING


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"channels": {"email": {"user": {"per_hour": 0}}}}, "channels[...].user.per_hour"),
        ({"channels": {"webhook": {"user": {"per_hour": 1}}}}, "channels.webhook.user"),
        ({"duplicate_window_seconds": 0}, "duplicate_window_seconds"),
        ({"over": {"order": "later"}}, "over[...]"),
        ({"channels": {"email": {"per_hour": 1}}}, "channels[...].per_hour"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_place(tenant: Tenant, body: Any, path: str):
    answer = await tenant.request("PUT", PATH, json=body)
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == [path]


async def test_to_choose_needs_the_scope_admin(service: Service):
    reading = await service.tenant(Scope.SEND, Scope.READ)
    assert (await reading.request("PUT", PATH, json={})).status_code == 403
    assert (await reading.get(PATH)).status_code == 200
    other = await service.tenant(Scope.SEND)
    assert (await other.get(PATH)).status_code == 403


async def test_one_too_many_for_a_reader_waits_for_its_turn(service: Service, tenant: Tenant):
    await limited(tenant, per_hour=1)
    first, second, other = [
        (await tenant.send_one(each))[0] for each in ("jane@example.com", "jane@example.com", "max@example.com")
    ]
    await service.mail(other)
    details = [await tenant.detail_when(id) for id in (first, second)]
    await service.idle()
    details = [await tenant.detail(id) for id in (first, second)]
    (waiting,) = [each for each in details if each["status"] == "deferred"]
    (sent,) = [each for each in details if each["status"] == "sent"]
    assert waiting["reason_code"] == "rate_limited"
    found = await explained(tenant, waiting["id"])
    step = found["steps"][-1]
    assert (step["reason_code"], step["limit"]) == ("rate_limited", "user.per_hour")
    wait = datetime.fromisoformat(step["until"]) - datetime.fromisoformat(sent["sent_at"])
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)
    assert found["limits"]["channel"]["user"]["per_hour"] == 1
    assert found["limits"]["over"] == {"tenant": "defer", "user": "defer"}
    assert found["words"] == "waits: so many went out that it was one too many"


async def test_what_waited_for_its_turn_is_sent_then(service: Service, tenant: Tenant):
    await limited(tenant, "tenant", burst=2)
    answer = await tenant.send(*(f"reader-{n}@example.com" for n in range(6)))
    ids = [each["id"] for each in answer["notifications"]]
    times = sorted([datetime.fromisoformat((await tenant.detail_when(id, status="sent"))["sent_at"]) for id in ids])
    assert times[-1] - times[0] >= timedelta(seconds=1.5)
    histories = [(await tenant.get(f"/api/v1/notifications/{id}/events")).json() for id in ids]
    deferrals = [sum(each["event"] == "notification.deferred" for each in history) for history in histories]
    assert sorted(deferrals) == [0, 0, 1, 1, 1, 1]


async def test_advertising_that_is_one_too_many_is_not_sent(service: Service, tenant: Tenant):
    await limited(tenant, per_day=1)
    ids = [(await tenant.send_one(**OFFER))[0] for _ in range(3)]
    await service.idle()
    details = [await tenant.detail(id) for id in ids]
    assert sorted(each["status"] for each in details) == ["sent", "suppressed", "suppressed"]
    assert {each["reason_code"] for each in details if each["status"] == "suppressed"} == {"rate_limited"}


async def test_security_goes_at_once_and_counts(service: Service, tenant: Tenant):
    await limited(tenant, per_hour=1)
    for _ in range(3):
        await service.mail((await tenant.send_one(**RESET))[0])
    id, _ = await tenant.send_one()
    assert (await tenant.detail_when(id, status="deferred"))["reason_code"] == "rate_limited"


async def test_the_same_once_more_is_not_sent_and_the_answer_names_the_first(service: Service, tenant: Tenant):
    await choose(tenant, duplicate_window_seconds=600)
    first = (await tenant.send("jane@example.com"))["notifications"][0]
    again = (await tenant.send("jane@example.com"))["notifications"][0]
    other = (await tenant.send("max@example.com"))["notifications"][0]
    assert (first["status"], first["duplicate_of"]) == ("pending", None)
    assert (again["status"], again["reason_code"], again["duplicate_of"]) == (
        "suppressed",
        "duplicate_content",
        first["id"],
    )
    assert other["status"] == "pending"
    await service.mail(first["id"])
    found = await explained(tenant, again["id"])
    assert found["words"] == "is not sent: the same was said to the same address shortly before"
    assert found["steps"][-1]["duplicate_of"] == first["id"]
    assert found["limits"]["duplicate_window_seconds"] == 600
    assert again["id"] not in await service.mails()


async def test_of_many_that_say_the_same_at_once_one_is_sent(service: Service, tenant: Tenant):
    await choose(tenant, duplicate_window_seconds=600)
    answers = await asyncio.gather(
        *(tenant.post("/api/v1/notifications", welcome("jane@example.com")) for _ in range(30))
    )
    assert {answer.status_code for answer in answers} == {202}
    told = [answer.json()["notifications"][0] for answer in answers]
    (first,) = [each for each in told if each["status"] == "pending"]
    assert {each["duplicate_of"] for each in told if each is not first} == {first["id"]}


async def test_under_a_key_the_first_answer_is_given_again_also_of_what_was_not_sent(tenant: Tenant):
    await choose(tenant, duplicate_window_seconds=600)
    await tenant.send("jane@example.com")
    body = welcome("jane@example.com")
    first = await tenant.post("/api/v1/notifications", body, Idempotency_Key="once")
    again = await tenant.post("/api/v1/notifications", body, Idempotency_Key="once")
    assert again.content == first.content
    assert first.json()["notifications"][0]["reason_code"] == "duplicate_content"


async def test_what_was_cancelled_may_be_said_again(tenant: Tenant):
    await choose(tenant, duplicate_window_seconds=600)
    later = (datetime.now().astimezone() + timedelta(hours=1)).isoformat()
    first = (await tenant.send("jane@example.com", scheduled_at=later))["notifications"][0]
    assert (await tenant.post(f"/api/v1/notifications/{first['id']}/cancel")).json()["result"] == "cancelled"
    assert (await tenant.send("jane@example.com"))["notifications"][0]["status"] == "pending"


async def test_without_a_window_the_same_is_sent_as_often_as_it_is_asked_for(service: Service, tenant: Tenant):
    ids = [(await tenant.send_one())[0] for _ in range(2)]
    for id in ids:
        await service.mail(id)


async def test_the_read_models_are_what_the_log_says(service: Service):
    await service.idle()
    assert await service.differences() == []
