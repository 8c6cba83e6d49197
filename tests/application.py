"""The whole service inside the test's own process: every role of `carillon run`, on a database of its own."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from litestar import Litestar

from adapters.email.capture import CapturedMail
from adapters.stopping import beside
from application.caller import Scope
from application.processes.rebuild import Difference, verify
from entrypoints import kafka_roles, roles
from entrypoints.bootstrap import opened
from entrypoints.http.app import create_app
from entrypoints.http.server import HttpServer, serving
from entrypoints.parts import Parts
from entrypoints.read_models import PROJECTIONS, create_views
from entrypoints.settings import load

T = TypeVar("T")

MASTER_KEY = bytes(range(32))
RESEND_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OWNER = "owner@example.com"
WELCOME = {"user_name": "Anna", "product_name": "Tallyho", "action_url": "https://app.tallyho.example.com/start"}


async def until(answer: Callable[[], Awaitable[T]], *, within: float = 20.0) -> T:
    """The first answer that is true; a test that waits for longer than this is a failed one."""
    give_up = time.monotonic() + within
    while not (found := await answer()):
        assert time.monotonic() < give_up, f"not true within {within:.0f} s"
        await asyncio.sleep(0.02)
    return found


class Tenant:
    """One tenant with a key that may do everything, or what `scopes` say."""

    def __init__(self, name: str, key: str, http: httpx.AsyncClient) -> None:
        self.name = name
        self.key = key
        self.http = http

    async def request(self, method: str, path: str, **wishes: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **wishes.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **wishes)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.request("GET", path, params=params)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return await self.request("POST", path, content=body, headers={"Content-Type": "application/json", **named})
        return await self.request("POST", path, json=body, headers=named)

    async def send(self, *addresses: str, **wishes: Any) -> Any:
        """A welcome for each address, accepted; other recipients, types and wishes by name."""
        answer = await self.post("/api/v1/notifications", welcome(*addresses, **wishes))
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def send_one(self, address: str = "jane@example.com", **wishes: Any) -> tuple[str, int]:
        """The id of the notification and the position to wait for."""
        answer = await self.send(address, **wishes)
        return answer["notifications"][0]["id"], answer["position"]

    async def detail(self, id: str, **params: Any) -> Any:
        answer = await self.get(f"/api/v1/notifications/{id}", **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def detail_when(self, id: str, **facts: Any) -> Any:
        """The detail as soon as it says all of this."""

        async def asked() -> Any:
            answer = await self.get(f"/api/v1/notifications/{id}")
            found = answer.json() if answer.status_code == 200 else {}
            return found if all(found.get(name) == value for name, value in facts.items()) else None

        return await until(asked)

    async def listed(self, **filters: Any) -> list[Any]:
        answer = await self.get("/api/v1/notifications", **filters)
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["notifications"]
        return found


def welcome(*addresses: str, **wishes: Any) -> dict[str, Any]:
    """The body of a send."""
    recipients = [{"email": address} for address in addresses]
    return {"type": "welcome", "recipients": recipients, "variables": WELCOME, **wishes}


class Service:
    """A running service, spoken to over ASGI, so without a socket."""

    def __init__(self, parts: Parts, app: Litestar, http: httpx.AsyncClient) -> None:
        self.parts = parts
        self.app = app
        self.http = http

    async def tenant(self, *scopes: Scope, name: str | None = None) -> Tenant:
        """A tenant that nobody has met before, unless it is named."""
        name = name or f"tenant-{uuid4().hex[:12]}"
        _, key = await self.parts.api_keys.create(name, "test", [scope.value for scope in scopes or Scope], OWNER)
        return Tenant(name, key, self.http)

    async def mails(self) -> dict[str, CapturedMail]:
        """What was captured so far, by notification."""
        return {mail.tags["notification_id"]: mail for mail in await self.parts.mails.latest(10_000)}

    async def mail(self, id: str) -> CapturedMail:
        """What was captured for this notification, as soon as it was."""

        async def asked() -> CapturedMail | None:
            return (await self.mails()).get(id)

        found = await until(asked)
        assert found
        return found

    async def idle(self) -> None:
        """Return when nothing is due any more and the read models show everything."""

        async def asked() -> bool:
            waiting = sum(each.due + each.held for each in await self.parts.due.backlog())
            head, positions = await self.parts.store.head(), await self.parts.reader.positions()
            return not waiting and min(positions.values()) >= head

        await until(asked, within=60)

    async def chained(self) -> None:
        """Return when the whole log is chained."""

        async def asked() -> bool:
            return await self.parts.chain.position() == await self.parts.store.head()

        await until(asked)

    async def differences(self) -> list[Difference]:
        """The rows of the read models that are not what the log says."""
        store, view = self.parts.store, self.parts.view
        found = [
            await verify(each, store, view(each), view(each, shadow=True), lambda *_: None) for each in PROJECTIONS
        ]
        return [difference for each in found for difference in each]

    async def events(self, tenant: Tenant | None = None) -> int:
        """How many events were ever stored, maybe only of this one: what others have sent may still be on its way."""
        owned = f'"tenant":"{tenant.name}"'.encode() if tenant else b""
        ((count,),) = await self.parts.database.rows(
            "SELECT count(*) FROM stored_events WHERE position(%s::bytea IN state) > 0", (owned,)
        )
        return int(count)


@asynccontextmanager
async def running(conninfo: str, **environment: str) -> AsyncIterator[Service]:
    """Everything that `carillon run` runs, with the capture mailbox, until the block ends."""
    settings = load({"PORT": "0", "EMAIL_PROVIDER": "capture", "EMAIL_CONCURRENCY": "20", **environment})
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(opened(settings, conninfo, MASTER_KEY))
        await create_views(parts.database)
        app = create_app(parts)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://carillon", timeout=60)
        await stack.enter_async_context(http)
        await stack.enter_async_context(roles.delivering(parts))
        await stack.enter_async_context(beside(roles.follow(parts)))
        if settings.kafka:
            await stack.enter_async_context(beside(kafka_roles.take_in(parts)))
        yield Service(parts, app, http)


@asynccontextmanager
async def listening(parts: Parts) -> AsyncIterator[str]:
    """The same application behind a real socket; its address."""
    server = HttpServer(parts)
    async with serving(server):
        yield server.address
