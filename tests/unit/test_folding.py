"""A folded template says what its files say, whatever they do; and where it can, it needs them no more."""

from datetime import UTC, datetime
from typing import Any

import pytest
from babel import Locale
from markupsafe import escape

from adapters.templates.bundle import Sentence
from adapters.templates.environment import Phrasebook, make_environment
from adapters.templates.folding import fold
from adapters.templates.reader import Reader

SENTENCES: dict[str, Sentence] = {
    "plain": "It's <here> & {{there}}",
    "greeting": "Hi {name}, it's {name}",
    "only": "{name}",
    "pair": "{a}{b}",
    "counted": {"one": "{count} <thing> for {name}", "other": "{count} <things> for {name}"},
}
VALUES = {
    "name": "<i>Ann & 'Bob'</i>",
    "n": 1200,
    "one": 1,
    "items": ["a", "<b>"],
    "nothing": "",
    "url": "https://a.de",
}

FOLDED = {
    "a sentence": '<p title="{{ "greeting"|t(name=name) }}">{{ "plain"|t }}{{ "only"|t(name=name) }}</p>',
    "values alone": '{{ "pair"|t(a=name, b=n) }}{% set x = "pair"|t(a=name, b=name) %}{{ x }}',
    "a sentence in a sentence": '{{ "greeting"|t(name="counted"|t(count=n, name=name)) }}',
    "a sentence that counts": '{{ "counted"|t(count=one, name=name) }}, {{ "counted"|t(count=n, name="x") }}',
    "what is set and shown twice": '{% set x = "greeting"|t(name=name) %}{{ x }}{{ x }}',
    "what is set and tested": '{% set x = "greeting"|t(name=name) %}{% if x %}{{ x }}{% endif %}',
    "what is set in two ways": '{% if nothing %}{% set x = "plain"|t %}{% else %}{% set x = n %}{% endif %}{{ x }}',
    "what is set anew": '{% set x = "only"|t(name=name) %}'
    '{% set y = "pair"|t(a=x, b=n) %}{% set x = 2 %}{{ y }}{{ x }}',
    "an include": '{% set x = 1 %}{% include "set.html" %}{{ x }}',
    "an include in a loop": '{% for item in items %}{% include "item.html" %}{% endfor %}',
    "a macro": '{% from "macros.html" import row %}<b>{{ row(name, n) }}</b>{{ row("b", "a"|upper) }}',
    "a macro under another name": '{% from "macros.html" import row as r %}{{ r(name, n) }}',
    "a macro whose arguments change places": '{% set a, b = 1, 2 %}{% from "macros.html" import row %}{{ row(b, a) }}',
    "a macro that names something": '{% set c = 1 %}{% from "macros.html" import naming %}{{ naming(n) }}{{ c }}',
    "a layout": '{% extends "layout.html" %}{% set title = name %}{% block body %}{% set x = 7 %}{{ x }}{% endblock %}',
    "a layout with a part left out": '{% extends "layout.html" %}{% set title = "t" %}unseen',
    "a layout with a choice": '{% extends "layout.html" %}{% if n %} {% set title = n %} {% endif %}',
}
LEFT = {
    "a macro with its own loop of the same name": '{% from "macros.html" import each %}'
    "{% set item = items %}{{ each(item) }}",
    "a macro with a default": '{% from "macros.html" import default %}{{ default() }}{{ default(name) }}',
    "a macro that calls": '{% from "macros.html" import calling %}{{ calling(name) }}',
    "a macro that changes what it is given": '{% from "macros.html" import changing %}{{ changing(n) }}{{ n }}',
    "a macro inside an expression": '{% from "macros.html" import row %}{{ row(name, n)|upper }}',
    "a layout of a layout": '{% extends "middle.html" %}{% set title = "t" %}{% block body %}{{ name }}{% endblock %}',
    "what the layout said as well": '{% extends "layout.html" %}{% set title = 1 %}'
    "{% block body %}{{ super() }}!{% endblock %}",
    "a block in a block": '{% extends "layout.html" %}{% set title = 1 %}'
    "{% block body %}{% block inner %}{{ name }}{% endblock %}{% endblock %}",
    "a loop over a block": '{% extends "looped.html" %}{% block body %}{{ name }}{% endblock %}',
    "an include that may be missing": '{% include "missing.html" ignore missing %}{{ name }}',
    "a text in a page": '{% include "note.txt" %}',
}
FILES = {
    "set.html": "{% set x = 2 %}[{{ x }}{{ name }}]",
    "item.html": "<li>{{ item }}</li>",
    "macros.html": "{% macro row(a, b) %}<i>{{ a }}</i>{{ b }}{{ a }}{% endmacro %}"
    "{% macro each(list) %}{% for item in list %}{{ item }};{% endfor %}{% endmacro %}"
    "{% macro default(a='<x>') %}{{ a }}{% endmacro %}"
    "{% macro naming(a) %}{% set c = a %}{{ c }}{% endmacro %}"
    "{% macro changing(a) %}{% set a = 2 %}{{ a }}{% endmacro %}"
    "{% macro calling(a) %}{{ row(a, a) }}{% endmacro %}",
    "layout.html": '<h1>{{ title }}</h1>{% include "set.html" %}{% block body %}{{ title }} alone{% endblock %}.',
    "middle.html": '{% extends "layout.html" %}{% block body %}middle{% endblock %}',
    "looped.html": "{% for i in items %}{% block body %}{% endblock %}{% endfor %}",
    "note.txt": "{{ name }}",
}


@pytest.mark.parametrize("source", [*FOLDED.values(), *LEFT.values()], ids=[*FOLDED, *LEFT])
@pytest.mark.parametrize("kind", ["html", "txt"])
def test_it_says_the_same(source: str, kind: str) -> None:
    files = {"it.html": source, **FILES}
    if kind == "txt":
        files = {name.replace(".html", ".txt"): text.replace(".html", ".txt") for name, text in files.items()}
    environment = make_environment(files)
    folded = fold(environment, f"it.{kind}", SENTENCES, escape if kind == "html" else str)
    assert folded.render(context()) == environment.get_template(f"it.{kind}").render(context())


@pytest.mark.parametrize("source", FOLDED.values(), ids=FOLDED)
def test_it_needs_no_other_file(source: str) -> None:
    files = {"it.html": source, **FILES}
    folded = fold(make_environment(files), "it.html", SENTENCES, escape)
    files.clear()
    folded.render({**context(), "phrasebook": None})


def test_a_sentence_without_its_values_is_left_to_fail_where_it_stands() -> None:
    environment = make_environment({"it.html": '{{ "greeting"|t }}'})
    with pytest.raises(KeyError):
        fold(environment, "it.html", SENTENCES, escape).render(context())


def context() -> dict[str, Any]:
    reader = Reader(Locale("en"), UTC, datetime(2026, 3, 9, 9, tzinfo=UTC))
    return {**VALUES, "phrasebook": Phrasebook(SENTENCES), "reader": reader}
