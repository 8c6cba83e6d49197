"""Schemas that tenants write check what is told, and do nothing else."""

import time

import pytest

from adapters.json_schema import JsonSchema

ORDER = {
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
    },
    "required": ["total"],
    "additionalProperties": False,
}


def test_what_fits_has_no_problems() -> None:
    assert JsonSchema(ORDER).problems({"total": 1, "lines": [{"sku": "a"}]}) == []


def test_every_problem_has_its_place_and_says_why() -> None:
    found = JsonSchema(ORDER).problems({"lines": [{"sku": "a"}, {}], "other": 1})
    assert sorted(each.path for each in found) == ["data", "data", "data.lines[1]"]
    assert all("required" in each.message or "unexpected" in each.message for each in found)


def test_no_more_than_twenty_problems_are_told_and_none_at_length() -> None:
    found = JsonSchema({"items": {"type": "string", "maxLength": 1}}).problems(["x" * 10_000] * 50)
    assert len(found) == 20
    assert max(len(each.message) for each in found) <= 300


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"allOf": [{"properties": {"a": {"$dynamicRef": "#a"}}}]},
        {"$schema": "http://127.0.0.1:1/schema"},
        {"$id": "http://127.0.0.1:1/schema"},
    ],
)
def test_a_schema_that_refers_to_something_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must not have"):
        JsonSchema(schema)


@pytest.mark.parametrize(
    "schema", [{"type": "nothing"}, {"minimum": "1"}, {"pattern": "("}, {"pattern": "(?=a)"}, {"pattern": "a{999999}"}]
)
def test_what_is_no_schema_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no JSON Schema"):
        JsonSchema(schema)


def test_an_expression_that_others_take_years_for_takes_no_time() -> None:
    schema = JsonSchema({"pattern": "^(a+)+$"})
    began = time.monotonic()
    assert schema.problems("a" * 50_000 + "b")
    assert time.monotonic() - began < 5
