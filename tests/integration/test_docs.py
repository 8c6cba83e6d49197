"""The description of the API, its page, and that what both say is so."""

import html
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jsonschema
import pytest
import pytest_asyncio

from tests.application import Tenant
from tests.databases import new_database
from tests.fakes.receiver import FakeReceiver
from tests.serving import Serving, running_service, shell

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = {"Live", "Ready", "Metrics", "ResendCallback"}


@pytest.fixture(scope="module")
def database_of_module(postgres: str, migrated: str) -> Iterator[str]:
    with new_database(postgres, like=migrated) as conninfo:
        yield conninfo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(database_of_module: str) -> AsyncIterator[Serving]:
    async with running_service(database_of_module, WEBHOOK_ALLOWED_SUBNETS="127.0.0.0/8") as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[FakeReceiver]:
    async with FakeReceiver() as receiver:
        yield receiver


async def new_webhook(tenant: Tenant, receiver: FakeReceiver) -> str:
    said = {"name": "in", "url": receiver.url("ok"), "event_types": ["interview.*"]}
    id: str = (await tenant.post("/api/v1/webhooks", said)).json()["webhook"]["id"]
    return id


@pytest_asyncio.fixture(loop_scope="module")
async def tenant(serving: Serving) -> Tenant:
    return await serving.service.tenant()


@pytest_asyncio.fixture(loop_scope="module")
async def description(serving: Serving) -> Any:
    return (await got(serving, "/openapi/openapi.json")).json()


async def got(serving: Serving, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=serving.address) as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer


def operations(description: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in description["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def checked(description: Any, schema: Any, value: Any) -> None:
    jsonschema.validate(value, {**schema, "components": description["components"]}, jsonschema.Draft202012Validator)


async def test_only_json_and_yaml_are_served_and_nothing_from_elsewhere(serving):
    assert (await got(serving, "/openapi/openapi.yaml")).text.startswith("components:")
    async with httpx.AsyncClient(base_url=serving.address) as client:
        for path in ("redoc", "swagger", "elements", "rapidoc", "oauth2-redirect.html"):
            assert (await client.get(f"/openapi/{path}")).status_code == 404
        assert (await client.get("/openapi")).headers["content-type"].startswith("application/vnd.oai.openapi+json")


async def test_every_operation_says_what_it_is_for_and_whether_it_needs_a_key(serving, description):
    tags = {tag["name"] for tag in description["tags"]}
    for _, path, operation in operations(description):
        assert operation["summary"], path
        assert set(operation["tags"]) <= tags
        assert (operation.get("security") == []) == (operation["operationId"] in OPEN), path
        for parameter in operation.get("parameters", []):
            assert "null" not in str(parameter["schema"]), (path, parameter)
    assert all(tag["description"] for tag in description["tags"])


async def test_the_pages_are_no_part_of_it(serving, description):
    assert not [path for path in description["paths"] if path.startswith(("/mailbox", "/docs", "/assets", "/openapi"))]


async def test_every_reference_leads_somewhere(serving, description):
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', (await got(serving, "/openapi/openapi.json")).text)):
        found = description
        for step in reference.split("/"):
            found = found[step]
        assert found, reference


async def test_every_problem_is_documented_as_problem_details(serving, description):
    documented = {
        operation["operationId"]: {status for status in operation["responses"] if status >= "400"}
        for _, _, operation in operations(description)
    }
    sending = {"400", "401", "403", "408", "409", "413", "415", "422", "429", "503"}
    assert documented["SendNotification"] == sending
    assert documented["InternalSend"] == {*sending, "404"}
    assert documented["GetNotification"] == {"401", "403", "404", "422", "429", "503"}
    assert documented["Live"] == set()
    for name, response in description["components"]["responses"].items():
        (content,) = response["content"].items()
        assert content[0] == "application/problem+json", name
        checked(description, content[1]["schema"], content[1]["example"])


async def test_every_example_is_accepted_or_answered_as_documented(serving, tenant, receiver, description):
    tried = 0
    for method, path, operation in operations(description):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for name, example in body.get("examples", {}).items():
            checked(description, body["schema"], example["value"])
            address = path.format(
                webhook_id=await new_webhook(tenant, receiver) if "webhook_id" in path else "",
                **{p["name"]: p["example"] for p in operation.get("parameters", []) if "example" in p},
            )
            needed = {
                p["name"]: p["example"]
                for p in operation.get("parameters", [])
                if p["in"] == "query" and "example" in p
            }
            answer = await tenant.request(method, address, params=needed, json=example["value"])
            good = next(status for status in operation["responses"] if status.startswith("2"))
            expected = "404" if name in ("RetryNotification", "CancelNotification") else good
            assert str(answer.status_code) == expected, (path, name, answer.text)
            if expected == good:
                checked(
                    description, operation["responses"][good]["content"]["application/json"]["schema"], answer.json()
                )
            tried += 1
    assert tried >= 15


async def test_there_is_an_example_of_every_type(serving, description):
    body = description["paths"]["/api/v1/notifications"]["post"]["requestBody"]["content"]["application/json"]
    types = {type.name for type in serving.service.parts.templates.types()}
    assert types <= set(body["examples"])
    assert next(iter(body["examples"])) == "welcome"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"{}", {"Authorization": "Bearer nonsense"}, 401),
        (b"x" * (1024 * 1024 + 1), {}, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {}, 422),
    ],
)
async def test_what_goes_wrong_is_answered_as_documented(serving, tenant, description, body, headers, status):
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": "application/json", **headers}
    async with httpx.AsyncClient(base_url=serving.address) as client:
        answer = await client.post("/api/v1/notifications", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    documented = description["components"]["responses"][f"Problem{status}"]["content"]["application/problem+json"]
    checked(description, documented["schema"], answer.json())
    assert answer.json()["code"] == documented["example"]["code"]


async def test_answers_are_as_described(serving, tenant, description):
    id, position = await tenant.send_one()
    for path, name in (("", "NotificationDetail"), ("/status", "DeliveryStatus"), ("/events", None)):
        answer = (await tenant.get(f"/api/v1/notifications/{id}{path}", wait_for=position)).json()
        for each in [answer] if name else answer:
            checked(description, {"$ref": f"#/components/schemas/{name or 'AuditEvent'}"}, each)
    page = (await tenant.get("/api/v1/notifications")).json()
    checked(description, {"$ref": "#/components/schemas/NotificationPage"}, page)


async def test_the_page_shows_every_operation_and_field(serving, description):
    page = (await got(serving, "/docs")).text
    for _, path, operation in operations(description):
        assert f'id="{operation["operationId"]}"' in page
        assert html.escape(path) in page
    for shown in (
        "recipients[].email",
        "1 to 1,000 items",
        "at most 320 characters",
        "Idempotency-Key",
        "list of strings",
    ):
        assert shown in page, shown


async def test_no_key_and_no_foreign_address_is_in_the_page(serving):
    page = (await got(serving, "/docs")).text
    assert serving.key not in page
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', page):
        assert address.startswith(("/", "#")), address


async def test_the_examples_work_when_they_are_pasted(serving, tenant, receiver):
    page = (await got(serving, "/docs")).text
    commands = [
        html.unescape(re.sub(r"<[^>]+>", "", found)) for found in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    ]
    assert len(commands) >= 15
    id, _ = await tenant.send_one(scheduled_at="2035-01-08T09:00:00Z")
    await tenant.request("PUT", "/api/v1/event-types/order.created", json={})
    for command in commands:
        asked = command.replace("$CARILLON_KEY", tenant.key).replace("$ID", id)
        if "$WEBHOOK_ID" in asked:
            asked = asked.replace("$WEBHOOK_ID", await new_webhook(tenant, receiver))
        said = await shell(f"{asked} --silent --show-error --output /dev/null --write-out '%{{http_code}}'")
        expected = {"RetryNotification": "404", "CancelNotification": "404"}
        by_name = next((status for name, status in expected.items() if name in command), None)
        by_path = "409" if "/retry" in command or "/rollback" in command else "20"
        no_notification = "/subscriptions/" in command or "/parked/$ID" in command  # which the id is that of
        by_path = "404" if no_notification else by_path
        assert said.startswith(by_name or by_path), (command, said)


async def test_files_of_the_pages_are_served_and_nothing_else(serving):
    page = (await got(serving, "/docs")).text
    for address in re.findall(r'"(/assets/[^"]+)"', page):
        assert (await got(serving, address)).headers["x-content-type-options"] == "nosniff"
    async with httpx.AsyncClient(base_url=serving.address) as client:
        for path in ("docs.html", "..%2fpage.py", "%2e%2e/page.py", "nothing.css"):
            assert (await client.get(f"/assets/{path}")).status_code == 404
