"""Structured logs: pretty on a terminal, JSON lines otherwise. Ids and figures, never personal data."""

import logging
import sys
from typing import Any
from uuid import UUID

import structlog

from domain.notification import Attempt, Notification
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Throttled


def configure(level: str) -> None:
    """Once at the start of a process."""
    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


class Lines:
    """The one line that each attempt and each projected batch leaves."""

    def __init__(self, role: str) -> None:
        self._log = structlog.get_logger(role)

    def attempt(self, notification: Notification, attempt: Attempt, outcome: Outcome, milliseconds: float) -> None:
        say = self._log.info if isinstance(outcome, Accepted) else self._log.warning
        say(
            "attempt",
            notification=str(notification.id),
            tenant=notification.tenant,
            type=notification.type,
            channel=notification.channel.value,
            provider=attempt.provider,
            attempt=attempt.number,
            outcome=type(outcome).__name__.lower(),
            reason=_reason(outcome),
            ms=round(milliseconds, 1),
        )

    def note(self, what: str, notification: UUID, **facts: Any) -> None:
        self._log.info(what, notification=str(notification), **facts)

    def projected(self, projection: str, events: int, rows: int, position: int, milliseconds: float) -> None:
        self._log.debug(
            "projected", projection=projection, events=events, rows=rows, position=position, ms=round(milliseconds, 1)
        )

    def stuck(self, projection: str, position: int, error: Exception) -> None:
        self._log.error("projection stuck", projection=projection, position=position, error=type(error).__name__)


def _reason(outcome: Outcome) -> str | None:
    match outcome:
        case Accepted():
            return None
        case Throttled() | Misconfigured():
            return f"wait {outcome.retry_after.total_seconds():.0f} s"
        case Refused():
            return outcome.reason.value
    return outcome.reason.value
