"""The head and the body of an answer leave together."""

import asyncio
from typing import Any

from entrypoints.http.one_write import Gathering


class Transport:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.did: list[Any] = []

    def write(self, data: bytes) -> None:
        self.did.append(data)

    def close(self) -> None:
        self.did.append("closed")

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


async def test_what_is_written_in_one_turn_leaves_in_one_piece():
    transport = Transport()
    gathering: Any = Gathering(transport, asyncio.get_running_loop())  # type: ignore[arg-type]
    gathering.write(b"head ")
    gathering.write(b"body")
    assert transport.did == []
    await asyncio.sleep(0)
    assert transport.did == [b"head body"]
    gathering.write(b"the next answer")
    await asyncio.sleep(0)
    assert transport.did == [b"head body", b"the next answer"]


async def test_nothing_is_left_behind_when_it_closes():
    transport = Transport()
    gathering: Any = Gathering(transport, asyncio.get_running_loop())  # type: ignore[arg-type]
    gathering.write(b"last words")
    gathering.close()
    await asyncio.sleep(0)
    assert transport.did == [b"last words", "closed"]


def test_everything_else_is_asked_of_the_transport_itself():
    gathering: Any = Gathering(Transport(), None)  # type: ignore[arg-type]
    assert gathering.get_extra_info("peername") == "the peername"
