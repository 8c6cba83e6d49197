"""What callers are shown of the log."""

from uuid import UUID

from application.ports.log import Recorded
from domain.personal import Letter
from entrypoints.http.detail import audit_event
from tests.examples import SOMEBODY, attempted, notification


def test_what_was_secret_when_it_was_accepted_is_masked_whatever_became_of_its_type():
    letter = Letter(person=SOMEBODY, address="ada@example.com", variables={"code": "31-4159", "name": "Ada"})
    it = notification(UUID(int=1), type="long_gone", letter=letter, secrets=["code"])
    (event,) = it.collect_events()
    assert audit_event(Recorded(1, event)).personal["variables"] == {"code": "•••", "name": "Ada"}


def test_nobody_is_shown_a_digest_from_which_a_short_code_could_be_found():
    it = notification(UUID(int=1))
    it.collect_events()
    attempted(it)
    (event,) = it.collect_events()
    assert event.digest == "digest"
    assert audit_event(Recorded(2, event)).data["provider"] == "smtp"
    assert "digest" not in audit_event(Recorded(2, event)).data
