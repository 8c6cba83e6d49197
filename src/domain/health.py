"""When an endpoint that does not answer as it should is warned of, and when it is given up."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

GIVEN_UP_AFTER = timedelta(hours=120)
FEWEST_FAILURES = 10
AT_ONCE_AGAIN = timedelta(hours=24)
WELL_AFTER = timedelta(hours=1)
_AT_ONCE, _HALF, _LATE = 1, 50, 90


class Health(msgspec.Struct, frozen=True):
    """The attempts since the last success: how many, since when, and whether one was answered with 410 Gone.

    `hopeless`: the last one failed for something that does not pass by itself, such as a certificate. `well_since`:
    the first success after which none has failed.
    """

    failures: int = 0
    failing_since: datetime | None = None
    gone: bool = False
    hopeless: bool = False
    well_since: datetime | None = None


class Notice(msgspec.Struct, frozen=True):
    """The owner's last warning: at how many percent (0: it was taken back), and when."""

    share: int = 0
    at: datetime | None = None


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


def judged(health: Health, last: Notice, now: datetime) -> Verdict | None:
    """What is due now.

    Time alone gives nobody up: an endpoint that was sent little must also have failed often. One that fails and
    succeeds by turns is warned of once a day and called well once it has been so for an hour: whoever runs it decides
    how often that changes, and must not have a mail sent, or an event kept, each time.
    """
    if health.gone:
        return Verdict.GONE
    if health.failing_since is None:
        well = health.well_since and now - health.well_since >= WELL_AFTER
        return Verdict.RECOVERED if last.share and well else None
    warned = last.share if last.at and last.at >= health.failing_since else 0
    at_once = health.hopeless and not warned and (last.at is None or now - last.at >= AT_ONCE_AGAIN)
    if health.failures < FEWEST_FAILURES:
        return Verdict.WARN_AT_ONCE if at_once else None
    share = (now - health.failing_since) / GIVEN_UP_AFTER * 100
    if share >= 100:
        return Verdict.FAILING
    if share >= _LATE and warned < _LATE:
        return Verdict.WARN_LATE
    if share >= _HALF and warned < _HALF:
        return Verdict.WARN_HALF
    return Verdict.WARN_AT_ONCE if at_once else None
