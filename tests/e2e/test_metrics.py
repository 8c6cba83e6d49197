"""What Prometheus and the watchers of a process are told."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg_pool import PoolTimeout

from application.caller import Caller
from application.commands.send_webhook import SendWebhook
from application.commands.webhooks import CreateWebhook
from application.event_types import DescribeEventType
from application.processes.rebuild import rebuild
from entrypoints.http import operations
from entrypoints.read_models import PROJECTIONS
from tests.application import RESEND_SECRET, Service, Tenant, running, until
from tests.e2e.test_callbacks import event, report
from tests.fakes.receiver import FakeReceiver

API = "/api/v1/notifications"


@pytest.fixture
async def service(conninfo: str) -> AsyncIterator[Service]:
    """Its own for each test, because what is counted is everything."""
    async with running(conninfo, RESEND_WEBHOOK_SECRET=RESEND_SECRET) as service:
        yield service


@pytest.fixture
async def tenant(service: Service) -> Tenant:
    return await service.tenant()


async def scraped(service: Service) -> dict[str, Any]:
    answer = await service.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {_name(sample): sample.value for sample in samples}


def _name(sample: Any) -> str:
    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}"


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def lived(service: Service, tenant: Tenant) -> None:
    """Of five sent two are delivered, one is opened twice, one bounces; one expires, one is cancelled, one waits."""
    ids = [each["id"] for each in (await tenant.send(*(f"reader{i}@example.com" for i in range(5))))["notifications"]]
    expired, _ = await tenant.send_one(expires_at=later(-1))
    cancelled, _ = await tenant.send_one(scheduled_at=later(3600))
    await tenant.send_one(scheduled_at=later(3600), type="password_reset", variables=_RESET)
    await tenant.post(f"{API}/{cancelled}/cancel")
    await tenant.detail_when(expired, status="expired")
    await service.idle()
    await report(
        service,
        event("delivered", notification=ids[0]),
        event("delivered", notification=ids[1]),
        event("opened", notification=ids[1]),
        event("opened", notification=ids[1]),
        event("bounced", notification=ids[2], bounce={"type": "Transient"}),
    )
    await tenant.detail_when(ids[2], status="bounced")
    await tenant.post(f"{API}/{ids[2]}/retry")
    await tenant.detail_when(ids[2], status="sent")
    await service.idle()


_RESET = {
    "user_name": "Anna",
    "product_name": "Tallyho",
    "reset_url": "https://app.tallyho.example.com/password/new?token=x",
    "expires_in_minutes": 30,
}
_EXPECTED = {
    "notification_emails_sent_total{status=queued,template=welcome}": 7,
    "notification_emails_sent_total{status=queued,template=password_reset}": 1,
    "notification_emails_sent_total{status=sent,template=welcome}": 6,
    "notification_emails_sent_total{status=delivered,template=welcome}": 2,
    "notification_emails_sent_total{status=bounced,template=welcome}": 1,
    "notification_emails_sent_total{status=expired,template=welcome}": 1,
    "notification_emails_sent_total{status=cancelled,template=welcome}": 1,
    "notification_emails_delivery_duration_seconds_count{}": 6,
    "notification_emails_delivery_duration_seconds_bucket{le=+Inf}": 6,
    "notification_emails_open_rate{template=welcome}": 1 / 6,
    "notification_retry_total{type=welcome}": 1,
    "notification_queue_size{queue=email}": 0,
}


async def test_everything_is_counted_exactly(service: Service, tenant: Tenant) -> None:
    await lived(service, tenant)
    said = await scraped(service)
    assert {name: said.get(name) for name in _EXPECTED} == pytest.approx(_EXPECTED)
    sent = {name for name in said if name.startswith("notification_emails_sent_total")}
    assert sent == {name for name in _EXPECTED if name.startswith("notification_emails_sent_total")}
    assert said["notification_emails_delivery_duration_seconds_sum{}"] > 0
    assert all(value == 0 for name, value in said.items() if name.startswith("carillon_view_lag_events"))


async def test_the_buckets_of_the_histogram_are_cumulative(service: Service, tenant: Tenant) -> None:
    await lived(service, tenant)
    said = await scraped(service)
    pattern = re.compile(r"notification_emails_delivery_duration_seconds_bucket\{le=(.*)\}")
    buckets = {float(found[1]): value for name, value in said.items() if (found := pattern.match(name))}
    assert list(buckets) == sorted(buckets)
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[7200.0] == 6


async def test_counts_survive_a_rebuild_and_a_restart(service: Service, tenant: Tenant, conninfo: str) -> None:
    await lived(service, tenant)
    await service.chained()
    before = await scraped(service)
    assert before["carillon_chain_lag_events{}"] == 0
    for projection in PROJECTIONS:
        shadow = service.parts.view(projection, shadow=True)
        await rebuild(projection, service.parts.store, service.parts.view(projection), shadow, lambda *_: None)
    await service.idle()
    assert await scraped(service) == before
    async with running(conninfo) as second:
        assert await scraped(second) == before
    id, _ = await tenant.send_one()
    await tenant.detail_when(id, status="sent")
    await service.idle()
    name = "notification_emails_sent_total{status=sent,template=welcome}"
    assert (await scraped(service))[name] == before[name] + 1


async def test_a_scrape_does_not_add_up_the_hours(service: Service, tenant: Tenant) -> None:
    """It would take the longer the longer the service has run."""
    await lived(service, tenant)
    before = counted(await scraped(service))
    await service.parts.database.rows("TRUNCATE view_metrics.rows")
    assert before
    assert counted(await scraped(service)) == before


def counted(said: dict[str, float]) -> dict[str, float]:
    """Without what goes by the moment."""
    return {name: value for name, value in said.items() if name.startswith("notification_") and "queue" not in name}


async def test_what_is_due_is_the_queue(service: Service, tenant: Tenant) -> None:
    await service.parts.budget.pause("capture", timedelta(seconds=60), "test")
    await tenant.send(*(f"reader{i}@example.com" for i in range(7)))
    await tenant.send_one(scheduled_at=later(3600))
    said = await scraped(service)
    assert said["notification_queue_size{queue=email}"] == 7
    assert 0 < said["notification_queue_oldest_seconds{queue=email}"] < 60


async def test_what_cannot_be_read_is_told_and_does_not_make_the_service_unready(
    service: Service, tenant: Tenant
) -> None:
    rows, name = service.parts.database.rows, "notification_queue_unreadable{queue=email}"
    id, _ = await tenant.send_one(scheduled_at=later(3600))
    await rows("UPDATE stored_events SET topic = 'notification.unheard_of' WHERE originator_id = %s", (id,))
    await rows("UPDATE schedule SET due_at = now(), rank_at = now()")

    async def told() -> bool:
        return bool((await scraped(service)).get(name) == 1)

    await until(told)
    answer = await service.http.get("/health/ready")
    assert (answer.status_code, answer.json()["parts"]["notifications"]) == (200, "1 cannot be read")
    await rows("UPDATE stored_events SET topic = 'notification.queued' WHERE originator_id = %s", (id,))
    await rows("UPDATE schedule SET due_at = now(), rank_at = now() WHERE unreadable > 0")
    await tenant.detail_when(id, status="sent")
    assert (await scraped(service)).get(name, 0) == 0


async def test_an_empty_service_has_metrics_too(service: Service) -> None:
    said = await scraped(service)
    assert said["notification_emails_delivery_duration_seconds_count{}"] == 0


async def test_no_metric_names_a_tenant_or_a_person(service: Service, tenant: Tenant) -> None:
    await lived(service, tenant)
    text = (await service.http.get("/metrics")).text
    assert tenant.name not in text
    assert "reader" not in text


# Health


async def test_a_living_process_says_so_without_a_key(service: Service) -> None:
    answer = await service.http.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_a_ready_service_names_its_parts(service: Service) -> None:
    answer = await service.http.get("/health/ready")
    assert answer.status_code == 200
    said = answer.json()
    assert said["ready"] is True
    assert said["parts"] == {
        "database": "ready",
        **{f"view {projection.name}": "ready" for projection in PROJECTIONS},
    }


async def test_a_view_that_fell_behind_is_named(
    service: Service, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(service, tenant)
    monkeypatch.setattr(operations, "_LAG_ALLOWED", 10)
    positions = service.parts.reader.positions

    async def behind() -> dict[str, int]:
        return {**await positions(), "attempts": 1}

    monkeypatch.setattr(service.parts.reader, "positions", behind)
    answer = await service.http.get("/health/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    said = answer.json()["parts"]
    assert said["view attempts"].endswith("events behind")
    assert said["view notifications"] == said["database"] == "ready"


async def test_a_paused_provider_is_named_and_does_not_make_the_service_unready(service: Service) -> None:
    await service.parts.budget.pause("capture", timedelta(seconds=60), "throttled")
    answer = await service.http.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["parts"]["provider capture"] == "paused: throttled"


async def test_without_the_database_the_process_lives_and_is_not_ready(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise PoolTimeout("couldn't get a connection after 5.00 sec")

    with monkeypatch.context() as patch:
        patch.setattr(service.parts.database.pool, "getconn", away)
        ready = await service.http.get("/health/ready")
        assert (ready.status_code, ready.json()["parts"]) == (503, {"database": "does not answer"})
        assert (await service.http.get("/health/live")).status_code == 200

    async def is_ready() -> bool:
        return (await service.http.get("/health/ready")).status_code == 200

    await until(is_ready)


async def test_webhooks_are_counted_by_event_and_what_became_of_them(conninfo):
    async with running(conninfo, WEBHOOK_ALLOWED_SUBNETS="127.0.0.1") as service, FakeReceiver() as receiver:
        caller, uses = Caller("acme", "key:k1"), service.parts.webhook_uses
        for behaviour in ("ok", "404"):
            command = CreateWebhook(name=behaviour, url=receiver.url(behaviour), event_types=["*"])
            await uses.create(command, caller)
        await uses.event_types.describe("order.created", DescribeEventType(), caller)
        await uses.send(SendWebhook(type="order.created", data={}), caller)

        async def answered() -> dict[str, Any] | None:
            seen = await scraped(service)
            return seen if seen.get("notification_webhooks_response_time_seconds_count{}") == 2 else None

        seen = await until(answered)
        assert seen["notification_webhooks_sent_total{event=order.created,status=queued}"] == 2
        assert seen["notification_webhooks_sent_total{event=order.created,status=sent}"] == 1
        assert seen["notification_webhooks_sent_total{event=order.created,status=failed}"] == 1
        assert not any(name.startswith("notification_emails_sent_total") for name in seen)


async def test_event_types_that_tenants_make_up_are_counted_together(
    service: Service, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_MOST_EVENT_TYPES", 2)
    caller, uses = Caller(tenant.name, "key:k1"), service.parts.webhook_uses
    for name in ("b", "a", "c"):
        await uses.event_types.describe(name, DescribeEventType(), caller)
    webhook = await uses.create(CreateWebhook(name="all", url="https://acme.example/in", event_types=["*"]), caller)
    await uses.pause(webhook.webhook.id, caller)
    for name in ("a", "b", "c", "d", "e"):
        await uses.send(SendWebhook(type=name, data={}), caller)

    async def counted() -> bool:
        found = {name: value for name, value in (await scraped(service)).items() if "webhooks_sent_total" in name}
        return found == {
            "notification_webhooks_sent_total{event=a,status=queued}": 1,
            "notification_webhooks_sent_total{event=b,status=queued}": 1,
            "notification_webhooks_sent_total{event=other,status=queued}": 3,
        }

    await until(counted)
