"""What keeps the parts of this process from their work."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from application.ports.time_and_chance import Clock

_HOLDS = timedelta(minutes=1)


class MemoryTroubles:
    """Implements the port Troubles."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, tuple[str, datetime]] = {}

    async def tell(self, part: str, problem: str) -> None:
        self._told[part] = problem, self._clock.now() + _HOLDS

    async def over(self, part: str) -> None:
        self._told.pop(part, None)

    async def known(self) -> Mapping[str, str]:
        now = self._clock.now()
        return {part: problem for part, (problem, until) in sorted(self._told.items()) if until > now}
