"""Where a process begins again."""

from application.processes.bookmark import Bookmark


class Place:
    def __init__(self) -> None:
        self.moves: list[int] = []

    async def position(self) -> int:
        return self.moves[-1] if self.moves else 0

    async def move(self, position: int) -> None:
        self.moves.append(position)


async def test_what_was_done_is_not_done_again() -> None:
    bookmark = Bookmark(place := Place())
    await bookmark.reached(7, worthwhile=True)
    assert await Bookmark(place).position() == 7


async def test_a_way_without_anything_to_do_is_written_down_now_and_then() -> None:
    bookmark = Bookmark(place := Place())
    for position in range(0, 25_001, 100):
        await bookmark.reached(position, worthwhile=False)
    assert place.moves == [10_000, 20_000]
