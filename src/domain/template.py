"""What a notification type says of itself, and whether given variables fit it."""

import re
from collections.abc import Iterator, Mapping
from datetime import MAXYEAR, MINYEAR, date, datetime
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec

from domain.vocabulary import Channel, Priority, Purpose

MOST_ITEMS = 500
"""Of one list: rendering more would keep everybody else waiting."""


class VariableType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CURRENCY = "currency"
    URL = "url"
    EMAIL = "email"
    COLOR = "color"
    LIST = "list"
    OBJECT = "object"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One declared variable; `secret` ones (reset links, codes) are never shown by the API.

    `fields` are those of an object, or of each object in a list; an object may have others beside them.
    """

    type: VariableType
    required: bool = True
    secret: bool = False
    description: str = ""
    example: Any = None
    fields: dict[str, "Variable"] = {}


class NotificationType(msgspec.Struct, frozen=True, kw_only=True):
    """A named thing to say: what readers choose it by, what the law asks of it, how urgent it is, what it needs."""

    name: str
    category: str
    purpose: Purpose
    priority: Priority
    description: str = ""
    variables: dict[str, Variable] = {}

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(name for name, variable in self.variables.items() if variable.secret)


class TemplatePin(msgspec.Struct, frozen=True):
    """Exactly which text: `version` is the hash of the template with its layouts, partials and catalogue.

    `locale` is the reader's (de-AT), as far as it goes with the language of the text: dates and numbers follow it.
    """

    name: str
    version: str
    locale: str


class CurrentTemplate(msgspec.Struct, frozen=True):
    """A type's text for one channel and locale, as it is current now."""

    pin: TemplatePin
    channel: Channel
    type: NotificationType


class Content(msgspec.Struct, frozen=True):
    """What was rendered. `subject`, which push and inbox call title, is a single line; `link` is a web address.

    Whatever the channel or the template has none of is None.
    """

    subject: str | None
    html: str | None
    text: str
    link: str | None = None


class RenderError(Exception):
    """The pinned template cannot be rendered with these variables; the message repeats nothing of them."""


class UnknownTemplateError(Exception):
    """No such notification type here, or none for that channel."""

    def __init__(self, name: str, channel: str) -> None:
        super().__init__(f"there is no template {name!r} for the channel {channel}")
        self.name = name
        self.channel = channel


class VariableProblem(msgspec.Struct, frozen=True):
    variable: str
    message: str


class InvalidVariablesError(Exception):
    """The sender's variables do not fit the template; `problems` names each."""

    def __init__(self, template: str, problems: list[VariableProblem]) -> None:
        super().__init__(f"{template}: " + "; ".join(f"{p.variable}: {p.message}" for p in problems))
        self.template = template
        self.problems = problems


def examples(type_: NotificationType, *, optional: bool = True) -> dict[str, object]:
    """The example of each variable, with or without those that may be left out."""
    return {
        name: variable.example
        for name, variable in type_.variables.items()
        if (variable.required or optional) and variable.example is not None
    }


def check_variables(type_: NotificationType, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given variables under their declared names (camelCase spellings are understood).

    Raises InvalidVariablesError that names every missing, unknown and mistyped variable at once.
    """
    values: dict[str, Any] = {}
    problems: list[VariableProblem] = []
    for key, value in given.items():
        name = key if key in type_.variables else _spelled_in_camel_case(key, type_)
        if name is None:
            problems.append(VariableProblem(key, "is not a variable of this template"))
        elif name in values:
            problems.append(VariableProblem(key, f"is given twice, as {name} and as {_camel(name)}"))
        else:
            values[name] = value
    for name, variable in type_.variables.items():
        if name in values or variable.required:
            problems += _problems(name, variable, values.get(name))
    if problems:
        raise InvalidVariablesError(type_.name, problems)
    return {name: value for name, value in values.items() if value is not None}


def _spelled_in_camel_case(key: str, type_: NotificationType) -> str | None:
    return next((name for name in type_.variables if _camel(name) == key), None)


@cache
def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _problems(path: str, variable: Variable, value: Any) -> Iterator[VariableProblem]:
    if value is None:
        if variable.required:
            yield VariableProblem(path, "is missing")
    elif message := _mismatch(variable.type, value):
        yield VariableProblem(path, message)
    elif isinstance(value, list) and len(value) > MOST_ITEMS:
        yield VariableProblem(path, f"must hold at most {MOST_ITEMS} items")
    elif variable.fields:
        items = [(path, value)] if isinstance(value, dict) else [(f"{path}[{i}]", item) for i, item in enumerate(value)]
        for item_path, item in items:
            yield from _problems_of_fields(item_path, variable.fields, item)


def _problems_of_fields(path: str, fields: Mapping[str, Variable], value: Any) -> Iterator[VariableProblem]:
    if not isinstance(value, dict):
        yield VariableProblem(path, _EXPECTED[VariableType.OBJECT])
        return
    for name, field in fields.items():
        yield from _problems(f"{path}.{name}", field, value.get(name))


def _mismatch(type_: VariableType, value: Any) -> str | None:
    match type_:
        case VariableType.STRING if isinstance(value, str):
            return None
        case VariableType.INTEGER if isinstance(value, int) and not isinstance(value, bool):
            return None
        case VariableType.NUMBER if isinstance(value, int | float) and not isinstance(value, bool):
            return None
        case VariableType.BOOLEAN if isinstance(value, bool):
            return None
        case VariableType.LIST if isinstance(value, list):
            return None
        case VariableType.OBJECT if isinstance(value, dict):
            return None
        case VariableType.DATETIME if isinstance(value, str) and _is_datetime(value):
            return None
        case VariableType.DATE if isinstance(value, str) and _is_date(value):
            return None
        case VariableType.CURRENCY if isinstance(value, str) and _CURRENCY.fullmatch(value):
            return None
        case VariableType.URL if isinstance(value, str) and is_web_address(value):
            return None
        case VariableType.EMAIL if isinstance(value, str) and _is_mail_address(value):
            return None
        case VariableType.COLOR if isinstance(value, str) and is_color(value):
            return None
    return _EXPECTED[type_]


_EXPECTED = {
    VariableType.STRING: "must be a string",
    VariableType.INTEGER: "must be a whole number",
    VariableType.NUMBER: "must be a number",
    VariableType.BOOLEAN: "must be true or false",
    VariableType.LIST: "must be a list",
    VariableType.OBJECT: "must be an object",
    VariableType.DATE: "must be a date such as 2026-01-31",
    VariableType.CURRENCY: "must be the three letters of a currency, such as EUR",
    VariableType.DATETIME: "must be a date and time with an offset, such as 2026-01-31T09:00:00Z",
    VariableType.URL: "must be an http or https address",
    VariableType.EMAIL: "must be an email address",
    VariableType.COLOR: "must be a colour such as #0a7cff",
}

# RFC 3986 leaves these out of every address, and names before the host only make links look like others.
_NEVER_IN_ADDRESSES = r"\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff<>\"\\\\^`{|}"
_WEB_ADDRESS = re.compile(rf"https?://[^/?#@{_NEVER_IN_ADDRESSES}]+([/?#][^{_NEVER_IN_ADDRESSES}]*)?", re.IGNORECASE)
_COLOR = re.compile("#(?:[0-9a-fA-F]{3}){1,2}")
_CURRENCY = re.compile("[A-Z]{3}")  # ISO 4217


def _is_date(value: str) -> bool:
    """In the one form that Python writes, not in all that it reads."""
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_datetime(value: str) -> bool:
    """With an offset, and far enough from both ends of time to be told in any zone."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return False
    return moment.tzinfo is not None and MINYEAR < moment.year < MAXYEAR


def is_web_address(value: str) -> bool:
    """Whether this is an http or https address with a host, without a user's name before it."""
    return _WEB_ADDRESS.fullmatch(value) is not None


def _is_mail_address(value: str) -> bool:
    local, at, host = value.rpartition("@")
    plain = value.isprintable() and not any(c.isspace() or c in '<>"(),;:' for c in value)
    return plain and bool(at and local and "." in host)


def is_color(value: str) -> bool:
    """Whether this is a colour in three or six hexadecimal digits."""
    return _COLOR.fullmatch(value) is not None
