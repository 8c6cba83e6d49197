"""Where the templates of tenants are rendered, and their schemas are checked by: a few processes that can be lost."""

import asyncio
import hashlib
import signal
from collections import deque
from collections.abc import Collection

import msgspec
import structlog

from adapters.stopping import stopped
from adapters.templates.cell import (
    Answer,
    Check,
    Faults,
    Fit,
    Job,
    Limits,
    Misfits,
    Question,
    Refused,
    Render,
    Rendered,
)
from adapters.templates.cell_process import Cell, CellLostError
from adapters.templates.conduct import MOST_SLOW_SECONDS, MOST_STOPS, Conduct, Standing
from adapters.templates.untrusted import Fault
from application.ports.templates import RendererUnavailableError, TenantSlowError
from application.problems import Problem
from domain.template import Content, RenderError

_PROCESSES = 4
_MOST_WAITING = 200
_TURN_SECONDS = 10.0
_OVERTIME = (signal.SIGPROF, signal.SIGXCPU)
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)

_log = structlog.get_logger("sandbox")


class CostlyError(RenderError):
    """It took more than one job may, and was stopped."""


class Purse:
    """Computing time that several jobs share: `left` is what they have not spent, in seconds."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds


class _Turn(msgspec.Struct, frozen=True, eq=False):
    """Somebody's wish for a process, for this version, or to check what has none yet."""

    version: str | None
    cell: asyncio.Future[Cell]


class Sandbox:
    """Renders for tenants that do not trust each other, and are not trusted.

    A tenant has one process at a time and waits in a queue of its own; tenants take turns. One process is only for what
    is known to be quick, and all tenants that were slow within the last minute have a quarter of them together. Up to
    `processes` are started as they are needed, one more than there are tenants waiting, so that a lost one makes nobody
    wait. A job that takes more than its limits loses its process, and the version that does it twice is refused for a
    minute.
    """

    def __init__(
        self, *, processes: int = _PROCESSES, limits: Limits | None = None, conduct: Conduct | None = None
    ) -> None:
        self._most = processes
        self._limits = limits or Limits()
        self._idle: list[Cell] = []
        self._cells: set[Cell] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, deque[_Turn]] = {}
        self._served: dict[str, Standing] = {}
        self._conduct = conduct or Conduct()
        self._closed = False

    async def render(self, tenant: str, job: Job, purse: Purse | None = None) -> Content:
        """Raises RenderError (CostlyError where it was stopped), TenantSlowError while the tenant has to wait,

        and RendererUnavailableError when it is nobody's fault.
        """
        if wait := self._conduct.version_waits(job.version, _now()):
            stopped = f"template {job.version[:12]}: was stopped {MOST_STOPS} times within a minute, and waits"
            raise TenantSlowError(stopped, wait)
        try:
            answer = await self._work(tenant, job.version, Render(job), purse)
        except CostlyError as error:
            self._conduct.stopped(job.version, _now())
            raise CostlyError(f"template {job.version[:12]}: {error}") from None
        match answer:
            case Rendered(content):
                return content
            case Refused(reason, costly=True):
                self._conduct.stopped(job.version, _now())
                raise CostlyError(reason)
            case Refused(reason):
                raise RenderError(reason)
        raise RendererUnavailableError(f"the sandbox answered {type(answer).__name__}")

    async def faults(
        self, tenant: str, document: bytes, secrets: Collection[str] = (), purse: Purse | None = None
    ) -> list[Fault]:
        """What is wrong with a bundle, found without running it. Raises as `render`."""
        answer = await self._work(tenant, None, Check(document, sorted(secrets)), purse)
        if not isinstance(answer, Faults):
            raise RendererUnavailableError(f"the sandbox answered {type(answer).__name__}")
        return answer.faults

    async def misfits(self, tenant: str, schema: bytes, data: bytes) -> list[Problem]:
        """Where `data` does not fit `schema`, both as JSON. Raises as `render`."""
        answer = await self._work(tenant, hashlib.sha256(schema).hexdigest(), Fit(schema, data), None)
        match answer:
            case Misfits(problems):
                return problems
            case Refused(reason, costly=True):
                raise CostlyError(reason)
            case Refused(reason):
                raise RenderError(reason)
        raise RendererUnavailableError(f"the sandbox answered {type(answer).__name__}")

    async def close(self) -> None:
        """Whoever still waits is told that the sandbox cannot be had."""
        self._closed = True
        await stopped(*self._starting)
        self._disappoint(RendererUnavailableError("the sandbox is closed"))
        await asyncio.gather(*(cell.end() for cell in self._cells))

    async def _work(self, tenant: str, version: str | None, question: Question, purse: Purse | None) -> Answer:
        self._check_time(tenant)
        cell = await self._place(tenant, version)
        spent = None
        try:
            self._check_time(tenant)  # which may have been spent by those before it
            reply = await cell.ask(question)
            spent = reply.seconds
            return reply.answer
        except TimeoutError:
            raise RendererUnavailableError("the sandbox had no time") from None
        except CellLostError as error:
            self._excuse(error)
            spent = self._limits.cpu_seconds
            raise CostlyError(self._reason(error)) from None
        finally:
            if spent is not None:
                self._conduct.spent(tenant, version, spent, _now())
                if purse:
                    purse.left -= spent
            self._give_back(tenant, cell)

    def _check_time(self, tenant: str) -> None:
        if wait := self._conduct.tenant_waits(tenant, _now()):
            raise TenantSlowError(f"slow renders took {MOST_SLOW_SECONDS:g} s within a minute, and others wait", wait)

    def _excuse(self, error: CellLostError) -> None:
        """Raises RendererUnavailableError when the process was ended by somebody else, or by us as we stop."""
        if self._closed or error.signal in _FROM_OUTSIDE:
            raise RendererUnavailableError("a process of the sandbox was ended") from None

    def _reason(self, error: CellLostError) -> str:
        if error.signal in _OVERTIME:
            return f"takes more than {self._limits.cpu_seconds:g} s of computing time"
        return "broke the process that worked on it"

    # Who is next

    async def _place(self, tenant: str, version: str | None) -> Cell:
        queue = self._waiting.setdefault(tenant, deque())
        if self._closed or len(queue) >= _MOST_WAITING:
            raise RendererUnavailableError("too many wait for the sandbox")
        turn = _Turn(version, asyncio.get_running_loop().create_future())
        queue.append(turn)
        self._deal()
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                return await turn.cell
        except BaseException as error:
            if turn.cell.done() and not turn.cell.cancelled() and not turn.cell.exception():
                self._give_back(tenant, turn.cell.result())
            if isinstance(error, TimeoutError):
                raise RendererUnavailableError("too much is rendered for others") from None
            raise

    def _give_back(self, tenant: str, cell: Cell) -> None:
        self._served.pop(tenant, None)
        if cell.alive:
            self._idle.append(cell)
        else:
            self._cells.discard(cell)
        self._deal()

    def _deal(self) -> None:
        """Give what is idle to the tenants that have nothing, in turn; see that there is one process to spare."""
        self._forget_who_gave_up()
        for tenant in [tenant for tenant in self._waiting if tenant not in self._served]:
            if not self._idle:
                break
            standing = self._conduct.standing(tenant, self._waiting[tenant][0].version, _now())
            if self._has_room(standing):
                self._serve(tenant, standing)
        self._start_some()

    def _forget_who_gave_up(self) -> None:
        for tenant, queue in list(self._waiting.items()):
            while queue and queue[0].cell.done():
                queue.popleft()
            if not queue:
                del self._waiting[tenant]

    def _has_room(self, standing: Standing) -> bool:
        """Whether one more of this standing leaves enough to those of a better one."""
        most = {Standing.NEW: min(self._most, len(self._cells)) - 1, Standing.SLOW: self._most // 4}
        for each, share in most.items():
            if each <= standing and sum(other >= each for other in self._served.values()) >= max(1, share):
                return False
        return True

    def _serve(self, tenant: str, standing: Standing) -> None:
        queue = self._waiting.pop(tenant)
        self._served[tenant] = standing
        queue.popleft().cell.set_result(self._idle.pop())
        if queue:
            self._waiting[tenant] = queue  # behind all others

    def _start_some(self) -> None:
        wanted = len(self._served.keys() | self._waiting.keys()) + 1
        for _ in range(min(self._most, wanted) - len(self._cells) - len(self._starting)):
            if not self._closed and wanted > 1:
                task = asyncio.create_task(self._start())
                self._starting.add(task)
                task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        try:
            cell = await Cell.start(self._limits)
        except RendererUnavailableError as error:
            _log.error("sandbox does not start", error=str(error))
            self._starting.discard(asyncio.current_task())
            if not self._cells and not self._starting:  # there is nothing to hope for
                self._disappoint(error)
            return
        self._cells.add(cell)
        self._idle.append(cell)
        self._starting.discard(asyncio.current_task())
        self._deal()

    def _disappoint(self, error: RendererUnavailableError) -> None:
        for queue in self._waiting.values():
            for turn in queue:
                if not turn.cell.done():
                    turn.cell.set_exception(error)
        self._waiting.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()
