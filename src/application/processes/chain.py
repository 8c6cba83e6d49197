"""Chaining the log, and checking it against its chain."""

import asyncio
from collections.abc import Callable, Iterable
from typing import NoReturn

from application.ports.log import Chain, ConflictError, StoredLog
from domain.chain import Break, Head, Inspection, links_of, moved

BATCH = 1_000
"""Events hashed in one go, which takes some milliseconds that nothing else in the process gets."""

_READ = 10_000
_GATHERING = 0.25
"""Seconds between two batches that did not fill up: a link of two events costs what one of two hundred does."""


class RewoundError(Exception):
    """There are links beyond the position of the chain: somebody has moved it back. Nothing was chained twice."""


class Chainer:
    """Follows the log and writes a link for each tenant and batch. What is chained is never chained anew.

    Raises whatever stands in its way; begin again with a new one.
    """

    def __init__(self, log: StoredLog, chain: Chain) -> None:
        self._log = log
        self._chain = chain
        self._position: int | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if await self.turn() < BATCH:
                await asyncio.sleep(_GATHERING)

    async def turn(self) -> int:
        """Chain the next batch; answers how many events that were."""
        if self._position is None:
            self._position = await self._chain.position()
        entries = await self._log.entries(self._position, BATCH)
        if entries:
            heads = await self._chain.heads({entry.tenant for entry in entries})
            if any(head.last > self._position for head in heads):
                await self._explain(self._position)
            links = links_of(entries, {head.tenant: head for head in heads})
            await self._chain.extend(links, entries[-1].position, after=self._position)
            self._position = entries[-1].position
        return len(entries)

    async def _explain(self, position: int) -> NoReturn:
        if await self._chain.position() != position:
            raise ConflictError(f"the chain does not stand at {position}")
        raise RewoundError(f"there are links beyond {position}")


async def inspect(
    log: StoredLog, chain: Chain, progress: Callable[[int, int], None], kept: Iterable[Head] = ()
) -> list[Break]:
    """Hash the log again as far as it is chained and answer what is broken; none means that all is as it was.

    What is chained is what there are links for; a position that was moved away from their end is a break by itself. Log
    and chain may grow meanwhile. `kept` are heads of this chain that were written down elsewhere: nothing else shows
    that somebody changed events and made every link after them anew, or took the last ones away with their links.
    """
    inspection = Inspection(kept)
    ended, stands, ends = await _end(chain), await chain.position(), await _end(chain)
    position, until = 0, max(stands, ends)
    while position < until:
        entries = [entry for entry in await log.entries(position, _READ) if entry.position <= until]
        reached = entries[-1].position if len(entries) == _READ else until
        inspection.take(entries, await chain.links(position, reached))
        position = reached
        progress(position, until)
    return [*inspection.found(), *moved(stands, ended, ends)]


async def _end(chain: Chain) -> int:
    return max((head.last for head in await chain.heads()), default=0)
