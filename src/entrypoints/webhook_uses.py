"""What can be asked of webhooks, each with the ports it needs."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.webhook.signing import signature_headers
from application.commands.replay_webhook import FailedReader, ReplayAnswer, replay_webhook
from application.commands.send_webhook import EventAnswer, send_webhook
from application.commands.try_webhook import Trials, WebhookTest, try_webhook
from application.commands.webhooks import (
    WebhookAnswer,
    create_webhook,
    delete_webhook,
    pause_webhook,
    resume_webhook,
    rotate_secret,
    update_webhook,
)
from application.event_types import EventTypeReader, EventTypes, PayloadSchemas, send_checked
from application.ports.log import EventStore, Persons
from application.ports.time_and_chance import Clock, Dice
from application.ports.webhooks import Subscriptions, WebhookSecrets, WebhookSender
from application.queries.feed import Feed, HappeningReader, feed
from application.queries.notifications import NotificationReader
from application.queries.webhook_deliveries import WebhookDelivery, deliveries
from application.queries.webhook_detail import WebhookDetail, get_webhook, list_webhooks
from application.queries.webhooks import SubscriptionReader
from domain.endpoint import Network


@dataclass(frozen=True)
class WebhookReaders:
    """What the read models know of webhooks."""

    subscriptions: SubscriptionReader
    notifications: NotificationReader
    happenings: HappeningReader
    failed: FailedReader
    event_types: EventTypeReader


@dataclass(frozen=True)
class WebhookUses:
    create: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    update: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    rotate_secret: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    pause: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    resume: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    delete: Callable[..., Coroutine[Any, Any, int]]
    test: Callable[..., Coroutine[Any, Any, WebhookTest]]
    replay: Callable[..., Coroutine[Any, Any, ReplayAnswer]]
    detail: Callable[..., Coroutine[Any, Any, WebhookDetail]]
    page: Callable[..., Coroutine[Any, Any, list[WebhookDetail]]]
    deliveries: Callable[..., Coroutine[Any, Any, tuple[list[WebhookDelivery], bool]]]
    feed: Callable[..., Coroutine[Any, Any, Feed]]
    send: Callable[..., Coroutine[Any, Any, EventAnswer]]
    event_types: EventTypes


def webhook_uses(
    events: EventStore,
    persons: Persons,
    secrets: WebhookSecrets,
    subscriptions: Subscriptions,
    sender: WebhookSender,
    readers: WebhookReaders,
    schemas: PayloadSchemas,
    clock: Clock,
    dice: Dice,
    in_house: Sequence[Network],
) -> WebhookUses:
    sealed: dict[str, Any] = {"events": events, "persons": persons, "clock": clock}
    shown: dict[str, Any] = {"events": events, "secrets": secrets, "clock": clock}
    seen: dict[str, Any] = {**shown, "reader": readers.subscriptions}
    signed: dict[str, Any] = {"events": events, "sign": signature_headers, "clock": clock}
    event_types = EventTypes(events, schemas, readers.event_types, clock)
    tell = partial(send_webhook, **sealed, subscriptions=subscriptions, dice=dice)
    return WebhookUses(
        create=partial(create_webhook, **sealed, secrets=secrets, in_house=in_house, dice=dice),
        update=partial(update_webhook, **sealed, secrets=secrets, in_house=in_house),
        rotate_secret=partial(rotate_secret, **sealed, secrets=secrets),
        pause=partial(pause_webhook, **shown),
        resume=partial(resume_webhook, **shown),
        delete=partial(delete_webhook, **sealed),
        test=partial(try_webhook, **signed, sender=sender, trials=Trials(), dice=dice),
        replay=partial(replay_webhook, **sealed, happenings=readers.happenings, failed=readers.failed, dice=dice),
        detail=partial(get_webhook, **seen),
        page=partial(list_webhooks, **seen),
        deliveries=partial(deliveries, **signed, reader=readers.notifications),
        feed=partial(feed, events=events, reader=readers.happenings),
        send=partial(send_checked, types=event_types, tell=tell),
        event_types=event_types,
    )
