"""How much a tenant lets go out: chosen by the tenant, all of it at a time."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.faults import fault_of
from application.ports.log import ConflictError, EventStore
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, Problem
from application.queries.limits import GivenChannelLimits, GivenRates, RateLimits, shown
from domain.ids import limits_id
from domain.limits import ChannelLimits, Limits, Rates, Rules
from domain.vocabulary import Channel, Over

_TRIES = 5

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class ChooseLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All your limits: what is not said is not limited any more."""

    channels: dict[Channel, GivenChannelLimits] = {}
    over: Annotated[
        dict[Name, Over],
        Meta(
            description="By category: `defer` what is too much, so that it waits for its turn, or `suppress` it. "
            "Default: advertising that is too much for its reader is suppressed, all else deferred"
        ),
    ] = {}
    duplicate_window_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=30 * 86_400)] | None,
        Meta(description="The same to the same address within so many seconds is sent once; null: as often as asked"),
    ] = None


class LimitsAnswer(msgspec.Struct, frozen=True):
    """Every process has heard of them a second from now."""

    position: int
    limits: RateLimits


async def choose_limits(command: ChooseLimits, caller: Caller, *, events: EventStore, clock: Clock) -> LimitsAnswer:
    """Raises InvalidCommandError naming every fault, and TooManyCategoriesError."""
    if problems := list(_faults(command)):
        raise InvalidCommandError(problems)
    for _ in range(_TRIES):
        now = clock.now()
        limits = await events.get(Limits, limits_id(caller.tenant))
        limits = limits or Limits.begin(caller.tenant, now=now, by=caller.by)
        limits.choose(_rules(command), now=now, by=caller.by)
        try:
            return LimitsAnswer(await events.save(limits), shown(limits.rules))
        except ConflictError:
            continue
    raise ConflictError("the limits keep changing")


def _rules(command: ChooseLimits) -> Rules:
    return Rules(
        channels={
            channel: ChannelLimits(tenant=_rates(each.tenant), user=_rates(each.user))
            for channel, each in command.channels.items()
        },
        over=command.over,
        duplicate_window=command.duplicate_window_seconds,
    )


def _rates(given: GivenRates) -> Rates:
    return msgspec.convert(given, Rates, from_attributes=True)


def _faults(command: ChooseLimits) -> Iterator[Problem]:
    if fault := fault_of(command.over):
        yield Problem("over", fault)
    webhooks = command.channels.get(Channel.WEBHOOK)
    if webhooks and webhooks.user != GivenRates():
        yield Problem("channels.webhook.user", "has no meaning: each subscription has terms of its own")
