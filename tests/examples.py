"""Notifications and events to start from."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import AggregateEvent

from domain.acceptance import Acceptance
from domain.event_type import EventType, EventTypeTerms
from domain.filters import Filter
from domain.happening import Addressed, Happening
from domain.limits import ChannelLimits, Limits, Rates, Rules
from domain.mailbox import Mailbox
from domain.mapping import Mappings, MappingTerms, NotificationTerms, RecipientPaths, Schedule, WebhookTerms
from domain.notification import Notification
from domain.own_template import Template
from domain.parked import Origin, ParkedRecord, ParkReason
from domain.personal import (
    ConsentedAddress,
    Endpoint,
    Envelope,
    Letter,
    Listed,
    Payload,
    RecordBody,
    Remark,
    SigningSecret,
)
from domain.preferences import Choice, Preferences
from domain.publishing import Publishing
from domain.receipts import Receipt, ReceiptKind
from domain.retry import RetryPolicy
from domain.saying import Saying
from domain.subscription import DisabledFor, Terms, WebhookSubscription
from domain.suppression import Suppression
from domain.template import NotificationType, TemplatePin, Variable, VariableType
from domain.vocabulary import Channel, Frequency, Ground, Over, Priority, Purpose, Reason, Status
from domain.wall_clock import QuietHours

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOMEBODY = UUID(int=0x7EA)
POLICY = RetryPolicy()
SENDER = Mailbox("hello@acme.example", "Acme")
PIN = TemplatePin("welcome", "9f86d081884c7d65", "en")
DECLARED = NotificationType(
    name="spring-sale",
    category="promotion",
    purpose=Purpose.MARKETING,
    priority=Priority.LOW,
    description="Tells of the sale.",
    variables={
        "first_name": Variable(type=VariableType.STRING, example="Ada", description="Who reads it."),
        "code": Variable(type=VariableType.STRING, example="SPRING", required=False, secret=True),
        "items": Variable(
            type=VariableType.LIST,
            example=[{"name": "Tulip"}],
            fields={"name": Variable(type=VariableType.STRING, example="Tulip")},
        ),
    },
)
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TERMS = Terms(
    name="billing",
    organization="north",
    event_types=("order.*", "payment.failed"),
    filters=(Filter(path="order.total", any_of=(12.5, "free", None)), Filter(path="order.lines", exists=True)),
    concurrency=3,
    per_second=2.5,
    retries=(30, 60),
)


def notification(id: UUID, *, person: UUID = SOMEBODY, now: datetime = NOON, **wishes: Any) -> Notification:
    """An email that was just accepted for Ada, but for what is wished otherwise."""
    usual = {
        "tenant": "acme",
        "channel": Channel.EMAIL,
        "type": "welcome",
        "category": "account",
        "purpose": Purpose.TRANSACTIONAL,
        "priority": Priority.MEDIUM,
        "request": UUID(int=0xC0FFEE),
        "letter": Letter(person=person, address="ada@example.com", name="Ada", variables={"first_name": "Ada"}),
        "template": PIN,
        "by": "key:k1",
        "locale": "en",
    }
    return Notification.queue(id, now=now, **(usual | wishes))


def attempted(
    notification: Notification, now: datetime = NOON, *, provider: str = "smtp", key_until: datetime | None = None
) -> Notification:
    """The same, with a call on its way."""
    envelope = Envelope(person=notification.person, subject="Hello", preview="Welcome, Ada")
    notification.attempt(provider, key_until, "digest", envelope, sender=SENDER, reply_to=None, now=now, by="worker")
    return notification


def subscription(id: UUID, *, person: UUID = SOMEBODY, now: datetime = NOON, **terms: Any) -> WebhookSubscription:
    """One of Acme's that was just made, for everything unless terms say otherwise."""
    usual = Terms(name="billing", organization=None, event_types=("*",))
    endpoint = Endpoint(person=person, url="https://hooks.acme.example/in", secrets=(SigningSecret(WEBHOOK_SECRET),))
    wanted = msgspec.structs.replace(usual, **terms)
    return WebhookSubscription.create(id, "acme", wanted, endpoint, now=now, by="key:k1")


def own_template() -> Template:
    """A template of Acme's with one version, in English and for email, that is not active."""
    template = Template.create("acme", "spring-sale", now=NOON, by="key:k1")
    template.add_version(DECLARED, "en", {"en": {Channel.EMAIL: "hash-en"}}, now=NOON, by="key:k1")
    return template


def one_of_each(person: UUID = SOMEBODY) -> dict[str, AggregateEvent]:
    """One event of every type, by topic. Those of `golden/events` were stored from these, so they never change."""
    return {
        type(event).TOPIC: event for event in [*_events(person), *_of_readers(person), *_of_limits(), *_of_publishing()]
    }


def _events(person: UUID) -> Iterable[Any]:
    id = UUID("0195b0a0-0000-7000-8000-000000000001")
    about = {"originator_id": id, "tenant": "acme", "channel": Channel.EMAIL, "type": "welcome", "by": "worker:1"}

    def place(version: int) -> dict[str, Any]:
        return {**about, "originator_version": version, "timestamp": NOON + timedelta(seconds=version)}

    remark = Remark(person=person, text="550 5.1.1 <ada@example.com> unknown")
    called = {"call": 1, "provider": "resend"}
    seen = {"provider": "resend", "occurred_at": NOON + timedelta(minutes=2, microseconds=123456)}
    yield Notification.Queued(
        **place(1) | {"by": "key:k1"},
        originator_topic="domain.notification:Notification",
        category="account",
        purpose=Purpose.TRANSACTIONAL,
        priority=Priority.HIGH,
        request=UUID(int=0xC0FFEE),
        recipient_user_id="u-1",
        locale="de-AT",
        time_zone="Europe/Vienna",
        template=PIN,
        due_at=NOON + timedelta(hours=1),
        expires_at=NOON + timedelta(days=1),
        source="billing",
        correlation_id="c-1",
        secrets=("gift",),
        personal=Letter(
            person=person,
            address="ada@example.com",
            name="Ada Lovelace",
            variables={"first_name": "Ada", "amount": 12.5, "lines": [{"count": 2}], "gift": True, "none": None},
            metadata={"order": "o-1"},
        ),
    )
    yield Notification.Rendered(
        **place(2),
        **called,
        attempt=1,
        generation=1,
        key=f"{id}/1",
        key_until=NOON + timedelta(days=1),
        sender=SENDER,
        reply_to=Mailbox("help@acme.example"),
        digest="e3b0c442",
        personal=Envelope(person=person, subject="Willkommen", preview="Hallo Ada"),
    )
    yield Notification.Deferred(
        **place(3), **called, reason=Reason.PROVIDER_THROTTLED, until=NOON + timedelta(minutes=5), personal=None
    )
    yield Notification.Failed(**place(4), **called, attempt=1, reason=Reason.TIMEOUT, uncertain=True, personal=remark)
    yield Notification.Retried(
        **place(5), generation=1, due_at=NOON + timedelta(minutes=1), reason=Reason.PROVIDER_UNAVAILABLE
    )
    yield Notification.Sent(
        **place(6), **called, provider_id="re_1", cost=Decimal("0.0004"), queued_at=NOON - timedelta(seconds=1)
    )
    yield Notification.Delivered(**place(7), **seen, queued_at=NOON - timedelta(seconds=1))
    yield Notification.Opened(**place(8), **seen)
    yield Notification.Clicked(**place(9), **seen)
    yield Notification.Complained(**place(10), **seen)
    yield Notification.Bounced(**place(11), **seen, reason=Reason.HARD_BOUNCE, personal=remark)
    yield Notification.Rejected(**place(12), **seen, personal=remark)
    yield Notification.DeadLettered(**place(13), reason=Reason.PROVIDER_REFUSED)
    yield Notification.Suppressed(**place(14), reason=Reason.HARD_BOUNCE)
    yield Notification.Cancelled(**place(15), reason=Reason.CANCELLED_BY_CALLER)
    yield Notification.Expired(**place(16), reason=Reason.EXPIRED)
    digest = UUID("0195b0a0-0000-7000-8000-00000000d1e5")
    yield Notification.Merged(**place(17), into=digest)
    yield Notification.StandingChanged(**place(18), status=Status.BOUNCED, reason=Reason.HARD_BOUNCE)
    yield Notification.Followed(
        **place(19),
        digest_id=digest,
        status=Status.BOUNCED,
        reason=Reason.HARD_BOUNCE,
        sent_at=NOON + timedelta(minutes=1),
        delivered_at=None,
        bounced_at=NOON + timedelta(minutes=2),
    )
    yield Acceptance.Accepted(
        originator_id=UUID("5d2c9f0e-7a53-5f0b-9f9c-6a2f3f1d7b10"),
        originator_version=1,
        originator_topic="domain.acceptance:Acceptance",
        timestamp=NOON,
        tenant="acme",
        by="key:k1",
        body_digest="ab12",
        request=UUID(int=0xC0FFEE),
        notifications=[id],
    )
    yield Receipt.Received(
        originator_id=UUID("1b9d6bcd-bbfd-5b2d-9b5d-ab8dfbbd4bed"),
        originator_version=1,
        originator_topic="domain.receipts:Receipt",
        timestamp=NOON,
        by="provider:resend",
        provider="resend",
        event_id="msg_1",
        kind=ReceiptKind.BOUNCED,
        said="email.bounced",
        provider_id="re_1",
        notification=id,
        generation=1,
        occurred_at=NOON - timedelta(seconds=3),
        personal=remark,
    )
    template = {
        "originator_id": UUID("3b5cbbd4-7f46-5d2f-8f63-0b8f8c6f6c1d"),
        "timestamp": NOON,
        "tenant": "acme",
        "name": "spring-sale",
        "by": "key:k1",
    }
    yield Template.Created(**template, originator_version=1, originator_topic="domain.own_template:Template")
    yield Template.VersionAdded(
        **template,
        originator_version=2,
        number=1,
        declared=DECLARED,
        default_locale="en",
        texts={"en": {Channel.EMAIL: "9f86d081", Channel.SMS: "884c7d65"}},
    )
    yield Template.Localized(
        **template, originator_version=3, number=2, base=1, locale="pt-BR", texts={Channel.EMAIL: "e3b0c442"}
    )
    yield Template.Activated(**template, originator_version=4, number=2)
    yield Template.RolledBack(**template, originator_version=5, number=1)
    yield Happening.Told(
        originator_id=UUID("6f1e2d3c-4b5a-5978-8695-a4b3c2d1e0f9"),
        originator_version=1,
        originator_topic="domain.happening:Happening",
        timestamp=NOON,
        tenant="acme",
        by="key:k1",
        event_id="evt_1",
        type="order.created",
        organization="north",
        occurred_at=NOON - timedelta(seconds=3),
        deliveries=(Addressed(UUID(int=0x5B), id),),
        personal=Payload(person=person, data={"order": {"total": 12.5, "lines": [{"count": 2}]}, "note": None}),
    )
    yield from _of_a_subscription(person)
    yield from _of_an_event_type()
    yield from _of_kafka(person)


def _of_an_event_type() -> Iterable[Any]:
    about = {"originator_id": UUID("0195b0a0-0000-7000-8000-0000000000e7"), "tenant": "acme", "by": "key:k1"}
    terms = EventTypeTerms(
        description="An order was made.",
        schema={"type": "object", "required": ["order"]},
        example={"order": {"total": 12.5}},
        deprecated="order.placed",
        checked=True,
    )

    def place(version: int) -> dict[str, Any]:
        moment = NOON + timedelta(seconds=version)
        return {**about, "originator_version": version, "timestamp": moment, "name": "order.created"}

    yield EventType.Described(**place(1), originator_topic="domain.event_type:EventType", terms=terms)
    yield EventType.Changed(**place(2), terms=terms)
    yield EventType.Removed(**place(3))


def _of_kafka(person: UUID) -> Iterable[Any]:
    mine = {"originator_id": UUID("a3c1c6d2-94c5-5a0c-8a51-2d7e90b4f613"), "tenant": "acme", "by": "key:k1"}
    terms = MappingTerms(
        topic="order-events",
        event="order.shipped",
        condition="data.channel == 'web'",
        notification=NotificationTerms(
            type="order_shipped",
            recipient=RecipientPaths(user_id="data.customer.id", email="data.customer.email"),
            variables={"order_number": "to_string(data.order.id)"},
            priority=Priority.HIGH,
            schedule=Schedule(at="data.arrives_at", hours_before=2.5),
        ),
        webhook=WebhookTerms(type="order.shipped", data="data.order", organization="data.organization_id"),
        enabled=False,
    )
    yield Mappings.Begun(**mine, originator_version=1, originator_topic="domain.mapping:Mappings", timestamp=NOON)
    yield Mappings.Written(**mine, originator_version=2, timestamp=NOON, name="order_shipped", number=3, terms=terms)
    yield Mappings.Removed(**mine, originator_version=3, timestamp=NOON, name="order_shipped")
    place = Origin(topic="order-events", partition=3, offset=1042, timestamp=1_772_366_400_000)
    parked = {"originator_id": place.id, "timestamp": NOON, "tenant": "acme"}
    yield ParkedRecord.Parked(
        **parked,
        by="kafka",
        originator_version=1,
        originator_topic="domain.parked:ParkedRecord",
        origin=place,
        reason=ParkReason.INVALID,
        size=17,
        complete=True,
        said_tenant="acme",
        event_id="4711",
        event_type="order.shipped",
        mappings=("order_shipped",),
        personal=RecordBody(
            person=person,
            key=b"1042",
            value=b'{"id": "4711"}',
            headers=(("content-type", b"application/json"),),
            problems=("recipient: is not at data.email",),
        ),
    )
    yield ParkedRecord.Replayed(**parked, by="key:k1", originator_version=2, became=("evt_1",))
    yield ParkedRecord.Discarded(**parked, by="key:k1", originator_version=3)


def _of_publishing() -> Iterable[Any]:
    about = {"originator_id": UUID("0195b0a0-0000-7000-8000-00000000007b"), "tenant": "acme", "by": "key:k1"}
    first = {**about, "originator_version": 1, "timestamp": NOON, "personal_data": True}
    yield Publishing.Chosen(**first, originator_topic="domain.publishing:Publishing")
    yield Publishing.Changed(**{**first, "originator_version": 2, "personal_data": False})


def _of_a_subscription(person: UUID) -> Iterable[Any]:
    about = {"originator_id": UUID("0195b0a0-0000-7000-8000-00000000005b"), "tenant": "acme", "by": "key:k1"}

    def place(version: int) -> dict[str, Any]:
        return {**about, "originator_version": version, "timestamp": NOON + timedelta(seconds=version)}

    failing = {"failing_since": NOON - timedelta(days=5), "failures": 12}
    endpoint = Endpoint(
        person=person,
        url="https://hooks.acme.example/in?token=t0ken",
        headers={"X-Team": "billing"},
        secrets=(SigningSecret(WEBHOOK_SECRET), SigningSecret("whsec_b2xk", NOON + timedelta(days=1))),
        owner_email="jane@acme.example",
    )
    yield WebhookSubscription.Created(
        **place(1), originator_topic="domain.subscription:WebhookSubscription", terms=TERMS, personal=endpoint
    )
    yield WebhookSubscription.Updated(**place(2), terms=TERMS, personal=endpoint)
    yield WebhookSubscription.SecretRotated(**place(3), until=NOON + timedelta(days=1), personal=endpoint)
    yield WebhookSubscription.Paused(**place(4))
    yield WebhookSubscription.Resumed(**place(5))
    yield WebhookSubscription.Warned(**place(6), share=50, **failing)
    yield WebhookSubscription.Recovered(**place(7))
    yield WebhookSubscription.Disabled(**place(8), reason=DisabledFor.FAILING, **failing)
    yield WebhookSubscription.Deleted(**place(9))


def _of_limits() -> Iterable[Any]:
    limits = {
        "originator_id": UUID("2b6e3c1d-7f80-5a4b-9c2d-1e0f3a5b7c9d"),
        "timestamp": NOON,
        "tenant": "acme",
        "by": "key:k1",
    }
    yield Limits.Begun(**limits, originator_version=1, originator_topic="domain.limits:Limits")
    email = ChannelLimits(tenant=Rates(per_minute=600, burst=20), user=Rates(per_hour=5, per_day=20))
    rules = Rules(channels={Channel.EMAIL: email}, over={"order": Over.SUPPRESS}, duplicate_window=600)
    yield Limits.Chosen(**limits, originator_version=2, rules=rules)
    saying = {**limits, "originator_id": UUID("9d7c5b3a-0f1e-5d2c-8b4a-d1c7e3b6f2a0")}
    first = UUID("0195b0a0-0000-7000-8000-000000000001")
    yield Saying.Begun(**saying, originator_version=1, originator_topic="domain.saying:Saying", notification=first)
    again = UUID("0195b0a0-0000-7000-8000-000000000002")
    yield Saying.Renewed(**saying, originator_version=2, notification=again)


def _of_readers(person: UUID) -> Iterable[Any]:
    wishes = {
        "originator_id": UUID("4a1f6f0c-4d0f-5c3e-9b59-0f4b2d7f1a11"),
        "timestamp": NOON,
        "tenant": "acme",
        "user": "u-1",
        "by": "key:k1",
    }
    yield Preferences.Begun(**wishes, originator_version=1, originator_topic="domain.preferences:Preferences")
    yield Preferences.LanguageChosen(**wishes, originator_version=2, language="de-AT")
    yield Preferences.TimeZoneChosen(**wishes, originator_version=3, time_zone="Europe/Vienna")
    yield Preferences.QuietHoursChosen(**wishes, originator_version=4, quiet_hours=QuietHours(time(22), time(7, 30)))
    yield Preferences.ChannelChosen(**wishes, originator_version=5, channel=Channel.SMS, enabled=False)
    choice = Choice(enabled=True, channels={Channel.PUSH: False}, frequency=Frequency.DAILY)
    yield Preferences.CategoryChosen(**wishes, originator_version=6, category="promotion", choice=choice)
    yield Preferences.TypeChosen(**wishes, originator_version=7, type="welcome", choice=Choice(enabled=False))
    yield Preferences.ContactAdded(
        **wishes,
        originator_version=8,
        contact=UUID(int=0xC0),
        channel=Channel.EMAIL,
        source="signup",
        given_at=NOON,
        personal=ConsentedAddress(person=person, address="ada@example.com", text="Yes, write to me", ip="192.0.2.7"),
    )
    yield Preferences.ContactRemoved(**wishes, originator_version=9, contact=UUID(int=0xC0))
    listed = {
        "originator_id": UUID("8d0f5a35-2f7b-5a0e-8d5b-6c9f0f1e2d33"),
        "timestamp": NOON,
        "tenant": "acme",
        "channel": Channel.EMAIL,
        "address_digest": "ab12",
        "by": "provider:resend",
    }
    yield Suppression.Begun(
        **listed,
        originator_version=1,
        originator_topic="domain.suppression:Suppression",
        personal=Listed(person=person, address="ada@example.com"),
    )
    yield Suppression.Added(
        **listed,
        originator_version=2,
        ground=Ground.UNSUBSCRIBE,
        category="promotion",
        until=NOON + timedelta(days=7),
        source="link",
    )
    yield Suppression.Removed(
        **listed, originator_version=3, ground=Ground.UNSUBSCRIBE, category="promotion", source="api"
    )
    yield Suppression.SoftBounced(**listed, originator_version=4, occurred_at=NOON - timedelta(seconds=3))
