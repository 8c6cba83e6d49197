"""Who is a customer, asked seldom."""

import asyncio
from collections import OrderedDict
from datetime import datetime, timedelta

from application.ports.api_keys import ApiKeys
from application.ports.time_and_chance import Clock

_FRESH = {True: timedelta(seconds=30), False: timedelta(seconds=1)}
_MOST_KEPT = 10_000


class TenantsWithKeys:
    """Implements the port Tenants: who has just got a first key is known within a second."""

    def __init__(self, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: OrderedDict[str, tuple[datetime, bool]] = OrderedDict()

    async def known(self, tenant: str) -> bool:
        if (known := self._fresh(tenant)) is not None:
            return known
        async with self._turn:  # all records of a poll ask at the same moment
            if (known := self._fresh(tenant)) is None:
                known = await self._keys.tenant_has_one(tenant)
                self._known[tenant] = self._clock.now(), known
                if len(self._known) > _MOST_KEPT:
                    self._known.popitem(last=False)
        return known

    def _fresh(self, tenant: str) -> bool | None:
        looked, known = self._known.get(tenant, (None, False))
        return known if looked and abs(self._clock.now() - looked) < _FRESH[known] else None
