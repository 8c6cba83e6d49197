"""When an endpoint that does not answer as it should is warned of, and when it is given up."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

GIVEN_UP_AFTER = timedelta(hours=120)
FEWEST_FAILURES = 10
_AT_ONCE, _HALF, _LATE = 1, 50, 90


class Health(msgspec.Struct, frozen=True):
    """The attempts since the last success: how many, since when, and whether one was answered with 410 Gone.

    `hopeless`: the last one failed for something that does not pass by itself, such as a certificate.
    """

    failures: int = 0
    failing_since: datetime | None = None
    gone: bool = False
    hopeless: bool = False


class Verdict(StrEnum):
    GONE = "gone"
    FAILING = "failing"
    WARN_AT_ONCE = "warn_at_once"
    WARN_HALF = "warn_half"
    WARN_LATE = "warn_late"
    RECOVERED = "recovered"

    @property
    def share(self) -> int:
        """How much of the time until it is given up has passed, in percent, for a warning."""
        return {Verdict.WARN_AT_ONCE: _AT_ONCE, Verdict.WARN_HALF: _HALF}.get(self, _LATE)


def judged(health: Health, warned: int, now: datetime) -> Verdict | None:
    """What is due now, where the owner was last warned at `warned` percent (0: not since the last success).

    Time alone gives nobody up: an endpoint that was sent little must also have failed often.
    """
    if health.gone:
        return Verdict.GONE
    if health.failing_since is None:
        return Verdict.RECOVERED if warned else None
    if health.failures < FEWEST_FAILURES:
        return Verdict.WARN_AT_ONCE if health.hopeless and not warned else None
    share = (now - health.failing_since) / GIVEN_UP_AFTER * 100
    if share >= 100:
        return Verdict.FAILING
    if share >= _LATE and warned < _LATE:
        return Verdict.WARN_LATE
    if share >= _HALF and warned < _HALF:
        return Verdict.WARN_HALF
    return Verdict.WARN_AT_ONCE if health.hopeless and not warned else None
