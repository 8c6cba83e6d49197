"""What a notification type says of itself, and whether given variables fit it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from domain.vocabulary import Channel, Priority, Purpose


class VariableType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    URL = "url"
    EMAIL = "email"
    COLOR = "color"
    LIST = "list"
    OBJECT = "object"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One declared variable; `secret` ones (reset links, codes) are never shown by the API."""

    type: VariableType
    required: bool = True
    secret: bool = False
    description: str = ""
    example: Any = None


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
    """Exactly which text: `version` is the hash of the template with its layouts, partials and catalogue."""

    name: str
    version: str
    locale: str


class Template(msgspec.Struct, frozen=True):
    """A type's text for one channel and locale, as it is current now."""

    pin: TemplatePin
    channel: Channel
    type: NotificationType


class Content(msgspec.Struct, frozen=True):
    """What was rendered. `subject` is a single line; `html` is None where the channel has none."""

    subject: str | None
    html: str | None
    text: str


class UnknownTemplateError(Exception):
    """No such notification type here, or none for that channel."""

    def __init__(self, name: str, channel: str) -> None:
        super().__init__(f"there is no template {name!r} for the channel {channel!r}")
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


def check_variables(type_: NotificationType, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given variables under their declared names (camelCase spellings are understood).

    Raises InvalidVariablesError that names every missing, unknown and mistyped variable at once.
    """
    spelled = {_camel(name): name for name in type_.variables}
    values: dict[str, Any] = {}
    problems: list[VariableProblem] = []
    for key, value in given.items():
        name = key if key in type_.variables else spelled.get(key)
        if name is None:
            problems.append(VariableProblem(key, "is not a variable of this template"))
        elif name in values:
            problems.append(VariableProblem(key, f"is given twice, as {name} and as {_camel(name)}"))
        else:
            values[name] = value
    for name, variable in type_.variables.items():
        value = values.get(name)
        if value is None:
            if variable.required:
                problems.append(VariableProblem(name, "is missing"))
            values.pop(name, None)
        elif message := _mismatch(variable.type, value):
            problems.append(VariableProblem(name, message))
    if problems:
        raise InvalidVariablesError(type_.name, problems)
    return values


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


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
        case VariableType.URL if isinstance(value, str) and _is_web_address(value):
            return None
        case VariableType.EMAIL if isinstance(value, str) and _is_mail_address(value):
            return None
        case VariableType.COLOR if isinstance(value, str) and _is_color(value):
            return None
    return _EXPECTED[type_]


_EXPECTED = {
    VariableType.STRING: "must be a string",
    VariableType.INTEGER: "must be a whole number",
    VariableType.NUMBER: "must be a number",
    VariableType.BOOLEAN: "must be true or false",
    VariableType.LIST: "must be a list",
    VariableType.OBJECT: "must be an object",
    VariableType.DATETIME: "must be a date and time with an offset, such as 2026-01-31T09:00:00Z",
    VariableType.URL: "must be an http or https address",
    VariableType.EMAIL: "must be an email address",
    VariableType.COLOR: "must be a colour such as #0a7cff",
}


def _is_datetime(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_web_address(value: str) -> bool:
    scheme, _, rest = value.partition("://")
    return scheme.lower() in ("http", "https") and bool(rest) and not any(c.isspace() or c in '<>"' for c in value)


def _is_mail_address(value: str) -> bool:
    local, at, host = value.rpartition("@")
    return bool(at and local and "." in host) and not any(c.isspace() or c in '<>"(),;:' for c in value)


def _is_color(value: str) -> bool:
    digits = value.removeprefix("#")
    return value.startswith("#") and len(digits) in (3, 6) and all(c in "0123456789abcdefABCDEF" for c in digits)
