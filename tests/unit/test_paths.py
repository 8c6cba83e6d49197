"""Paths of tenants: what can be looked for, and that nobody can make a look last."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import paths as bounds
from adapters.paths import JmesPaths
from application.inbound.event import CostlyPathError

PATHS = JmesPaths()
ORDER = {
    "data": {
        "customer": {"first": "Jane", "last": "Doe", "id": 42},
        "items": [{"title": "Tulip", "count": 2}, {"title": "Rose", "count": 0}],
        "note": "",
    }
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.customer.first", "Jane"),
        ("data.note || data.customer.last", "Doe"),
        ("join(' ', [data.customer.first, data.customer.last])", "Jane Doe"),
        ("join('/', ['https://acme.example/o', to_string(data.customer.id)])", "https://acme.example/o/42"),
        (
            "data.items[*].{name: title, quantity: count}",
            [{"name": "Tulip", "quantity": 2}, {"name": "Rose", "quantity": 0}],
        ),
        ("data.items[?count > `0`].title | [0]", "Tulip"),
        ("data.items[1].count", 0),
        ("data.items[1].count || `7`", 0),
        ("length(data.items) == `2`", True),
        ("data.customer.id == '42'", False),
        ("!(data.note) && contains(data.customer.first, 'an')", True),
        ("(data.nothing || data.customer).last", "Doe"),
        ("data.nothing.at.all", None),
        ("join(' ', [data.customer.first, data.nothing])", None),
        ("length(data.customer.id)", None),
        ("data.items == data.items", False),
    ],
)
def test_what_a_path_finds(path, found):
    assert PATHS.fault(path) is None
    assert PATHS.look(ORDER).find(path) == found


@pytest.mark.parametrize(
    "path",
    [
        "",
        "data.",
        "data[",
        "[" * 400,
        "(" * 400,
        "!" * 400 + "a",
        "a" * (bounds.LONGEST + 1),
        " || ".join(["a"] * bounds.MOST_NODES),
        "`" + "[" * 400 + "`",
        "\x00",
    ],
)
def test_what_is_no_path_says_so(path):
    assert PATHS.fault(path)


@pytest.mark.parametrize(
    "path",
    [
        "[@, @] | [@, @] | [@, @]",
        "[@, @][] | [@, @][]",
        "{a: @, b: @}.*",
        "data[*].[@, @][][]",
        "join('', [data.a, data.a]) | [@, @]",
        "(data || [@, @])[*].x",
        "`[[1, 2], [3]]`[]",
        "not_null(data, [@, @]).x",
    ],
)
def test_what_is_put_together_cannot_be_looked_into(path):
    assert "put together" in PATHS.fault(path)


@pytest.mark.parametrize(
    "path", ["sort(data)", "map(&[@, @], data)", "to_array(@)", "merge(@, @)", "reverse(@)", "values(@)", "data[::2]"]
)
def test_what_answers_more_than_it_is_given_is_not_there(path):
    assert PATHS.fault(path)


def _costly(path: str, document: object) -> None:
    assert PATHS.fault(path) is None
    with pytest.raises(CostlyPathError):
        PATHS.look({"data": document}).find(path)


def test_a_look_has_so_many_steps_however_large_the_document_is():
    _costly("data[*].a", [{"a": 1}] * bounds.MOST_STEPS)
    _costly("data[]", [0] * (bounds.MOST_STEPS + 1))
    _costly("data[?@ == `1`]", [0] * bounds.MOST_STEPS)
    _costly("data.*", dict.fromkeys(map(str, range(bounds.MOST_STEPS))))
    _costly("contains(data, `1`)", [0] * (bounds.MOST_STEPS + 1))
    _costly("data[?starts_with(type(@), 'z')]", ["x"] * (bounds.MOST_STEPS // 7))


def test_the_steps_are_those_of_a_whole_look():
    look = PATHS.look({"data": [{"a": 1}] * (bounds.MOST_STEPS // 10)})
    with pytest.raises(CostlyPathError):
        [look.find("data[*].a") for _ in range(10)]


def test_what_is_found_many_times_over_counts_many_times():
    nine = ", ".join(["data.text"] * 9)
    _costly(f"[{nine}]", {"text": "x" * (bounds.MOST_KEPT // 8)})
    look = PATHS.look({"data": {"text": "x" * (bounds.MOST_KEPT // 8)}})
    with pytest.raises(CostlyPathError):
        [look.find("data") for _ in range(9)]


_WORDS = [
    "data",
    "a",
    "*",
    "[*]",
    "[]",
    "[0]",
    ".",
    "|",
    "||",
    "&&",
    "!",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "@",
    "`1`",
    "'x'",
    "==",
    "<",
    "?",
    "join",
    "length",
    "to_string",
    "not_null",
    "&",
]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "data"]), inner),
    max_leaves=20,
)


@given(st.lists(st.sampled_from(_WORDS), max_size=25).map("".join), _VALUES)
def test_whatever_is_written_comes_to_an_end_that_can_be_stored(path, value):
    if PATHS.fault(path) is None:
        try:
            found = PATHS.look({"data": value}).find(path)
        except CostlyPathError:
            return
        assert len(msgspec.json.encode(found)) < 8 * bounds.MOST_KEPT
