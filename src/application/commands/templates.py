"""What a tenant may do with templates of its own, and the test of any template."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.caller import Caller
from application.commands.send import Context, Recipient, SendAnswer, SendNotification, fault_of
from application.own_templates import VersionTexts, own_template, version_of
from application.ports import Clock, ConflictError, CurrentTexts, EventStore, InvalidTextsError, Sources, TemplateMaker
from application.problems import InvalidCommandError, NotFoundError, Problem
from domain.own_template import Template, Version, is_own_name, may_be_own_name
from domain.template import (
    InvalidVariablesError,
    NotificationType,
    Variable,
    VariableType,
    check_variables,
    examples,
)
from domain.vocabulary import Channel, Priority, Purpose

MOST_LOCALES = 50
MOST_VARIABLES = 100

_VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")

Page = Annotated[str, Meta(min_length=1, max_length=200_000)]
Text = Annotated[str, Meta(min_length=1, max_length=50_000)]
Line = Annotated[str, Meta(min_length=1, max_length=1_000)]
Short = Annotated[str, Meta(min_length=1, max_length=5_000)]


class NameTakenError(Exception):
    """The tenant has a template of this name."""


class NoOwnerAddressError(Exception):
    """The API key was made without an address to send tests to."""


class EmailText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`text` is read where HTML is not shown; without `html` the mail is plain."""

    subject: Line
    html: Page | None = None
    text: Text


class SmsText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Short


class PushText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`link` is where a tap leads."""

    title: Line
    body: Short
    link: Short | None = None


class InAppText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`link` is where a click leads."""

    title: Line
    body: Short
    link: Short | None = None


class ChannelTexts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said in one language, in Jinja, by channel; at least by one."""

    email: EmailText | UnsetType = UNSET
    sms: SmsText | UnsetType = UNSET
    push: PushText | UnsetType = UNSET
    in_app: InAppText | UnsetType = UNSET

    def sources(self) -> dict[Channel, dict[str, str]]:
        """By channel and part; a title is the subject, and a body the text."""
        written = {channel: getattr(self, channel.value, UNSET) for channel in Channel}
        return {channel: _by_part(texts) for channel, texts in written.items() if texts is not UNSET}


_PARTS = {"title": "subject", "body": "text"}


def _by_part(texts: msgspec.Struct) -> dict[str, str]:
    return {_PARTS.get(name, name): source for name, source in msgspec.structs.asdict(texts).items() if source}


class DeclaredVariable(Variable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable that the texts may use: what is sent has to have those that are `required`, and no other.

    A required one needs an example. A `secret` one (a link, a code) is never shown by the API.
    """

    type: VariableType
    fields: dict[str, "DeclaredVariable"] = msgspec.field(default_factory=dict)  # type: ignore[assignment]


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    category: Annotated[str, Meta(min_length=1, max_length=100, description="What readers choose by")]
    purpose: Annotated[Purpose, Meta(description="What the law asks by")] = Purpose.TRANSACTIONAL
    priority: Priority = Priority.MEDIUM
    description: Annotated[str, Meta(max_length=1_000)] = ""
    variables: Annotated[dict[str, DeclaredVariable], Meta(max_length=MOST_VARIABLES)] = {}
    default_locale: Annotated[str, Meta(max_length=35, description="For readers of no other language")] = "en"
    texts: Annotated[
        dict[str, ChannelTexts],
        Meta(min_length=1, max_length=MOST_LOCALES, description="By locale, such as de or pt-BR"),
    ]


class CreateTemplate(_Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template of your own, with its first version."""

    name: Annotated[str, Meta(max_length=100, description="Words joined by hyphens, at least two")]


class AddTemplateVersion(_Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a new version says; nothing is taken over from the one before."""


class ActivateTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1)]


class SendTemplateTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`version` is one of your own template's; without it the active one, else the newest."""

    channel: Channel = Channel.EMAIL
    locale: Annotated[str, Meta(max_length=35)] | None = None
    variables: Annotated[dict[str, Any] | None, Meta(description="Default: the examples")] = None
    version: Annotated[int, Meta(ge=1)] | None = None


class TemplateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The version that was made or made active, and the one that new messages are accepted with."""

    name: str
    version: int
    active_version: int | None
    position: int


async def create_template(
    command: CreateTemplate, caller: Caller, *, events: EventStore, maker: TemplateMaker, clock: Clock
) -> TemplateAnswer:
    """Raises InvalidCommandError naming every fault, and NameTakenError."""
    if not may_be_own_name(command.name):
        raise InvalidCommandError([Problem("name", _NAMES)])
    template = Template.create(caller.tenant, command.name, now=clock.now(), by=caller.by)
    await _write(command, template, caller, maker, clock)
    try:
        return _answer(template, template.newest, await events.save(template))
    except ConflictError:
        raise NameTakenError(f"you have a template {command.name}: give it a new version") from None


async def add_version(
    command: AddTemplateVersion, name: str, caller: Caller, *, events: EventStore, maker: TemplateMaker, clock: Clock
) -> TemplateAnswer:
    """Raises InvalidCommandError naming every fault."""
    template = await own_template(name, caller, events)
    await _write(command, template, caller, maker, clock)
    return _answer(template, template.newest, await events.save(template))


async def localize(
    texts: ChannelTexts,
    name: str,
    locale: str,
    base: int | None,
    caller: Caller,
    *,
    events: EventStore,
    maker: TemplateMaker,
    clock: Clock,
) -> TemplateAnswer:
    """A version like `base`, by default the newest, with these texts in this locale."""
    template = await own_template(name, caller, events)
    version = template.numbered(base) if base else template.newest
    known = maker.locale(locale)
    if known is None:
        raise InvalidCommandError([Problem("locale", _LOCALES)])
    sources = texts.sources()
    spoken = set(sources) if known == version.default_locale else set(version.texts[version.default_locale])
    others = {channel for other, each in version.texts.items() if other != known for channel in each}
    problems = [*_silent(sources, ""), *_not_in_default(others | set(sources), spoken, version.default_locale, "")]
    if len(version.texts.keys() | {known}) > MOST_LOCALES:
        problems.append(Problem("locale", f"would be one of more than {MOST_LOCALES}"))
    if problems:
        raise InvalidCommandError(problems)
    try:
        made = await maker.make(caller.tenant, version.declared, known, sources)
    except InvalidTextsError as error:
        raise InvalidCommandError([_by_names_of(each, "") for each in error.problems]) from None
    added = template.localize(version.number, known, made, now=clock.now(), by=caller.by)
    return _answer(template, added, await events.save(template))


async def activate(
    command: ActivateTemplate, name: str, caller: Caller, *, events: EventStore, clock: Clock
) -> TemplateAnswer:
    template = await own_template(name, caller, events)
    template.activate(command.version, now=clock.now(), by=caller.by)
    return _answer(template, template.numbered(command.version), await events.save(template))


async def roll_back(name: str, caller: Caller, *, events: EventStore, clock: Clock) -> TemplateAnswer:
    """Raises NothingToRollBackError."""
    template = await own_template(name, caller, events)
    template.roll_back(now=clock.now(), by=caller.by)
    assert template.active
    return _answer(template, template.active, await events.save(template))


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
    return await send(message, caller, **own)


def _only(texts: CurrentTexts) -> Callable[[str, str], Awaitable[CurrentTexts]]:
    async def chosen(tenant: str, name: str) -> CurrentTexts:
        return texts

    return chosen


async def _write(
    command: CreateTemplate | AddTemplateVersion, template: Template, caller: Caller, maker: TemplateMaker, clock: Clock
) -> None:
    """Check everything that was written, make it, and add it as a version."""
    variables = msgspec.to_builtins(command.variables)
    if fault := fault_of(variables):
        raise InvalidCommandError([Problem("variables", fault)])
    declared = NotificationType(
        name=template.name,
        category=command.category,
        purpose=command.purpose,
        priority=command.priority,
        description=command.description,
        variables=msgspec.convert(variables, dict[str, Variable]),
    )
    default = maker.locale(command.default_locale) or ""
    found = [(maker.locale(name), name, texts.sources()) for name, texts in command.texts.items()]
    written = {locale: (name, sources) for locale, name, sources in found if locale}
    problems = [*_faults_of_variables(declared), *_faults_of_locales(command, default, maker)]
    for name, sources in written.values():
        problems += _silent(sources, f"texts.{name}")
        spoken = set(written[default][1]) if default in written else set(sources)
        problems += _not_in_default(set(sources), spoken, default, f"texts.{name}")
    if problems:
        raise InvalidCommandError(problems)
    texts = await _made(written, declared, caller.tenant, maker)
    template.add_version(declared, default, texts, now=clock.now(), by=caller.by)


async def _made(
    written: Mapping[str, tuple[str, Sources]], declared: NotificationType, tenant: str, maker: TemplateMaker
) -> dict[str, dict[Channel, str]]:
    made: dict[str, dict[Channel, str]] = {}
    problems: list[Problem] = []
    for locale, (name, sources) in written.items():
        try:
            made[locale] = await maker.make(tenant, declared, locale, sources)
        except InvalidTextsError as error:
            problems += [_by_names_of(each, f"texts.{name}.") for each in error.problems]
    if problems:
        raise InvalidCommandError(list(dict.fromkeys(problems)))
    return made


_NAMES = (
    "must be words of lower case letters and figures joined by hyphens, at least two, such as spring-sale: "
    "names without a hyphen are the house's"
)
_LOCALES = "must be a locale that is known, such as de or pt-BR"


def _faults_of_variables(declared: NotificationType) -> Iterator[Problem]:
    for name, variable in declared.variables.items():
        if not _VARIABLE_NAME.fullmatch(name):
            yield Problem(f"variables.{name}", "must be lower case letters, figures and underscores")
        if variable.required and variable.example is None:
            yield Problem(f"variables.{name}.example", "is needed, since the variable is required")
    given = {name: v.example for name, v in declared.variables.items() if v.example is not None}
    try:
        check_variables(declared, given)
    except InvalidVariablesError as error:
        for problem in error.problems:
            if problem.variable in given or problem.variable not in declared.variables:  # else it has no example at all
                yield Problem(f"variables.{problem.variable}.example", problem.message)


def _faults_of_locales(command: _Written, default: str, maker: TemplateMaker) -> Iterator[Problem]:
    known = [maker.locale(name) for name in command.texts]
    for name, locale in zip(command.texts, known, strict=True):
        if locale is None:
            yield Problem(f"texts.{name}", _LOCALES)
        elif known.count(locale) > 1:
            yield Problem(f"texts.{name}", "is there twice, in different spellings")
    if not default:
        yield Problem("default_locale", _LOCALES)
    elif default not in known:
        yield Problem("default_locale", "is none of those that there are texts in")


def _silent(sources: Sources, path: str) -> Iterator[Problem]:
    if not sources:
        yield Problem(path, "says nothing by any channel")


def _not_in_default(channels: set[Channel], spoken: set[Channel], default: str, path: str) -> Iterator[Problem]:
    for channel in sorted(channels - spoken):
        yield Problem(".".join(filter(None, [path, channel])), f"is not there in the default locale {default}")


_NAMES_OF_PARTS = {
    f"{channel}.{part}": f"{channel}.{name}"
    for channel in (Channel.PUSH, Channel.IN_APP)
    for name, part in _PARTS.items()
}


def _by_names_of(problem: Problem, prefix: str) -> Problem:
    """The part as it is called where it was written."""
    if problem.path.startswith("variables."):
        return problem
    return Problem(prefix + _NAMES_OF_PARTS.get(problem.path, problem.path), problem.message)


def _answer(template: Template, version: Version, position: int) -> TemplateAnswer:
    active = template.active.number if template.active else None
    return TemplateAnswer(name=template.name, version=version.number, active_version=active, position=position)
