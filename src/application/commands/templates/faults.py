"""What can be wrong with a template as it is written, before anybody tries to render it."""

import re
from collections.abc import Iterator, Mapping

from application.commands.templates.texts import PARTS, Written
from application.ports.templates import Sources, TemplateMaker
from application.problems import Problem
from domain.template import InvalidVariablesError, NotificationType, check_variables
from domain.vocabulary import Channel

NAMES = (
    "must be words of lower case letters and figures joined by hyphens, at least two, such as spring-sale: "
    "names without a hyphen are the house's"
)
LOCALES = "must be a locale that is known, such as de or pt-BR"

_VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def faults_of_variables(declared: NotificationType) -> Iterator[Problem]:
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


def faults_of_locales(command: Written, default: str, maker: TemplateMaker) -> Iterator[Problem]:
    known = [maker.locale(name) for name in command.texts]
    for name, locale in zip(command.texts, known, strict=True):
        if locale is None:
            yield Problem(f"texts.{name}", LOCALES)
        elif known.count(locale) > 1:
            yield Problem(f"texts.{name}", "is there twice, in different spellings")
    if not default:
        yield Problem("default_locale", LOCALES)
    elif default not in known:
        yield Problem("default_locale", "is none of those that there are texts in")


def silent(sources: Sources, path: str) -> Iterator[Problem]:
    if not sources:
        yield Problem(path, "says nothing by any channel")


def not_in_default(channels: set[Channel], spoken: set[Channel], default: str, path: str) -> Iterator[Problem]:
    for channel in sorted(channels - spoken):
        yield Problem(".".join(filter(None, [path, channel])), f"is not there in the default locale {default}")


_NAMES_OF_PARTS = {
    f"{channel}.{part}": f"{channel}.{name}"
    for channel in (Channel.PUSH, Channel.IN_APP)
    for name, part in PARTS.items()
}


def as_written(problem: Problem, paths: Mapping[str, str]) -> Problem:
    """The same where it was written, and by the name it has there; `paths` begin what is written in a locale."""
    texts, _, rest = problem.path.partition(".")
    locale, _, part = rest.partition(".")
    if texts != "texts" or locale not in paths:
        return problem
    return Problem(paths[locale] + _NAMES_OF_PARTS.get(part, part), problem.message)
