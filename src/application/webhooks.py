"""A webhook subscription as its owner sees it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.ports.webhooks import WebhookSecrets
from domain.filters import MOST_VALUES, Filter, Plain
from domain.personal import Endpoint
from domain.subscription import DisabledFor, SubscriptionState, WebhookSubscription


class FilterWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one place of `data` must hold, said in one way: `equals`, one of `any_of`, or anything at all (`exists`)."""

    path: Annotated[str, Meta(min_length=1, max_length=200, description="Names joined by dots, such as order.total")]
    equals: Plain | UnsetType = UNSET
    any_of: Annotated[list[Plain], Meta(min_length=1, max_length=MOST_VALUES)] | UnsetType = UNSET
    exists: bool | UnsetType = UNSET


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as its owner sees it: never with a secret; of the headers only the names.

    `public_key` is of the pair that signs from now on, `public_keys` of every pair that still signs, newest first.
    """

    id: UUID
    name: str
    url: str
    event_types: tuple[str, ...]
    organization_id: str | None
    filters: list[FilterWish]
    header_names: list[str]
    concurrency: int
    per_second: float | None
    retry_schedule: tuple[int, ...] | None
    owner_email: str | None
    state: SubscriptionState
    disabled_for: DisabledFor | None
    public_key: str | None
    public_keys: list[str]
    created_at: datetime
    updated_at: datetime


def described(subscription: WebhookSubscription, secrets: WebhookSecrets, now: datetime) -> Webhook:
    endpoint, terms = subscription.endpoint, subscription.terms
    assert isinstance(endpoint, Endpoint)
    return Webhook(
        id=subscription.id,
        name=terms.name,
        url=endpoint.url,
        event_types=terms.event_types,
        organization_id=terms.organization,
        filters=[_wish(each) for each in terms.filters],
        header_names=sorted(endpoint.headers),
        concurrency=terms.concurrency,
        per_second=terms.per_second,
        retry_schedule=terms.retries,
        owner_email=endpoint.owner_email,
        state=subscription.state,
        disabled_for=subscription.disabled_for,
        public_key=secrets.public(endpoint.secrets[0].text),
        public_keys=[key for each in endpoint.secrets_at(now) if (key := secrets.public(each))],
        created_at=subscription.created_on,
        updated_at=subscription.modified_on,
    )


def _wish(filter: Filter) -> FilterWish:
    """As it could have been written."""
    if filter.any_of is None:
        return FilterWish(path=filter.path, exists=filter.exists)
    if len(filter.any_of) == 1:
        return FilterWish(path=filter.path, equals=filter.any_of[0])
    return FilterWish(path=filter.path, any_of=list(filter.any_of))
