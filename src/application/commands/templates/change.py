"""The life of a template that a tenant owns: made, said anew, translated, activated, taken back."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.commands.templates.faults import (
    LOCALES,
    NAMES,
    as_written,
    faults_of_locales,
    faults_of_variables,
    not_in_default,
    silent,
)
from application.commands.templates.texts import MOST_LOCALES, AddTemplateVersion, ChannelTexts, CreateTemplate
from application.faults import fault_of
from application.own_templates import own_template
from application.ports.log import ConflictError, EventStore
from application.ports.templates import InvalidTextsError, Sources, TemplateMaker
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, Problem
from domain.own_template import MOST_TEMPLATES, Template, TooManyTemplatesError, Version, may_be_own_name
from domain.template import NotificationType, Variable
from domain.vocabulary import Channel


class NameTakenError(Exception):
    """The tenant has a template of this name."""


class ActivateTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1)]


class TemplateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The version that was made or made active, and the one that new messages are accepted with."""

    name: str
    version: int
    active_version: int | None
    position: int


async def create_template(
    command: CreateTemplate,
    caller: Caller,
    *,
    events: EventStore,
    maker: TemplateMaker,
    count: Callable[[str], Awaitable[int]],
    clock: Clock,
) -> TemplateAnswer:
    """Raises InvalidCommandError naming every fault, NameTakenError, and TooManyTemplatesError.

    `count` says how many the tenant has; those that are created while it is asked may be a few too many.
    """
    if not may_be_own_name(command.name):
        raise InvalidCommandError([Problem("name", NAMES)])
    if await count(caller.tenant) >= MOST_TEMPLATES:
        raise TooManyTemplatesError(f"you have {MOST_TEMPLATES} templates")
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
        raise InvalidCommandError([Problem("locale", LOCALES)])
    sources = texts.sources()
    spoken = set(sources) if known == version.default_locale else set(version.texts[version.default_locale])
    others = {channel for other, each in version.texts.items() if other != known for channel in each}
    problems = [*silent(sources, ""), *not_in_default(others | set(sources), spoken, version.default_locale, "")]
    if len(version.texts.keys() | {known}) > MOST_LOCALES:
        problems.append(Problem("locale", f"would be one of more than {MOST_LOCALES}"))
    if problems:
        raise InvalidCommandError(problems)
    try:
        made = await maker.make(caller.tenant, version.declared, {known: sources})
    except InvalidTextsError as error:
        raise InvalidCommandError([as_written(each, {known: ""}) for each in error.problems]) from None
    added = template.localize(version.number, known, made[known], now=clock.now(), by=caller.by)
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
    problems = [*faults_of_variables(declared), *faults_of_locales(command, default, maker)]
    for name, sources in written.values():
        problems += silent(sources, f"texts.{name}")
        spoken = set(written[default][1]) if default in written else set(sources)
        problems += not_in_default(set(sources), spoken, default, f"texts.{name}")
    if problems:
        raise InvalidCommandError(problems)
    texts = await _made(written, declared, caller.tenant, maker)
    template.add_version(declared, default, texts, now=clock.now(), by=caller.by)


async def _made(
    written: Mapping[str, tuple[str, Sources]], declared: NotificationType, tenant: str, maker: TemplateMaker
) -> dict[str, dict[Channel, str]]:
    try:
        return await maker.make(tenant, declared, {locale: sources for locale, (_, sources) in written.items()})
    except InvalidTextsError as error:
        paths = {locale: f"texts.{name}." for locale, (name, _) in written.items()}
        raise InvalidCommandError([as_written(each, paths) for each in error.problems]) from None


def _answer(template: Template, version: Version, position: int) -> TemplateAnswer:
    active = template.active.number if template.active else None
    return TemplateAnswer(name=template.name, version=version.number, active_version=active, position=position)
