"""The variables of a template as JSON Schema (draft 2020-12)."""

from typing import Any

from domain.template import NotificationType, Variable, VariableType

_TYPES: dict[VariableType, dict[str, Any]] = {
    VariableType.STRING: {"type": "string"},
    VariableType.INTEGER: {"type": "integer"},
    VariableType.NUMBER: {"type": "number"},
    VariableType.BOOLEAN: {"type": "boolean"},
    VariableType.DATE: {"type": "string", "format": "date"},
    VariableType.CURRENCY: {"type": "string", "pattern": "^[A-Z]{3}$"},
    VariableType.DATETIME: {"type": "string", "format": "date-time"},
    VariableType.URL: {"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    VariableType.EMAIL: {"type": "string", "format": "email"},
    VariableType.COLOR: {"type": "string", "pattern": "^#([0-9a-fA-F]{3}){1,2}$"},
    VariableType.LIST: {"type": "array"},
    VariableType.OBJECT: {"type": "object"},
}


def variables_schema(type_: NotificationType) -> dict[str, Any]:
    """Variables that may be left out may be null as well; `writeOnly` are those that the API never shows."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_object(type_.variables),
        "additionalProperties": False,
    }


def _object(variables: dict[str, Variable]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _schema(variable) for name, variable in variables.items()},
        "required": [name for name, variable in variables.items() if variable.required],
    }


def _schema(variable: Variable) -> dict[str, Any]:
    schema = dict(_TYPES[variable.type])
    if variable.fields:
        inner = _object(variable.fields)
        schema = {"type": "array", "items": inner} if variable.type is VariableType.LIST else inner
    if not variable.required:
        schema["type"] = [schema["type"], "null"]
    if variable.description:
        schema["description"] = variable.description
    if variable.example is not None:
        schema["examples"] = [variable.example]
    if variable.secret:
        schema["writeOnly"] = True
    return schema
