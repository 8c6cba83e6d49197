"""Who follows the log behind the read models searches each stretch of it once. In memory."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from application.ports.log import Recorded
from application.processes import follow, settle, suppress


class Log:
    """Five events of interest. It remembers which stretches were searched, as (after, until)."""

    def __init__(self) -> None:
        self.searched: list[tuple[int, int | None]] = []
        event = cast(Any, SimpleNamespace(originator_id=UUID(int=1)))
        self._events = [Recorded(position, event) for position in (1, 2, 3, 4, 40)]

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        self.searched.append((after, until))
        found = [each for each in self._events if after < each.position and (until is None or each.position <= until)]
        return found[:limit]


class Elsewhere:
    """Everything else that they ask knows of nothing."""

    async def position(self) -> int:
        return 0

    async def move(self, position: int) -> None:
        pass

    async def get(self, kind: type, id: UUID) -> None:
        return None

    async def get_many(self, kind: type, ids: Sequence[UUID], *, personal: bool = True) -> dict[UUID, Any]:
        return {}

    async def tell(self, part: str, text: str) -> None:
        pass

    async def over(self, part: str) -> None:
        pass

    def unreadable(self, notification: UUID, error: Exception) -> None:
        raise AssertionError from error


Follower = settle.Settlement | suppress.Suppressing | follow.Following
OTHERS = cast(Any, Elsewhere())


@pytest.fixture(params=["settlement", "suppressing", "following"])
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Log], Follower]:
    """One that takes two events at a time."""
    for module in (settle, suppress, follow):
        monkeypatch.setattr(module, "_BATCH", 2)
    return {
        "settlement": lambda log: settle.Settlement(log, OTHERS, OTHERS, OTHERS, OTHERS),
        "suppressing": lambda log: suppress.Suppressing(log, OTHERS, OTHERS, OTHERS, OTHERS, OTHERS),
        "following": lambda log: follow.Following(log, OTHERS, OTHERS, OTHERS, OTHERS, OTHERS),
    }[request.param]


async def test_the_log_is_searched_as_far_as_the_read_models_have_come_and_no_further(
    made: Callable[[Log], Follower],
) -> None:
    log = Log()
    follower = made(log)
    await follower.catch_up(30)
    assert log.searched == [(0, 30), (2, 30), (4, 30)]
    log.searched.clear()
    await follower.catch_up(70)
    assert log.searched == [(30, 70)]


async def test_what_is_more_than_fits_at_a_time_is_not_passed_over(made: Callable[[Log], Follower]) -> None:
    log = Log()
    follower = made(log)
    await follower.catch_up(3)
    assert log.searched == [(0, 3), (2, 3)]
