"""Nobody gets to see, to change or even to notice what is another tenant's."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.application import Service, Tenant, welcome

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/notifications"
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
BY_ID = [
    ("GET", ""),
    ("GET", "/status"),
    ("GET", "/events"),
    ("GET", "/proof"),
    ("POST", "/cancel"),
    ("POST", "/retry"),
]
BY_COMMAND = ["CancelNotification", "RetryNotification"]

tenants = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("send"), tenants, st.booleans(), st.sampled_from([None, "key-1", "key-2"])),
    st.tuples(st.just("by id"), tenants, tenants, st.sampled_from(BY_ID)),
    st.tuples(st.just("by command"), tenants, tenants, st.sampled_from(BY_COMMAND)),
    st.tuples(st.just("list"), tenants, tenants, st.sampled_from([None, "recipient", "recipient_user_id", "cursor"])),
)


class World:
    """Three tenants and what each of them has sent."""

    def __init__(self, tenants: list[Tenant]) -> None:
        self.tenants = tenants
        self.sent: dict[int, list[str]] = {0: [], 1: [], 2: []}
        self.cursors: dict[int, str] = {}
        self.answers: dict[tuple[int, str], bytes] = {}
        self.position = 0

    async def send(self, who: int, later: bool, key: str | None) -> None:
        wishes = {"scheduled_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()} if later and not key else {}
        recipients = [{"email": f"reader-of-{who}@example.com", "user_id": f"user-of-{who}"}]
        body = welcome(recipients=recipients, context={"metadata": {"secret": f"secret-of-{who}"}}, **wishes)
        answer = await self.tenants[who].post(API, body, **({"Idempotency_Key": key} if key else {}))
        assert answer.status_code == 202
        if key and (who, key) in self.answers:
            assert answer.content == self.answers[who, key]
            return
        self.answers |= {(who, key): answer.content} if key else {}
        self.sent[who].append(answer.json()["notifications"][0]["id"])
        self.position = answer.json()["position"]

    async def by_id(self, who: int, whose: int, call: tuple[str, str]) -> None:
        method, path = call
        for id in self.sent[whose][-2:]:
            params = {"wait_for": self.position} if path in ("", "/status") else {}
            answer = await self.tenants[who].request(method, f"{API}/{id}{path}", params=params)
            nothing = await self.tenants[who].request(method, f"{API}/{NOBODY}{path}")
            self._check(who, whose, id, answer, nothing)

    async def by_command(self, who: int, whose: int, command: str) -> None:
        for id in self.sent[whose][-2:]:
            answer, nothing = [
                await self.tenants[who].post("/internal/send", {"command": command, "id": each})
                for each in (id, NOBODY)
            ]
            self._check(who, whose, id, answer, nothing)

    async def list(self, who: int, whose: int, by: str | None) -> None:
        asked = {
            "recipient": f"reader-of-{whose}@example.com",
            "recipient_user_id": f"user-of-{whose}",
            "cursor": self.cursors.get(whose, ""),
        }
        params: dict[str, Any] = {"wait_for": self.position, "limit": 1}
        if by and asked[by]:
            params[by] = asked[by]
        answer = await self.tenants[who].get(API, **params)
        if "cursor" in params and who != whose:
            assert answer.status_code == 422
            return
        page = answer.json()
        assert answer.status_code == 200
        assert {each["id"] for each in page["notifications"]} <= set(self.sent[who])
        self._check_for_leaks(who, answer)
        if by in ("recipient", "recipient_user_id") and who != whose:
            assert page["notifications"] == []
        if page["next_cursor"]:
            self.cursors[who] = page["next_cursor"]

    def _check(self, who: int, whose: int, id: str, answer: httpx.Response, nothing: httpx.Response) -> None:
        if who == whose:
            assert answer.status_code in (200, 202, 409)
        else:
            assert answer.status_code == nothing.status_code == 404
            assert answer.text.replace(id, NOBODY) == nothing.text
        self._check_for_leaks(who, answer)

    def _check_for_leaks(self, who: int, answer: httpx.Response) -> None:
        for other in {0, 1, 2} - {who}:
            assert f"-of-{other}" not in answer.text
            assert self.tenants[other].name not in answer.text


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(steps, min_size=10, max_size=30))
async def test_another_tenants_things_are_not_there(service: Service, sequence: list[Any]) -> None:
    world = World([await service.tenant() for _ in range(3)])
    for who in (0, 1, 2):
        await world.send(who, later=True, key=None)
        await world.send(who, later=False, key="key-1")
    for what, *arguments in sequence:
        match what:
            case "send":
                await world.send(*arguments)
            case "by id":
                await world.by_id(*arguments)
            case "by command":
                await world.by_command(*arguments)
            case "list":
                await world.list(*arguments)


async def test_every_call_with_every_foreign_id_finds_nothing(service: Service) -> None:
    world = World([await service.tenant() for _ in range(3)])
    for who in (0, 1, 2):
        await world.send(who, later=True, key=None)
        await world.send(who, later=True, key=None)
        await world.list(who, who, None)
    assert set(world.cursors) == {0, 1, 2}
    for who, whose in ((0, 1), (1, 2), (2, 0)):
        for call in BY_ID:
            await world.by_id(who, whose, call)
        for command in BY_COMMAND:
            await world.by_command(who, whose, command)
        for by in ("recipient", "recipient_user_id", "cursor"):
            await world.list(who, whose, by)


async def test_what_was_refused_to_a_stranger_left_no_trace(service: Service) -> None:
    owner, stranger = await service.tenant(), await service.tenant()
    id, position = await owner.send_one(scheduled_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    stored = await service.events()
    for method, path in BY_ID:
        await stranger.request(method, f"{API}/{id}{path}")
    assert await service.events() == stored
    assert (await owner.detail(id, wait_for=position))["status"] == "deferred"


async def test_the_tenant_comes_from_the_key_and_never_from_what_was_sent(service: Service) -> None:
    tenant, other = await service.tenant(), await service.tenant()
    for wish in ({"tenant": other.name}, {"tenant_id": other.name}):
        assert (await tenant.post(API, welcome("a@example.com", **wish))).status_code == 422
    assert (await tenant.get(API, tenant=other.name)).status_code == 422
    await other.send("a@example.com")
    answer = await tenant.request("GET", API, headers={"X-Tenant": other.name})
    assert json.loads(answer.content)["notifications"] == []
