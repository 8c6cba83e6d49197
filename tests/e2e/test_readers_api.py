"""What readers wish and the suppression list, through the API."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.caller import Scope
from application.commands import suppressions
from domain.preferences import Preferences
from domain.receipts import ProviderReceipt, ReceiptKind
from entrypoints.http import upload
from tests.application import Service, Tenant, until, welcome

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFERENCES = "/api/v1/preferences"
LIST = "/api/v1/suppressions"
JANE = "jane@example.com"
WISHES: dict[str, Any] = {
    "language": "de",
    "time_zone": "Europe/Berlin",
    "quiet_hours": {"starts": "22:00", "ends": "07:00"},
    "channels": {"sms": False},
    "categories": {"promotion": {"enabled": False, "channels": {}, "frequency": "weekly"}},
    "types": {"welcome": {"enabled": True, "channels": {"push": False}, "frequency": None}},
}
NOTHING: dict[str, Any] = {
    "language": None,
    "time_zone": None,
    "quiet_hours": None,
    "channels": {},
    "categories": {},
    "types": {},
}
CONSENT = {"source": "signup", "text": "Yes, write to me", "ip": "192.0.2.7"}


async def wishes(tenant: Tenant, user: str = "u-1") -> dict[str, Any]:
    answer = await tenant.get(PREFERENCES, user_id=user)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def told(tenant: Tenant, method: str, path: str = "", body: Any = None, user: str | None = "u-1") -> Any:
    params = {"user_id": user} if user else {}
    answer = await tenant.request(method, PREFERENCES + path, params=params, json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def subscribed(tenant: Tenant, address: str = JANE, user: str = "u-1") -> str:
    body = {"user_id": user, "channel": "email", "address": address, "consent": CONSENT}
    return str((await told(tenant, "POST", "/subscriptions", body, user=None))["id"])


async def listed(tenant: Tenant, **filters: Any) -> list[Any]:
    answer = await tenant.get(LIST, **filters)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["suppressions"]
    return found


async def put_on_the_list(tenant: Tenant, address: str = JANE, **more: Any) -> int:
    answer = await tenant.post(LIST, {"address": address, **more})
    assert answer.status_code == 200, answer.text
    position: int = answer.json()["position"]
    return position


async def imported(tenant: Tenant, text: str) -> list[Any]:
    answer = await tenant.request("POST", f"{LIST}/import", content=text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def report(service: Service, kind: ReceiptKind, id: str, days: float = 0) -> None:
    at = service.parts.clock.now() - timedelta(days=days)
    receipt = ProviderReceipt(
        provider="resend",
        event_id=uuid4().hex,
        kind=kind,
        said=f"email.{kind}",
        provider_id=None,
        notification=UUID(id),
        occurred_at=at,
    )
    assert await service.parts.take_receipt(receipt)


async def test_of_a_user_nobody_knows_nothing_is_wished(tenant: Tenant):
    assert await wishes(tenant) == {"user_id": "u-1", **NOTHING, "contacts": []}


async def test_what_was_set_is_what_is_wished_and_nobody_elses(service: Service, tenant: Tenant):
    answer = await told(tenant, "PUT", body=WISHES)
    assert answer["preferences"] == await wishes(tenant) == {"user_id": "u-1", **WISHES, "contacts": []}
    assert await wishes(await service.tenant()) == {"user_id": "u-1", **NOTHING, "contacts": []}
    await told(tenant, "PUT", body={"language": "en"})
    assert await wishes(tenant) == {"user_id": "u-1", **NOTHING, "language": "en", "contacts": []}


async def test_what_is_changed_leaves_the_rest_and_null_takes_it_back(tenant: Tenant):
    await told(tenant, "PUT", body=WISHES)
    changes = {
        "quiet_hours": None,
        "channels": {"sms": None, "push": False},
        "categories": {"order": {"enabled": False}},
    }
    await told(tenant, "PATCH", body=changes)
    found = await wishes(tenant)
    assert (found["quiet_hours"], found["channels"]) == (None, {"push": False})
    assert {name: each["enabled"] for name, each in found["categories"].items()} == {"promotion": False, "order": False}
    assert found["language"] == "de"


async def test_changes_at_the_same_moment_are_all_kept(tenant: Tenant):
    await asyncio.gather(
        *(told(tenant, "PATCH", body={"types": {f"type-{n}": {"enabled": False}}}) for n in range(5)),
    )
    assert set((await wishes(tenant))["types"]) == {f"type-{n}" for n in range(5)}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"language": "not a language"}, "language"),
        ({"time_zone": "Europe/Nowhere"}, "time_zone"),
        ({"quiet_hours": {"starts": "22:00", "ends": "22:00"}}, "quiet_hours.ends"),
        ({"quiet_hours": {"starts": "25:00", "ends": "07:00"}}, "quiet_hours.starts"),
        ({"channels": {"pigeon": False}}, ""),
        ({"frequency": "daily"}, "frequency"),
    ],
)
async def test_a_wish_that_cannot_be_is_named(tenant: Tenant, body: Any, path: str):
    for method in ("PUT", "PATCH"):
        answer = await tenant.request(method, PREFERENCES, params={"user_id": "u-1"}, json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["path"].startswith(path)


async def test_a_user_is_reached_at_the_address_given_last_in_the_language_wished(service: Service, tenant: Tenant):
    await subscribed(tenant, "old@example.com")
    newest = await subscribed(tenant)
    await told(tenant, "PATCH", body={"language": "de"})
    (contact,) = [each for each in (await wishes(tenant))["contacts"] if each["id"] == newest]
    assert {name: contact[name] for name in ("address", *CONSENT)} == {"address": JANE, **CONSENT}
    answer = await tenant.send(recipients=[{"user_id": "u-1"}])
    mail = await service.mail(answer["notifications"][0]["id"])
    assert (mail.to.address, mail.subject) == (JANE, "Willkommen bei Tallyho, Anna")
    await told(tenant, "DELETE", f"/subscriptions/{newest}")
    answer = await tenant.send(recipients=[{"user_id": "u-1"}])
    assert (await service.mail(answer["notifications"][0]["id"])).to.address == "old@example.com"


async def test_where_several_addresses_are_written_to_each_gets_one_and_the_first_answer_names_them_all_again(
    service: Service, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Preferences, "written_to", Preferences.reached_by)  # as those of devices are
    await subscribed(tenant, "old@example.com")
    await subscribed(tenant)
    body = welcome("max@example.com")
    body["recipients"] = [{"user_id": "u-1"}, *body["recipients"]]
    first = await tenant.post("/api/v1/notifications", body, Idempotency_Key="once")
    told = first.json()["notifications"]
    assert [each["recipient"]["user_id"] for each in told] == ["u-1", "u-1", None]
    mails = [await service.mail(each["id"]) for each in told]
    assert [mail.to.address for mail in mails] == ["old@example.com", JANE, "max@example.com"]
    assert (await tenant.post("/api/v1/notifications", body, Idempotency_Key="once")).content == first.content


async def test_a_user_without_an_address_cannot_be_reached(tenant: Tenant):
    answer = await tenant.post("/api/v1/notifications", {"type": "welcome", "recipients": [{"user_id": "u-9"}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"].endswith("as no address of the user is known")


async def test_an_address_that_is_not_there_cannot_be_removed(service: Service, tenant: Tenant):
    id = await subscribed(await service.tenant())
    answer = await tenant.request("DELETE", f"{PREFERENCES}/subscriptions/{id}", params={"user_id": "u-1"})
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [{}, {"address": "nobody"}, {"channel": "webhook", "address": "x"}])
async def test_nobody_is_taken_off_without_saying_who(tenant: Tenant, body: Any):
    assert (await tenant.post(f"{PREFERENCES}/unsubscribe", body)).status_code == 422


async def test_to_unsubscribe_is_kept_for_the_user_and_the_address(tenant: Tenant):
    body = {"user_id": "u-1", "address": JANE, "category": "promotion"}
    position = (await told(tenant, "POST", "/unsubscribe", body, user=None))["position"]
    assert (await wishes(tenant))["categories"]["promotion"]["channels"] == {"email": False}
    (found,) = await listed(tenant, wait_for=position)
    (entry,) = found["entries"]
    assert (entry["ground"], entry["category"], entry["source"]) == ("unsubscribe", "promotion", "api")


async def test_the_list_is_looked_through_by_page_ground_and_address(service: Service, tenant: Tenant):
    addresses = [f"reader-{n}@example.com" for n in range(5)]
    await asyncio.gather(*(put_on_the_list(tenant, address) for address in addresses))
    position = await put_on_the_list(tenant, "dead@example.com", ground="hard_bounce")
    found: list[str] = []
    cursor: dict[str, Any] = {"wait_for": position}
    while cursor:
        page = (await tenant.get(LIST, limit=4, ground="manual", **cursor)).json()
        found += [each["address"] for each in page["suppressions"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
    assert sorted(found) == addresses
    (one,) = await listed(tenant, channel="email", address="Reader-3@EXAMPLE.com")
    assert one["address"] == "reader-3@example.com"
    assert await listed(tenant, channel="sms") == []
    assert await listed(await service.tenant()) == []
    assert (await tenant.get(LIST, address=JANE)).status_code == 422


async def test_an_address_is_taken_off_again(tenant: Tenant):
    await put_on_the_list(tenant)
    await put_on_the_list(tenant, ground="unsubscribe", category="promotion")
    answer = (await tenant.post(f"{LIST}/remove", {"address": JANE, "ground": "manual"})).json()
    assert answer["changed"]
    (left,) = await listed(tenant, wait_for=answer["position"])
    assert [entry["ground"] for entry in left["entries"]] == ["unsubscribe"]
    answer = (await tenant.post(f"{LIST}/remove", {"address": JANE})).json()
    assert await listed(tenant, wait_for=answer["position"]) == []
    assert not (await tenant.post(f"{LIST}/remove", {"address": JANE})).json()["changed"]
    assert not (await tenant.post(f"{LIST}/remove", {"address": "never@example.com"})).json()["changed"]


async def test_what_was_exported_can_be_imported(service: Service, tenant: Tenant):
    await put_on_the_list(tenant, "=cmd@example.com".removeprefix("="), ground="complaint")
    position = await put_on_the_list(tenant, ground="unsubscribe", category="promotion", until="2035-01-01T00:00:00Z")
    answer = await tenant.get(f"{LIST}/export", wait_for=position)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["x-total-count"] == "2"
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert {(row["address"], row["ground"], row["category"]) for row in rows} == {
        (JANE, "unsubscribe", "promotion"),
        ("cmd@example.com", "complaint", ""),
    }
    other = await service.tenant()
    *_, last = await imported(other, answer.text)
    assert (last["finished"], last["added"], last["of"]) == (True, 2, 2)
    await service.idle()
    assert {(e["address"], e["entries"][0]["until"]) for e in await listed(other)} == {
        (JANE, "2035-01-01T00:00:00Z"),
        ("cmd@example.com", None),
    }


async def test_an_import_tells_how_far_it_is_and_what_it_left_out(tenant: Tenant, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suppressions, "_AT_ONCE", 2)
    good = "".join(f"email,reader-{n}@example.com,manual\n" for n in range(4))
    bad = "email,nobody,manual\npigeon,x@example.com,manual\nemail,y@example.com,spite\n"
    first = await imported(tenant, "\ufeffchannel,address,ground\n" + good + bad)
    assert [(each["rows"], each["of"]) for each in first] == [(2, 7), (4, 7), (6, 7), (7, 7), (7, 7)]
    assert [fault["line"] for each in first for fault in each["faults"]] == [6, 7, 8]
    assert {name: first[-1][name] for name in ("added", "known", "refused", "finished")} == {
        "added": 4,
        "known": 0,
        "refused": 3,
        "finished": True,
    }
    again = await imported(tenant, "channel,address,ground\n" + good)
    assert (again[-1]["added"], again[-1]["known"]) == (0, 4)


@pytest.mark.parametrize("text", ["", "address\njane@example.com\n", 'channel,"address'])
async def test_a_file_without_the_columns_is_refused(tenant: Tenant, text: str):
    answer = await tenant.request("POST", f"{LIST}/import", content=text.encode())
    assert answer.status_code == 422


@pytest.mark.parametrize("content", [b"\xff\xfe", b"channel,address\nemail,\0\n"])
async def test_a_file_that_is_no_text_is_refused(tenant: Tenant, content: bytes):
    assert (await tenant.request("POST", f"{LIST}/import", content=content)).status_code == 400


async def test_a_file_may_be_larger_than_other_bodies(service: Service, tenant: Tenant):
    note = "n" * 2_000
    rows = [f"email,reader-{n}@example.com,{note}" for n in range(1_200)]
    *_, before, last = await imported(tenant, "\n".join(["channel,address,note", *rows]))
    assert (before["rows"], before["of"], last["added"]) == (1_200, 1_200, 1_200)
    await service.idle()
    assert (await tenant.get(f"{LIST}/export")).headers["x-total-count"] == "1200"


async def test_a_row_may_have_several_lines(tenant: Tenant):
    text = 'channel,address,note\nemail,jane@example.com,"one\ntwo"\nemail,max@example.com,\n'
    *_, before, last = await imported(tenant, text)
    assert (before["rows"], before["of"], last["of"], last["added"]) == (2, 3, 2, 2)


async def test_a_file_without_end_is_not_read_for_ever(tenant: Tenant, monkeypatch: pytest.MonkeyPatch):
    """What keeps coming may take longer than a pause may: three of three quarters of a second here, at most two."""
    monkeypatch.setattr(upload, "BODY_SECONDS", 2.0)

    async def slow(pause: float) -> AsyncIterator[bytes]:
        yield b"channel,address\n"
        for n in range(3):
            await asyncio.sleep(pause)
            yield f"email,reader-{n}@example.com\n".encode()

    answer = await tenant.request("POST", f"{LIST}/import", content=slow(0.75))
    assert json.loads(answer.text.splitlines()[-1])["added"] == 3
    answer = await tenant.request("POST", f"{LIST}/import", content=slow(60))
    assert (answer.status_code, answer.json()["code"]) == (408, "body_timeout")
    too_large = {"Content-Length": str(upload.MOST_UPLOADED + 1)}
    answer = await tenant.request("POST", f"{LIST}/import", content=b"channel,address\n", headers=too_large)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_only_who_may_changes_anything(service: Service):
    reader = await service.tenant(Scope.READ)
    answers = [
        await reader.request("PUT", PREFERENCES, params={"user_id": "u-1"}, json={}),
        await reader.post(f"{PREFERENCES}/unsubscribe", {"user_id": "u-1"}),
        await reader.post(LIST, {"address": JANE}),
        await reader.post(f"{LIST}/import", b"channel,address\n"),
        await reader.get(f"{LIST}/export"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert await listed(reader) == []


@pytest.mark.parametrize(
    ("kind", "ground"), [(ReceiptKind.BOUNCED, "hard_bounce"), (ReceiptKind.COMPLAINED, "complaint")]
)
async def test_what_a_provider_reports_puts_the_address_on_the_list(
    service: Service, tenant: Tenant, kind: ReceiptKind, ground: str
):
    id, _ = await tenant.send_one("gone@example.com")
    await tenant.detail_when(id, status="sent")
    await report(service, kind, id)

    async def found() -> list[Any]:
        return await listed(tenant, ground=ground)

    (one,) = await until(found)
    assert (one["address"], one["entries"][0]["by"]) == ("gone@example.com", "provider:resend")


async def test_an_address_that_bounces_softly_for_days_is_left_alone_for_a_while(service: Service, tenant: Tenant):
    ids = [(await tenant.send_one("full@example.com"))[0] for _ in range(5)]
    for days, id in enumerate(reversed(ids)):
        await tenant.detail_when(id, status="sent")
        await report(service, ReceiptKind.SOFT_BOUNCED, id, days)

    async def found() -> list[Any]:
        return await listed(tenant, ground="soft_bounces")

    (one,) = await until(found)
    assert one["entries"][0]["until"]


async def test_the_read_model_is_what_the_log_says(service: Service):
    await service.idle()
    assert await service.differences() == []
