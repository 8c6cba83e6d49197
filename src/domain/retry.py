"""When a failed message is tried again."""

from datetime import datetime, timedelta

import msgspec


class RetryPolicy(msgspec.Struct, frozen=True):
    """Exponential back-off: attempt n is followed after `first * factor ** (n - 1)`, give or take `jitter`."""

    attempts: int = 3
    first: timedelta = timedelta(seconds=60)
    factor: float = 2.0
    jitter: float = 0.2
    longest: timedelta = timedelta(hours=24)

    def next_attempt(self, attempt: int, now: datetime, wait: timedelta | None, luck: float) -> datetime | None:
        """The time of the attempt after number `attempt` (from 1), or None when that was the last.

        `luck` in [0, 1) spreads the delay evenly over +-jitter. A `wait` that the provider asked for is a lower bound.
        """
        if attempt >= self.attempts:
            return None
        spread = 1 + self.jitter * (2 * luck - 1)
        delay = min(self.first * self.factor ** (attempt - 1), self.longest) * spread
        return now + max(delay, min(wait or timedelta(0), self.longest))
