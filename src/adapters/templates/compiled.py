"""A bundle ready to be rendered."""

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, Template, TemplateError

from adapters.templates.bundle import Bundle
from adapters.templates.environment import Absent, Phrasebook, compiled
from adapters.templates.reader import Reader, find_locale
from adapters.templates.values import TemplateValueError, link, on_one_line
from domain.headers import UnsafeHeaderError, check_header
from domain.template import Content, RenderError


class CompiledBundle:
    """`environment` is what it runs in; without one, that of our own files, which trusts them."""

    def __init__(self, bundle: Bundle, environment: Environment | None = None) -> None:
        environment = environment or compiled(tuple(sorted(bundle.sources.items())))
        self._name = bundle.name
        self._parts = {part: _compile(environment, file) for part, file in bundle.parts.items()}
        self._given = {
            **{name: Absent(name=name) for name in bundle.variables},
            "phrasebook": Phrasebook(bundle.sentences),
            "language": bundle.language,
        }

    def render(self, variables: Mapping[str, Any], reader: Reader) -> Content:
        """Raises RenderError, which names the file and line and nothing of the variables."""
        lines = {name: on_one_line(value) for name, value in variables.items() if value is not None}
        context = {**self._given, **lines, "reader": reader, "now": reader.now}
        texts = {part: _rendered(template, context) for part, template in self._parts.items()}
        return Content(
            subject=self._subject(texts.get("subject")),
            html=texts.get("html"),
            text=texts["text"],
            link=self._link(texts.get("link")),
        )

    def _subject(self, text: str | None) -> str | None:
        if text is None:
            return None
        subject = text.strip()
        try:
            check_header(subject)
        except UnsafeHeaderError as error:
            raise RenderError(f"{self._parts['subject'].name}: {error}") from None
        if not subject:
            raise RenderError(f"{self._parts['subject'].name}: is empty")
        return subject

    def _link(self, text: str | None) -> str | None:
        if text is None or not text.strip():
            return None
        try:
            return link(text.strip())
        except TemplateValueError as error:
            raise RenderError(f"{self._parts['link'].name}: {error}") from None


def reader_of(template: str, locale: str, at: datetime, time_zone: str | None) -> Reader:
    """Raises RenderError when the conventions of this place are not known."""
    found = find_locale(locale)
    if found is None:
        raise RenderError(f"{template}: there is no locale {locale!r}")
    try:
        zone = ZoneInfo(time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RenderError(f"{template}: the recipient's time zone is unknown") from None
    return Reader(found, zone, at.astimezone(zone))


def _compile(environment: Environment, file: str) -> Template:
    try:
        return environment.get_template(file)
    except TemplateError as error:
        raise RenderError(f"{file}: {error}") from error


def _rendered(template: Template, context: Mapping[str, Any]) -> str:
    try:
        return template.render(context)
    except Exception as error:  # noqa: BLE001 - whatever a value does to a template is this message's own failure
        raise RenderError(f"{_place(template, error.__traceback__)}: {_reason(error)}") from None


def _place(template: Template, trace: TracebackType | None) -> str:
    """The innermost line of a template that was being rendered."""
    place = str(template.name)
    while trace is not None:
        if "__jinja_exception__" in trace.tb_frame.f_globals:  # how Jinja marks the frames of templates
            place = f"{trace.tb_frame.f_code.co_filename} line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _reason(error: Exception) -> str:
    """Only our own messages are sure to hold nothing of the variables."""
    return str(error) if isinstance(error, TemplateValueError) else type(error).__name__
