"""Structured logs: pretty on a terminal, JSON lines otherwise. Ids and figures, never personal data."""

import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
import structlog
from structlog.typing import ExcInfo, Processor

from application.inbound.event import Record
from application.inbound.intake import Tally
from application.ports.log import StoreUnavailableError
from domain.health import Health, Verdict
from domain.notification import Notification
from domain.notification_events import Attempt
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Throttled
from domain.parked import Origin, ParkReason
from domain.personal import Response
from domain.subscription import WebhookSubscription

Take = Callable[[str], None]

_SELDOM = 60.0  # seconds


def configure(level: str, also: Take | None = None) -> None:
    """Once at the start of a process. What libraries log is made into the same lines, from warnings on.

    `also` is handed each line, as JSON, before it is written; it must not wait for anything.
    """
    facts: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_told),
    ]
    line = _line(pretty=sys.stderr.isatty())
    if also:
        line = _handed_on(also, line)
    structlog.configure(
        processors=[*facts, line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *facts],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, line],
        )
    )
    of_libraries.addFilter(_Seldom("aiokafka"))
    logging.basicConfig(level=logging.WARNING, handlers=[of_libraries])


def _line(*, pretty: bool) -> Processor:
    if pretty:
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer()


def _handed_on(take: Take, line: Processor) -> Processor:
    as_json = structlog.processors.JSONRenderer()

    def hand_on(logger: Any, name: str, event: MutableMapping[str, Any]) -> Any:
        take(str(as_json(logger, name, {**event})))
        return line(logger, name, event)

    return hand_on


def _told(exc_info: ExcInfo) -> str:
    """The traceback; types and frames alone where PostgreSQL is involved, whose words can quote a row."""
    chain = list(_chain(exc_info[1]))
    if not any(isinstance(error, psycopg.Error) for error in chain):
        return "".join(traceback.format_exception(exc_info[1])).rstrip()
    parts = [[*traceback.format_tb(error.__traceback__), f"{_name(error)}\n"] for error in reversed(chain)]
    return "".join(part for each in parts for part in each).rstrip()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """It, what it was raised from, and the members of groups."""
    while error:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _chain(member)
        error = error.__cause__ or error.__context__


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


class _Seldom(logging.Filter):
    """Lets the same words of a library pass once a minute: without brokers it says them ten times a second."""

    def __init__(self, library: str) -> None:
        super().__init__()
        self._library = library
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != self._library:
            return True
        now, words = monotonic(), record.getMessage()
        self._said = {each: at for each, at in self._said.items() if at > now - _SELDOM}
        return self._said.setdefault(words, now) == now


class Lines:
    """The one line that each attempt and each projected batch leaves."""

    def __init__(self, role: str) -> None:
        self._log = structlog.get_logger(role)

    def attempt(
        self,
        notification: Notification,
        attempt: Attempt,
        outcome: Outcome,
        response: Response | None,
        milliseconds: float,
    ) -> None:
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
            **_of_webhook(notification, response),
        )

    def note(self, what: str, notification: UUID, **facts: Any) -> None:
        self._log.info(what, notification=str(notification), **facts)

    def unreadable(self, notification: UUID, error: Exception) -> None:
        self._log.error("notification cannot be read", notification=str(notification), error=type(error).__name__)

    def lane(self, what: str, lane: str, **facts: Any) -> None:
        self._log.warning(what, subscription=lane, **facts)

    def health(self, subscription: WebhookSubscription, verdict: Verdict, health: Health) -> None:
        say = self._log.info if verdict is Verdict.RECOVERED else self._log.warning
        say(
            "webhook endpoint",
            subscription=str(subscription.id),
            tenant=subscription.tenant,
            verdict=verdict.value,
            failures=health.failures,
            failing_since=health.failing_since and health.failing_since.isoformat(),
        )

    def unjudged(self, subscription: UUID, error: Exception) -> None:
        self._log.error("webhook endpoint cannot be judged", subscription=str(subscription), error=type(error).__name__)

    def parked(self, record: Record, reason: ParkReason, error: BaseException | None) -> None:
        facts = {"record": str(record.origin.id), "reason": reason.value, **_place(record.origin)}
        self._log.warning("record parked", **facts, exc_info=error)

    def different(self, record: Record, mapping: str) -> None:
        self._log.warning("record differs from the one that came before", mapping=mapping, **_place(record.origin))

    def unreadable_record(self, origin: Origin, error: Exception) -> None:
        self._log.error("record cannot be read", error=type(error).__name__, **_place(origin))

    def uncommitted(self, ends: Mapping[str, int], error: Exception) -> None:
        self._log.warning("commit refused", error=type(error).__name__, ends=dict(ends))

    def taken(self, tally: Tally, records: int, milliseconds: float) -> None:
        facts = Counter({fact: 0 for _, fact in tally})
        for (_, fact), count in tally.items():
            facts[fact] += count
        self._log.info("records taken", records=records, ms=round(milliseconds, 1), **facts)

    def waits(self, error: Exception) -> None:
        self._log.warning("consumer waits for the store", error=type(error).__name__)

    def projected(self, projection: str, events: int, rows: int, position: int, milliseconds: float) -> None:
        say = self._log.info if rows else self._log.debug
        say("projected", projection=projection, events=events, rows=rows, position=position, ms=round(milliseconds, 1))

    def uncounted(self, error: Exception) -> None:
        self._log.warning("limits are counted by this process alone", error=type(error).__name__)

    def published(self, events: int, position: int, milliseconds: float) -> None:
        self._log.info("published", events=events, position=position, ms=round(milliseconds, 1))

    def unpublished(self, problem: str, position: int) -> None:
        self._log.error("cannot publish", problem=problem, position=position)

    def stuck(self, projection: str, position: int, error: Exception) -> None:
        self._log.error("projection stuck", projection=projection, position=position, error=kind_of(error))


def kind_of(error: Exception) -> str:
    """Its class, as its text may hold personal data; of a store that does not answer also the class of what it met."""
    met = f" ({error})" if isinstance(error, StoreUnavailableError) and str(error) else ""
    return type(error).__name__ + met


def _place(origin: Origin) -> dict[str, Any]:
    return {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}


def _of_webhook(notification: Notification, response: Response | None) -> dict[str, Any]:
    if notification.subscription is None:
        return {}
    return {"subscription": str(notification.subscription), "response_status": response and response.status}


def _reason(outcome: Outcome) -> str | None:
    match outcome:
        case Accepted():
            return None
        case Throttled() | Misconfigured():
            return f"wait {outcome.retry_after.total_seconds():.0f} s"
        case Refused():
            return outcome.reason.value
    return outcome.reason.value
