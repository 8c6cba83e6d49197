"""What can be done with webhooks, each with the ports it needs."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.json_schema import JsonSchema
from adapters.webhook.signing import signature_headers
from application.commands.replay_webhook import FailedReader, ReplayAnswer, replay_webhook
from application.commands.try_webhook import WebhookTest, try_webhook
from application.commands.webhooks import (
    EventAnswer,
    WebhookAnswer,
    create_webhook,
    delete_webhook,
    pause_webhook,
    resume_webhook,
    rotate_secret,
    send_webhook,
    update_webhook,
)
from application.event_types import EventTypeReader, EventTypes, tell_checked
from application.ports import Clock, Dice, EventStore, Persons, Subscriptions, WebhookSecrets, WebhookSender
from application.queries.feed import Feed, HappeningReader, feed
from application.queries.notifications import NotificationReader
from application.queries.webhook_deliveries import WebhookDelivery, deliveries
from application.queries.webhook_detail import WebhookDetail, get_webhook, list_webhooks
from application.queries.webhooks import SubscriptionReader
from domain.endpoint import Network


@dataclass(frozen=True)
class WebhookUses:
    create: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    update: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    rotate: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    pause: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    resume: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    delete: Callable[..., Coroutine[Any, Any, int]]
    test: Callable[..., Coroutine[Any, Any, WebhookTest]]
    replay: Callable[..., Coroutine[Any, Any, ReplayAnswer]]
    deliveries: Callable[..., Coroutine[Any, Any, list[WebhookDelivery]]]
    feed: Callable[..., Coroutine[Any, Any, Feed]]
    detail: Callable[..., Coroutine[Any, Any, WebhookDetail]]
    page: Callable[..., Coroutine[Any, Any, list[WebhookDetail]]]
    tell: Callable[..., Coroutine[Any, Any, EventAnswer]]
    event_types: EventTypes


def webhook_uses(
    events: EventStore,
    persons: Persons,
    subscriptions: Subscriptions,
    sender: WebhookSender,
    secrets: WebhookSecrets,
    reader: SubscriptionReader,
    notifications: NotificationReader,
    happenings: HappeningReader,
    failed: FailedReader,
    types: EventTypeReader,
    in_house: Sequence[Network],
    clock: Clock,
    dice: Dice,
) -> WebhookUses:
    catalogue = EventTypes(events, JsonSchema, types, clock)
    known = {"events": events, "secrets": secrets, "clock": clock}
    tell = partial(send_webhook, events=events, subscriptions=subscriptions, persons=persons, clock=clock, dice=dice)
    return WebhookUses(
        create=partial(create_webhook, **known, persons=persons, in_house=in_house, dice=dice),
        update=partial(update_webhook, **known, persons=persons, in_house=in_house),
        rotate=partial(rotate_secret, **known, persons=persons),
        pause=partial(pause_webhook, **known),
        resume=partial(resume_webhook, **known),
        delete=partial(delete_webhook, events=events, persons=persons, clock=clock),
        test=partial(try_webhook, events=events, sender=sender, sign=signature_headers, clock=clock, dice=dice),
        replay=partial(
            replay_webhook,
            events=events,
            happenings=happenings,
            failed=failed,
            persons=persons,
            clock=clock,
            dice=dice,
        ),
        deliveries=partial(deliveries, events=events, reader=notifications, sign=signature_headers, clock=clock),
        feed=partial(feed, events=events, reader=happenings),
        detail=partial(get_webhook, events=events, reader=reader, secrets=secrets),
        page=partial(list_webhooks, events=events, reader=reader, secrets=secrets),
        tell=partial(tell_checked, types=catalogue, tell=tell),
        event_types=catalogue,
    )
