"""A template of a tenant's: versions that never change, one of them active."""

from datetime import timedelta

import pytest

from domain import own_template
from domain.ids import template_id
from domain.own_template import (
    NoSuchVersionError,
    NothingToRollBackError,
    Template,
    TooManyActivationsError,
    TooManyVersionsError,
    is_own_name,
    may_be_own_name,
)
from domain.vocabulary import Channel
from tests.examples import DECLARED, NOON
from tests.examples import own_template as an_own_template

EN, DE = {Channel.EMAIL: "hash-en"}, {Channel.EMAIL: "hash-de"}
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def template() -> Template:
    return an_own_template()


def test_it_is_one_of_its_tenant_and_name():
    assert template_id("acme", "spring-sale") != template_id("other", "spring-sale")
    assert template_id("acme", "spring-sale") != template_id("acme", "autumn-sale")
    assert an_own_template().id == template_id("acme", "spring-sale")


def test_a_new_version_is_not_active(template):
    assert template.newest.number == 1
    assert template.active is None


def test_the_active_version_stays_when_another_comes(template):
    template.activate(1, now=NOON, by="key:k1")
    template.add_version(DECLARED, "en", {"en": EN}, now=LATER, by="key:k2")
    assert template.active == template.numbered(1)
    assert (template.newest.number, template.newest.created_at, template.newest.by) == (2, LATER, "key:k2")


def test_a_localization_is_a_new_version_that_leaves_the_others_as_they_are(template):
    first = template.numbered(1)
    second = template.localize(1, "de", DE, now=LATER, by="key:k1")
    assert template.numbered(1) == first
    assert second.number == 2
    assert second.texts == {"en": EN, "de": DE}
    assert second.declared == first.declared
    assert second.languages(Channel.EMAIL) == {"en": "hash-en", "de": "hash-de"}
    assert second.languages(Channel.SMS) == {}


def test_the_same_localization_again_changes_nothing(template):
    template.localize(1, "de", DE, now=NOON, by="key:k1")
    template.collect_events()
    assert template.localize(2, "de", DE, now=LATER, by="key:k1").number == 2
    assert template.collect_events() == []


def test_an_older_version_may_be_localized(template):
    template.add_version(DECLARED, "en", {"en": {Channel.EMAIL: "newer"}}, now=NOON, by="key:k1")
    assert template.localize(1, "de", DE, now=NOON, by="key:k1").texts == {"en": EN, "de": DE}


def test_to_activate_what_is_active_changes_nothing(template):
    template.activate(1, now=NOON, by="key:k1")
    template.collect_events()
    template.activate(1, now=NOON, by="key:k1")
    assert template.collect_events() == []


def test_to_roll_back_goes_back_step_by_step(template):
    for number in (2, 3):
        template.localize(1, "de", {Channel.EMAIL: f"hash-{number}"}, now=NOON, by="key:k1")
    for number in (1, 3, 2):
        template.activate(number, now=NOON, by="key:k1")
    seen = []
    for _ in range(2):
        template.roll_back(now=NOON, by="key:k1")
        seen.append(template.active.number)
    assert seen == [3, 1]
    with pytest.raises(NothingToRollBackError):
        template.roll_back(now=NOON, by="key:k1")


def test_what_was_never_active_cannot_be_rolled_back(template):
    with pytest.raises(NothingToRollBackError):
        template.roll_back(now=NOON, by="key:k1")


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_version_that_is_not_there(template, number):
    with pytest.raises(NoSuchVersionError):
        template.activate(number, now=NOON, by="key:k1")
    with pytest.raises(NoSuchVersionError):
        template.localize(number, "de", DE, now=NOON, by="key:k1")


def test_there_is_an_end_to_versions(template, monkeypatch):
    monkeypatch.setattr(own_template, "MOST_VERSIONS", 2)
    template.localize(1, "de", DE, now=NOON, by="key:k1")
    with pytest.raises(TooManyVersionsError):
        template.localize(1, "fr", DE, now=NOON, by="key:k1")
    with pytest.raises(TooManyVersionsError):
        template.add_version(DECLARED, "en", {"en": EN}, now=NOON, by="key:k1")


def test_there_is_an_end_to_activations_and_always_a_way_back(template, monkeypatch):
    monkeypatch.setattr(own_template, "MOST_ACTIVATIONS", 3)
    template.localize(1, "de", DE, now=NOON, by="key:k1")
    for number in (1, 2):
        template.activate(number, now=NOON, by="key:k1")
    template.roll_back(now=NOON, by="key:k1")
    template.activate(2, now=NOON, by="key:k1")
    template.activate(2, now=NOON, by="key:k1")
    with pytest.raises(TooManyActivationsError, match="was activated 3 times"):
        template.activate(1, now=NOON, by="key:k1")
    template.roll_back(now=NOON, by="key:k1")
    assert template.active.number == 1
    with pytest.raises(TooManyActivationsError):
        template.activate(2, now=NOON, by="key:k1")


def test_its_events_make_it_again(template):
    template.localize(1, "de", DE, now=NOON, by="key:k1")
    template.activate(2, now=NOON, by="key:k1")
    template.activate(1, now=NOON, by="key:k1")
    template.roll_back(now=NOON, by="key:k1")
    again = None
    for event in template.collect_events():
        again = event.mutate(again)
    assert again == template


@pytest.mark.parametrize("name", ["spring-sale", "a-1", "acme-order-2"])
def test_names_of_a_tenants_own(name):
    assert is_own_name(name)
    assert may_be_own_name(name)


@pytest.mark.parametrize(
    "name", ["welcome", "order_shipped", "", "-", "a-", "-a", "A-b", "a--b", "a b-c", "ä-b", "a-b\n", "a-" + "b" * 99]
)
def test_names_that_are_not_a_tenants_to_give(name):
    assert not may_be_own_name(name)
