"""Whether one more message may go now, where its tenant has said how many may."""

from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from application.ports.rate_limiter import KEPT, Line, RateLimiter
from application.readers import Readers, message_of
from domain.limits import ChannelLimits, Rules
from domain.notification import Notification
from domain.personal import Letter
from domain.vocabulary import Channel, LimitScope, Over, Reason

Fingerprint = Callable[[bytes], str]
"""A keyed digest: the same for the same bytes, and telling nobody what they were."""

_MOST_PLACES = 4
"""Whoever is late for that many has waited enough."""


class TooMany(msgspec.Struct, frozen=True):
    """What it would be too much for, such as `user.per_hour`, and when its turn is; None: never."""

    limit: str
    until: datetime | None


class Limiting:
    """Asked before anything is made of a message, until its intent is stored: what is tried again is not sent again."""

    def __init__(self, readers: Readers, limiter: RateLimiter, fingerprint: Fingerprint) -> None:
        self._readers = readers
        self._limiter = limiter
        self._fingerprint = fingerprint

    async def too_many(self, notification: Notification, now: datetime) -> TooMany | None:
        """None where it may go now; its place is taken then, and where it has to wait.

        What insists goes at once and takes the next place all the same, so that others wait for it.
        """
        rules = (await self._readers.rules([notification.tenant])).get(notification.tenant)
        if rules is None or (limits := rules.channels.get(notification.channel)) is None:
            return None
        insists = message_of(notification).insists
        lines = {} if _has_waited(notification, now) else dict(self._lines(notification, rules, limits, insists))
        if not lines:
            return None
        place = await self._limiter.take(
            notification.idempotency_key, list(lines.values()), now, notification.expires_at
        )
        if place.line is None or insists:
            return None
        until = min(place.at, notification.expires_at or place.at) if lines[place.line].waits else None
        return TooMany(f"{place.line}.{place.window}", until)

    def _lines(
        self, notification: Notification, rules: Rules, limits: ChannelLimits, insists: bool
    ) -> Iterator[tuple[str, Line]]:
        """The queues in which it has to stand: of its reader, where that is known, and of all the tenant's messages."""
        about = f"{notification.tenant}:{notification.channel}"
        keys = {LimitScope.USER: f"{about}:{reader}"} if (reader := self._reader(notification)) else {}
        for scope, key in (keys | {LimitScope.TENANT: about}).items():
            if windows := limits.windows(scope):
                over = rules.over_for(notification.category, notification.purpose, scope)
                yield scope, Line(key, windows, scope, insists or over is Over.DEFER)

    def _reader(self, notification: Notification) -> str | None:
        """The same user at any address; who is no user of the tenant's is known by the address."""
        letter = notification.letter
        if notification.channel is Channel.WEBHOOK or not isinstance(letter, Letter):
            return None
        user = notification.recipient_user_id
        named = ["user", user] if user else ["address", letter.address.lower()]
        return self._fingerprint(msgspec.json.encode([notification.tenant, *named]))


def _has_waited(notification: Notification, now: datetime) -> bool:
    """Whether it has its place, or has let enough of them pass by."""
    if notification.provider or notification.places >= _MOST_PLACES:
        return True
    return notification.limited_by is not None and now - notification.due_at <= KEPT


def heed(too_many: TooMany, notification: Notification, *, now: datetime, by: str) -> None:
    """Let it wait for its turn, or never be sent."""
    if too_many.until is None:
        notification.suppress(Reason.RATE_LIMITED, limit=too_many.limit, now=now, by=by)
    else:
        notification.wait(Reason.RATE_LIMITED, too_many.until, limit=too_many.limit, now=now, by=by)
