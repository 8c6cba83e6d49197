"""Webhooks that are sent to nobody."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime

import httpx
import msgspec

from adapters.http_client import Answer, Exchange
from adapters.webhook.call import judged, prepared
from application.ports.webhooks import WebhookCall, WebhookRequest
from domain.endpoint import Network


class SentWebhook(msgspec.Struct, frozen=True):
    """A request as it would have gone out."""

    url: str
    headers: dict[str, str]
    body: bytes


class MemoryWebhookSender:
    """Keeps what would have gone out in `sent`. The answer is the next of `answers`, or 200 when there is none."""

    def __init__(self, in_house: Sequence[Network] = ()) -> None:
        self._in_house = in_house
        self.sent: list[SentWebhook] = []
        self.answers: deque[Exchange] = deque()

    async def send(self, request: WebhookRequest, now: datetime) -> WebhookCall:
        headers = prepared(request, now, self._in_house)
        if isinstance(headers, WebhookCall):
            return headers
        self.sent.append(SentWebhook(request.url, headers, request.body))
        came = self.answers.popleft() if self.answers else Answer(200, httpx.Headers(), b"")
        return judged(came, 1.0, now)

    async def close(self) -> None:
        """There is nothing to close."""
