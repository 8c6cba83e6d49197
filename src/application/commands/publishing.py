"""Choosing what other systems are told of a tenant's notifications."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.ports.log import ConflictError, EventStore
from application.ports.time_and_chance import Clock
from domain.ids import publishing_id
from domain.publishing import Publishing

_TRIES = 5


class ChoosePublishing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it; what was chosen before does not count any more."""

    personal_data: Annotated[
        bool, Meta(description="Whether events say whom a notification goes to: user, address and name")
    ]


class PublishingAnswer(msgspec.Struct, frozen=True):
    """What holds now, and where the log stands."""

    personal_data: bool
    position: int


class PublishingChoice(msgspec.Struct, frozen=True):
    """What holds now."""

    personal_data: bool


async def choose_publishing(
    command: ChoosePublishing, caller: Caller, *, events: EventStore, clock: Clock
) -> PublishingAnswer:
    """It holds for whatever is read from the log once this has returned. The same again stores nothing."""
    for _ in range(_TRIES):
        publishing = await events.get(Publishing, publishing_id(caller.tenant))
        if publishing:
            publishing.change(command.personal_data, now=clock.now(), by=caller.by)
        else:
            publishing = Publishing.choose(caller.tenant, command.personal_data, now=clock.now(), by=caller.by)
        try:
            return PublishingAnswer(command.personal_data, await events.save(publishing))
        except ConflictError:
            continue
    raise ConflictError("the choice keeps changing")


async def chosen_publishing(caller: Caller, *, events: EventStore) -> PublishingChoice:
    """Of a tenant that never chose: nothing personal."""
    publishing = await events.get(Publishing, publishing_id(caller.tenant))
    return PublishingChoice(publishing is not None and publishing.personal_data)
