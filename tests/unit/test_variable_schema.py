"""What is said of variables in JSON Schema is what is checked."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.templates.types import read_types
from application.queries.variable_schema import variables_schema
from domain.template import InvalidVariablesError, NotificationType, Variable, VariableType, check_variables, examples
from domain.vocabulary import Priority, Purpose

HOUSE = read_types(Path(__file__).parents[2] / "templates")

# Formats are told, and left out of what is compared: validators differ in how they read them.
TYPES = sorted(set(VariableType) - {VariableType.DATE, VariableType.DATETIME, VariableType.EMAIL, VariableType.URL})


def declared(**variables: Variable) -> NotificationType:
    return NotificationType(
        name="x-y", category="c", purpose=Purpose.TRANSACTIONAL, priority=Priority.LOW, variables=variables
    )


def fits(type_: NotificationType, values: dict[str, Any]) -> bool:
    try:
        check_variables(type_, values)
    except InvalidVariablesError:
        return False
    return True


texts = st.sampled_from(["", "a", "#fff", "#12345"])
parts = st.floats(allow_nan=False).filter(lambda number: not number.is_integer())  # 1.0 is an integer to JSON Schema
values = st.recursive(
    st.none() | st.booleans() | st.integers() | parts | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=5,
)
fields = st.dictionaries(st.sampled_from(["a", "b"]), st.builds(Variable, type=st.sampled_from(TYPES)), max_size=2)
variables = st.one_of(
    st.builds(Variable, type=st.sampled_from(TYPES), required=st.booleans()),
    st.builds(
        Variable,
        type=st.sampled_from([VariableType.LIST, VariableType.OBJECT]),
        required=st.booleans(),
        fields=fields,
    ),
)


@given(variable=variables, given_values=st.dictionaries(st.sampled_from(["v", "w"]), values, max_size=2))
def test_the_schema_takes_what_the_check_takes(variable: Variable, given_values: dict[str, Any]) -> None:
    type_ = declared(v=variable)
    validator = jsonschema.Draft202012Validator(variables_schema(type_))
    assert validator.is_valid(given_values) == fits(type_, given_values)


@pytest.mark.parametrize("type_", HOUSE, ids=lambda type_: type_.name)
def test_the_schema_of_each_type_is_one_and_takes_its_examples(type_: NotificationType) -> None:
    schema = variables_schema(type_)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(examples(type_))
    validator.validate(examples(type_, optional=False))
    assert not validator.is_valid({})


def test_what_is_said_of_a_variable() -> None:
    schema = variables_schema(
        declared(
            link=Variable(type=VariableType.URL, secret=True, description="Where to.", example="https://a.example"),
            note=Variable(type=VariableType.STRING, required=False),
        )
    )
    assert schema["required"] == ["link"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["link"] == {
        "type": "string",
        "format": "uri",
        "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
        "description": "Where to.",
        "examples": ["https://a.example"],
        "writeOnly": True,
    }
    assert schema["properties"]["note"] == {"type": ["string", "null"]}
