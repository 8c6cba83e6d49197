"""Why a notification was, or was not, sent: in words and in data, as things were at any moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from application.ports.log import EventStore, Recorded
from application.ports.time_and_chance import Clock
from application.problems import NotFoundError
from application.queries.limits import GivenChannelLimits
from application.queries.limits import shown as shown_limits
from application.queries.preferences import UserPreferences, shown
from application.readers import AddressDigest, Reader, message_of
from domain.decision import Decision, Defer, Digest, SendNow, Suppress
from domain.ids import limits_id, preferences_id, suppression_id
from domain.limits import Limits, Rules
from domain.notification import Notification
from domain.personal import Letter
from domain.preferences import Preferences, Wishes
from domain.suppression import Entry, Suppression
from domain.vocabulary import Frequency, LimitScope, Over, Priority, Purpose, Reason, Status


class ExplainedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the notification, in words.

    `limit` is the one it was too much for, such as `user.per_hour`; `duplicate_of` is what said the same before.
    """

    at: datetime
    event: str
    by: str
    words: str
    reason_code: Reason | None
    until: datetime | None
    provider: str | None
    limit: str | None
    duplicate_of: UUID | None


class ExplainedRule(msgspec.Struct, frozen=True, kw_only=True):
    """What the decision goes by. What `insists` passes opt-outs and quiet hours; what may not be gathered, digests."""

    category: str
    purpose: Purpose
    priority: Priority
    insists: bool
    may_be_gathered: bool


class ExplainedReader(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader wished then. `quiet_until` is the end of the quiet hours that it was in the middle of."""

    user_id: str | None
    time_zone: str
    local_time: datetime
    quiet_until: datetime | None
    preferences: UserPreferences | None
    suppression: list[Entry] | None


class ExplainedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the tenant let go out then, by this channel, and what became of what was too much of this category.

    `over` says that for what was too much in all (`tenant`), and for a reader (`user`). What insists goes at once all
    the same, and as often as it is said.
    """

    channel: GivenChannelLimits | None
    over: dict[LimitScope, Over]
    duplicate_window_seconds: int | None


class ExplainedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What would be decided at that moment, were it to be sent: `send`, `defer`, `digest` or `suppress`.

    Limits are not looked at for that: whether there is room shows when it is sent.
    """

    outcome: str
    reason_code: Reason | None
    until: datetime | None
    frequency: Frequency | None = None
    words: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """As of a moment: where the notification stood and why, and what it was decided by.

    `suppression` is null where the address was forgotten. `digest_id` is the digest that it went into; one has
    `members`.
    """

    id: UUID
    as_of: datetime
    status: Status
    reason_code: Reason | None
    words: str
    rule: ExplainedRule
    reader: ExplainedReader
    limits: ExplainedLimits
    decision: ExplainedDecision
    template: str | None
    template_version: str | None
    locale: str
    provider: str | None
    digest_id: UUID | None
    members: list[UUID]
    steps: list[ExplainedStep]


async def explain(
    id: UUID,
    tenant: str,
    as_of: datetime | None = None,
    *,
    events: EventStore,
    digest: AddressDigest,
    clock: Clock,
    default_time_zone: str,
) -> Explanation:
    """Raises NotFoundError where there was no such notification then, or it is another tenant's."""
    moment = as_of or clock.now()
    history = _until(await events.history(id), moment)
    notification = _made(history)
    if not isinstance(notification, Notification) or notification.tenant != tenant:
        raise NotFoundError(f"there is no notification {id}, or there was none then")
    preferences = await _preferences(notification, events, moment)
    suppression = await _suppression(notification, events, digest, moment)
    entries = list(suppression.entries.values()) if suppression else []
    reader = Reader(preferences.wishes if preferences else Wishes(), tuple(entries), {})
    gathered = notification.is_gathered and moment >= notification.due_at
    decision = reader.decide(notification, moment, default_time_zone, gathered=gathered)
    message = message_of(notification)
    zone = ZoneInfo(reader.wishes.time_zone or notification.time_zone or default_time_zone)
    quiet = reader.wishes.quiet_hours.over(moment, zone) if reader.wishes.quiet_hours else moment
    user = notification.recipient_user_id
    return Explanation(
        id=id,
        as_of=moment,
        status=notification.status,
        reason_code=notification.reason_code,
        words=_standing(notification),
        rule=ExplainedRule(
            category=notification.category,
            purpose=notification.purpose,
            priority=notification.priority,
            insists=message.insists,
            may_be_gathered=message.may_be_gathered and not notification.members,
        ),
        reader=ExplainedReader(
            user_id=user,
            time_zone=zone.key,
            local_time=moment.astimezone(zone),
            quiet_until=quiet if quiet > moment else None,
            preferences=shown(user, preferences) if user else None,
            suppression=entries if isinstance(notification.letter, Letter) else None,
        ),
        limits=_limits(notification, await _rules(notification, events, moment)),
        decision=_decided(decision),
        template=notification.template.name if notification.template else None,
        template_version=notification.template.version if notification.template else None,
        locale=notification.locale,
        provider=notification.provider,
        digest_id=notification.digest_id,
        members=list(notification.members),
        steps=[_step(recorded.event) for recorded in history],
    )


def _until(history: Sequence[Recorded], moment: datetime) -> list[Recorded]:
    return [recorded for recorded in history if recorded.event.timestamp <= moment]


def _made(history: Sequence[Recorded]) -> Any:
    aggregate: Any = None
    for recorded in history:
        aggregate = recorded.event.mutate(aggregate)
    return aggregate


async def _preferences(notification: Notification, events: EventStore, moment: datetime) -> Preferences | None:
    if notification.recipient_user_id is None:
        return None
    stream = preferences_id(notification.tenant, notification.recipient_user_id)
    found: Preferences | None = _made(_until(await events.history(stream), moment))
    return found


async def _suppression(
    notification: Notification, events: EventStore, digest: AddressDigest, moment: datetime
) -> Suppression | None:
    if not isinstance(notification.letter, Letter):
        return None
    tenant, channel = notification.tenant, notification.channel
    stream = suppression_id(tenant, channel, digest(tenant, channel, notification.letter.address))
    found: Suppression | None = _made(_until(await events.history(stream), moment))
    return found


async def _rules(notification: Notification, events: EventStore, moment: datetime) -> Rules:
    found: Limits | None = _made(_until(await events.history(limits_id(notification.tenant)), moment))
    return found.rules if found else Rules()


def _limits(notification: Notification, rules: Rules) -> ExplainedLimits:
    return ExplainedLimits(
        channel=shown_limits(rules).channels.get(notification.channel),
        over={each: rules.over_for(notification.category, notification.purpose, each) for each in LimitScope},
        duplicate_window_seconds=rules.duplicate_window,
    )


def _standing(notification: Notification) -> str:
    reason = notification.reason_code
    why = f": {WORDS[reason]}" if reason else ""
    return f"{_STATUSES[notification.status]}{why}"


def _decided(decision: Decision) -> ExplainedDecision:
    match decision:
        case SendNow():
            return ExplainedDecision(outcome="send", reason_code=None, until=None, words="nothing is in the way")
        case Defer(until, reason):
            return ExplainedDecision(outcome="defer", reason_code=reason, until=until, words=WORDS[reason])
        case Digest(frequency, until):
            reason, words = Reason.DIGEST, WORDS[Reason.DIGEST]
            return ExplainedDecision(
                outcome="digest", reason_code=reason, until=until, frequency=frequency, words=words
            )
        case Suppress(reason):
            return ExplainedDecision(outcome="suppress", reason_code=reason, until=None, words=WORDS[reason])


def _step(event: Any) -> ExplainedStep:
    reason: Reason | None = getattr(event, "reason", None)
    said = _EVENTS[type(event).TOPIC]
    return ExplainedStep(
        at=event.timestamp,
        event=type(event).TOPIC,
        by=event.by,
        words=f"{said}: {WORDS[reason]}" if reason else said,
        reason_code=reason,
        until=getattr(event, "until", None) or getattr(event, "due_at", None),
        provider=getattr(event, "provider", None),
        limit=getattr(event, "limit", None),
        duplicate_of=getattr(event, "duplicate_of", None),
    )


_STATUSES: Mapping[Status, str] = {
    Status.PENDING: "waits for its turn",
    Status.DEFERRED: "waits",
    Status.SENT: "was taken by the provider",
    Status.DELIVERED: "reached the reader's mailbox",
    Status.FAILED: "was given up",
    Status.BOUNCED: "came back",
    Status.SUPPRESSED: "is not sent",
    Status.CANCELLED: "was cancelled",
    Status.EXPIRED: "came too late to be sent",
}

_EVENTS: Mapping[str, str] = {
    "notification.queued": "accepted",
    "notification.deferred": "put off",
    "notification.rendered": "made, and its provider about to be called",
    "notification.sent": "taken by the provider",
    "notification.failed": "an attempt failed",
    "notification.retried": "to be tried again",
    "notification.dead_lettered": "given up",
    "notification.suppressed": "not sent",
    "notification.cancelled": "cancelled",
    "notification.expired": "expired",
    "notification.merged": "put into a digest",
    "notification.standing_changed": "the messages in it are to follow",
    "notification.followed": "it follows the digest it is in",
    "notification.delivered": "delivered",
    "notification.bounced": "came back",
    "notification.rejected": "refused by the provider after it was taken",
    "notification.opened": "opened",
    "notification.clicked": "clicked",
    "notification.complained": "called spam by its reader",
}

WORDS: Mapping[Reason, str] = {
    Reason.SCHEDULED: "it is to be sent later",
    Reason.NOT_BEGUN: "the worker had no time left to begin the call",
    Reason.PROVIDER_THROTTLED: "the provider asked for patience",
    Reason.PROVIDER_MISCONFIGURED: "the account with the provider is not in order",
    Reason.PROVIDER_UNAVAILABLE: "the provider was not available",
    Reason.PROVIDER_ERROR: "the provider had an error",
    Reason.PROVIDER_REFUSED: "the provider refused the message",
    Reason.PROVIDER_REJECTED_LATER: "the provider took the message and gave it up later",
    Reason.INVALID_RECIPIENT: "the provider says that this is no address",
    Reason.TIMEOUT: "the provider did not answer in time",
    Reason.CONNECTION_FAILED: "the provider could not be reached",
    Reason.OUTCOME_UNKNOWN: "nobody knows what became of the call",
    Reason.RENDER_FAILED: "the message could not be made from its template",
    Reason.PERSON_ERASED: "the reader's data were erased",
    Reason.HARD_BOUNCE: "mail to this address came back for good",
    Reason.SOFT_BOUNCE: "mail to this address came back",
    Reason.EXPIRED: "its time to be useful was over",
    Reason.CANCELLED_BY_CALLER: "the sender cancelled it",
    Reason.RETRIED_BY_CALLER: "the sender asked for it",
    Reason.LOCAL_TIME: "it goes at a certain time by the reader's clock",
    Reason.QUIET_HOURS: "the reader wants no messages at this hour",
    Reason.DIGEST: "the reader wants it gathered with others",
    Reason.DISSOLVED: "not all that is in it may go out any more, so what may is gathered anew",
    Reason.TYPE_OFF: "the reader switched off messages of this type",
    Reason.CATEGORY_OFF: "the reader switched off messages of this category",
    Reason.CHANNEL_OFF: "the reader switched off this channel",
    Reason.UNSUBSCRIBED: "the reader unsubscribed",
    Reason.COMPLAINED: "the reader called an earlier message spam",
    Reason.STOPPED: "the reader answered STOP",
    Reason.BLOCKED: "the address was put on the suppression list by hand",
    Reason.IMPRINT_MISSING: "advertising must show the sender's postal address and a link to unsubscribe",
    Reason.RATE_LIMITED: "so many went out that it was one too many",
    Reason.DUPLICATE_CONTENT: "the same was said to the same address shortly before",
    Reason.ENDPOINT_ERROR: "the endpoint answered with an error",
    Reason.ENDPOINT_BUSY: "the endpoint asked for patience",
    Reason.ENDPOINT_GONE: "the endpoint says that it is gone",
    Reason.ADDRESS_BLOCKED: "the endpoint's address is one that nothing is sent to",
    Reason.TLS_FAILED: "the endpoint could not be trusted",
    Reason.SUBSCRIPTION_DELETED: "the subscription was deleted",
}
"""Every reason there is, for people."""
