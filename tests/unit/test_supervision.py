"""What a role does when its work fails, again and again."""

import asyncio

import pytest

from entrypoints import roles


async def test_what_fails_begins_again_after_pauses_that_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            raise asyncio.CancelledError

    async def failing() -> None:
        raise ConnectionError

    monkeypatch.setattr(roles.asyncio, "sleep", slept)
    with pytest.raises(asyncio.CancelledError):
        await roles._supervised("dispatcher", failing)
    assert pauses == [0.5, 1, 2, 4, 5, 5]
