"""The exact bytes that receivers get, made of a happening; the same ones for as long as it is kept."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.happening import Happening
from domain.personal import Payload


class WebhookBody(msgspec.Struct, frozen=True):
    """As Standard Webhooks has it: `timestamp` is when it happened."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


_encoder = msgspec.json.Encoder(order="deterministic")


def webhook_body(happening: Happening) -> WebhookBody | None:
    """None where what happened was erased."""
    payload = happening.payload
    if not isinstance(payload, Payload):
        return None
    at = happening.occurred_at.astimezone(UTC)
    return WebhookBody(happening.event_id, happening.type, at, payload.data)


def encoded(body: WebhookBody) -> bytes:
    return _encoder.encode(body)
