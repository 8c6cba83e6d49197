"""The Jinja that our own templates run in, and what they can ask for."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound, pass_context, select_autoescape
from jinja2.runtime import Context, Undefined
from markupsafe import Markup, escape

from adapters.templates.bundle import Sentence
from adapters.templates.folding import PLURAL, SHOWN
from adapters.templates.reader import Reader
from adapters.templates.values import fill, ink, link, plain_text

# Names beside the variables that every template can read.
GIVEN = frozenset({"reader", "phrasebook", "language", "now"})


class Absent(StrictUndefined):
    """An optional variable that was not given: it is false, and an error wherever it would be shown."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override] # the base class never returns
        return False


class Phrasebook:
    """The sentences of a bundle, ready for a text part and, escaped, for an HTML part."""

    def __init__(self, sentences: Mapping[str, Sentence]) -> None:
        self._plain = dict(sentences)
        self._html = {key: _escaped(sentence) for key, sentence in sentences.items()}

    def plain(self, key: str, reader: Reader, values: Mapping[str, Any]) -> str:
        return _form(self._plain[key], reader, values).format_map(_shown(reader, values))

    def html(self, key: str, reader: Reader, values: Mapping[str, Any]) -> Markup:
        shown = {name: escape(value) for name, value in _shown(reader, values).items()}
        return Markup(_form(self._html[key], reader, values).format_map(shown))  # noqa: S704 - both sides are escaped


class Sources(BaseLoader):
    """Templates out of a dictionary; errors name them by their path."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if template not in self._sources:
            raise TemplateNotFound(template)
        return self._sources[template], template, lambda: True


@lru_cache(maxsize=128)
def compiled(sources: tuple[tuple[str, str], ...]) -> Environment:
    """One environment for equal sources: the languages of a template share it."""
    return make_environment(dict(sources))


def make_environment(sources: Mapping[str, str]) -> Environment:
    """HTML is escaped, text is not; what is not defined is an error."""
    environment = Environment(
        loader=Sources(sources),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.globals = {}
    environment.filters |= _FILTERS
    return environment


@pass_context
def _t(context: Context, key: str, /, **values: Any) -> str:
    phrasebook: Phrasebook = context["phrasebook"]
    say = phrasebook.html if context.eval_ctx.autoescape else phrasebook.plain
    return say(key, context["reader"], values)


def _for_reader(method: Callable[..., str]) -> Callable[..., str]:
    @pass_context
    def filter(context: Context, value: Any, *more: Any) -> str:
        return method(context["reader"], value, *more)

    return filter


_FILTERS: dict[str, Callable[..., Any]] = {
    "date": _for_reader(Reader.date),
    "day": _for_reader(Reader.day),
    "time": _for_reader(Reader.time),
    "zone": _for_reader(Reader.zone_name),
    "number": _for_reader(Reader.number),
    "money": _for_reader(Reader.money),
    "duration": _for_reader(Reader.duration),
    "t": _t,
    "link": link,
    "fill": fill,
    "ink": ink,
    "plain_text": plain_text,
}


@pass_context
def _shown_in_sentence(context: Context, value: Any) -> str:
    return value if isinstance(value, str) else _as_text(context["reader"], value)


_FILTERS |= {PLURAL: _for_reader(Reader.plural_form), SHOWN: _shown_in_sentence}


def _form(sentence: Sentence, reader: Reader, values: Mapping[str, Any]) -> str:
    return sentence if isinstance(sentence, str) else sentence[reader.plural_form(values["count"])]


def _shown(reader: Reader, values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _as_text(reader, value) for name, value in values.items()}


def _as_text(reader: Reader, value: Any) -> str:
    match value:
        case str():
            return value
        case Undefined():
            return str(value)
        case bool() | None:
            raise TypeError("a sentence is filled with words and numbers")
        case int() | float():
            return reader.number(value)
        case _:
            raise TypeError("a sentence is filled with words and numbers")


def _escaped(sentence: Sentence) -> Sentence:
    if isinstance(sentence, str):
        return str(escape(sentence))
    return {category: str(escape(form)) for category, form in sentence.items()}
