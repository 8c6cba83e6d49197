"""What can be done with templates, each with the ports it needs."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from application.commands.send import SendAnswer
from application.commands.templates.change import (
    TemplateAnswer,
    activate,
    add_version,
    create_template,
    localize,
    roll_back,
)
from application.commands.templates.send_test import send_template_test
from application.ports.log import EventStore
from application.ports.templates import TemplateMaker, TemplateRenderer, Templates
from application.ports.time_and_chance import Clock
from application.queries.templates import (
    Preview,
    TemplateDetail,
    TemplatePage,
    TemplateReader,
    TemplateSource,
    get_source,
    get_template,
    list_templates,
    preview,
)


@dataclass(frozen=True)
class TemplateUses:
    create: Callable[..., Coroutine[Any, Any, TemplateAnswer]]
    add_version: Callable[..., Coroutine[Any, Any, TemplateAnswer]]
    localize: Callable[..., Coroutine[Any, Any, TemplateAnswer]]
    activate: Callable[..., Coroutine[Any, Any, TemplateAnswer]]
    roll_back: Callable[..., Coroutine[Any, Any, TemplateAnswer]]
    test: Callable[..., Coroutine[Any, Any, SendAnswer]]
    page: Callable[..., Coroutine[Any, Any, TemplatePage]]
    detail: Callable[..., Coroutine[Any, Any, TemplateDetail]]
    source: Callable[..., Coroutine[Any, Any, TemplateSource]]
    preview: Callable[..., Coroutine[Any, Any, Preview]]


def template_uses(
    events: EventStore,
    templates: Templates,
    maker: TemplateMaker,
    renderer: TemplateRenderer,
    reader: TemplateReader,
    clock: Clock,
    send: Callable[..., Awaitable[SendAnswer]],
    default_language: str,
) -> TemplateUses:
    house = {type_.name: type_ for type_ in templates.types()}
    return TemplateUses(
        create=partial(create_template, events=events, maker=maker, count=reader.count, clock=clock),
        add_version=partial(add_version, events=events, maker=maker, clock=clock),
        localize=partial(localize, events=events, maker=maker, clock=clock),
        activate=partial(activate, events=events, clock=clock),
        roll_back=partial(roll_back, events=events, clock=clock),
        test=partial(send_template_test, send=send, types=house, events=events, maker=maker),
        page=partial(
            list_templates, templates=templates, default_locale=default_language, reader=reader, events=events
        ),
        detail=partial(get_template, templates=templates, default_locale=default_language, events=events),
        source=partial(get_source, events=events, maker=maker),
        preview=partial(
            preview,
            templates=templates,
            events=events,
            maker=maker,
            renderer=renderer,
            clock=clock,
            default_language=default_language,
        ),
    )
