"""Where the templates of tenants are rendered: a few processes that can be lost."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Collection
from contextlib import suppress

import msgspec
import structlog

from adapters.stopping import stopped
from adapters.templates.cell import (
    LENGTH,
    MOST_KEPT,
    Answer,
    Check,
    Faults,
    Forgotten,
    Job,
    Limits,
    Question,
    Refused,
    Render,
    Rendered,
    Reply,
    framed,
)
from adapters.templates.untrusted import MOST_OUTPUT, Fault
from application.ports import RendererUnavailableError
from domain.template import Content, RenderError

_PROCESSES = 4
_NICE = 5
_START_SECONDS = 30.0
_WALL_SECONDS = 5.0
_MOST_WAITING = 200
_MOST_ANSWER = 2 * MOST_OUTPUT
_STRIKES, _STRIKES_SECONDS = 2, 60.0
_MOST_REMEMBERED = 10_000
_OVERTIME = (signal.SIGPROF, signal.SIGXCPU)
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode
_log = structlog.get_logger("sandbox")


class CellLostError(Exception):
    """The process ended in the middle of a job; `signal` is what ended it, if a signal did."""

    def __init__(self, returncode: int | None) -> None:
        super().__init__(f"ended with {returncode}")
        self.signal = -returncode if returncode is not None and returncode < 0 else None


class Cell:
    """One process of the sandbox. Once it is not `alive` it answers no more."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._given: set[str] = set()
        self.alive = True

    @classmethod
    async def start(cls, limits: Limits) -> "Cell":
        """Raises RendererUnavailableError. The process gets nothing of this one's environment or files."""
        program = ("-I", "-m", "adapters.templates.cell", msgspec.json.encode(limits).decode())
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,  # so that a Ctrl-C is for us alone
            )
        except OSError as error:
            raise RendererUnavailableError(f"no process for the sandbox: {error}") from error
        cell = cls(process)
        with suppress(OSError):  # ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        try:
            await cell._hear(_START_SECONDS)
        except (CellLostError, TimeoutError) as error:
            raise RendererUnavailableError(f"a process of the sandbox does not start: {error}") from error
        return cell

    async def ask(self, question: Question) -> Answer:
        """Raises CellLostError, and TimeoutError when it does not answer in time; the process is gone then."""
        if isinstance(question, Render) and question.job.version in self._given:
            answer = await self._ask(Render(msgspec.structs.replace(question.job, document=None)))
            if not isinstance(answer, Forgotten):
                return answer
        if isinstance(question, Render):
            if len(self._given) > 4 * MOST_KEPT:  # most of them it has forgotten
                self._given.clear()
            self._given.add(question.job.version)
        return await self._ask(question)

    async def _ask(self, question: Question) -> Answer:
        assert self._process.stdin
        try:
            asked = framed(_encode(question))
        except (OverflowError, ValueError) as error:
            raise RenderError(f"the variables cannot be handed over: {type(error).__name__}") from None
        with suppress(ConnectionError):  # it ended meanwhile; what it says, or does not say, tells why
            self._process.stdin.write(asked)
        reply = await self._hear(_WALL_SECONDS)
        if reply.worn:
            await self.end()
        return reply.answer

    async def _hear(self, within: float) -> Reply:
        assert self._process.stdout
        try:
            async with asyncio.timeout(within):
                length = int.from_bytes(await self._process.stdout.readexactly(LENGTH), "big")
                if length > _MOST_ANSWER:
                    raise CellLostError(None)
                return _decode(await self._process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.end()
            raise CellLostError(self._process.returncode) from None
        except msgspec.DecodeError:
            await self.end()
            raise CellLostError(None) from None
        except BaseException:  # also when nobody waits any more: whoever asks next would get this answer
            await self.end()
            raise

    async def end(self) -> None:
        self.alive = False
        if self._process.returncode is None:
            # Not the process's own kill(), which may take its exit status away from who waits for it.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        if self._process.stdin:
            self._process.stdin.close()
        await self._process.wait()


class Sandbox:
    """Renders for tenants that do not trust each other, and are not trusted.

    A tenant has one process at a time and waits in a queue of its own; tenants take turns. Up to `processes` are
    started as they are needed, one more than there are tenants waiting, so that a lost one makes nobody wait. A job
    that takes more than its limits loses its process, and the version that does it twice is refused for a minute.
    """

    def __init__(self, *, processes: int = _PROCESSES, limits: Limits | None = None) -> None:
        self._most = processes
        self._limits = limits or Limits()
        self._idle: list[Cell] = []
        self._cells: set[Cell] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, deque[asyncio.Future[Cell]]] = {}
        self._served: set[str] = set()
        self._strikes: dict[str, list[float]] = {}
        self._closed = False

    async def render(self, tenant: str, job: Job) -> Content:
        """Raises RenderError, and RendererUnavailableError when it is not the template's fault."""
        if self._condemned(job.version):
            raise RendererUnavailableError(
                f"template {job.version[:12]}: was stopped {_STRIKES} times within a minute, and waits"
            )
        try:
            answer = await self._work(tenant, Render(job))
        except CellLostError as error:
            self._excuse(error)
            self._strike(job.version)
            raise RenderError(f"template {job.version[:12]}: {self._reason(error)}") from None
        match answer:
            case Rendered(content):
                return content
            case Refused(reason, costly):
                if costly:
                    self._strike(job.version)
                raise RenderError(reason)
        raise RendererUnavailableError(f"the sandbox answered {type(answer).__name__}")

    async def faults(self, tenant: str, document: bytes, secrets: Collection[str] = ()) -> list[Fault]:
        """What is wrong with a bundle, found without running it. Raises RendererUnavailableError."""
        try:
            answer = await self._work(tenant, Check(document, sorted(secrets)))
        except CellLostError as error:
            self._excuse(error)
            return [Fault(None, self._reason(error))]
        if not isinstance(answer, Faults):
            raise RendererUnavailableError(f"the sandbox answered {type(answer).__name__}")
        return answer.faults

    async def close(self) -> None:
        """Whoever still waits is told that the sandbox cannot be had."""
        self._closed = True
        await stopped(*self._starting)
        self._disappoint(RendererUnavailableError("the sandbox is closed"))
        await asyncio.gather(*(cell.end() for cell in self._cells))

    def _excuse(self, error: CellLostError) -> None:
        """Raises RendererUnavailableError when the process was ended by somebody else, or by us as we stop."""
        if self._closed or error.signal in _FROM_OUTSIDE:
            raise RendererUnavailableError("a process of the sandbox was ended") from None

    def _reason(self, error: CellLostError) -> str:
        if error.signal in _OVERTIME:
            return f"takes more than {self._limits.cpu_seconds:g} s of computing time"
        return "broke the process that rendered it"

    # Who is next

    async def _work(self, tenant: str, question: Question) -> Answer:
        cell = await self._place(tenant)
        try:
            return await cell.ask(question)
        except TimeoutError:
            raise RendererUnavailableError("the sandbox had no time") from None
        finally:
            self._give_back(tenant, cell)

    async def _place(self, tenant: str) -> Cell:
        queue = self._waiting.setdefault(tenant, deque())
        if self._closed or len(queue) >= _MOST_WAITING:
            raise RendererUnavailableError("too many wait for the sandbox")
        place: asyncio.Future[Cell] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self._deal()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back(tenant, place.result())
            raise

    def _give_back(self, tenant: str, cell: Cell) -> None:
        self._served.discard(tenant)
        if cell.alive:
            self._idle.append(cell)
        else:
            self._cells.discard(cell)
        self._deal()

    def _deal(self) -> None:
        """Give what is idle to the tenants that have nothing, in turn; see that there is one process to spare."""
        for tenant, queue in list(self._waiting.items()):
            while queue and queue[0].done():  # given up
                queue.popleft()
            if not queue:
                del self._waiting[tenant]
            elif tenant not in self._served and self._idle:
                self._served.add(tenant)
                queue.popleft().set_result(self._idle.pop())
                del self._waiting[tenant]
                if queue:
                    self._waiting[tenant] = queue  # behind all others
        self._start_some()

    def _start_some(self) -> None:
        wanted = len(self._served | self._waiting.keys()) + 1
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
            for place in queue:
                if not place.done():
                    place.set_exception(error)
        self._waiting.clear()

    # Who has been in trouble

    def _strike(self, version: str) -> None:
        now = asyncio.get_running_loop().time()
        self._strikes[version] = [*_since(now - _STRIKES_SECONDS, self._strikes.pop(version, ())), now]
        while len(self._strikes) > _MOST_REMEMBERED:
            del self._strikes[next(iter(self._strikes))]

    def _condemned(self, version: str) -> bool:
        strikes = self._strikes.get(version)
        if not strikes:
            return False
        now = asyncio.get_running_loop().time()
        return len(_since(now - _STRIKES_SECONDS, strikes)) >= _STRIKES


def _since(moment: float, strikes: Collection[float]) -> list[float]:
    return [strike for strike in strikes if strike > moment]
