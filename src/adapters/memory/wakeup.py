"""Bells that every save rings."""

from adapters.bell import Bell


class MemoryWakeups:
    """One bell for each follower, which implements the port Wakeup."""

    def __init__(self) -> None:
        self._bells: list[Bell] = []

    def bell(self) -> Bell:
        bell = Bell()
        self._bells.append(bell)
        return bell

    def ring(self) -> None:
        for bell in self._bells:
            bell.ring()
