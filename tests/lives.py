"""What may happen to a notification, in any order, for tests that hold whatever happens."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product, starmap
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from hypothesis import strategies as st

from domain.notification import NotAttemptableError, Notification, NotRetryableError
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Retryable, Throttled, Unknown
from domain.receipts import ReceiptKind
from domain.vocabulary import Purpose, Reason
from tests.examples import NOON, POLICY, attempted, notification

HOUR = timedelta(hours=1)
FIRST = UUID(int=1)


class Step(Protocol):
    """One thing that happens; it may be refused, which then changes nothing."""

    def happen(self, notification: Notification, now: datetime) -> None: ...


@dataclass(frozen=True)
class Called:
    provider: str
    key_lifetime: timedelta | None

    def happen(self, notification: Notification, now: datetime) -> None:
        key_until = now + self.key_lifetime if self.key_lifetime else None
        attempted(notification, now, provider=self.provider, key_until=key_until)


@dataclass(frozen=True)
class Answered:
    outcome: Outcome
    luck: float

    def happen(self, notification: Notification, now: datetime) -> None:
        notification.record(self.outcome, POLICY, luck=self.luck, now=now, by="worker")


@dataclass(frozen=True)
class Interrupted:
    luck: float

    def happen(self, notification: Notification, now: datetime) -> None:
        notification.interrupted(POLICY, luck=self.luck, now=now, by="worker")


@dataclass(frozen=True)
class Received:
    kind: ReceiptKind
    ago: timedelta
    provider_id: str | None = "id-1"
    detail: str = ""
    generation: int | None = None

    def happen(self, notification: Notification, now: datetime) -> None:
        notification.receive(
            self.kind,
            provider="resend",
            provider_id=self.provider_id,
            occurred_at=now - self.ago,
            generation=self.generation,
            detail=self.detail,
            now=now,
            by="provider:resend",
        )


@dataclass(frozen=True)
class Asked:
    """`what` is the name of a method that needs to know no more than when and by whom."""

    what: str

    def happen(self, notification: Notification, now: datetime) -> None:
        getattr(notification, self.what)(now=now, by="key:k1")


@dataclass(frozen=True)
class GivenUp:
    reason: Reason

    def happen(self, notification: Notification, now: datetime) -> None:
        notification.fail(self.reason, "why", now=now, by="worker")


@dataclass(frozen=True)
class Suppressed:
    def happen(self, notification: Notification, now: datetime) -> None:
        notification.suppress(Reason.HARD_BOUNCE, now=now, by="worker")


# Chosen from what was made before: to draw each part of each step by itself takes longer than all else in these tests.

_WAITS = [timedelta(0), timedelta(seconds=1), timedelta(minutes=10), 2 * HOUR, timedelta(days=2)]
_FAILURES = [Reason.PROVIDER_ERROR, Reason.TIMEOUT, Reason.INVALID_RECIPIENT]
_SAID = ["", "mailbox of ada@example.com is full"]
_LUCK = [0.0, 0.1, 0.4, 0.5, 0.8, 0.999999]

_OUTCOMES: list[list[Outcome]] = [
    [Accepted("id-1"), Accepted("id-2"), Accepted(None)],
    list(starmap(Throttled, product(_WAITS, _SAID))),
    list(starmap(Misconfigured, product(_WAITS, _SAID))),
    list(starmap(Retryable, product(_FAILURES, [None, *_WAITS], _SAID))),
    list(starmap(Refused, product(_FAILURES, _SAID))),
    list(starmap(Unknown, product(_FAILURES, _SAID))),
]
_CALLS = list(starmap(Called, product(["smtp", "resend"], [None, HOUR, 24 * HOUR])))
_ANSWERS = [list(starmap(Answered, product(outcomes, _LUCK))) for outcomes in _OUTCOMES]
_AGO = [timedelta(seconds=n) for n in range(4)]
_RECEIPTS = list(
    starmap(Received, product(ReceiptKind, _AGO, ["id-1", "id-2", None], ["", "550 unknown"], [None, 1, 2]))
)
_SELDOM = [
    *(Asked(what) for what in ("cancel", "expire_if_late") for _ in _LUCK),
    *(Interrupted(luck) for luck in _LUCK),
    *(GivenUp(reason) for reason in (Reason.RENDER_FAILED, Reason.PERSON_ERASED) for _ in _LUCK[::2]),
    *(Suppressed() for _ in _LUCK),
]


def steps() -> st.SearchStrategy[Step]:
    """Mostly calls and what they come to, so that a life is long; what ends it is rare."""
    calls, answers = st.sampled_from(_CALLS), [st.sampled_from(each) for each in _ANSWERS]
    receipts, retries, seldom = st.sampled_from(_RECEIPTS), st.just(Asked("retry")), st.sampled_from(_SELDOM)
    weighed: list[st.SearchStrategy[Any]] = [
        *12 * [calls],
        *2 * answers,
        *4 * [receipts],
        *2 * [retries],
        *2 * [seldom],
    ]
    return st.sampled_from(weighed).flatmap(lambda chosen: chosen)


class Moment(NamedTuple):
    """What one thing that happened led to, and the notification as it was after that."""

    events: list[Any]
    it: Notification


@dataclass(frozen=True)
class Life:
    """How a notification begins and what then happens to it, each thing so long after the one before."""

    purpose: Purpose
    wanted_in: timedelta | None
    useful_for: timedelta | None
    course: Sequence[tuple[timedelta, Step]]

    def lived(self, id: UUID = FIRST, members: Sequence[UUID] = ()) -> Iterator[Moment]:
        now = NOON
        it = notification(
            id,
            purpose=self.purpose,
            scheduled_at=now + self.wanted_in if self.wanted_in else None,
            expires_at=now + self.useful_for if self.useful_for else None,
            members=members,
        )
        yield Moment(list(it.collect_events()), copy(it))
        for gap, step in self.course:
            now += gap
            try:
                step.happen(it, now)
            except (NotAttemptableError, NotRetryableError):
                assert not it.pending_events
            yield Moment(list(it.collect_events()), copy(it))


def lives() -> st.SearchStrategy[Life]:
    gaps = st.sampled_from([timedelta(milliseconds=5), timedelta(seconds=30), timedelta(minutes=7), 3 * HOUR])
    return st.builds(
        Life,
        st.sampled_from(Purpose),
        st.sampled_from([None, HOUR]),
        st.sampled_from([None, 6 * HOUR]),
        st.lists(st.tuples(gaps, steps()), min_size=10, max_size=30),
    )
