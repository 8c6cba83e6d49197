"""The test of any template: the house's or the tenant's own."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.commands.send import SendAnswer
from application.commands.sending import Context, Recipient, SendNotification
from application.own_templates import VersionTexts, own_template, version_of
from application.ports.log import EventStore
from application.ports.templates import CurrentTexts, TemplateMaker
from application.problems import InvalidCommandError, NotFoundError, Problem
from domain.own_template import is_own_name
from domain.template import NotificationType, examples
from domain.vocabulary import Channel

_ONLY_EMAIL = (
    "must be email: a test goes to the address of the key's owner. What readers get by sms, push or in_app is shown "
    "by POST /api/v1/templates/{}/preview"
)


class NoOwnerAddressError(Exception):
    """The API key was made without an address to send tests to."""


class SendTemplateTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To the email address of the key's owner, so by email only; the other channels have previews.

    `version` is one of your own template's; without it the active one, else the newest."""

    channel: Channel = Channel.EMAIL
    locale: Annotated[str, Meta(max_length=35)] | None = None
    variables: Annotated[dict[str, Any] | None, Meta(description="Default: the examples")] = None
    version: Annotated[int, Meta(ge=1)] | None = None


async def send_template_test(
    command: SendTemplateTest,
    name: str,
    caller: Caller,
    *,
    send: Callable[..., Awaitable[SendAnswer]],
    types: Mapping[str, NotificationType],
    events: EventStore,
    maker: TemplateMaker,
) -> SendAnswer:
    """Send it to the owner of the API key, as any message is sent. Raises NoOwnerAddressError."""
    if command.channel is not Channel.EMAIL:
        raise InvalidCommandError([Problem("channel", _ONLY_EMAIL.format(name))])
    if caller.owner_email is None:
        raise NoOwnerAddressError("this API key has no address of its owner: make one with --owner-email")
    recipient = Recipient(email=caller.owner_email, locale=command.locale)
    if is_own_name(name):
        version = version_of(await own_template(name, caller, events), command.version)
        declared, own = version.declared, {"own": _only(VersionTexts(version, maker.nearest))}
    elif name in types and command.version is None:
        declared, own = types[name], {}
    else:
        raise NotFoundError(f"there is no template {name}, or no such version of it")
    message = SendNotification(
        type=name,
        recipients=[recipient],
        channels=[command.channel],
        variables=examples(declared) if command.variables is None else command.variables,
        context=Context(source="template test"),
    )
    try:
        return await send(message, caller, **own)
    except InvalidCommandError as error:
        raise InvalidCommandError([_as_written(problem) for problem in error.problems]) from None


def _as_written(problem: Problem) -> Problem:
    """By a name that the caller wrote, who knows nothing of the message that is made of it."""
    name = "channel" if problem.path == "type" else problem.path.removeprefix("recipients[0].")
    return Problem(name, problem.message)


def _only(texts: CurrentTexts) -> Callable[[str, str], Awaitable[CurrentTexts]]:
    async def chosen(tenant: str, name: str) -> CurrentTexts:
        return texts

    return chosen
