"""The program of one process of the sandbox: renders, and checks by, what tenants wrote, one job after the other.

It speaks over its standard input and output, in frames of four bytes of length and a message. It trusts nothing that
it renders, so it takes away from itself what it does not need, and whoever started it ends it when it is in doubt.
"""

import resource
import signal
import sys
import time
from collections import OrderedDict
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec

from adapters.json_schema import JsonSchema
from adapters.templates.bundle import Bundle, decode
from adapters.templates.compiled import CompiledBundle, reader_of
from adapters.templates.untrusted import Fault, check_output, faults, untrusted_environment
from application.problems import Problem
from domain.template import Content, RenderError

LENGTH = 4
MOST_KEPT = 64
_SCHEMAS_KEPT = 16


class Limits(msgspec.Struct, frozen=True):
    """What one job may cost: seconds of computing time, and bytes of memory beside what the process has at first."""

    cpu_seconds: float = 0.5
    memory: int = 128 * 1024 * 1024


class Job(msgspec.Struct, frozen=True):
    """One message to render. Without `document` the process may have kept it, or answer `Forgotten`."""

    version: str
    document: bytes | None
    variables: dict[str, Any]
    locale: str
    time_zone: str | None
    at: datetime


class Render(msgspec.Struct, frozen=True, tag=True):
    job: Job


class Check(msgspec.Struct, frozen=True, tag=True):
    document: bytes
    secrets: list[str] = []


class Fit(msgspec.Struct, frozen=True, tag=True):
    """Whether `data` fits `schema`, both as JSON: its numbers may be larger than those of a message."""

    schema: bytes
    data: bytes


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The first thing it says."""


class Rendered(msgspec.Struct, frozen=True, tag=True):
    content: Content


class Refused(msgspec.Struct, frozen=True, tag=True):
    """`costly` when it would have taken more than a job may."""

    reason: str
    costly: bool = False


class Faults(msgspec.Struct, frozen=True, tag=True):
    faults: list[Fault]


class Misfits(msgspec.Struct, frozen=True, tag=True):
    problems: list[Problem]


class Forgotten(msgspec.Struct, frozen=True, tag=True):
    """The document has to be given again."""


Question = Render | Check | Fit
Answer = Ready | Rendered | Refused | Faults | Misfits | Forgotten


class Reply(msgspec.Struct, frozen=True):
    """`worn` when the process is not fit for another job; `seconds` of computing time were spent on this one."""

    answer: Answer
    worn: bool = False
    seconds: float = 0.0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Question).decode


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH, "big") + message


def main() -> None:
    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    fresh = _memory_now()
    _take_away(fresh + limits.memory)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    compiled: OrderedDict[str, _Kept] = OrderedDict()
    _say(answers, Reply(Ready()))
    while message := _next(questions):
        _allow(limits.cpu_seconds)
        begin = time.process_time()
        answer = _answer(_decode(message), compiled)
        signal.setitimer(signal.ITIMER_PROF, 0)
        worn = isinstance(answer, Refused) and answer.costly
        worn = worn or _memory_now() - fresh > limits.memory // 2
        _say(answers, Reply(answer, worn, time.process_time() - begin))


def _allow(seconds: float) -> None:
    """Computing time for one job, after which the kernel ends the process, whatever it is in the middle of."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    backstop = int(time.process_time() + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (backstop, resource.RLIM_INFINITY))


class _Kept(msgspec.Struct, frozen=True):
    bundle: Bundle
    compiled: CompiledBundle


def _answer(question: Question, compiled: OrderedDict[str, _Kept]) -> Answer:
    if isinstance(question, Check):
        return Faults(faults(decode(question.document), frozenset(question.secrets)))
    if isinstance(question, Fit):
        return _fit(question)
    try:
        kept = _kept(question.job, compiled)
        return Forgotten() if kept is None else Rendered(_content(kept, question.job))
    except MemoryError:
        return _out_of_memory(question.job)
    except RenderError as error:
        # What was in the way stays in the error's context, also where it is not told.
        if isinstance(error.__context__, MemoryError):
            return _out_of_memory(question.job)
        return Refused(str(error))
    except (RecursionError, ValueError, OverflowError, SyntaxError) as error:  # of compiling, or of looking at the HTML
        return Refused(f"template {question.job.version[:12]}: {type(error).__name__}")


def _fit(question: Fit) -> Answer:
    try:
        return Misfits(list(_read(question.schema).problems(msgspec.json.decode(question.data))))
    except ValueError as error:
        return Refused(str(error))
    except MemoryError:
        return Refused("takes more memory than a check may", costly=True)


@lru_cache(_SCHEMAS_KEPT)
def _read(schema: bytes) -> JsonSchema:
    return JsonSchema(msgspec.json.decode(schema))


def _out_of_memory(job: Job) -> Refused:
    return Refused(f"template {job.version[:12]}: takes more memory than a template may", costly=True)


def _kept(job: Job, compiled: OrderedDict[str, _Kept]) -> _Kept | None:
    if job.version not in compiled:
        if job.document is None:
            return None
        bundle = decode(job.document)
        compiled[job.version] = _Kept(bundle, CompiledBundle(bundle, untrusted_environment(bundle.sources)))
        if len(compiled) > MOST_KEPT:
            compiled.popitem(last=False)
    compiled.move_to_end(job.version)
    return compiled[job.version]


def _content(kept: _Kept, job: Job) -> Content:
    content = kept.compiled.render(job.variables, reader_of(kept.bundle.name, job.locale, job.at, job.time_zone))
    check_output(kept.bundle, content)
    return content


def _take_away(memory: int) -> None:
    """What is not needed to render. Of these, macOS does not keep the limit on memory.

    To be asked to end is none of its business: it goes on for as long as it is given work.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_AS, memory),
    ):
        try:
            resource.setrlimit(limit, (most, most))
        except (ValueError, OSError):  # the system knows no such limit, or has set a lower one
            continue


def _memory_now() -> int:
    """Bytes of address space, which /proc knows where the limit on them is kept."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - nothing else here needs pathlib
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _next(questions: BinaryIO) -> bytes:
    """The next message; nothing once whoever asks is gone."""
    head = questions.read(LENGTH)
    return questions.read(int.from_bytes(head, "big")) if len(head) == LENGTH else b""


def _say(answers: BinaryIO, reply: Reply) -> None:
    answers.write(framed(_encode(reply)))
    answers.flush()


if __name__ == "__main__":
    main()
