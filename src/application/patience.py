"""Ends what takes too long, for less than a timer of its own would cost each message."""

import asyncio
from types import TracebackType
from weakref import WeakKeyDictionary

LOOK_EVERY = 0.05


class Patience:
    """`with Patience(seconds):` around awaits raises TimeoutError once they have taken that long, at most 50 ms later.

    As `asyncio.timeout` does it: the task is cancelled, and its cancellation becomes the error on the way out. Whoever
    else cancels the task meanwhile is not overheard. One look of the loop's goes over all that are under way.
    """

    __slots__ = ("_asked_before", "_ends", "_expired", "_look", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "there is nothing to end outside of a task"
        loop = task.get_loop()
        self._task = task
        self._asked_before = task.cancelling()
        self._ends = loop.time() + self._seconds
        self._look = _Look.of(loop)
        self._look.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._look.under_way.discard(self)
        if not self._expired:
            return
        only_ours = self._task.uncancel() <= self._asked_before
        if only_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def end_if_late(self, now: float) -> None:
        if now >= self._ends and not self._expired:
            self._expired = True
            self._task.cancel()


class _Look:
    """Everything that is under way in one loop."""

    _of: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Look]" = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_later = loop.call_later
        self._time = loop.time
        self._waiting = False
        self.under_way: set[Patience] = set()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "_Look":
        look = cls._of.get(loop)
        if look is None:
            look = cls._of[loop] = cls(loop)
        return look

    def begin(self, patience: Patience) -> None:
        self.under_way.add(patience)
        if not self._waiting:
            self._wait()

    def _wait(self) -> None:
        self._waiting = True
        self._call_later(LOOK_EVERY, self._go_over)

    def _go_over(self) -> None:
        self._waiting = False
        now = self._time()
        for each in list(self.under_way):
            each.end_if_late(now)
        if self.under_way:
            self._wait()
