"""Whatever is sent: never a 5xx, always problem details with a code that stays the same, and nothing stored."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from psycopg_pool import PoolTimeout

from application.caller import Caller, Scope
from application.commands.sending import SendNotification
from application.problems import InvalidCommandError
from entrypoints.http import request
from tests.application import WELCOME, Service, Tenant, listening, until, welcome

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/notifications"
TAKE_A_BODY = (API, "/internal/send")
NAIVE = "2026-01-01T00:00:00"
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


def assert_problem(answer: httpx.Response, status: int, code: str) -> Any:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    assert body.keys() == {"type", "title", "status", "code", "detail", "errors"}
    assert body["status"] == status
    return body


def nested(opening: str, closing: str, *, depth: int = 100_000) -> bytes:
    deep = opening * depth + "1" + closing * depth
    return json.dumps(welcome("a@example.com")).replace('"Anna"', deep).encode()


MALFORMED = {
    "nothing": b"",
    "half an object": b'{"type": "welcome"',
    "not JSON": b"<send/>",
    "two values": json.dumps(welcome("a@example.com")).encode() + b" {}",
    "NaN": b'{"type": NaN}',
    "deep lists": nested("[", "]"),
    "deep objects": nested('{"a":', "}"),
    "invalid UTF-8": json.dumps(welcome("a@example.com")).encode().replace(b"Anna", b"\xff\xfe"),
    "Latin-1": json.dumps(welcome("a@example.com")).encode().replace(b"Anna", "Änna".encode("latin-1")),
    "UTF-16": json.dumps(welcome("a@example.com")).encode("utf-16"),
    "half a surrogate": json.dumps(welcome("a@example.com")).encode().replace(b"Anna", b"\\ud800"),
    "a NUL": json.dumps(welcome("a@example.com")).encode().replace(b"Anna", b"An\\u0000na"),
    "a NUL in a name": json.dumps(welcome("a@example.com")).encode().replace(b"user_name", b"\\u0000user_name"),
    "a NUL after an escaped backslash": json.dumps(welcome("a@b.de")).encode().replace(b"Anna", b"\\\\\\u0000"),
    "a raw NUL": json.dumps(welcome("a@example.com")).encode().replace(b"Anna", b"An\x00na"),
}


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_cannot_be_read_is_malformed(service: Service, tenant: Tenant, path: str, body: bytes) -> None:
    stored = await service.events(tenant)
    assert_problem(await tenant.post(path, body), 400, "malformed")
    assert await service.events(tenant) == stored


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"recipients":' + b"[" * 100_000])
async def test_what_is_deep_where_nothing_is_expected_is_refused(tenant: Tenant, path: str, body: bytes) -> None:
    assert (await tenant.post(path, body)).status_code in (400, 422)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**300])
async def test_a_number_that_nothing_could_hand_on_is_refused(tenant: Tenant, number: int) -> None:
    wishes = {"context": {"metadata": {"deep": [number]}}}
    answer = await tenant.post("/api/v1/notifications", welcome("a@example.com", **wishes))
    assert_problem(answer, 422, "invalid")
    assert "more than 64 bits" in answer.text


async def test_an_escaped_backslash_before_u0000_is_no_nul(service: Service, tenant: Tenant) -> None:
    body = json.dumps(welcome("a@example.com")).encode().replace(b"Anna", b"\\\\u0000")
    answer = await tenant.post(API, body)
    assert answer.status_code == 202
    mail = await service.mail(answer.json()["notifications"][0]["id"])
    assert mail.subject == r"Welcome to Tallyho, \u0000"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in WELCOME.items() if key != name}


def deep(levels: int, *, lists: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


INVALID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown field": ({"colour": "red"}, ["colour"]),
    "an unknown field of a recipient": ({"recipients": [{"email": "a@b.de", "mail": "x"}]}, ["recipients[0].mail"]),
    "an unknown field of the context": ({"context": {"trace": "x"}}, ["context.trace"]),
    "no recipients": ({"recipients": []}, ["recipients"]),
    "recipients of the wrong type": ({"recipients": "a@b.de"}, ["recipients"]),
    "a recipient of the wrong type": ({"recipients": [{"email": "a@b.de"}, "a@b.de"]}, ["recipients[1]"]),
    "an address of the wrong type": ({"recipients": [{"email": "a@b.de"}, {"email": 1}]}, ["recipients[1].email"]),
    "a recipient without an address": ({"recipients": [{"user_id": "u-1"}]}, ["recipients[0].email"]),
    "an unknown template": ({"type": "no_such_type"}, ["type"]),
    "a path for a template": ({"type": "../../etc/passwd"}, ["type"]),
    "no type": ({"type": None}, ["type"]),
    "an unknown channel": ({"channels": ["email", "pigeon"]}, ["channels[1]"]),
    "a channel twice": ({"channels": ["email", "email"]}, ["channels"]),
    "a missing variable": ({"variables": without("user_name")}, ["variables.user_name"]),
    "a missing and an unknown variable": (
        {"variables": {**without("user_name"), "usr_name": "Anna"}},
        ["variables.usr_name", "variables.user_name"],
    ),
    "mistyped variables": (
        {"variables": {"user_name": 1, "product_name": ["x"], "action_url": "javascript:alert(1)"}},
        ["variables.user_name", "variables.product_name", "variables.action_url"],
    ),
    "variables that are a list": ({"variables": []}, ["variables"]),
    "an unknown priority": ({"priority": "urgent"}, ["priority"]),
    "a time without a zone": ({"scheduled_at": "2099-01-01T00:00:00"}, ["scheduled_at"]),
    "no time": ({"scheduled_at": "tomorrow"}, ["scheduled_at"]),
    "a time that no other zone can tell": ({"scheduled_at": "9999-12-31T23:59:59-14:00"}, ["scheduled_at"]),
    "an end that no other zone can tell": ({"expires_at": "0001-01-01T00:00:00+14:00"}, ["expires_at"]),
    "an end before the beginning": (
        {"scheduled_at": "2099-01-02T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z"},
        ["expires_at"],
    ),
    "a language that is none": ({"recipients": [{"email": "a@b.de", "locale": "../de"}]}, ["recipients[0].locale"]),
    "a time zone that is none": (
        {"recipients": [{"email": "a@b.de", "time_zone": "/etc/passwd"}]},
        ["recipients[0].time_zone"],
    ),
    "too long a user id": ({"recipients": [{"email": "a@b.de", "user_id": "u" * 201}]}, ["recipients[0].user_id"]),
    "deep metadata": ({"context": {"metadata": deep(33)}}, ["context.metadata"]),
    "metadata too deep to be read back": ({"context": {"metadata": deep(800)}}, ["context.metadata"]),
    "deep lists in metadata": ({"context": {"metadata": {"a": deep(800, lists=True)}}}, ["context.metadata"]),
    "a number for a name": ({"variables": {**WELCOME, "user_name": 7}}, ["variables.user_name"]),
    "a number of a thousand bits": (
        {"variables": {**WELCOME, "user_name": 2**1000}},
        ["variables", "variables.user_name"],
    ),
}


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize(("wishes", "paths"), INVALID.values(), ids=INVALID.keys())
async def test_what_does_not_fit_is_named_by_its_path(
    service: Service, tenant: Tenant, path: str, wishes: dict[str, Any], paths: list[str]
) -> None:
    stored = await service.events(tenant)
    problem = assert_problem(await tenant.post(path, welcome("a@example.com", **wishes)), 422, "invalid")
    assert [each["path"] for each in problem["errors"]] == paths
    assert all(each["message"] for each in problem["errors"])
    assert await service.events(tenant) == stored


@pytest.mark.parametrize(
    "address",
    [
        *("", "jane", "@example.com", "jane@", "jane@localhost", "jane@@example.com", "jane doe@example.com"),
        *("jane@example.com\r\nBcc: eve@example.com", "jane@example.com>,<eve@example.com", "a@b.de,eve@example.com"),
        *('"jane doe"@example.com', "jane@[127.0.0.1]", "jane@exa\u200bmple.com", "jäne@example.com"),
    ],
)
async def test_a_bad_address_is_refused_and_never_repeated(tenant: Tenant, address: str) -> None:
    problem = assert_problem(await tenant.post(API, welcome(address)), 422, "invalid")
    (error,) = problem["errors"]
    assert error["path"] == "recipients[0].email"
    assert not address or len(address) < 6 or address not in error["message"]


@pytest.mark.parametrize(
    "name", ["Jane\r\nBcc: eve@example.com", "Jane\n", "Jane\u2028", "=?utf-8?q?a=0d=0ab?=", "\u202eenaJ"]
)
async def test_a_name_that_would_not_stay_one_header_line_is_refused(tenant: Tenant, name: str) -> None:
    body = welcome(recipients=[{"email": "jane@example.com", "name": name}])
    problem = assert_problem(await tenant.post(API, body), 422, "invalid")
    assert [each["path"] for each in problem["errors"]] == ["recipients[0].name"]


async def test_a_variable_with_line_ends_cannot_write_headers(service: Service, tenant: Tenant) -> None:
    hostile = {**WELCOME, "user_name": "Anna\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>"}
    id, _ = await tenant.send_one(variables=hostile)

    async def settled() -> Any:
        answer = await tenant.get(f"{API}/{id}")
        return answer.status_code == 200 and answer.json()["status"] in ("sent", "failed") and answer.json()

    detail = await until(settled)
    if detail["status"] == "sent":
        mail = (await service.mails())[id]
        assert not {"\r", "\n"} & set(mail.subject)
        assert mail.headers.keys().isdisjoint({"Bcc", "bcc"})
        assert "<script>" not in (mail.html or "")


@pytest.mark.parametrize("number", ["1" + "0" * 30, "-1" + "0" * 400, "1" * 5_000, "1e400", "1e-400"])
async def test_a_number_too_large_for_most_is_kept_or_refused(tenant: Tenant, number: str) -> None:
    body = json.dumps(welcome("a@example.com", context={"metadata": {"n": 0}})).replace('"n": 0', f'"n": {number}')
    answer = await tenant.post(API, body.encode())
    if answer.status_code == 202:
        (one,) = answer.json()["notifications"]
        detail = await tenant.detail(one["id"], wait_for=answer.json()["position"])
        assert detail["context"]["metadata"]["n"] == json.loads(number)
    else:
        assert answer.status_code in (400, 422)


@pytest.mark.parametrize("metadata", [deep(32), {"a": deep(31, lists=True)}])
async def test_what_is_as_deep_as_may_be_is_read_back_everywhere(tenant: Tenant, metadata: Any) -> None:
    id, position = await tenant.send_one(context={"metadata": metadata})
    (listed,) = await tenant.listed(wait_for=position)
    detail = await tenant.detail(id)
    events = (await tenant.get(f"{API}/{id}/events")).json()
    assert listed["context"]["metadata"] == detail["context"]["metadata"] == metadata
    assert json.dumps(metadata) in json.dumps(events)


@pytest.mark.parametrize(
    ("wishes", "path"),
    [
        ({"variables": {**WELCOME, "user_name": "An\0na"}}, "variables"),
        ({"context": {"metadata": {"a": ["\0"]}}}, "context.metadata"),
        ({"context": {"metadata": {"\0": 1}}}, "context.metadata"),
        ({"context": {"source": "\0"}}, "context.source"),
        ({"context": {"correlation_id": "\0"}}, "context.correlation_id"),
        ({"category": "\0"}, "category"),
        ({"recipients": [{"email": "a@example.com", "user_id": "u\0"}]}, "recipients[0].user_id"),
    ],
)
async def test_a_nul_is_refused_whichever_way_it_comes_in(
    service: Service, tenant: Tenant, wishes: dict[str, Any], path: str
) -> None:
    command = msgspec.convert(welcome("a@example.com", **wishes), SendNotification)
    stored = await service.events(tenant)
    with pytest.raises(InvalidCommandError) as caught:
        await service.parts.send(command, Caller(tenant.name, "test", frozenset(Scope)))
    assert [problem.path for problem in caught.value.problems] == [path]
    assert await service.events(tenant) == stored


# Size, time and form


@pytest.mark.parametrize("path", [*TAKE_A_BODY, "/api/v1/webhooks/resend"])
async def test_a_body_over_a_mebibyte_is_too_large_announced_or_not(tenant: Tenant, path: str) -> None:
    large = json.dumps(welcome("a@example.com")).encode() + b" " * 1024 * 1024

    async def chunked() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 64 * 1024):
            yield large[start : start + 64 * 1024]

    for content in (large, chunked()):
        headers = {"Content-Type": "application/json"}
        answer = await tenant.request("POST", path, content=content, headers=headers)
        assert_problem(answer, 413, "too_large")


async def test_a_body_of_just_a_mebibyte_is_taken(tenant: Tenant) -> None:
    body = json.dumps(welcome("a@example.com", scheduled_at="2099-01-01T00:00:00Z")).encode()
    answer = await tenant.post(API, body.ljust(1024 * 1024))
    assert answer.status_code == 202


@pytest.mark.parametrize("path", [*TAKE_A_BODY, "/api/v1/webhooks/resend"])
async def test_a_body_that_never_ends_is_not_waited_for(
    service: Service, tenant: Tenant, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "BODY_SECONDS", 0.2)
    async with listening(service.parts) as address:
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.key}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"}")
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b'"code":"body_timeout"' in answer


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize(
    "headers",
    [
        *({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/xml"}, {"Content-Type": "nonsense"}),
        *({"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "multipart/form-data; boundary=x"}),
        *(
            {"Content-Type": "application/json", "Content-Encoding": code}
            for code in ("gzip", "br", "zstd", "identity, gzip")
        ),
    ],
)
async def test_only_plain_json_is_a_body(tenant: Tenant, path: str, headers: dict[str, str]) -> None:
    content = json.dumps(welcome("a@example.com")).encode()
    answer = await tenant.request("POST", path, content=content, headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")


async def test_the_name_of_the_charset_does_not_matter(tenant: Tenant) -> None:
    content = json.dumps(welcome("a@example.com", scheduled_at="2099-01-01T00:00:00Z")).encode()
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}
    assert (await tenant.request("POST", API, content=content, headers=headers)).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_an_idempotency_key_has_its_length(tenant: Tenant, key: str) -> None:
    answer = await tenant.post(API, welcome("a@example.com"), Idempotency_Key=key)
    problem = assert_problem(answer, 422, "invalid")
    assert [each["path"] for each in problem["errors"]] == ["Idempotency-Key"]


# Addresses and parameters


@pytest.mark.parametrize(
    "id", ["nonsense", "1", "%00", "%2e%2e", "' OR 1=1 --", "01890a5d-ac96-774b-bcce-b302099a805", "é"]
)
async def test_a_bad_id_is_an_id_of_nothing(tenant: Tenant, id: str) -> None:
    for path in (f"{API}/{id}/status", f"{API}/{id}/events"):
        assert_problem(await tenant.get(path), 404, "not_found")
    for path in (f"{API}/{id}/cancel", f"{API}/{id}/retry"):
        assert_problem(await tenant.post(path), 404, "not_found")


async def test_an_id_that_nobody_has_is_not_found(tenant: Tenant) -> None:
    for path in (f"{API}/{NOBODY}", f"{API}/{NOBODY}/status", f"{API}/{NOBODY}/events"):
        assert_problem(await tenant.get(path), 404, "not_found")
    for path in (f"{API}/{NOBODY}/cancel", f"{API}/{NOBODY}/retry"):
        assert_problem(await tenant.post(path), 404, "not_found")
    for command in ("CancelNotification", "RetryNotification"):
        assert_problem(await tenant.post("/internal/send", {"command": command, "id": NOBODY}), 404, "not_found")
        answer = await tenant.post("/internal/send", {"command": command, "id": "nonsense"})
        assert [each["path"] for each in assert_problem(answer, 422, "invalid")["errors"]] == ["id"]


async def test_the_streams_of_the_log_that_are_no_notifications_are_not_shown(service: Service, tenant: Tenant) -> None:
    await tenant.post(API, welcome("a@example.com"), Idempotency_Key="order-1")
    rows = await service.parts.database.rows("SELECT originator_id FROM stored_events WHERE topic = 'request.accepted'")
    for (id,) in rows:
        assert_problem(await tenant.get(f"{API}/{id}/events"), 404, "not_found")


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "cursor": ["x", "AAAA", "é", "%00", "kqZ0ZW5hbnQxqGlkLTEyMzQ1", "A" * 1000, "-" * 999, "kg", "k6FhoWI"],
        "limit": ["0", "-1", "201", "x", "1.5", "1e3", "%00", "9" * 40],
        "wait_for": ["-1", "x", "1.5", "%00"],
        "status": ["gone", "SENT", "%00"],
        "channel": ["fax", "%00"],
        "from": ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01", "%00", "inf", "99999999999999999", NAIVE],
        "to": ["tomorrow", "1e400", NAIVE],
        "type": ["%00", "x" * 1001],
        "recipient": ["%00", "jane%00@example.com", "x" * 1001],
        "recipient_user_id": ["%00"],
    }.items(),
)
async def test_a_bad_parameter_is_named(tenant: Tenant, name: str, values: list[str]) -> None:
    for value in values:
        answer = await tenant.request("GET", f"{API}?{name}={value}")
        assert [each["path"] for each in assert_problem(answer, 422, "invalid")["errors"]] == [name], value


@pytest.mark.parametrize(
    "query",
    [
        *("recipient=%ff", "recipient=%ed%a0%80", "type=%F0%9F%92%A9", "recipient='; DROP TABLE api_keys; --"),
        *("from=0001-01-01T00:00:00%2B14:00", "to=9999-12-31T23:59:59-14:00", "wait_for=", "&&&", "a[]=1", "=", "%"),
    ],
)
async def test_an_odd_parameter_finds_nothing_or_something_but_breaks_nothing(tenant: Tenant, query: str) -> None:
    answer = await tenant.request("GET", f"{API}?{query}")
    assert answer.status_code in (200, 422)


async def test_a_path_or_method_that_is_not_there_is_a_problem_as_well(tenant: Tenant) -> None:
    assert_problem(await tenant.get("/nothing/here"), 404, "not_found")
    assert_problem(await tenant.request("DELETE", API), 405, "method_not_allowed")
    assert_problem(await tenant.request("PATCH", "/internal/send"), 405, "method_not_allowed")


# Keys


def from_address(service: Service, host: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.app, client=(host, 1)), base_url="http://carillon")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "ck_0123456789ab_" + "0" * 64,
        "Bearer nonsense",
        "Bearer \xff\xfe",
    ],
)
async def test_without_a_good_key_nothing_is_answered_or_even_read(service: Service, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    async with from_address(service, f"anon-{uuid4()}") as client:
        for method, path in (
            ("GET", API),
            ("POST", API),
            ("POST", "/internal/send"),
            ("GET", f"{API}/{NOBODY}/events"),
        ):
            answer = await client.request(method, path, headers=headers, content=b"{ nonsense")
            assert_problem(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_many_wrong_keys_are_told_to_wait_without_a_look_at_the_database(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = 0
    find = service.parts.api_keys.find

    async def counted(text: str) -> Any:
        nonlocal looked_up
        looked_up += 1
        return await find(text)

    monkeypatch.setattr(service.parts.api_keys, "find", counted)
    good = await service.tenant()
    host = f"guesser-{uuid4()}"
    async with from_address(service, host) as guesser, from_address(service, "somebody else") as other:
        known = Tenant(good.name, good.key, guesser)
        assert (await known.get(API)).status_code == 200
        looked_up = 0
        wrong = [{"Authorization": f"Bearer ck_{i:012x}_{i:064x}"} for i in range(1_000)]
        answers = [await guesser.get(API, headers=headers) for headers in wrong]

        assert looked_up <= 30
        throttled = [answer for answer in answers if answer.status_code == 429]
        assert len(throttled) == len(answers) - looked_up
        assert_problem(throttled[0], 429, "too_many_failures")
        assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in throttled)
        assert {answer.status_code for answer in answers} == {401, 429}

        assert (await known.get(API)).status_code == 200
        assert (await Tenant(good.name, good.key, other).get(API)).status_code == 200


async def test_a_good_key_not_seen_before_is_not_locked_out_by_others_wrong_ones(service: Service) -> None:
    async with from_address(service, f"office-{uuid4()}") as office:
        for text in [*(f"ck_{i:012x}_{i:064x}" for i in range(50)), *["nonsense"] * 50]:
            await office.get(API, headers={"Authorization": f"Bearer {text}"})
        good = await service.tenant()
        unseen = Tenant(good.name, good.key, office)
        answer = await unseen.get(API)
        if answer.status_code == 429:
            assert answer.headers["Retry-After"] == "1"
            await asyncio.sleep(1.1)
            answer = await unseen.get(API)
        assert answer.status_code == 200


async def test_guesses_at_the_secret_of_one_id_are_told_to_wait(service: Service) -> None:
    good = await service.tenant()
    async with from_address(service, f"guesser-{uuid4()}") as guesser:
        guesses = [{"Authorization": f"Bearer {good.key[:-64]}{i:064x}"} for i in range(30)]
        said = [(await guesser.get(API, headers=guess)).status_code for guess in guesses]
        assert said == [401] * 10 + [429] * 20


async def test_a_wrong_id_and_a_wrong_secret_cannot_be_told_apart(service: Service) -> None:
    good = await service.tenant()
    same_id = f"{good.key[:-64]}{'0' * 64}"
    other_id = f"ck_{'0' * 12}_{'0' * 64}"
    said = []
    for key in (same_id, other_id):
        async with from_address(service, f"guesser-{uuid4()}") as guesser:
            answer = await guesser.get(API, headers={"Authorization": f"Bearer {key}"})
            said.append((answer.status_code, answer.content, sorted(answer.headers)))
    assert said[0] == said[1]


async def test_a_revoked_key_is_useless_within_a_second(service: Service) -> None:
    tenant = await service.tenant()
    assert (await tenant.get(API)).status_code == 200
    await service.parts.api_keys.revoke(tenant.key.split("_")[1])

    async def refused() -> bool:
        return (await tenant.get(API)).status_code == 401

    await until(refused, within=1.5)


# Without the database


async def test_while_the_database_is_away_everybody_is_asked_to_come_back_and_nothing_is_lost(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is due once the database is back: what captures mails is away with it, and would have refused this one."""
    tenant = await service.tenant()
    due = datetime.now(UTC) + timedelta(seconds=3)
    body = welcome("jane@example.com", scheduled_at=due.isoformat())
    first = await tenant.post(API, body, Idempotency_Key="order-1")
    id = first.json()["notifications"][0]["id"]

    with monkeypatch.context() as patch:
        patch.setattr(service.parts.database.pool, "getconn", _away)
        for method, path in (("GET", API), ("GET", f"{API}/{id}"), ("POST", f"{API}/{id}/cancel"), ("GET", "/metrics")):
            answer = await tenant.request(method, path)
            assert_problem(answer, 503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        again = await tenant.post(API, body, Idempotency_Key="order-1")
        assert again.status_code == 503
        stranger = await service.http.get(API, headers={"Authorization": f"Bearer ck_{'1' * 12}_{'1' * 64}"})
        assert_problem(stranger, 503, "store_unavailable")

    again = await tenant.post(API, body, Idempotency_Key="order-1")
    assert (again.status_code, again.content) == (202, first.content)
    await service.mail(id)


async def _away(*_: Any, **__: Any) -> None:
    raise PoolTimeout("couldn't get a connection after 5.00 sec")


async def test_a_parameter_that_is_not_known_is_named(tenant: Tenant) -> None:
    problem = assert_problem(await tenant.get(API, statuss="sent"), 422, "invalid")
    assert problem["errors"] == [{"path": "statuss", "message": "is not a parameter of this call"}]


async def test_a_parameter_that_is_null_is_refused_where_null_is_no_text(tenant: Tenant):
    answer = await tenant.get("/api/v1/notifications", wait_for="null", type="null")
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == ["wait_for"]
