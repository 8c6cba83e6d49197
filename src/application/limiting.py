"""Whether one more message may go now, where its tenant has said how many may."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from application.ports.rate_limiter import RateLimiter
from application.readers import Readers, message_of
from domain.limits import ChannelLimits, Window
from domain.notification import Notification
from domain.personal import Letter
from domain.vocabulary import Channel, LimitScope, Over, Reason

Fingerprint = Callable[[bytes], str]
"""A keyed digest: the same for the same bytes, and telling nobody what they were."""

_PLACE_KEPT = timedelta(minutes=1)
_MOST_PLACES = 4
"""Whoever is late for that many has waited enough."""


class TooMany(msgspec.Struct, frozen=True):
    """What it would be too much for, such as `user.per_hour`, and when its turn is; None: never."""

    limit: str
    until: datetime | None


class Limiting:
    """Asked right before the intent of a call, once for each generation: to try again is not to send again."""

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
        over = rules.over_for(notification.category, notification.purpose)
        latest = now if over is Over.SUPPRESS and not insists else notification.expires_at
        for scope, key, windows in self._asked(notification, limits, now):
            place = await self._limiter.take(key, windows, now, latest)
            if place.at > now and not insists:
                until = None if over is Over.SUPPRESS else min(place.at, notification.expires_at or place.at)
                return TooMany(f"{scope}.{place.window}", until)
        return None

    def _asked(
        self, notification: Notification, limits: ChannelLimits, now: datetime
    ) -> Iterator[tuple[LimitScope, str, list[Window]]]:
        """Those in whose queues it has no place yet, or has let it pass by."""
        if notification.provider or notification.places >= _MOST_PLACES:
            return
        held = notification.limited_by if now - notification.due_at <= _PLACE_KEPT else None
        about = f"{notification.tenant}:{notification.channel}"
        if held is None and (windows := limits.windows(LimitScope.USER)) and (reader := self._reader(notification)):
            yield LimitScope.USER, f"{about}:{reader}", windows
        if not (held or "").startswith(LimitScope.TENANT) and (windows := limits.windows(LimitScope.TENANT)):
            yield LimitScope.TENANT, about, windows

    def _reader(self, notification: Notification) -> str | None:
        """The same user at any address; who is no user of the tenant's is known by the address."""
        letter = notification.letter
        if notification.channel is Channel.WEBHOOK or not isinstance(letter, Letter):
            return None
        user = notification.recipient_user_id
        named = ["user", user] if user else ["address", letter.address.lower()]
        return self._fingerprint(msgspec.json.encode([notification.tenant, *named]))


def heed(too_many: TooMany, notification: Notification, *, now: datetime, by: str) -> None:
    """Let it wait for its turn, or never be sent."""
    if too_many.until is None:
        notification.suppress(Reason.RATE_LIMITED, limit=too_many.limit, now=now, by=by)
    else:
        notification.wait(Reason.RATE_LIMITED, too_many.until, limit=too_many.limit, now=now, by=by)
