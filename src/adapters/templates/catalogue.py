"""The sentences of one language: a table for each notification type, and one that is common to all."""

import tomllib
from pathlib import Path
from string import Formatter
from typing import Any

from babel import Locale, UnknownLocaleError

from adapters.templates.bundle import Sentence
from adapters.templates.problems import TemplateFolderError

COMMON = "common"

Table = dict[str, Sentence]


class Catalogue:
    def __init__(self, file: Path, language: str, tables: dict[str, Table]) -> None:
        self.file = file
        self.language = language
        self.tables = tables

    def sentences(self, type: str) -> Table:
        """Those of this type and the common ones."""
        return {**self.tables.get(COMMON, {}), **self.tables.get(type, {})}

    def check_against(self, other: "Catalogue") -> None:
        """Raises TemplateFolderError unless both say the same things with the same values."""
        ours, theirs = _flat(self.tables), _flat(other.tables)
        if missing := sorted(theirs.keys() - ours.keys()):
            raise TemplateFolderError(self.file, f"has no sentence {missing[0]}, which {other.file.name} has")
        if unknown := sorted(ours.keys() - theirs.keys()):
            raise TemplateFolderError(self.file, f"has a sentence {unknown[0]}, which {other.file.name} has not")
        for key, sentence in ours.items():
            if placeholders(sentence) != placeholders(theirs[key]):
                raise TemplateFolderError(self.file, f"{key} does not fill in the same words as in {other.file.name}")


def read_catalogue(file: Path) -> Catalogue:
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
        locale = Locale.parse(file.stem)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateFolderError(file, str(error)) from error
    except (UnknownLocaleError, ValueError) as error:
        raise TemplateFolderError(file, "is not named after a language") from error
    for name, table in tables.items():
        for key, sentence in _checked_table(file, name, table).items():
            if reason := _fault(locale, sentence):
                raise TemplateFolderError(file, f"{name}.{key}: {reason}")
    _check_no_shadows(file, tables)
    return Catalogue(file, file.stem, tables)


def placeholders(sentence: Sentence) -> frozenset[str]:
    """The names in braces; in a sentence that counts, those of all its forms together."""
    forms = [sentence] if isinstance(sentence, str) else sentence.values()
    return frozenset(name for form in forms for _, name, _, _ in Formatter().parse(form) if name is not None)


def needed(sentence: Sentence) -> frozenset[str]:
    """The names that must be given values where the sentence is said."""
    return placeholders(sentence) | (frozenset() if isinstance(sentence, str) else {"count"})


def _checked_table(file: Path, name: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise TemplateFolderError(file, f"{name} stands outside of a table")
    return table


def _check_no_shadows(file: Path, tables: dict[str, Table]) -> None:
    for name, table in tables.items():
        if name != COMMON and (twice := sorted(table.keys() & tables.get(COMMON, {}).keys())):
            raise TemplateFolderError(file, f"{name}.{twice[0]} is a common sentence as well")


def _fault(locale: Locale, sentence: Any) -> str | None:
    match sentence:
        case str():
            return _fault_of_text(sentence)
        case dict() if all(isinstance(form, str) for form in sentence.values()):
            expected = {*locale.plural_form.tags, "other"}
            if sentence.keys() != expected:
                return f"needs the forms {', '.join(sorted(expected))}"
            return next(filter(None, map(_fault_of_text, sentence.values())), None)
        case _:
            return "is neither a sentence nor the forms of one"


def _fault_of_text(text: str) -> str | None:
    if not text.strip() or "\n" in text:
        return "must be one line that is not empty"
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None]
    except ValueError as error:
        return str(error)
    if wrong := [name for name, spec, conversion in fields if not name.isidentifier() or spec or conversion]:
        return f"{{{wrong[0]}}} is not a plain name in braces"
    return None


def _flat(tables: dict[str, Table]) -> dict[str, Sentence]:
    return {f"{name}.{key}": sentence for name, table in tables.items() for key, sentence in table.items()}
