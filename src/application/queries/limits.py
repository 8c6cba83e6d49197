"""How much a tenant lets go out, as it is shown: in the form in which it can be given."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.ports.log import EventStore
from domain.ids import limits_id
from domain.limits import Limits, Rates, Rules
from domain.vocabulary import Channel, Over

_MOST = 1_000_000_000

Count = Annotated[int, Meta(ge=1, le=_MOST)]


class GivenRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so many in any stretch of that length, wherever it begins; null: as many as there are."""

    per_minute: Count | None = None
    per_hour: Count | None = None
    per_day: Annotated[Count | None, Meta(description="In any 24 hours")] = None
    burst: Annotated[
        Count | None, Meta(description="In any second, give or take what the way to the provider takes")
    ] = None


class GivenChannelLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of all your messages of a channel, and of those to any one reader: a user of yours, else an address."""

    tenant: GivenRates = GivenRates()
    user: GivenRates = GivenRates()


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant has chosen. Where nothing is said nothing is limited."""

    channels: dict[Channel, GivenChannelLimits]
    over: dict[str, Over]
    duplicate_window_seconds: int | None


async def get_limits(caller: Caller, *, events: EventStore) -> RateLimits:
    """Of a tenant who has chosen nothing, that nothing is limited."""
    found = await events.get(Limits, limits_id(caller.tenant))
    return shown(found.rules if found else Rules())


def shown(rules: Rules) -> RateLimits:
    return RateLimits(
        channels={
            channel: GivenChannelLimits(tenant=_shown(each.tenant), user=_shown(each.user))
            for channel, each in rules.channels.items()
        },
        over=rules.over,
        duplicate_window_seconds=rules.duplicate_window,
    )


def _shown(rates: Rates) -> GivenRates:
    return msgspec.convert(rates, GivenRates, from_attributes=True)
