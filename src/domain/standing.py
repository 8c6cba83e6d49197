"""What a notification's facts add up to: one rule, for the aggregate and for the rows that readers see."""

from datetime import datetime
from typing import Protocol

import msgspec

from domain.vocabulary import Reason, Status


class Facts(Protocol):
    """What happened outside (the times) and what was decided here (`ended`, `deferred_for`), each if at all."""

    ended: Status | None
    reason: Reason | None
    deferred_for: Reason | None
    sent_at: datetime | None
    delivered_at: datetime | None
    bounced_at: datetime | None
    bounce_reason: Reason | None
    rejected_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    complained_at: datetime | None


def reached_the_reader(facts: Facts) -> bool:
    return bool(facts.delivered_at or facts.opened_at or facts.clicked_at or facts.complained_at)


def status_of(facts: Facts) -> Status:
    """What happened outside weighs more than what was decided here, whichever was heard of first.

    A soft bounce may be followed by delivery, as the provider goes on trying; a hard one is the last word.
    """
    if facts.bounce_reason is Reason.HARD_BOUNCE:
        return Status.BOUNCED
    if reached_the_reader(facts):
        return Status.DELIVERED
    if facts.bounced_at:
        return Status.BOUNCED
    if facts.rejected_at:
        return Status.FAILED
    if facts.sent_at:
        return Status.SENT
    return facts.ended or (Status.DEFERRED if facts.deferred_for else Status.PENDING)


def reason_of(facts: Facts, status: Status | None = None) -> Reason | None:
    """Why it has that status (that of the facts, unless known already), where a status needs a reason."""
    match status or status_of(facts):
        case Status.BOUNCED:
            return facts.bounce_reason
        case Status.DEFERRED:
            return facts.deferred_for
        case Status.FAILED if facts.rejected_at:
            return Reason.PROVIDER_REJECTED_LATER
        case Status.SENT | Status.DELIVERED | Status.PENDING:
            return None
    return facts.reason


class Standing(msgspec.Struct, frozen=True):
    """What is known of a message as far as it is known of all that is in it."""

    status: Status
    reason: Reason | None
    sent_at: datetime | None
    delivered_at: datetime | None
    bounced_at: datetime | None


class Became(Protocol):
    """The same, as it was told at a moment."""

    status: Status
    reason: Reason | None
    sent_at: datetime | None
    delivered_at: datetime | None
    bounced_at: datetime | None
    timestamp: datetime


def follow(facts: Facts, became: Became) -> None:
    """Let these facts add up to the same; whatever they were before, it counts no longer."""
    status, reason = became.status, became.reason
    rejected = reason is Reason.PROVIDER_REJECTED_LATER
    facts.sent_at, facts.delivered_at, facts.bounced_at = became.sent_at, became.delivered_at, became.bounced_at
    facts.bounce_reason = reason if status is Status.BOUNCED else None
    facts.rejected_at = became.timestamp if rejected else None
    facts.ended = status if status in _ENDS and not rejected else None
    facts.reason = reason if facts.ended else None
    facts.deferred_for = reason if status is Status.DEFERRED else None


_ENDS = (Status.FAILED, Status.SUPPRESSED, Status.CANCELLED, Status.EXPIRED)
