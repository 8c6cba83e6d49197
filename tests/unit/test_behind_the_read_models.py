"""Who follows the log behind the read models searches each stretch of it once. In memory."""

from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID

import pytest

from application.ports.log import Recorded
from application.processes.follow import Following
from application.processes.settle import Settlement
from application.processes.suppress import Suppressing


class Log:
    """A long one in which nothing is of interest. It remembers which stretches were searched, as (after, until)."""

    def __init__(self) -> None:
        self.searched: list[tuple[int, int | None]] = []

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        self.searched.append((after, until))
        return []


class Start:
    """The beginning of the log."""

    async def position(self) -> int:
        return 0

    async def move(self, position: int) -> None:
        pass


class NoLines:
    """Nothing is told."""

    def unreadable(self, notification: UUID, error: Exception) -> None:
        raise AssertionError from error


NOT_ASKED = cast(Any, None)


@pytest.mark.parametrize(
    "follower",
    [
        lambda log: Settlement(log, NOT_ASKED, NOT_ASKED, Start(), NOT_ASKED),
        lambda log: Suppressing(log, NOT_ASKED, NOT_ASKED, NOT_ASKED, Start(), NOT_ASKED),
        lambda log: Following(log, NOT_ASKED, Start(), NOT_ASKED, NOT_ASKED, NoLines()),
    ],
    ids=["settlement", "suppressing", "following"],
)
async def test_the_log_is_searched_as_far_as_the_read_models_have_come_and_no_further(
    follower: Callable[[Log], Settlement | Suppressing | Following],
) -> None:
    log = Log()
    it = follower(log)
    for position in (40, 70):
        await it.catch_up(position)
    assert log.searched == [(0, 40), (40, 70)]
