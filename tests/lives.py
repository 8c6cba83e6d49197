"""What may happen to a notification, in any order, for tests that hold whatever happens."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
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


def _waits() -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(0), timedelta(seconds=1), timedelta(minutes=10), 2 * HOUR, timedelta(days=2)])


def outcomes() -> st.SearchStrategy[Outcome]:
    failures = st.sampled_from([Reason.PROVIDER_ERROR, Reason.TIMEOUT, Reason.INVALID_RECIPIENT])
    said = st.sampled_from(["", "mailbox of ada@example.com is full"])
    return st.one_of(
        st.builds(Accepted, st.sampled_from(["id-1", "id-2", None])),
        st.builds(Throttled, _waits(), said),
        st.builds(Misconfigured, _waits(), said),
        st.builds(Retryable, failures, st.none() | _waits(), said),
        st.builds(Refused, failures, said),
        st.builds(Unknown, failures, said),
    )


def receipts() -> st.SearchStrategy[Received]:
    return st.builds(
        Received,
        st.sampled_from(ReceiptKind),
        st.sampled_from([timedelta(seconds=n) for n in range(4)]),
        st.sampled_from(["id-1", "id-2", None]),
        st.sampled_from(["", "550 unknown"]),
        st.sampled_from([None, 1, 2]),
    )


def steps() -> st.SearchStrategy[Step]:
    """Mostly calls and what they come to, so that a life is long; what ends it is rare."""
    luck = st.floats(0, 1, exclude_max=True)
    calls = st.builds(Called, st.sampled_from(["smtp", "resend"]), st.sampled_from([None, HOUR, 24 * HOUR]))
    answers = st.builds(Answered, outcomes(), luck)
    retries = st.just(Asked("retry"))
    seldom = st.one_of(
        st.just(Asked("cancel")),
        st.just(Asked("expire_if_late")),
        st.builds(Interrupted, luck),
        st.builds(GivenUp, st.sampled_from([Reason.RENDER_FAILED, Reason.PERSON_ERASED])),
        st.builds(Suppressed),
    )
    weighed = 10 * [calls] + 10 * [answers] + 3 * [receipts()] + 2 * [retries] + [seldom]
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
