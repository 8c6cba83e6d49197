"""Who is told of what."""

import pytest

from domain.filters import Filter, is_event_type, is_pattern, matches, wants

ORDER = {"order": {"total": 12.5, "paid": True, "note": None, "lines": [{"count": 2}]}, "tag": "new"}


@pytest.mark.parametrize("name", ["order", "order.created", "a.b.c.d", "Order_2.x9"])
def test_an_event_type_is_words_joined_by_dots(name):
    assert is_event_type(name)
    assert is_pattern(name)
    assert is_pattern(f"{name}.*")


@pytest.mark.parametrize("name", ["", ".", "order.", ".order", "a..b", "a b", "a-b", "ä", "*", "a.*", "x" * 101, "a\n"])
def test_what_is_not(name):
    assert not is_event_type(name)


@pytest.mark.parametrize("name", ["", "*.created", "order*", "order.*.paid", "**", ".*", "*.*", "a-b.*"])
def test_a_wildcard_stands_at_the_end_and_for_whole_segments(name):
    assert not is_pattern(name)


@pytest.mark.parametrize(
    ("pattern", "type", "is_so"),
    [
        ("order.created", "order.created", True),
        ("order.created", "order.created.twice", False),
        ("order.*", "order.created", True),
        ("order.*", "order.line.added", True),
        ("order.*", "order", False),
        ("order.*", "orders.created", False),
        ("*", "anything.at.all", True),
    ],
)
def test_a_wildcard_is_for_one_or_more_segments(pattern, type, is_so):
    assert matches(pattern, type) is is_so


@pytest.mark.parametrize(
    ("filter", "lets_through"),
    [
        (Filter(path="order.total", any_of=(12.5,)), True),
        (Filter(path="order.total", any_of=(12, 13)), False),
        (Filter(path="order.paid", any_of=(True,)), True),
        (Filter(path="order.paid", any_of=(1,)), False),
        (Filter(path="order.note", any_of=(None,)), True),
        (Filter(path="order.nothing", any_of=(None,)), False),
        (Filter(path="order.note"), True),
        (Filter(path="order.nothing"), False),
        (Filter(path="order.nothing", exists=False), True),
        (Filter(path="order.lines.0"), False),
        (Filter(path="tag.more"), False),
        (Filter(path="tag", any_of=("old", "new")), True),
    ],
)
def test_a_filter_looks_at_one_place_of_the_payload(filter, lets_through):
    assert filter.lets_through(ORDER) is lets_through


def test_one_pattern_and_all_filters_have_to_fit():
    filters = [Filter(path="tag", any_of=("new",)), Filter(path="order.total")]
    assert wants(["payment.*", "order.*"], filters, "order.created", ORDER)
    assert not wants(["payment.*"], filters, "order.created", ORDER)
    assert not wants(["order.*"], [*filters, Filter(path="gone")], "order.created", ORDER)
