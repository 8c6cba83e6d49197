"""JSON Schema 2020-12, as tenants write it, which nobody trusts.

Nothing is fetched, expressions are matched in linear time, and references are refused: of a few lines they make a
schema that never ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs

from adapters.remarks import remark
from application.problems import Problem

_MOST_PROBLEMS = 20
_LARGEST_EXPRESSION = 1_000_000  # bytes, compiled
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor", "$schema"})


class JsonSchema:
    """Raises ValueError for what is no schema, or one that refers to something."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        if found := next(_references(schema), None):
            raise ValueError(f"must not have {found}")
        expressions = jsonschema_rs.RegexOptions(size_limit=_LARGEST_EXPRESSION)
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema), pattern_options=expressions, offline=True, validate_formats=True
            )
        except jsonschema_rs.ValidationError as error:
            raise ValueError(f"is no JSON Schema 2020-12: {remark(error.message)}") from None

    def problems(self, data: Any) -> Sequence[Problem]:
        """The first twenty."""
        found = islice(self._validator.iter_errors(data), _MOST_PROBLEMS)
        return [Problem("".join(["data", *map(_step, each.instance_path)]), remark(each.message)) for each in found]


def _step(name: str | int) -> str:
    return f"[{name}]" if isinstance(name, int) else f".{name}"


def _references(schema: Any) -> Iterator[str]:
    """Wherever they stand: in what is only an example too, which is no place for them."""
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name in _REFERENCES and isinstance(value, str):
                yield name
            yield from _references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)
