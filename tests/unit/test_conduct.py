"""Who waits for how long when renders were slow."""

import pytest

from adapters.templates import conduct as conduct_module
from adapters.templates.conduct import MOST_SLOW_SECONDS, SLOW_SECONDS, WINDOW_SECONDS, Conduct, Standing

QUICK, SLOW = SLOW_SECONDS / 10, SLOW_SECONDS * 2


@pytest.fixture
def conduct() -> Conduct:
    return Conduct()


def test_a_version_is_new_until_it_was_seen_to_be_quick(conduct):
    assert conduct.standing("acme", "v1", 0) is Standing.NEW
    conduct.spent("acme", "v1", QUICK, 0)
    assert conduct.standing("acme", "v1", 1) is Standing.QUICK
    assert conduct.standing("acme", "v2", 1) is Standing.NEW
    assert conduct.standing("acme", None, 1) is Standing.NEW


def test_one_slow_render_makes_a_tenant_slow_for_a_minute_and_nobody_else(conduct):
    conduct.spent("acme", "v1", QUICK, 0)
    conduct.spent("other", "v2", QUICK, 0)
    conduct.spent("acme", "v3", SLOW, 10)
    assert conduct.standing("acme", "v1", 10 + WINDOW_SECONDS - 1) is Standing.SLOW
    assert conduct.standing("other", "v2", 10) is Standing.QUICK
    assert conduct.standing("acme", "v1", 10 + WINDOW_SECONDS) is Standing.QUICK
    assert conduct.standing("acme", "v3", 10 + WINDOW_SECONDS) is Standing.NEW


def test_slow_renders_have_so_much_time_within_a_minute(conduct):
    each = MOST_SLOW_SECONDS / 4
    for second in range(3):
        conduct.spent("acme", "v1", each, second)
        assert conduct.tenant_waits("acme", second) == 0
    conduct.spent("acme", "v1", each, 3)
    assert conduct.tenant_waits("acme", 3) == WINDOW_SECONDS - 3
    assert conduct.tenant_waits("other", 3) == 0
    assert conduct.tenant_waits("acme", WINDOW_SECONDS) == 0


def test_who_took_far_too_much_waits_until_enough_is_forgotten(conduct):
    for second in range(6):
        conduct.spent("acme", "v1", MOST_SLOW_SECONDS / 4, second)
    assert conduct.tenant_waits("acme", 6) == WINDOW_SECONDS + 2 - 6


def test_quick_renders_are_as_many_as_one_likes(conduct):
    for number in range(10_000):
        conduct.spent("acme", "v1", SLOW_SECONDS, number / 1000)
    assert conduct.tenant_waits("acme", 10) == 0


def test_a_version_that_was_stopped_twice_waits_until_one_is_forgotten(conduct):
    conduct.stopped("v1", 0)
    assert conduct.version_waits("v1", 1) == 0
    conduct.stopped("v1", 20)
    assert conduct.version_waits("v1", 20) == WINDOW_SECONDS - 20
    assert conduct.version_waits("v2", 20) == 0
    assert conduct.version_waits("v1", WINDOW_SECONDS) == 0


def test_what_is_remembered_has_an_end(conduct, monkeypatch):
    monkeypatch.setattr(conduct_module, "_MOST_REMEMBERED", 3)
    for number in range(10):
        conduct.spent("acme", f"v{number}", QUICK, 0)
    known = [number for number in range(10) if conduct.standing("acme", f"v{number}", 0) is Standing.QUICK]
    assert known == [7, 8, 9]
