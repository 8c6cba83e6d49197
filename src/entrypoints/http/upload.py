"""Bodies that are too large to be held in memory."""

import asyncio
import codecs
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TextIO, cast

import msgspec

from entrypoints.http.request import BODY_SECONDS, JsonRequest, MalformedBodyError, SlowBodyError

MOST_UPLOADED = 64 * 1024 * 1024

_IN_MEMORY = 1024 * 1024


class Upload(msgspec.Struct):
    """A text that is here as a whole, to be closed by whoever has it; `lines` is how many it has at the most."""

    text: TextIO
    lines: int


async def uploaded(request: JsonRequest) -> Upload:
    """The body, in a file once it is large: nothing is begun before it has come to its end and is known to be text.

    It may take its time as long as something comes within 10 s.
    """
    file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed with what it is wrapped in
    try:
        lines = await _spooled(request, cast(IO[bytes], file))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    wrapped: Any = file
    return Upload(TextIOWrapper(wrapped, encoding="utf-8-sig", newline=""), lines)


async def _spooled(request: JsonRequest, file: IO[bytes]) -> int:
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, last = 0, b"\n"
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise SlowBodyError(f"nothing came for {BODY_SECONDS:.0f} s") from None
        _check(decoder, chunk)
        if chunk is None:
            return lines + (last != b"\n")
        file.write(chunk)
        lines += chunk.count(b"\n")
        last = chunk[-1:] or last


def _check(decoder: codecs.IncrementalDecoder, chunk: bytes | None) -> None:
    if b"\0" in (chunk or b""):
        raise MalformedBodyError("the body holds a NUL character")
    try:
        decoder.decode(chunk or b"", final=chunk is None)
    except UnicodeDecodeError:
        raise MalformedBodyError("the body is not CSV in UTF-8") from None
