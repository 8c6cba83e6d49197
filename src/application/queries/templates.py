"""Looking at templates: the house's and the tenant's own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.faults import fault_of, is_locale, is_time_zone
from application.own_templates import VersionTexts, own_template, version_of
from application.ports.log import EventStore
from application.ports.templates import CurrentTexts, TemplateMaker, TemplateRenderer, Templates
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, NotFoundError, Problem
from application.queries.variable_schema import variables_schema
from domain.own_template import Template, Version, is_own_name
from domain.sms import SmsSize, sms_size
from domain.template import (
    Content,
    InvalidVariablesError,
    NotificationType,
    UnknownTemplateError,
    check_variables,
    examples,
)
from domain.vocabulary import Channel, Priority, Purpose


class Origin(StrEnum):
    HOUSE = "house"
    TENANT = "tenant"


class TemplateSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A template of the `house`, which every tenant has as it was deployed, or the `tenant`'s own, in versions.

    Of an own one it is shown what the active version says, else the newest. `variables` is a JSON Schema.
    """

    name: str
    origin: Origin
    description: str
    category: str
    purpose: Purpose
    priority: Priority
    channels: list[Channel]
    locales: list[str]
    default_locale: str
    active_version: int | None
    newest_version: int | None
    variables: dict[str, Any]


class TemplateVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`texts` are by locale and channel what a notification shows as its `template_version`.

    Those of the house have no number: they are as they were deployed.
    """

    version: int | None
    active: bool
    created_at: datetime | None
    by: str | None
    default_locale: str
    texts: dict[str, dict[Channel, str]]


class TemplateDetail(TemplateSummary, frozen=True, kw_only=True):
    """The same with a page of its versions, newest first."""

    versions: list[TemplateVersion]
    next_cursor: str | None


class TemplatePage(msgspec.Struct, frozen=True):
    templates: list[TemplateSummary]
    next_cursor: str | None


class TemplateSource(msgspec.Struct, frozen=True, kw_only=True):
    """One version as it was written: by locale, channel and part (subject or title, html, text or body, link)."""

    name: str
    version: TemplateVersion
    variables: dict[str, Any]
    texts: dict[str, dict[Channel, dict[str, str]]]


class PreviewTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`version` is one of your own template's; without it the active one, else the newest."""

    channel: Channel = Channel.EMAIL
    locale: Annotated[str, Meta(max_length=35, description="The reader's")] | None = None
    time_zone: Annotated[str, Meta(max_length=64, description="The reader's")] | None = None
    variables: Annotated[dict[str, Any] | None, Meta(description="Default: the examples")] = None
    version: Annotated[int, Meta(ge=1)] | None = None


class EmailContent(msgspec.Struct, frozen=True, tag_field="channel", tag="email"):
    subject: str
    html: str | None
    text: str


class SmsContent(msgspec.Struct, frozen=True, tag_field="channel", tag="sms"):
    text: str
    size: SmsSize


class PushContent(msgspec.Struct, frozen=True, tag_field="channel", tag="push"):
    title: str
    body: str
    link: str | None


class InAppContent(msgspec.Struct, frozen=True, tag_field="channel", tag="in_app"):
    title: str
    body: str
    link: str | None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader would get. `template_version` names exactly this text, `locale` whose conventions it follows."""

    name: str
    version: int | None
    template_version: str
    locale: str
    content: EmailContent | SmsContent | PushContent | InAppContent


class TemplateReader(Protocol):
    """Which templates tenants own, as the read model has it."""

    async def own(self, tenant: str, after: str, limit: int) -> Sequence[tuple[str, UUID]]:
        """Name and stream of at most `limit`, in the order of their names, after this one."""

    async def count(self, tenant: str) -> int: ...


async def list_templates(
    after: str,
    limit: int,
    caller: Caller,
    *,
    templates: Templates,
    default_locale: str,
    reader: TemplateReader,
    events: EventStore,
) -> TemplatePage:
    """In the order of their names."""
    house = {type_.name: type_ for type_ in templates.types() if type_.name > after}
    own = dict(await reader.own(caller.tenant, after, limit + 1))
    names = sorted([*house, *own])
    shown = names[:limit]
    found = await events.get_many(Template, [own[name] for name in shown if name in own])
    summaries = {name: _summary_of_own(found[own[name]]) for name in shown if name in own}
    summaries |= {name: _summary_of_house(house[name], templates, default_locale) for name in shown if name in house}
    return TemplatePage([summaries[name] for name in shown], shown[-1] if len(names) > limit else None)


async def get_template(
    name: str,
    before: int | None,
    limit: int,
    caller: Caller,
    *,
    templates: Templates,
    default_locale: str,
    events: EventStore,
) -> TemplateDetail:
    """With the newest `limit` versions, or those before one."""
    if is_own_name(name):
        template = await own_template(name, caller, events)
        newest = min(before - 1, template.newest.number) if before else template.newest.number
        oldest = max(newest - limit + 1, 1)
        versions = [_version(template, template.numbered(number)) for number in range(newest, oldest - 1, -1)]
        return _detail(_summary_of_own(template), versions, str(oldest) if oldest > 1 else None)
    type_ = _house_type(name, templates)
    texts: dict[str, dict[Channel, str]] = {}
    for channel, languages in templates.versions(name).items():
        for locale, version in languages.items():
            texts.setdefault(locale, {})[channel] = version
    deployed = TemplateVersion(
        version=None, active=True, created_at=None, by=None, default_locale=default_locale, texts=texts
    )
    return _detail(_summary_of_house(type_, templates, default_locale), [deployed], None)


async def get_source(
    name: str, number: int, caller: Caller, *, events: EventStore, maker: TemplateMaker
) -> TemplateSource:
    template = await own_template(name, caller, events)
    version = template.numbered(number)
    texts = {
        locale: {channel: _named(channel, await maker.sources(each)) for channel, each in channels.items()}
        for locale, channels in version.texts.items()
    }
    return TemplateSource(
        name=name,
        version=_version(template, version),
        variables=msgspec.to_builtins(version.declared.variables),
        texts=texts,
    )


async def preview(
    query: PreviewTemplate,
    name: str,
    caller: Caller,
    *,
    templates: Templates,
    events: EventStore,
    maker: TemplateMaker,
    renderer: TemplateRenderer,
    clock: Clock,
    default_language: str,
) -> Preview:
    """Raises InvalidCommandError, and RenderError for what only shows when it is rendered."""
    texts: CurrentTexts = templates
    number = None
    if is_own_name(name):
        version = version_of(await own_template(name, caller, events), query.version)
        declared, number, texts = version.declared, version.number, VersionTexts(version, maker.nearest)
        default_language = version.default_locale
    elif query.version is None:
        declared = _house_type(name, templates)
    else:
        raise NotFoundError(f"{name} has no numbered versions")
    problems, variables = _checked(query, declared)
    try:
        chosen = texts.current(caller.tenant, name, query.channel, query.locale or default_language)
    except UnknownTemplateError as error:
        problems.append(Problem("channel", str(error)))
        raise InvalidCommandError(problems) from None
    if problems:
        raise InvalidCommandError(problems)
    content = await renderer.render(
        name, query.channel, chosen.pin, variables, at=clock.now(), time_zone=query.time_zone
    )
    return Preview(
        name=name,
        version=number,
        template_version=chosen.pin.version,
        locale=chosen.pin.locale,
        content=_content(query.channel, content),
    )


def _checked(query: PreviewTemplate, declared: NotificationType) -> tuple[list[Problem], dict[str, Any]]:
    problems: list[Problem] = []
    if query.locale and not is_locale(query.locale):
        problems.append(Problem("locale", "must be a language tag such as de or pt-BR"))
    if query.time_zone and not is_time_zone(query.time_zone):
        problems.append(Problem("time_zone", "must be an IANA time zone such as Europe/Berlin"))
    if fault := fault_of(query.variables):
        return [*problems, Problem("variables", fault)], {}
    try:
        return problems, check_variables(declared, examples(declared) if query.variables is None else query.variables)
    except InvalidVariablesError as error:
        return [*problems, *(Problem(f"variables.{p.variable}", p.message) for p in error.problems)], {}


def _content(channel: Channel, content: Content) -> EmailContent | SmsContent | PushContent | InAppContent:
    subject = content.subject or ""
    match channel:
        case Channel.SMS:
            return SmsContent(content.text, sms_size(content.text))
        case Channel.PUSH:
            return PushContent(subject, content.text, content.link)
        case Channel.IN_APP:
            return InAppContent(subject, content.text, content.link)
        case _:
            return EmailContent(subject, content.html, content.text)


def _named(channel: Channel, parts: Mapping[str, str]) -> dict[str, str]:
    """The parts as they are called where they are written."""
    if channel not in (Channel.PUSH, Channel.IN_APP):
        return dict(parts)
    return {{"subject": "title", "text": "body"}.get(part, part): source for part, source in parts.items()}


def _house_type(name: str, templates: Templates) -> NotificationType:
    found = next((type_ for type_ in templates.types() if type_.name == name), None)
    if found is None:
        raise NotFoundError(f"there is no template {name}")
    return found


def _summary_of_house(type_: NotificationType, templates: Templates, default_locale: str) -> TemplateSummary:
    versions = templates.versions(type_.name)
    return TemplateSummary(
        **_declared(type_),
        origin=Origin.HOUSE,
        channels=sorted(versions),
        locales=sorted({locale for languages in versions.values() for locale in languages}),
        default_locale=default_locale,
        active_version=None,
        newest_version=None,
    )


def _summary_of_own(template: Template) -> TemplateSummary:
    shown = template.active or template.newest
    return TemplateSummary(
        **_declared(shown.declared),
        origin=Origin.TENANT,
        channels=sorted({channel for texts in shown.texts.values() for channel in texts}),
        locales=sorted(shown.texts),
        default_locale=shown.default_locale,
        active_version=template.active.number if template.active else None,
        newest_version=template.newest.number,
    )


def _declared(type_: NotificationType) -> dict[str, Any]:
    return {
        "name": type_.name,
        "description": type_.description,
        "category": type_.category,
        "purpose": type_.purpose,
        "priority": type_.priority,
        "variables": variables_schema(type_),
    }


def _detail(summary: TemplateSummary, versions: list[TemplateVersion], next_cursor: str | None) -> TemplateDetail:
    said = {name: getattr(summary, name) for name in TemplateSummary.__struct_fields__}
    return TemplateDetail(**said, versions=versions, next_cursor=next_cursor)


def _version(template: Template, version: Version) -> TemplateVersion:
    return TemplateVersion(
        version=version.number,
        active=version is template.active,
        created_at=version.created_at,
        by=version.by,
        default_locale=version.default_locale,
        texts={locale: dict(texts) for locale, texts in version.texts.items()},
    )
