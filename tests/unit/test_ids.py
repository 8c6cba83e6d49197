"""Ids that follow from names."""

from inspect import signature
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from domain import ids
from domain.ids import happening_id


@given(st.text(min_size=1), st.text(min_size=1))
def test_an_id_is_the_uuid_that_the_standard_makes_of_the_name(tenant: str, event: str) -> None:
    id = happening_id(tenant, event)
    assert id == uuid5(UUID("9c1d7e52-43c8-5e1b-a6f4-7d20b5e3c918"), f"{tenant}\x00{event}")
    assert id.version == 5


def test_what_is_named_alike_but_is_something_else_has_another_id() -> None:
    made = [getattr(ids, name) for name in dir(ids) if name.endswith("_id")]
    pairs = [make("acme", "same") for make in made if len(signature(make).parameters) == 2]
    assert len(set(pairs)) == len(pairs) > 4
