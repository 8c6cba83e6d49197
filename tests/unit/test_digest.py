"""How a digest and those in it stand to one another."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings

from adapters.stored import replayed
from application.ports.log import Recorded
from application.projections.notifications import Notifications
from application.projections.projection import folded, touched
from domain.notification import NotAttemptableError, Notification
from domain.vocabulary import Reason, Status
from tests.examples import NOON, attempted, notification
from tests.lives import Life, lives

MINE, DIGEST, BUNDLE = UUID(int=2), UUID(int=1), UUID(int=3)
MINUTE = timedelta(minutes=1)


def waiting(id: UUID = MINE) -> Notification:
    it = notification(id)
    it.wait(Reason.DIGEST, NOON + MINUTE, now=NOON, by="key:k1", bundle=BUNDLE)
    return it


def digest(**wishes: object) -> Notification:
    return notification(DIGEST, members=[MINE], **wishes)


def merged() -> Notification:
    it = waiting()
    it.merge(digest(), now=NOON, by="worker")
    return it


@settings(max_examples=50)
@given(lives())
def test_a_member_stands_as_its_digest_whatever_becomes_of_that_and_so_does_its_row(life: Life):
    it, projection = merged(), Notifications()
    events, position, rows = list(it.collect_events()), 0, dict[object, object]()
    for said, became in life.lived(DIGEST, [MINE]):
        it.follow(became, now=became.modified_on, by="digest")
        news = list(it.collect_events())
        assert not news or "StandingChanged" in {type(event).__name__ for event in said}
        it.follow(became, now=became.modified_on, by="digest")
        assert not it.pending_events
        open = became.status in (Status.PENDING, Status.DEFERRED)
        expected = (Status.DEFERRED, Reason.DIGEST) if open else (became.status, became.reason_code)
        assert (it.status, it.reason_code, it.due) == (*expected, None)
        for event in [*events, *news]:
            position += 1
            rows |= folded(projection, rows, touched(projection, [Recorded(position, event)]))
        events = []
        row = rows[(MINE,)]
        assert (row.status, row.reason_code, row.digest_id) == (*expected, DIGEST)


def test_what_is_in_a_digest_is_left_to_that():
    it = merged()
    assert (it.status, it.reason_code, it.digest_id, it.due) == (Status.DEFERRED, Reason.DIGEST, DIGEST, None)
    assert not it.cancel(now=NOON, by="key:k1")
    assert not it.expire_if_late(NOON + 99 * MINUTE, "worker")
    for refused in (attempted, lambda it: it.merge(digest(), now=NOON, by="worker")):
        with pytest.raises(NotAttemptableError):
            refused(it)


def test_what_waits_for_no_others_is_not_put_into_a_digest():
    called = attempted(waiting())
    ended = waiting()
    ended.cancel(now=NOON, by="key:k1")
    for it in (notification(MINE), called, ended):
        with pytest.raises(NotAttemptableError):
            it.merge(digest(), now=NOON, by="worker")


def test_who_is_in_another_digest_neither_follows_nor_parts():
    it, other = merged(), notification(UUID(int=9), members=[MINE])
    other.cancel(now=NOON, by="key:k1")
    it.follow(other, now=NOON, by="digest")
    assert not it.part(other, now=NOON, by="worker")
    assert it.digest_id == DIGEST


def test_what_parts_waits_for_the_same_others_again():
    it = merged()
    assert it.part(digest(), now=NOON, by="worker")
    assert (it.awaits_others, it.bundle, it.digest_id) == (True, BUNDLE, None)
    assert it.due
    assert it.due.at == NOON


def test_what_was_put_off_for_another_reason_still_waits_for_the_others():
    it = waiting()
    it.wait(Reason.QUIET_HOURS, NOON + 60 * MINUTE, now=NOON + MINUTE, by="worker")
    assert (it.bundle, it.reason_code) == (BUNDLE, Reason.QUIET_HOURS)


def test_what_is_said_of_members_can_be_read_again():
    it = merged()
    bounced = digest()
    bounced.cancel(now=NOON, by="key:k1")
    it.follow(bounced, now=NOON, by="digest")
    events = [*it.collect_events()]
    assert replayed(Notification, events)[MINE].status is Status.CANCELLED
    again = replayed(Notification, bounced.collect_events())[DIGEST]
    assert (again.told.status, again.told.reason) == (Status.CANCELLED, Reason.CANCELLED_BY_CALLER)
