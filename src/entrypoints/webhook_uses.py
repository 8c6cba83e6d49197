"""What can be asked of webhooks, each with the ports it needs."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from application.ports import Clock, Dice, EventStore, Persons, Subscriptions, WebhookSecrets
from domain.endpoint import Network


@dataclass(frozen=True)
class WebhookUses:
    create: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    update: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    rotate_secret: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    pause: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    resume: Callable[..., Coroutine[Any, Any, WebhookAnswer]]
    delete: Callable[..., Coroutine[Any, Any, int]]
    send: Callable[..., Coroutine[Any, Any, EventAnswer]]


def webhook_uses(
    events: EventStore,
    persons: Persons,
    secrets: WebhookSecrets,
    subscriptions: Subscriptions,
    clock: Clock,
    dice: Dice,
    in_house: Sequence[Network],
) -> WebhookUses:
    sealed: dict[str, Any] = {"events": events, "persons": persons, "clock": clock}
    shown: dict[str, Any] = {"events": events, "secrets": secrets, "clock": clock}
    return WebhookUses(
        create=partial(create_webhook, **sealed, secrets=secrets, in_house=in_house, dice=dice),
        update=partial(update_webhook, **sealed, secrets=secrets, in_house=in_house),
        rotate_secret=partial(rotate_secret, **sealed, secrets=secrets),
        pause=partial(pause_webhook, **shown),
        resume=partial(resume_webhook, **shown),
        delete=partial(delete_webhook, **sealed),
        send=partial(send_webhook, **sealed, subscriptions=subscriptions, dice=dice),
    )
