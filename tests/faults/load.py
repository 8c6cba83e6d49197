"""A sender that writes down what was acknowledged, and asks again under the same key what was not answered."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.faults.history import Acknowledged

_AGAIN_AFTER = 0.1  # seconds
_LONGEST_NOTE = 2_000  # characters


class Load:
    """`address` is where the API answers now, None while it does not; `api_keys` are those of the tenants, in turn.

    What was acknowledged stands in `log` before anything else happens to it. `luck` decides how much each request
    carries.
    """

    def __init__(
        self,
        name: str,
        address: Callable[[], str | None],
        api_keys: Mapping[str, str],
        log: Path,
        luck: random.Random,
    ) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.positions: list[int] = []
        self.unanswered = 0  # requests that were made again
        self.unavailable = 0  # answers of 503
        self.surprises: Counter[str] = Counter()  # answers that nobody should get, by what is wrong with them
        self._name = name
        self._address = address
        self._api_keys = list(api_keys.items())
        self._numbers = count()
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._luck = luck

    def close(self) -> None:
        os.close(self._log)

    async def send(
        self,
        requests: int,
        *,
        clients: int = 10,
        recipients: int = 1,
        scheduled_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """So many requests, shared by so many clients, each for so many recipients; until all are acknowledged."""
        left = iter(range(requests))

        async def client(session: aiohttp.ClientSession) -> None:
            for _ in left:
                await self._one(session, recipients, scheduled_at, expires_at)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))

    async def send_until(self, stop: asyncio.Event, *, rate: float, clients: int = 10) -> None:
        """At most `rate` requests a second until told to stop; every one begun is acknowledged in the end."""

        async def client(session: aiohttp.ClientSession) -> None:
            while not stop.is_set():
                await self._one(session, 1, None, None)
                await asyncio.sleep(self._luck.uniform(0, 2) * clients / rate)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))

    async def _one(
        self,
        session: aiohttp.ClientSession,
        recipients: int,
        scheduled_at: datetime | None,
        expires_at: datetime | None,
    ) -> None:
        number = next(self._numbers)
        key = f"{self._name}-{number}"
        tenant, api_key = self._api_keys[number % len(self._api_keys)]
        note = "n" * self._luck.randrange(_LONGEST_NOTE)
        body = {
            "type": "welcome",
            "recipients": [{"email": f"{tenant}.{key}.{i}@example.com"} for i in range(recipients)],
            "variables": {
                "user_name": key,
                "product_name": tenant,
                "action_url": f"https://{tenant}.example.com/start",
            },
            "context": {"correlation_id": key, "metadata": {"note": note}},
            **({"scheduled_at": scheduled_at.isoformat()} if scheduled_at else {}),
            **({"expires_at": expires_at.isoformat()} if expires_at else {}),
        }
        headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": key}
        answer = await self._until_answered(session, body, headers)
        self.positions.append(answer["position"])
        now = time.time()
        new = [
            Acknowledged(each["id"], key, tenant, each["recipient"]["email"], now) for each in answer["notifications"]
        ]
        self.note(new)

    def note(self, accepted: list[Acknowledged]) -> None:
        """Write it down before anything else happens."""
        os.write(self._log, b"".join(msgspec.json.encode(each) + b"\n" for each in accepted))
        self.acknowledged += accepted

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
        if response.status == 202:
            return answer
        assert response.status >= 500, f"{response.status}: {answer}"  # to ask again would change nothing
        if response.status == 503:
            self.unavailable += 1
        else:
            self.surprises[f"{response.status} {answer.get('code')}"] += 1
        if "Retry-After" not in response.headers:
            self.surprises[f"{response.status} without Retry-After"] += 1
        return None


def acknowledged_in(log: Path) -> list[Acknowledged]:
    """What the log of a sender says, as the checker reads it."""
    return [msgspec.json.decode(line, type=Acknowledged) for line in log.read_bytes().splitlines()]
