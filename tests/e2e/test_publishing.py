"""What happens to notifications, as others hear of it over Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import jsonschema
import pytest

from adapters.kafka import connection, event_topic
from adapters.stopping import stopped
from application.caller import Scope
from entrypoints import kafka_roles
from tests.announcements import SCHEMA
from tests.application import Service, running, until
from tests.e2e.test_metrics import scraped
from tests.fakes.kafka import KafkaBroker, OwnKafkaBroker, Record

PUBLISHING = "/api/v1/publishing"


@asynccontextmanager
async def publishing(service: Service) -> AsyncIterator[None]:
    task = asyncio.create_task(kafka_roles.publish(service.parts))
    try:
        yield
    finally:
        await stopped(task)


@asynccontextmanager
async def service_at(conninfo: str, kafka: KafkaBroker, topic: str) -> AsyncIterator[Service]:
    """In a group of its own: what it takes in is no matter here, and nobody waits for others to let go."""
    settings = {"KAFKA_BROKERS": kafka.brokers, "KAFKA_EVENTS_TOPIC": topic, "KAFKA_GROUP_ID": uuid4().hex}
    async with running(conninfo, **settings) as service:
        yield service


def told(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each as its schema says."""
    found = [json.loads(each.value or b"") for each in records]
    for each in found:
        jsonschema.validate(each, SCHEMA)
    return found


async def ready(service: Service) -> dict[str, str]:
    answer = await service.http.get("/health/ready")
    assert answer.status_code == 200, answer.text
    parts: dict[str, str] = answer.json()["parts"]
    return parts


async def test_what_becomes_of_a_notification_is_told_under_its_id(conninfo: str, kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    async with service_at(conninfo, kafka, topic) as service, publishing(service):
        tenant = await service.tenant()
        id, _ = await tenant.send_one(context={"correlation_id": "order-1042"})
        records = await kafka.read(topic, 2)
        events = told(records)
        assert [each["type"] for each in events] == ["email.queued", "email.sent"]
        assert {each.key for each in records} == {id.encode()}
        assert {each["data"]["correlation_id"] for each in events} == {"order-1042"}
        assert b"jane" not in b"".join(each.value or b"" for each in records)

        async def caught_up() -> bool:
            return (await scraped(service))["carillon_publisher_lag_events{}"] == 0

        await until(caught_up)


async def test_a_tenant_chooses_whether_others_hear_to_whom_it_went(conninfo: str, kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    async with service_at(conninfo, kafka, topic) as service, publishing(service):
        tenant = await service.tenant(name="acme")
        assert (await tenant.get(PUBLISHING)).json() == {"personal_data": False}
        answer = await tenant.request("PUT", PUBLISHING, json={"personal_data": True})
        assert answer.status_code == 200, answer.text
        assert (await tenant.get(PUBLISHING)).json() == {"personal_data": True}
        await tenant.send_one("jane@example.com")
        for each in told(await kafka.read(topic, 2)):
            assert each["data"]["recipient"]["address"] == "jane@example.com"

        reader = await service.tenant(Scope.READ, Scope.SEND, name="acme")
        assert (await reader.request("PUT", PUBLISHING, json={"personal_data": False})).status_code == 403
        assert (await (await service.tenant()).get(PUBLISHING)).json() == {"personal_data": False}


async def test_while_kafka_is_away_all_else_goes_on_and_it_is_said(
    conninfo: str, own_kafka: OwnKafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_REQUEST_SECONDS", 1)
    monkeypatch.setattr(event_topic, "_PATIENCE", 1.5)
    topic = own_kafka.topic()
    async with service_at(conninfo, own_kafka, topic) as service, publishing(service):
        tenant = await service.tenant()
        first, _ = await tenant.send_one()
        assert len(await own_kafka.read(topic, 2)) == 2
        own_kafka.go_down()
        second, _ = await tenant.send_one()
        await tenant.detail_when(second, status="sent")

        async def said() -> bool:
            return "publisher" in await ready(service)

        await until(said)
        metrics = await scraped(service)
        assert metrics["carillon_trouble{part=publisher}"] == 1
        assert metrics["carillon_publisher_lag_events{}"] > 0
        own_kafka.come_up()
        events = told(await own_kafka.read(topic, 4))
        assert [each["subject"] for each in events if each["type"] == "email.sent"].count(second) == 1
        assert {each["subject"] for each in events} == {first, second}

        async def over() -> bool:
            return "publisher" not in await ready(service)

        await until(over)


async def test_of_two_publishers_one_publishes_and_the_other_takes_over(conninfo: str, kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    async with service_at(conninfo, kafka, topic) as one, service_at(conninfo, kafka, topic) as other:
        tenant = await one.tenant()
        async with publishing(other):
            async with publishing(one):
                await tenant.send_one()
                await kafka.read(topic, 2)
            await tenant.send_one()
            assert len(await kafka.read(topic, 4, within=10)) == 4
        types = [each["type"] for each in told(await kafka.read(topic, 4))]
        assert sorted(types) == ["email.queued", "email.queued", "email.sent", "email.sent"]
