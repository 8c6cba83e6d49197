"""The sender's variables are checked when a notification is accepted: every fault is named at once."""

from typing import Any

import pytest

from domain.template import (
    MOST_ITEMS,
    InvalidVariablesError,
    NotificationType,
    Variable,
    VariableProblem,
    VariableType,
    check_variables,
)
from domain.vocabulary import Priority, Purpose


def type_with(**variables: Variable) -> NotificationType:
    return NotificationType(
        name="greeting",
        category="registration",
        purpose=Purpose.TRANSACTIONAL,
        priority=Priority.HIGH,
        variables=variables,
    )


def required(type_: VariableType) -> Variable:
    return Variable(type=type_)


def optional(type_: VariableType) -> Variable:
    return Variable(type=type_, required=False)


GREETING = type_with(
    candidate_name=required(VariableType.STRING),
    question_count=required(VariableType.INTEGER),
    logo_url=optional(VariableType.URL),
)


def problems(type_: NotificationType, given: dict[str, Any]) -> list[VariableProblem]:
    with pytest.raises(InvalidVariablesError) as refused:
        check_variables(type_, given)
    return refused.value.problems


def test_fitting_variables_pass_unchanged() -> None:
    given = {"candidate_name": "Anna", "question_count": 6, "logo_url": "https://example.org/logo.png"}
    assert check_variables(GREETING, given) == given


def test_camel_case_spellings_arrive_under_the_declared_name() -> None:
    checked = check_variables(GREETING, {"candidateName": "Anna", "questionCount": 6, "logoUrl": "http://example.org"})
    assert checked == {"candidate_name": "Anna", "question_count": 6, "logo_url": "http://example.org"}


def test_an_optional_variable_may_be_left_out_or_null() -> None:
    given = {"candidate_name": "Anna", "question_count": 6}
    assert check_variables(GREETING, given) == check_variables(GREETING, given | {"logo_url": None}) == given


def test_every_fault_is_named_at_once() -> None:
    found = problems(GREETING, {"question_count": "six", "logoUrl": "javascript:alert(1)", "shoe_size": 43})
    assert found == [
        VariableProblem("shoe_size", "is not a variable of this template"),
        VariableProblem("candidate_name", "is missing"),
        VariableProblem("question_count", "must be a whole number"),
        VariableProblem("logo_url", "must be an http or https address"),
    ]


def test_null_is_missing() -> None:
    found = problems(GREETING, {"candidate_name": None, "question_count": 1})
    assert found == [VariableProblem("candidate_name", "is missing")]


def test_both_spellings_of_one_variable_are_a_fault() -> None:
    found = problems(GREETING, {"candidate_name": "Anna", "candidateName": "Berta", "question_count": 1})
    assert found == [VariableProblem("candidateName", "is given twice, as candidate_name and as candidateName")]


FITTING = {
    VariableType.STRING: ["", "Anna", "\u202e"],
    VariableType.INTEGER: [0, -1, 10**12],
    VariableType.NUMBER: [0, 1.5, -3],
    VariableType.BOOLEAN: [True, False],
    VariableType.DATETIME: ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00+05:30", "2026-01-31 09:00:00.25-01:00"],
    VariableType.DATE: ["2026-01-31", "2028-02-29"],
    VariableType.CURRENCY: ["EUR", "USD"],
    VariableType.URL: ["https://example.org", "HTTP://example.org:8080/a?b=c@d#e", "https://bücher.example/ü"],
    VariableType.EMAIL: ["anna@example.org", "a.b+c@mail.example.org"],
    VariableType.COLOR: ["#fff", "#0A7cff"],
    VariableType.LIST: [[], [1, "a"]],
    VariableType.OBJECT: [{}, {"a": 1}],
}
UNFITTING = {
    VariableType.STRING: [1, True, ["a"], {}],
    VariableType.INTEGER: ["1", 1.0, True],
    VariableType.NUMBER: ["1", False],
    VariableType.BOOLEAN: [0, "true"],
    VariableType.DATETIME: [
        1767225600,
        "tomorrow",
        "2026-01-31",
        "2026-01-31T09:00:00",
        "2026-02-30T09:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
    ],
    VariableType.DATE: ["2026-02-30", "31.01.2026", "20260131", "2026-W05-6", "2026-01-31T09:00:00Z", 20260131],
    VariableType.CURRENCY: ["eur", "Euro", "€", "EURO", "EUR\n", 978],
    VariableType.URL: [
        "",
        "example.org",
        "//example.org",
        "https://",
        "https:///path",
        "ftp://example.org",
        "javascript:alert(1)",
        "data:text/html,x",
        " https://example.org",
        "https://example.org/a b",
        "https://example.org/\n",
        'https://example.org/"onclick="x',
        "https://example.org/<script>",
        "https://bank.example@evil.example",
        "https://example.org\\@evil.example",
        "https://example.org/\u202egnp.exe",
    ],
    VariableType.EMAIL: [
        "anna",
        "@example.org",
        "anna@",
        "a b@example.org",
        "a@x.org>,<b@x.org",
        "a@x.org\n",
        "a\x00@x.org",
    ],
    VariableType.COLOR: ["fff", "#ffff", "#ggg", "red", "#fff\n", "#fff;x:y"],
    VariableType.LIST: ["a", {}],
    VariableType.OBJECT: ["a", []],
}


@pytest.mark.parametrize(("type_", "value"), [(type_, value) for type_ in FITTING for value in FITTING[type_]])
def test_a_value_of_the_declared_type_fits(type_: VariableType, value: Any) -> None:
    assert check_variables(type_with(it=required(type_)), {"it": value}) == {"it": value}


@pytest.mark.parametrize(("type_", "value"), [(type_, value) for type_ in UNFITTING for value in UNFITTING[type_]])
def test_any_other_value_does_not(type_: VariableType, value: Any) -> None:
    assert [problem.variable for problem in problems(type_with(it=required(type_)), {"it": value})] == ["it"]


def test_there_are_examples_for_every_type() -> None:
    assert set(FITTING) == set(UNFITTING) == set(VariableType)


PLACES = type_with(
    places=Variable(
        type=VariableType.LIST,
        fields={
            "name": required(VariableType.STRING),
            "url": required(VariableType.URL),
            "icon": optional(VariableType.URL),
        },
    )
)


def test_the_fields_of_listed_objects_are_checked_with_their_path() -> None:
    found = problems(PLACES, {"places": [{"name": "Blog", "url": "https://x.org"}, {"url": "ftp://x.org"}, "Blog"]})
    assert found == [
        VariableProblem("places[1].name", "is missing"),
        VariableProblem("places[1].url", "must be an http or https address"),
        VariableProblem("places[2]", "must be an object"),
    ]


def test_an_object_may_have_more_fields_than_declared() -> None:
    given = {"places": [{"name": "Blog", "url": "https://x.org", "since": 2019}]}
    assert check_variables(PLACES, given) == given


def test_the_fields_of_an_object_are_checked_with_their_path() -> None:
    type_ = type_with(place=Variable(type=VariableType.OBJECT, fields={"url": required(VariableType.URL)}))
    assert problems(type_, {"place": {}}) == [VariableProblem("place.url", "is missing")]


def test_the_secret_variables_are_known_by_name() -> None:
    type_ = type_with(code=Variable(type=VariableType.STRING, secret=True), name=required(VariableType.STRING))
    assert type_.secrets == {"code"}


def test_a_list_has_an_end():
    listed = type_with(items=required(VariableType.LIST))
    assert len(check_variables(listed, {"items": [1] * MOST_ITEMS})["items"]) == MOST_ITEMS
    with pytest.raises(InvalidVariablesError, match="items: must hold at most 500 items"):
        check_variables(listed, {"items": [1] * (MOST_ITEMS + 1)})
