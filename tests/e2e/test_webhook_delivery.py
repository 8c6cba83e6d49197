"""Webhooks through the whole service, to a receiver on this machine."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from standardwebhooks import Webhook as Verifier

from application.caller import Caller
from application.commands.send_webhook import EventAnswer, SendWebhook
from application.commands.webhooks import CreateWebhook, WebhookAnswer
from domain.subscription import DisabledFor, SubscriptionState
from domain.vocabulary import Reason
from tests.application import Service, running, until
from tests.fakes.receiver import Arrival, FakeReceiver

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Acme:
    """A tenant of its own with endpoints at one receiver."""

    def __init__(self, service: Service, receiver: FakeReceiver) -> None:
        self.service = service
        self.receiver = receiver
        self.uses = service.parts.webhook_uses
        self.caller = Caller(f"tenant-{uuid4().hex[:12]}", "key:k1")

    async def subscribe(self, behaviour: str = "ok", **wishes: Any) -> WebhookAnswer:
        url = self.receiver.url(f"{behaviour}/{uuid4().hex}")
        usual = {"name": "billing", "url": url, "event_types": ["order.*"]}
        answer: WebhookAnswer = await self.uses.create(CreateWebhook(**usual | wishes), self.caller)
        return answer

    async def send(self, **data: Any) -> EventAnswer:
        answer: EventAnswer = await self.uses.send(SendWebhook(type="order.created", data=data), self.caller)
        return answer

    def arrivals(self, at: WebhookAnswer) -> list[Arrival]:
        return [each for each in self.receiver.arrivals if at.webhook.url.endswith(each.path)]

    async def arrived(self, at: WebhookAnswer, many: int) -> list[Arrival]:
        async def asked() -> bool:
            return len(self.arrivals(at)) >= many

        await until(asked)
        return self.arrivals(at)

    async def row(self, of: WebhookAnswer, **facts: Any) -> Any:
        """Of the read model, as soon as it says this."""

        async def asked() -> Any:
            row = await self.service.parts.subscriptions.get(self.caller.tenant, of.webhook.id)
            return row if row and all(getattr(row, name) == value for name, value in facts.items()) else None

        return await until(asked)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(database_of_module: str) -> AsyncIterator[Service]:
    async with running(database_of_module, WEBHOOK_ALLOWED_SUBNETS="127.0.0.0/8") as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def acme(service: Service) -> AsyncIterator[Acme]:
    async with FakeReceiver() as receiver:
        yield Acme(service, receiver)


async def test_what_happened_arrives_signed_and_what_was_answered_is_kept(acme):
    made = await acme.subscribe()
    answer = await acme.send(total=12.5)
    (arrival,) = await acme.arrived(made, 1)
    told = Verifier(made.secret).verify(arrival.body, arrival.headers)
    assert (told["id"], told["type"], told["data"]) == (answer.id, "order.created", {"total": 12.5})
    row = await acme.row(made, sent=1)
    assert (row.failures, row.last_success_at is not None) == (0, True)


async def test_what_fails_is_tried_again_and_counted(acme):
    made = await acme.subscribe("500", retry_schedule=[1])
    await acme.send()
    first, second = await acme.arrived(made, 2)
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    row = await acme.row(made, failures=2)
    assert (row.last_failure, row.state) == (Reason.ENDPOINT_ERROR, SubscriptionState.ACTIVE)


async def test_what_happens_while_it_is_paused_arrives_when_it_is_resumed(acme):
    made = await acme.subscribe()
    await acme.uses.pause(made.webhook.id, acme.caller)
    await acme.send(n=1)
    other = await acme.subscribe()
    await acme.send(n=2)
    await acme.arrived(other, 1)
    assert acme.arrivals(made) == []
    await acme.uses.resume(made.webhook.id, acme.caller)
    assert len(await acme.arrived(made, 2)) == 2


async def test_one_that_is_gone_is_disabled_its_owner_told_once_and_what_happens_is_held(acme):
    made = await acme.subscribe("gone", concurrency=1, owner_email="jane@acme.example.com")
    for n in range(3):
        await acme.send(n=n)
    row = await acme.row(made, state=SubscriptionState.DISABLED)
    assert row.disabled_for is DisabledFor.GONE
    assert len(acme.arrivals(made)) == 1
    to_owner = [mail for mail in (await mails_to_owner(acme)) if "disabled" in mail.subject]
    assert len(to_owner) == 1


async def mails_to_owner(acme: Acme) -> list[Any]:
    async def asked() -> list[Any]:
        return [mail for mail in (await acme.service.mails()).values() if mail.tags["type"] == "webhook_failing"]

    return await until(asked)


async def test_mail_goes_on_beside_webhooks_and_the_read_models_are_what_the_log_says(acme):
    made, tenant = await acme.subscribe(), await acme.service.tenant()
    id, _ = await tenant.send_one()
    await acme.send()
    await acme.arrived(made, 1)
    await tenant.detail_when(id, status="sent")
    await acme.service.idle()
    assert await acme.service.differences() == []
