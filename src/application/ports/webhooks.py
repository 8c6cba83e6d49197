"""Who wants to be told by webhook, and who carries that."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from domain.filters import Filter
from domain.outcomes import Outcome
from domain.personal import Response
from domain.vocabulary import SecretKind


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One POST to an endpoint. `body` are the bytes that are signed with each of `secrets` (newest first) and sent."""

    id: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    secrets: tuple[str, ...]


class WebhookCall(msgspec.Struct, frozen=True):
    """What a call came to; without `response` where nothing was answered."""

    outcome: Outcome
    response: Response | None = None


class WebhookSender(Protocol):
    """The way to the endpoints.

    A failure is a value, never an exception; only cancellation passes through. It ends by its own deadline and reads
    no more of an answer than is kept of it. Never `Throttled` nor `Misconfigured`, which would keep others waiting:
    2xx is Accepted, 410 is Refused(ENDPOINT_GONE), which is held, all else is Retryable: ENDPOINT_ERROR for another
    answer, ENDPOINT_BUSY for 429 and 503, TIMEOUT (`wait` of a minute at least for these, as for `Retry-After`),
    CONNECTION_FAILED, ADDRESS_BLOCKED, TLS_FAILED. Receivers know the id, so an unknown outcome is a Retryable too.
    """

    async def send(self, request: WebhookRequest, now: datetime) -> WebhookCall:
        """Make one call, signed as of `now`."""

    async def close(self) -> None: ...


class WebhookSecrets(Protocol):
    """Secrets to sign with."""

    def make(self, kind: SecretKind) -> str:
        """A new one: `whsec_` and 32 random bytes in base64, or `whsk_` and an ed25519 key pair."""

    def public(self, secret: str) -> str | None:
        """What a receiver verifies with, `whpk_...`, where that is another than the secret itself."""


class Subscriptions(Protocol):
    """Who wants to be told."""

    async def of(self, tenant: str) -> Collection["Interest"]:
        """All that the tenant has, at least those whose creation was acknowledged before this was asked."""


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is for, as far as it decides who gets what."""

    id: UUID
    organization: str | None
    event_types: tuple[str, ...]
    filters: tuple[Filter, ...]
