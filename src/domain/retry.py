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


_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


class RetrySchedule(msgspec.Struct, frozen=True):
    """Attempt n is followed after `steps[n - 1]`, give or take `jitter`; after the last one there is no other."""

    steps: tuple[timedelta, ...]
    jitter: float = 0.2

    def next_attempt(self, attempt: int, now: datetime, wait: timedelta | None, luck: float) -> datetime | None:
        """As `RetryPolicy.next_attempt`, but a `wait` counts for no more than two steps, or a minute if that is more.

        So nobody who is told to come again in a month loses the schedule that their receiver chose.
        """
        if attempt > len(self.steps):
            return None
        step = self.steps[attempt - 1]
        asked = min(wait or timedelta(0), max(2 * step, _MINUTE), _DAY)
        return now + max(step * (1 + self.jitter * (2 * luck - 1)), asked)


def exponential(attempts: int, first: timedelta) -> RetrySchedule:
    """So many attempts in all, each step twice as long as the one before, a day at the most."""
    return RetrySchedule(tuple(min(first * 2.0 ** min(n, 30), _DAY) for n in range(attempts - 1)))


STANDARD_WEBHOOKS = RetrySchedule(
    tuple(timedelta(seconds=each) for each in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
)
"""Ten attempts over three days, as the specification of Standard Webhooks 1.0.0 proposes."""

Retries = RetryPolicy | RetrySchedule
