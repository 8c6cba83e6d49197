"""Log lines to Grafana Loki, beside the stream they are written to anyway.

POST /loki/api/v1/push: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from time import time_ns

import msgspec

from adapters.http_client import Answer, Exchange, HttpClient, exchange, http_client
from adapters.stopping import stopped

_MOST_LINES = 10_000
_BATCH = 500
_EVERY, _LONGEST_PAUSE = 1.0, 30.0
_DEADLINE = timedelta(seconds=5)
_LAST_SECONDS = 2.0

_Line = tuple[int, str]
Tell = Callable[[str, int], None]
"""Told what is wrong, once for as long as it lasts, and when it is over; and how many lines were dropped so far."""


class LokiPush:
    """Whoever logs hands a line over and goes on. What Loki does not take in time is dropped, and counted.

    `labels` are those of the one stream that all lines of this process are.
    """

    def __init__(
        self,
        address: str,
        labels: Mapping[str, str],
        tell: Tell,
        *,
        client: HttpClient | None = None,
        most: int = _MOST_LINES,
    ) -> None:
        self.dropped = 0
        self._url = f"{address}/loki/api/v1/push"
        self._labels = dict(labels)
        self._tell = tell
        self._client = client or http_client(connections=1)
        self._most = most
        self._lines: deque[_Line] = deque()
        self._batch: list[_Line] = []
        self._in_trouble = False
        self._told = 0

    def put(self, line: str) -> None:
        """From any thread, also in the middle of another call: it takes no lock and waits for nothing."""
        if len(self._lines) < self._most:
            self._lines.append((time_ns(), line))
        else:
            self.dropped += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Push for as long as the block lasts; what is left then gets two seconds."""
        task = asyncio.create_task(self._keep_pushing(), name="loki")
        try:
            yield
        finally:
            await stopped(task)
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await self.push()
            except TimeoutError:
                pass
            await self._client.aclose()

    async def push(self) -> bool:
        """Push all that waits; False when it has to be tried again later."""
        while self._batch or self._lines:
            while self._lines and len(self._batch) < _BATCH:
                self._batch.append(self._lines.popleft())
            said = await self._ask()
            if _is_taken(said):
                self._well()
            elif _is_refused(said):
                self.dropped += len(self._batch)
                self._trouble(f"refuses lines: {_reason(said)}")
            else:
                self._trouble(f"does not take lines: {_reason(said)}")
                return False
            self._batch = []
        return True

    async def _keep_pushing(self) -> None:
        pause = _EVERY
        while True:
            await asyncio.sleep(pause)
            pause = _EVERY if await self.push() else min(2 * pause, _LONGEST_PAUSE)

    async def _ask(self) -> Exchange:
        values = [(str(nanoseconds), line) for nanoseconds, line in self._batch]
        body = msgspec.json.encode({"streams": [{"stream": self._labels, "values": values}]})
        headers = {"content-type": "application/json"}
        return await exchange(self._client, "POST", self._url, content=body, headers=headers, deadline=_DEADLINE)

    def _trouble(self, what: str) -> None:
        if not self._in_trouble:
            self._in_trouble, self._told = True, self.dropped
            self._tell(what, self.dropped)

    def _well(self) -> None:
        if self._in_trouble or self.dropped > self._told:
            self._in_trouble, self._told = False, self.dropped
            self._tell("takes lines", self.dropped)


def _is_taken(said: Exchange) -> bool:
    return isinstance(said, Answer) and 200 <= said.status < 300


def _is_refused(said: Exchange) -> bool:
    """For good: to ask again would change nothing."""
    return isinstance(said, Answer) and 400 <= said.status < 500 and said.status != 429


def _reason(said: Exchange) -> str:
    """Never the body, which may quote the lines."""
    return f"status {said.status}" if isinstance(said, Answer) else said.detail
