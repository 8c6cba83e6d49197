"""What other services tell by Kafka, from the record to the mailbox, and what is set aside of it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import click
import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from adapters.kafka.house import SHIPPED
from application.caller import Scope
from entrypoints import maintenance
from tests.application import Service, Tenant, running, until
from tests.fakes.kafka import KafkaBroker, Record

INVITATION = {
    "candidateName": "Jane Doe",
    "candidateEmail": "jane@example.com",
    "companyName": "Acme",
    "hrName": "Tom",
    "hrEmail": "tom@acme.example",
    "interviewId": "INT-1",
    "interviewTitle": "First conversation",
    "positionTitle": "Engineer",
    "questionCount": 6,
    "totalTimeLimit": 45,
    "interviewUrl": "https://interviews.example.com/i/1",
}


class Bus:
    """The shipped mappings on topics that no other test knows."""

    def __init__(self, kafka: KafkaBroker, service: Service, topics: dict[str, str]) -> None:
        self.kafka = kafka
        self.service = service
        self.topics = topics

    async def tell(self, topic: str, *values: Any, headers: dict[str, str] | None = None) -> None:
        named = tuple((name, text.encode()) for name, text in (headers or {}).items())
        raw = [each if isinstance(each, bytes | None) else msgspec.json.encode(each) for each in values]
        await self.kafka.produce(self.topics[topic], *(Record(each, key=b"1", headers=named) for each in raw))

    async def tell_packed(self, topic: str, value: bytes, compression: str) -> None:
        largest = {"max_request_size": 20_000_000}
        async with AIOKafkaProducer(
            bootstrap_servers=self.kafka.brokers, compression_type=compression, **largest
        ) as producer:
            await producer.send_and_wait(self.topics[topic], value)

    async def metrics(self) -> dict[str, float]:
        text = (await self.service.http.get("/metrics")).text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("carillon_kafka_"))
        said = {name: float(value) for name, value in lines}
        for shipped, topic in self.topics.items():
            said = {name.replace(topic, shipped): value for name, value in said.items()}
        return said

    async def counted(self, name: str, count: float) -> None:
        async def asked() -> bool:
            return (await self.metrics()).get(name, 0.0) >= count

        await until(asked)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(
    database_of_module: str, kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bus]:
    file = tmp_path_factory.mktemp("mappings") / "mappings.toml"
    said = SHIPPED.read_text()
    topics = {name: kafka.topic() for name in msgspec.toml.decode(said)["topics"]}
    for name, topic in topics.items():
        said = said.replace(name, topic)
    file.write_text(said)
    environment = {"KAFKA_BROKERS": kafka.brokers, "KAFKA_GROUP_ID": f"g-{uuid4().hex}", "MAPPINGS_PATH": str(file)}
    async with running(database_of_module, **environment, KAFKA_TENANT="operator") as service:
        yield Bus(kafka, service, topics)


@pytest_asyncio.fixture(loop_scope="module")
async def acme(bus: Bus) -> Tenant:
    return await bus.service.tenant()


@pytest_asyncio.fixture(loop_scope="module")
async def operator(bus: Bus) -> Tenant:
    return await bus.service.tenant(name="operator")


def invitation(tenant: Tenant, **changed: Any) -> dict[str, Any]:
    return {
        "id": uuid4().hex,
        "type": "invitation.created",
        "time": "2026-03-01T12:00:00Z",
        "tenant_id": tenant.name,
        "data": INVITATION,
    } | changed


async def sent(tenant: Tenant, count: int = 1) -> list[Any]:
    async def asked() -> list[Any]:
        found = await tenant.listed()
        return found if len(found) >= count else []

    return await until(asked)


async def parked(tenant: Tenant, count: int = 1, **filters: Any) -> list[Any]:
    async def asked() -> list[Any]:
        answer = await tenant.get("/api/v1/kafka/parked", **filters)
        found: list[Any] = answer.json()["records"]
        return found if len(found) >= count else []

    return await until(asked)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_invitation_becomes_a_mail(bus, acme):
    await bus.tell("interview-events", invitation(acme))
    (found,) = await sent(acme)
    mail = await bus.service.mail(found["id"])
    assert (mail.to.address, found["type"]) == ("jane@example.com", "interview_invitation")
    assert "Acme" in mail.subject
    assert found["context"]["source"] == "kafka"


async def test_the_same_event_is_one_notification_however_it_comes(bus, acme):
    event = invitation(acme)
    cloud = {**event, "specversion": "1.0", "source": "/interviews"}
    await bus.tell("interview-events", event, event, cloud, {**event, "data": {**INVITATION, "hrName": "Ann"}}, cloud)
    await bus.counted('carillon_kafka_records_total{fact="different",topic="interview-events"}', 1)
    await bus.tell("interview-events", invitation(acme))
    assert len(await sent(acme, 3)) == 3


async def test_cloud_events_in_the_binary_mode(bus, acme):
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "1",
        "ce_source": "/interviews",
        "ce_type": "invitation.created",
        "ce_tenantid": acme.name,
        "content-type": "application/json",
    }
    await bus.tell("interview-events", INVITATION, headers=headers)
    assert len(await sent(acme)) == 1


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_however_producers_pack_their_records_they_are_read(bus, acme, compression):
    await bus.tell_packed("interview-events", msgspec.json.encode(invitation(acme)), compression)
    assert len(await sent(acme)) == 1


async def test_who_subscribed_is_told_too(bus, acme):
    data = {"overallScore": 82, "organizationId": "north"}
    await bus.tell("analysis-events", invitation(acme, type="analysis.completed", data=data))
    (found,) = await parked(acme)
    assert (found["reason"], found["mappings"]) == ("invalid", ["analysis_ready"])
    feed = await acme.post("/api/v1/webhooks", {"name": "n", "url": "https://h.acme.example/", "event_types": ["*"]})
    id = feed.json()["webhook"]["id"]

    async def asked() -> Any:
        return (await acme.get(f"/api/v1/webhooks/{id}/feed")).json()["events"]

    (event,) = await until(asked)
    assert (event["type"], event["data"]) == ("analysis.ready", data)


async def test_what_cannot_be_read_is_set_aside_and_what_comes_after_it_goes_on(bus, acme, operator):
    poison = [
        b"{",
        b"\xff" * 100,
        b"[" * 100_000,
        {"data": {}},
        invitation(acme, tenant_id="nobody-of-this-name"),
        invitation(acme, data={"candidateEmail": "jane@example.com"}),
        invitation(acme, data={**INVITATION, "candidateEmail": "no address"}),
        invitation(acme, data={**INVITATION, "questionCount": "six"}),
        invitation(acme, data={**INVITATION, "hrName": "a\x00b"}),
    ]
    for each in poison:
        await bus.tell("interview-events", each)
    await bus.tell_packed("interview-events", b" " * 10_000_000, "gzip")
    await bus.tell("interview-events", None, invitation(acme, type="something.else"), invitation(acme))
    assert len(await sent(acme)) == 1
    mine, others = await parked(acme, 3), await parked(operator, 7)
    assert [each["reason"] for each in mine] == ["invalid"] * 3
    reasons = {each["reason"] for each in others}
    assert reasons == {"not_json", "too_large", "too_deep", "no_event", "unknown_tenant"}
    metrics = await bus.metrics()
    assert metrics['carillon_kafka_records_total{fact="unmapped",topic="interview-events"}'] >= 1
    assert metrics['carillon_kafka_records_total{fact="empty",topic="interview-events"}'] >= 1
    assert metrics['carillon_kafka_parked{reason="too_large",topic="interview-events"}'] >= 1


async def test_a_parked_record_shows_what_is_wrong_with_it_and_only_to_who_may_see_it(bus, acme):
    other, reader = await bus.service.tenant(), await bus.service.tenant(Scope.READ, name=acme.name)
    await bus.tell("interview-events", invitation(acme, data={"candidateEmail": "jane@example.com"}))
    (found,) = await parked(acme)
    detail = (await acme.get(f"/api/v1/kafka/parked/{found['id']}")).json()
    assert "interview_invitation: variables.candidate_name: is missing" in detail["problems"]
    assert "jane@example.com" in detail["value"]
    assert (await other.get(f"/api/v1/kafka/parked/{found['id']}")).status_code == 404
    assert (await other.post("/api/v1/kafka/parked/replay", {"ids": [found["id"]]})).status_code == 404
    assert (await reader.get("/api/v1/kafka/parked")).status_code == 403


async def test_a_parked_record_is_replayed_once_the_mapping_is_mended(bus, acme):
    short = {"candidateEmail": "jane@example.com", "title": "First conversation"}
    await bus.tell("interview-events", invitation(acme, data=short))
    (found,) = await parked(acme)
    replay = {"reason": "invalid"}
    answer = (await acme.post("/api/v1/kafka/parked/replay", replay)).json()
    assert not answer["records"][0]["replayed"]
    mapping = {
        "topic": bus.topics["interview-events"],
        "event": "invitation.created",
        "webhook": {"type": "interview.invited"},
    }
    answer = await acme.request("PUT", "/api/v1/mappings/interview_invitation", json=mapping)
    assert answer.status_code == 200, answer.text
    first = (await acme.post("/api/v1/kafka/parked/replay", {"ids": [found["id"]]})).json()["records"][0]
    again = (await acme.post("/api/v1/kafka/parked/replay", {"ids": [found["id"]]})).json()["records"][0]
    assert first["replayed"]
    assert first["became"] == again["became"]
    assert len(first["became"]) == 1
    assert (await parked(acme, status="replayed"))[0]["id"] == found["id"]


async def test_what_is_discarded_is_erased(bus, acme):
    await bus.tell("interview-events", invitation(acme, data={"candidateEmail": "jane@example.com"}))
    (found,) = await parked(acme)
    answer = await acme.request("DELETE", f"/api/v1/kafka/parked/{found['id']}")
    assert answer.status_code == 200
    detail = (await acme.get(f"/api/v1/kafka/parked/{found['id']}")).json()
    assert (detail["status"], detail["value"], detail["problems"]) == ("discarded", None, [])
    replayed = (await acme.post("/api/v1/kafka/parked/replay", {"ids": [found["id"]]})).json()["records"][0]
    assert not replayed["replayed"]


async def test_whoever_runs_the_service_gives_up_what_is_whosoever_s(bus, acme, capsys):
    await bus.tell("interview-events", invitation(acme, data={"candidateEmail": "jane@example.com"}))
    (found,) = await parked(acme)
    await maintenance.discard_parked(bus.service.parts, [UUID(found["id"])])
    assert f"{found['id']} is discarded\n" in capsys.readouterr().out
    assert (await acme.get(f"/api/v1/kafka/parked/{found['id']}")).json()["value"] is None
    with pytest.raises(click.ClickException):
        await maintenance.discard_parked(bus.service.parts, [uuid4()])


async def test_those_that_stay_parked_do_not_hide_the_ones_behind_them(bus, acme):
    bad = [invitation(acme, data={"n": n}) for n in range(101)]
    await bus.tell("interview-events", *bad)

    async def all_parked() -> bool:
        first = await parked(acme, 101, limit=200)
        return len(first) == 101

    await until(all_parked)
    first = (await acme.post("/api/v1/kafka/parked/replay", {})).json()
    assert (len(first["records"]), first["more"]) == (100, True)
    last = (await acme.post("/api/v1/kafka/parked/replay", {"after": first["next"]})).json()
    assert (len(last["records"]), last["more"], last["next"]) == (1, False, None)
    assert last["records"][0]["id"] not in {each["id"] for each in first["records"]}


async def test_a_tenant_s_own_mapping_counts_for_its_own_events_alone(bus, acme):
    other = await bus.service.tenant()
    off = {
        "topic": bus.topics["interview-events"],
        "event": "invitation.created",
        "webhook": {"type": "interview.invited"},
        "enabled": False,
    }
    answer = await acme.request("PUT", "/api/v1/mappings/interview_invitation", json=off)
    assert answer.json()["version"] == 1
    await bus.tell("interview-events", invitation(acme), invitation(other))
    assert len(await sent(other)) == 1
    assert await acme.listed() == []
    assert (await acme.request("DELETE", "/api/v1/mappings/interview_invitation")).status_code == 200
    assert (await acme.get("/api/v1/mappings/interview_invitation")).json()["of"] == "house"


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"topic": "billing"}, "topic"),
        ({"condition": "[@, @] | [@, @]"}, "condition"),
        ({"webhook": {"type": "a b"}}, "webhook.type"),
        ({"webhook": None}, ""),
        ({"event": ""}, "event"),
        ({"notification": {"type": "welcome", "recipient": {}}, "webhook": None}, "notification.recipient"),
    ],
)
async def test_a_mapping_that_cannot_be_used_is_refused_by_its_place(bus, acme, changed, path):
    mapping = {"topic": bus.topics["user-events"], "event": "user.created", "webhook": {"type": "user.created"}}
    answer = await acme.request("PUT", "/api/v1/mappings/mine", json={**mapping, **changed})
    assert answer.status_code == 422
    assert path in [each["path"] for each in answer.json()["errors"]]


async def test_what_a_record_would_become_is_shown_and_nothing_is_sent(bus, acme):
    topic, event = bus.topics["interview-events"], invitation(acme)
    answer = (await acme.post("/api/v1/mappings/test", {"topic": topic, "value": event})).json()
    (invited, reminded) = answer["outcomes"]
    assert invited["command"]["recipients"][0]["email"] == "jane@example.com"
    assert (reminded["mapping"], reminded["command"]) == ("interview_reminder", None)
    answer = (await acme.post("/api/v1/mappings/test", {"topic": topic, "value": {**event, "data": {}}})).json()
    assert answer["outcomes"][0]["problems"][0]["path"] == "recipient"
    answer = (await acme.post("/api/v1/mappings/test", {"topic": topic, "value": []})).json()
    assert answer["reason"] == "no_event"
    assert await acme.listed() == []


async def test_the_lag_comes_back_to_nothing_and_the_brokers_are_said_to_be_there(bus, acme):
    await bus.tell("user-events", *[invitation(acme, type="unmapped") for _ in range(5)])

    async def asked() -> bool:
        metrics = await bus.metrics()
        return metrics['carillon_kafka_lag_records{topic="user-events"}'] == 0 and metrics["carillon_kafka_up"] == 1

    await until(asked)
    assert (await bus.service.http.get("/health/ready")).json()["parts"]["kafka"] == "ready"
