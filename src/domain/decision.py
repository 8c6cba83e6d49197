"""Whether, and when, something may be sent to a reader: one pure function that every such question goes through."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from domain.preferences import Wishes
from domain.suppression import Entry
from domain.vocabulary import Channel, Frequency, Ground, Priority, Purpose, Reason
from domain.wall_clock import next_day, next_time

SECURITY = "security"
"""The category that no reader can switch off."""

GATHERED = (Channel.EMAIL,)
"""Where there is room for a digest: elsewhere each message goes by itself, however seldom its reader wants any."""

DIGEST_AT = time(9)
DIGEST_DAY = 0
"""Digests of a day come at nine by the reader's clock, those of a week on Mondays."""


class SendNow(msgspec.Struct, frozen=True):
    """Nothing is in the way."""


class Defer(msgspec.Struct, frozen=True):
    """Not before `until`."""

    until: datetime
    reason: Reason


class Digest(msgspec.Struct, frozen=True):
    """Gathered, and sent with the others at `until`, which is now when its time has come."""

    frequency: Frequency
    until: datetime

    reason = Reason.DIGEST


class Suppress(msgspec.Struct, frozen=True):
    """Never."""

    reason: Reason


Decision = SendNow | Defer | Digest | Suppress


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, as far as the decision asks: what readers choose by, what the law asks by, how urgent.

    A digest has no `type`: readers choose what is in it.
    """

    type: str | None
    category: str
    purpose: Purpose
    priority: Priority
    channel: Channel
    expires_at: datetime | None = None
    secret: bool = False

    @property
    def may_be_gathered(self) -> bool:
        """What holds a secret, say a code, is wanted at once and shown in no list."""
        return self.channel in GATHERED and not self.secret and not self.insists

    @property
    def insists(self) -> bool:
        """Whether it reaches its reader whatever that has chosen. Nobody's advertising ever does."""
        urgent = self.category == SECURITY or self.priority is Priority.CRITICAL
        return urgent and self.purpose is Purpose.TRANSACTIONAL


def decide(
    message: Message,
    wishes: Wishes,
    entries: Iterable[Entry],
    now: datetime,
    zone: ZoneInfo,
    *,
    local: time | None = None,
    ahead: bool = False,
    gathered: bool = False,
) -> Decision:
    """What holds at `now` for a reader with these wishes in this zone, whose address stands in the list with `entries`.

    `local` is the time by the reader's clock that the sender asked for; `ahead` says that `now` is still to come, so
    that the digest of that very moment is not missed; `gathered` that it has waited for its digest. Nothing is kept
    waiting for longer than it is of use: what expires is due again when it does, and waits for no digest that comes
    too late.
    """
    if reason := _objection(message, wishes, entries, now):
        return Suppress(reason)
    at = next_time(local, now, zone) if local else now
    frequency = _frequency(message, wishes)
    if frequency is not Frequency.IMMEDIATE and not gathered:
        until = _awake(_gathered_until(frequency, at, zone, ahead=ahead or at > now), wishes, zone)
        if message.expires_at is None or until < message.expires_at:
            return Digest(frequency, until)
    if at > now:
        return Defer(_in_time(at, message), Reason.LOCAL_TIME)
    if message.insists:
        return SendNow()
    if (awake := _awake(now, wishes, zone)) > now:
        return Defer(_in_time(awake, message), Reason.QUIET_HOURS)
    return Digest(frequency, now) if gathered and frequency is not Frequency.IMMEDIATE else SendNow()


def _frequency(message: Message, wishes: Wishes) -> Frequency:
    return wishes.frequency(message.type, message.category) if message.may_be_gathered else Frequency.IMMEDIATE


def _objection(message: Message, wishes: Wishes, entries: Iterable[Entry], now: datetime) -> Reason | None:
    """The weightiest thing that forbids it, if anything does."""
    holding = {entry.ground for entry in entries if entry.holds(message.category, now)}
    for ground in _FINAL:
        if ground in holding:
            return REASONS[ground]
    if message.insists:
        return None
    for ground in _OPTIONAL:
        if ground in holding:
            return REASONS[ground]
    return _switched_off(message, wishes)


_FINAL = (Ground.HARD_BOUNCE, Ground.INVALID, Ground.STOP, Ground.MANUAL)
"""Nothing goes past these, however urgent."""

_OPTIONAL = (Ground.COMPLAINT, Ground.UNSUBSCRIBE, Ground.SOFT_BOUNCES)

REASONS = {
    Ground.HARD_BOUNCE: Reason.HARD_BOUNCE,
    Ground.INVALID: Reason.INVALID_RECIPIENT,
    Ground.STOP: Reason.STOPPED,
    Ground.MANUAL: Reason.BLOCKED,
    Ground.COMPLAINT: Reason.COMPLAINED,
    Ground.UNSUBSCRIBE: Reason.UNSUBSCRIBED,
    Ground.SOFT_BOUNCES: Reason.SOFT_BOUNCE,
}


def _switched_off(message: Message, wishes: Wishes) -> Reason | None:
    """What is off anywhere is off: nothing that is on for a type gets past its category."""
    if not wishes.channels.get(message.channel, True):
        return Reason.CHANNEL_OFF
    if (category := wishes.categories.get(message.category)) and not category.allows(message.channel):
        return Reason.CATEGORY_OFF
    type = wishes.types.get(message.type) if message.type else None
    return Reason.TYPE_OFF if type and not type.allows(message.channel) else None


def _awake(moment: datetime, wishes: Wishes, zone: ZoneInfo) -> datetime:
    return wishes.quiet_hours.over(moment, zone) if wishes.quiet_hours else moment


def _gathered_until(frequency: Frequency, now: datetime, zone: ZoneInfo, *, ahead: bool) -> datetime:
    """The end of the window that `now` is in: it is later than `now`, or `now` itself if that is still `ahead`."""
    after = now if ahead else now + timedelta(microseconds=1)
    match frequency:
        case Frequency.HOURLY:
            begun = after - timedelta(microseconds=1)
            return begun.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        case Frequency.DAILY:
            return next_time(DIGEST_AT, after, zone)
    return next_day(DIGEST_DAY, DIGEST_AT, after, zone)


def _in_time(moment: datetime, message: Message) -> datetime:
    return min(moment, message.expires_at or moment)
