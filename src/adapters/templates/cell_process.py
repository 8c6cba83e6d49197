"""One process of the sandbox, as whoever asks it sees it."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import msgspec

from adapters.templates.cell import LENGTH, MOST_KEPT, Forgotten, Limits, Question, Render, Reply, framed
from adapters.templates.untrusted import MOST_OUTPUT
from application.ports.templates import RendererUnavailableError
from domain.template import RenderError

_NICER = 5
_NICEST = 19
_START_SECONDS = 30.0
_WALL_SECONDS = 5.0
_MOST_ANSWER = 2 * MOST_OUTPUT

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode


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
            ours = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, process.pid, min(_NICEST, ours + _NICER))
        try:
            await cell._hear(_START_SECONDS)
        except (CellLostError, TimeoutError) as error:
            raise RendererUnavailableError(f"a process of the sandbox does not start: {error}") from error
        return cell

    async def ask(self, question: Question) -> Reply:
        """Raises CellLostError, and TimeoutError when it does not answer in time; the process is gone then."""
        if isinstance(question, Render) and question.job.version in self._given:
            reply = await self._ask(Render(msgspec.structs.replace(question.job, document=None)))
            if not isinstance(reply.answer, Forgotten):
                return reply
        if isinstance(question, Render):
            if len(self._given) > 4 * MOST_KEPT:  # most of them it has forgotten
                self._given.clear()
            self._given.add(question.job.version)
        return await self._ask(question)

    async def _ask(self, question: Question) -> Reply:
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
        return reply

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
