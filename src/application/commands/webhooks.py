"""What can be asked of a webhook subscription."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.addresses import InvalidAddressError, email_address
from application.caller import Caller
from application.faults import fault_of
from application.ports.log import EventStore, Persons
from application.ports.time_and_chance import Clock, Dice
from application.ports.webhooks import WebhookSecrets
from application.problems import InvalidCommandError, Problem
from application.subscriptions import key_name, not_found, own_subscription
from application.webhooks import FilterWish, Webhook, described
from domain.endpoint import Network, header_objections, plain_objection, url_objection
from domain.filters import MOST_FILTERS, Filter, is_pattern
from domain.personal import Endpoint, SigningSecret
from domain.subscription import SLOWEST, Terms, WebhookSubscription
from domain.vocabulary import SecretKind

MOST_PATTERNS = 50
MOST_RETRIES = 20
_DAY = 86_400


class _Wishes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=100, description="What you call it")]
    url: Annotated[str, Meta(max_length=2048, description="Where webhooks are posted to")]
    event_types: Annotated[
        list[Annotated[str, Meta(max_length=102)]],
        Meta(min_length=1, max_length=MOST_PATTERNS, description="Such as order.created, order.* or *"),
    ]
    organization_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100)] | None,
        Meta(description="Only what happens in this organisation; default: in all, and outside of any"),
    ] = None
    filters: Annotated[
        list[FilterWish], Meta(max_length=MOST_FILTERS, description="All of them must let the data through")
    ] = []
    concurrency: Annotated[int, Meta(ge=1, le=100, description="Calls at a time")] = 5
    per_second: Annotated[
        Annotated[float, Meta(ge=SLOWEST, le=10_000)] | None,
        Meta(description="Calls a second, at least one a day; default: as many as may be"),
    ] = None
    retry_schedule: Annotated[
        Annotated[list[Annotated[int, Meta(ge=1, le=7 * _DAY)]], Meta(min_length=1, max_length=MOST_RETRIES)] | None,
        Meta(description="Seconds after each failed attempt until the next; default: 10 attempts over 75 hours"),
    ] = None
    owner_email: Annotated[
        Annotated[str, Meta(max_length=320)] | None, Meta(description="Who is told when the endpoint keeps failing")
    ] = None


class CreateWebhook(_Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Be told by webhook what happens."""

    headers: Annotated[
        dict[str, str], Meta(max_length=20, description="Sent with each webhook; never shown again")
    ] = {}
    signature: Annotated[SecretKind, Meta(description="symmetric: HMAC (v1); asymmetric: ed25519 (v1a)")] = (
        SecretKind.SYMMETRIC
    )


class UpdateWebhook(_Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that it is from now on; nothing is taken over from before but the secrets, whether it is active, and the
    headers where none are given: nobody could say them again who was never shown them. To another host they do not
    follow, for they may be what the last one lets in by."""

    headers: (
        Annotated[
            dict[str, str],
            Meta(
                max_length=20,
                description="Sent with each webhook; left out: as before, or none where `url` leads to another host or"
                " port; `{}`: none any more",
            ),
        ]
        | UnsetType
    ) = UNSET


class RotateSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both the new and the old secret sign until the grace is over."""

    grace_seconds: Annotated[int, Meta(ge=0, le=7 * _DAY)] = _DAY
    signature: Annotated[SecretKind | None, Meta(description="Default: as before")] = None


class WebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is there when it was just made, and never again. Of a key pair it never is: `public_key` verifies."""

    webhook: Webhook
    position: int
    secret: str | None = None


async def create_webhook(
    command: CreateWebhook,
    caller: Caller,
    *,
    events: EventStore,
    persons: Persons,
    secrets: WebhookSecrets,
    in_house: Sequence[Network],
    clock: Clock,
    dice: Dice,
) -> WebhookAnswer:
    """Raises InvalidCommandError naming every fault."""
    terms, owner = _checked(command, in_house)
    id, secret = dice.id(), secrets.make(command.signature)
    endpoint = Endpoint(
        person=_key(persons, caller.tenant, id),
        url=command.url,
        headers=command.headers,
        secrets=(SigningSecret(secret),),
        owner_email=owner,
    )
    subscription = WebhookSubscription.create(id, caller.tenant, terms, endpoint, now=clock.now(), by=caller.by)
    return WebhookAnswer(
        position=await events.save(subscription),
        webhook=described(subscription, secrets, clock.now()),
        secret=None if secrets.public(secret) else secret,
    )


async def update_webhook(
    command: UpdateWebhook,
    id: UUID,
    caller: Caller,
    *,
    events: EventStore,
    persons: Persons,
    secrets: WebhookSecrets,
    in_house: Sequence[Network],
    clock: Clock,
) -> WebhookAnswer:
    """Raises InvalidCommandError naming every fault, and NotFoundError."""
    terms, owner = _checked(command, in_house)
    subscription = await own_subscription(id, caller, events)
    subscription.update(
        terms,
        person=_key(persons, caller.tenant, id),
        url=command.url,
        headers=None if command.headers is UNSET else command.headers,
        owner_email=owner,
        now=clock.now(),
        by=caller.by,
    )
    return WebhookAnswer(
        position=await events.save(subscription), webhook=described(subscription, secrets, clock.now())
    )


async def rotate_secret(
    command: RotateSecret,
    id: UUID,
    caller: Caller,
    *,
    events: EventStore,
    persons: Persons,
    secrets: WebhookSecrets,
    clock: Clock,
) -> WebhookAnswer:
    """Raises TooManySecretsError and NotFoundError."""
    subscription = await own_subscription(id, caller, events)
    secret = secrets.make(command.signature or _kind(subscription))
    subscription.rotate(
        secret,
        timedelta(seconds=command.grace_seconds),
        person=_key(persons, caller.tenant, id),
        now=clock.now(),
        by=caller.by,
    )
    return WebhookAnswer(
        position=await events.save(subscription),
        webhook=described(subscription, secrets, clock.now()),
        secret=None if secrets.public(secret) else secret,
    )


async def pause_webhook(
    id: UUID, caller: Caller, *, events: EventStore, secrets: WebhookSecrets, clock: Clock
) -> WebhookAnswer:
    """From now on what happens is held for it. Raises NotFoundError."""
    subscription = await own_subscription(id, caller, events)
    subscription.pause(now=clock.now(), by=caller.by)
    return WebhookAnswer(
        position=await events.save(subscription), webhook=described(subscription, secrets, clock.now())
    )


async def resume_webhook(
    id: UUID, caller: Caller, *, events: EventStore, secrets: WebhookSecrets, clock: Clock
) -> WebhookAnswer:
    """What was held is delivered, at its own pace; also of one that was disabled. Raises NotFoundError."""
    subscription = await own_subscription(id, caller, events)
    subscription.resume(now=clock.now(), by=caller.by)
    return WebhookAnswer(
        position=await events.save(subscription), webhook=described(subscription, secrets, clock.now())
    )


async def delete_webhook(id: UUID, caller: Caller, *, events: EventStore, persons: Persons, clock: Clock) -> int:
    """Answers the position. What was waiting for it is not sent, and its url, headers, secrets and answers are erased.

    Asked again it makes sure of that, should the first time have been interrupted. Raises NotFoundError.
    """
    subscription = await events.get(WebhookSubscription, id)
    if subscription is None or subscription.tenant != caller.tenant:
        raise not_found(id)
    was_deleted = subscription.is_deleted
    subscription.delete(now=clock.now(), by=caller.by)
    position = await events.save(subscription)
    await persons.forget(caller.tenant, key_name(id))
    if was_deleted:
        raise not_found(id)
    return position


def _key(persons: Persons, tenant: str, id: UUID) -> UUID:
    return persons.person(tenant, key_name(id))


def _kind(subscription: WebhookSubscription) -> SecretKind:
    assert isinstance(subscription.endpoint, Endpoint)
    text = subscription.endpoint.secrets[0].text
    return SecretKind.ASYMMETRIC if text.startswith("whsk_") else SecretKind.SYMMETRIC


def _checked(command: CreateWebhook | UpdateWebhook, in_house: Sequence[Network]) -> tuple[Terms, str | None]:
    """The terms, and the owner's address in its normal form. Where a name leads to is seen when it is dialled."""
    problems = [*_faults_of_terms(command), *_faults_of_endpoint(command, in_house)]
    owner = command.owner_email
    if owner is not None:
        try:
            owner = email_address(owner)
        except InvalidAddressError as error:
            problems.append(Problem("owner_email", str(error)))
    if problems:
        raise InvalidCommandError(problems)
    terms = Terms(
        name=command.name,
        organization=command.organization_id,
        event_types=tuple(dict.fromkeys(command.event_types)),
        filters=tuple(map(_filter, command.filters)),
        concurrency=command.concurrency,
        per_second=command.per_second,
        retries=None if command.retry_schedule is None else tuple(command.retry_schedule),
    )
    return terms, owner


def _faults_of_terms(command: CreateWebhook | UpdateWebhook) -> Iterator[Problem]:
    for i, pattern in enumerate(command.event_types):
        if not is_pattern(pattern):
            yield Problem(f"event_types[{i}]", "must be a type such as order.created, or order.*, or *")
    for i, wish in enumerate(command.filters):
        if not all(wish.path.split(".")):
            yield Problem(f"filters[{i}].path", "must be names joined by dots, such as order.total")
        if sum(each is not UNSET for each in (wish.equals, wish.any_of, wish.exists)) != 1:
            yield Problem(f"filters[{i}]", "must have one of equals, any_of and exists")
    kept = {
        "name": command.name,
        "organization_id": command.organization_id,
        "filters": msgspec.to_builtins(command.filters),
    }
    for path, value in kept.items():
        if fault := fault_of(value):
            yield Problem(path, fault)


def _faults_of_endpoint(command: CreateWebhook | UpdateWebhook, in_house: Sequence[Network]) -> Iterator[Problem]:
    if why := url_objection(command.url, in_house) or plain_objection(command.url, in_house):
        yield Problem("url", why)
    headers = {} if command.headers is UNSET else command.headers
    for name, why in header_objections(headers).items():
        yield Problem(f"headers.{name}" if name else "headers", why)


def _filter(wish: FilterWish) -> Filter:
    if wish.equals is not UNSET:
        return Filter(path=wish.path, any_of=(wish.equals,))
    if wish.any_of is not UNSET:
        return Filter(path=wish.path, any_of=tuple(wish.any_of))
    return Filter(path=wish.path, exists=wish.exists is not False)
