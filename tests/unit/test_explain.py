"""Explanations have words for everything that there is."""

from application.queries import explain
from domain.notification import Notification
from domain.vocabulary import Reason, Status


def test_every_reason_status_and_event_has_words():
    topics = {kind.TOPIC for kind in vars(Notification).values() if hasattr(kind, "TOPIC")}
    assert set(explain.WORDS) == set(Reason)
    assert set(explain._STATUSES) == set(Status)
    assert set(explain._EVENTS) == topics
