"""A sender that writes down what was acknowledged, and asks again under the same key what was not answered."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from typing import Any

import aiohttp

from tests.faults.history import Acknowledged

_AGAIN_AFTER = 0.1  # seconds
_VARIABLES = {"user_name": "Anna", "product_name": "Tallyho", "action_url": "https://app.example.com/start"}


class Load:
    """`address` is where the API answers now, None while it does not; `api_keys` are those of the tenants, in turn."""

    def __init__(self, name: str, address: Callable[[], str | None], api_keys: Mapping[str, str]) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.positions: list[int] = []
        self.unanswered = 0  # requests that were made again
        self.unavailable = 0  # answers of 503
        self._name = name
        self._address = address
        self._api_keys = list(api_keys.items())
        self._numbers = count()

    async def send(
        self, requests: int, *, clients: int = 10, recipients: int = 1, scheduled_at: datetime | None = None
    ) -> None:
        """So many requests, shared by so many clients, each for so many recipients; until all are acknowledged."""
        left = iter(range(requests))

        async def client(session: aiohttp.ClientSession) -> None:
            for _ in left:
                await self._one(session, recipients, scheduled_at)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))

    async def _one(self, session: aiohttp.ClientSession, recipients: int, scheduled_at: datetime | None) -> None:
        number = next(self._numbers)
        key = f"{self._name}-{number}"
        tenant, api_key = self._api_keys[number % len(self._api_keys)]
        body = {
            "type": "welcome",
            "recipients": [{"email": f"{tenant}.{key}.{i}@example.com"} for i in range(recipients)],
            "variables": _VARIABLES,
            "context": {"correlation_id": key},
            **({"scheduled_at": scheduled_at.isoformat()} if scheduled_at else {}),
        }
        headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": key}
        answer = await self._until_answered(session, body, headers)
        self.positions.append(answer["position"])
        self.acknowledged += [
            Acknowledged(each["id"], key, tenant, each["recipient"]["email"]) for each in answer["notifications"]
        ]

    async def _until_answered(
        self, session: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any]:
        while True:
            if (answer := await self._ask(session, body, headers)) is not None:
                return answer
            await asyncio.sleep(_AGAIN_AFTER)

    async def _ask(
        self, session: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any] | None:
        address = self._address()
        if address is None:
            return None
        try:
            async with session.post(f"{address}/api/v1/notifications", json=body, headers=headers) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError):
            self.unanswered += 1
            return None
        if response.status == 503:
            self.unavailable += 1
            return None
        assert response.status == 202, f"{response.status}: {answer}"
        return answer
