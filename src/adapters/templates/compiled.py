"""A bundle ready to be rendered."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, Template, TemplateError
from markupsafe import escape

from adapters.templates.bundle import Bundle
from adapters.templates.environment import Absent, Phrasebook, compiled
from adapters.templates.folding import fold
from adapters.templates.reader import Reader, find_locale
from adapters.templates.values import TemplateValueError, link, on_one_line
from domain.headers import UnsafeHeaderError, check_header
from domain.template import Content, RenderError


class CompiledBundle:
    """`environment` is what it runs in; without one, that of our own files, which are trusted and so are folded."""

    def __init__(self, bundle: Bundle, environment: Environment | None = None) -> None:
        self.language = bundle.language
        self._bundle = bundle
        self._environment = environment or compiled(tuple(sorted(bundle.sources.items())))
        self._folds = environment is None
        self._given = {
            **{name: Absent(name=name) for name in bundle.variables},
            "phrasebook": Phrasebook(bundle.sentences),
            "language": bundle.language,
        }

    def render(self, variables: Mapping[str, Any], reader: Reader) -> Content:
        """Raises RenderError, which names the file and line and nothing of the variables."""
        if not self._folds:
            return self.render_unfolded(variables, reader)
        context = self._context(variables, reader)
        try:
            texts = {part: _said(template, context) for part, template in self._folded.items()}
        except Exception:  # noqa: BLE001 - whatever it was, the files as they are say where
            texts = self._unfolded(context)
        return self._content(texts)

    def render_unfolded(self, variables: Mapping[str, Any], reader: Reader) -> Content:
        """The same content from the files as they are, which takes more than twice as long."""
        return self._content(self._unfolded(self._context(variables, reader)))

    @cached_property
    def _folded(self) -> dict[str, Template]:
        sentences = self._bundle.sentences
        return {
            part: fold(self._environment, file, sentences, escape if file.endswith(".html") else str)
            for part, file in self._bundle.parts.items()
        }

    def _unfolded(self, context: Mapping[str, Any]) -> dict[str, str]:
        parts = self._bundle.parts.items()
        return {part: _rendered(_compile(self._environment, file), context) for part, file in parts}

    def _context(self, variables: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
        lines = {name: on_one_line(value) for name, value in variables.items() if value is not None}
        return {**self._given, **lines, "reader": reader, "now": reader.now}

    def _content(self, texts: Mapping[str, str]) -> Content:
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
            raise RenderError(f"{self._bundle.parts['subject']}: {error}") from None
        if not subject:
            raise RenderError(f"{self._bundle.parts['subject']}: is empty")
        return subject

    def _link(self, text: str | None) -> str | None:
        if text is None or not text.strip():
            return None
        try:
            return link(text.strip())
        except TemplateValueError as error:
            raise RenderError(f"{self._bundle.parts['link']}: {error}") from None


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


def _said(template: Template, context: dict[str, Any]) -> str:
    """What `template.render` does, without copying the context and without looking for the line of an error."""
    return "".join(template.root_render_func(template.new_context(context, shared=True)))


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
