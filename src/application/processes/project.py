"""Following the log: every projection as far as the log goes, each by itself when one of them is in trouble."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from application.ports.log import EventLog, Recorded, StoreUnavailableError, Wakeup
from application.ports.views import View
from application.projections.projection import Projection, begun, folded, topic_of, touched

BATCH = 2_000
KNOWN = 4_000
"""Rows of each view that are remembered: some 2 kB each."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_POLL = 1.0
_SHORTEST_REST, _REST_AN_EVENT, _LONGEST_REST = 0.03, 0.005, 0.25
"""Seconds between two turns: the more goes on, the longer. A batch of two costs almost as much as one of two hundred,
and a notification whose events come in one batch is written once."""


class ProjectionLog(Protocol):
    """Where each projected batch leaves its one line."""

    def projected(self, projection: str, events: int, rows: int, position: int, milliseconds: float) -> None: ...

    def stuck(self, projection: str, position: int, error: Exception) -> None: ...


class _Rest:
    """The pauses after failures, each twice as long as the one before, until there is progress."""

    def __init__(self) -> None:
        self._until = 0.0
        self._pause = _FIRST_PAUSE

    @property
    def over(self) -> bool:
        return self._until <= asyncio.get_running_loop().time()

    def failed(self) -> None:
        self._until = asyncio.get_running_loop().time() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def succeeded(self) -> None:
        self._pause = _FIRST_PAUSE


class Followed:
    """One projection with its view, and how it is getting on."""

    def __init__(self, projection: Projection[Any], view: View[Any, Any]) -> None:
        self.projection = projection
        self.view = view
        self.position: int | None = None
        self.known = Known()
        self.rest = _Rest()


class Projector:
    """Reads the log once for all projections that stand at one place, and writes each one's rows with its position.

    A projection that fails is tried again with growing pauses and does not hold up the others.
    """

    def __init__(self, log: EventLog, followed: Sequence[Followed], lines: ProjectionLog, batch: int = BATCH) -> None:
        self._log = log
        self._followed = followed
        self._lines = lines
        self._batch = batch

    async def run(
        self, wakeup: Wakeup, after_each: Callable[[int], Any] | None = None, behind: Collection[str] = ()
    ) -> None:
        """Until cancelled. `after_each` is called with the position that the projections named in `behind` reached."""
        then = _Guarded("settlement", self._lines, after_each) if after_each else None
        while True:
            moved = await self.turn()
            if then:
                await then.run(self.reached(behind))
            rest = min(max(_SHORTEST_REST, _REST_AN_EVENT * moved), _LONGEST_REST) if moved < self._batch else 0
            await (asyncio.sleep(rest) if moved else wakeup.wait(_POLL))

    def reached(self, names: Collection[str]) -> int:
        """By all projections of these names, whatever keeps the others."""
        return min((each.position or 0 for each in self._followed if each.projection.name in names), default=0)

    async def turn(self) -> int:
        """One batch for those who are furthest behind; answers how many events that was."""
        ready = [each for each in self._followed if each.rest.over]
        for each in ready:
            if each.position is None:
                await self._guarded(each, self._find_place(each))
        placed = [each for each in ready if each.position is not None]
        if not placed:
            await asyncio.sleep(0.1)
            return 0
        behind = min(each.position or 0 for each in placed)
        batch, complete = await self._read(behind)
        if not complete:
            for each in placed:
                if each.projection.personal:
                    each.rest.failed()
            placed = [each for each in placed if not each.projection.personal]
        if not batch:
            return 0
        for each in placed:
            if (each.position or 0) == behind:
                await self._guarded(each, self._advance(each, batch))
        return len(batch)

    async def _read(self, after: int) -> tuple[list[Recorded], bool]:
        """The next batch, and whether it is complete: what is personal stays out of it while that cannot be read.

        There is none while the store is away, or for an event that this version does not know: nobody may pass over it.
        """
        try:
            return await self._log.read(after, self._batch), True
        except StoreUnavailableError:
            return [], True
        except Exception as error:  # noqa: BLE001 - a lost key, a box that was tampered with
            self._lines.stuck("log", after, error)
        try:
            return await self._log.read(after, self._batch, personal=False), False
        except Exception:  # noqa: BLE001 - said above
            return [], False

    async def _find_place(self, each: Followed) -> None:
        each.known = Known()
        each.position = await each.view.position()

    async def _advance(self, each: Followed, batch: Sequence[Recorded]) -> None:
        started = asyncio.get_running_loop().time()
        rows = await project(each.projection, each.view, batch, each.known, after=each.position or 0)
        each.position = batch[-1].position
        each.rest.succeeded()
        milliseconds = (asyncio.get_running_loop().time() - started) * 1000
        self._lines.projected(each.projection.name, len(batch), rows, batch[-1].position, milliseconds)

    async def _guarded(self, each: Followed, step: Any) -> None:
        try:
            await step
        except Exception as error:  # noqa: BLE001 - one projection in trouble must not hold up the others
            self._lines.stuck(each.projection.name, each.position or 0, error)
            each.position = None
            each.rest.failed()


class _Guarded:
    """What follows each batch: tried again with growing pauses when it fails, without holding up the projections."""

    def __init__(self, name: str, lines: ProjectionLog, step: Callable[[int], Any]) -> None:
        self._name = name
        self._lines = lines
        self._step = step
        self._rest = _Rest()

    async def run(self, position: int) -> None:
        if not self._rest.over:
            return
        try:
            await self._step(position)
            self._rest.succeeded()
        except Exception as error:  # noqa: BLE001 - it must not hold up the projections
            self._lines.stuck(self._name, position, error)
            self._rest.failed()


class Known:
    """The rows written last, so that they need not be read again when their next events come.

    They are those of the view for as long as nobody else writes into it. Who may have been overtaken begins anew.
    """

    def __init__(self, most: int = KNOWN) -> None:
        self._most = most
        self._rows: dict[Any, Any] = {}

    def take(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """Those of `keys` that are at hand. They are no longer known, until what became of them is written."""
        return {key: self._rows.pop(key) for key in keys if key in self._rows}

    def put(self, rows: Mapping[Any, Any]) -> None:
        self._rows |= rows
        for key in list(islice(self._rows, max(0, len(self._rows) - self._most))):
            del self._rows[key]


async def project(
    projection: Projection[Any], view: View[Any, Any], batch: Sequence[Recorded], known: Known, *, after: int
) -> int:
    """Fold one batch into a view and answer how many rows it changed."""
    topics = projection.topics
    mine = touched(projection, [r for r in batch if topic_of(r) in topics] if topics else batch)
    new = begun(projection, mine)
    old = mine.keys() - new
    rows = known.take(old)
    rows |= await view.rows(old - rows.keys())
    changed = folded(projection, rows, mine)
    await view.write(changed, batch[-1].position, after=after, new=new)
    known.put(changed)
    return len(changed)
