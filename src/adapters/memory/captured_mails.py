"""The captured mails of one process."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count, islice

from adapters.email.capture import CapturedMail, captured
from application.ports.email import Email


class MemoryCapturedMails:
    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._ids = count(1)
        self.kept: dict[int, CapturedMail] = {}
        self._keys: dict[str, int] = {}

    async def add(self, key: str | None, email: Email) -> int:
        if key is not None and key in self._keys:
            return self._keys[key]
        id = next(self._ids)
        self.kept[id] = captured(id, self._now(), email)
        if key is not None:
            self._keys[key] = id
        return id

    async def latest(self, limit: int, before: int | None = None) -> list[CapturedMail]:
        newest_first = (mail for id, mail in reversed(self.kept.items()) if before is None or id < before)
        return list(islice(newest_first, limit))

    async def get(self, id: int) -> CapturedMail | None:
        return self.kept.get(id)

    async def clear(self) -> None:
        self.kept.clear()
        self._keys.clear()
