"""A message as bytes: what a mail program reads is what was said, whatever was said."""

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adapters.email.mime import compose
from application.ports.email import Email
from domain.headers import UnsafeHeaderError, check_header
from domain.mailbox import Mailbox

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
NOW = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
PLAIN = Email(
    sender=Mailbox("news@carillon.example"),
    to=Mailbox("odon@post.example"),
    subject="Hello",
    html="<p>Hi</p>",
    text="Hi",
)


def read(message: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def is_fit(text: str) -> bool:
    try:
        check_header(text)
    except UnsafeHeaderError:
        return False
    return True


def composed(**changes: object) -> bytes:
    return compose(msgspec.structs.replace(PLAIN, **changes), "key", NOW)[1]


def test_the_same_email_key_and_time_are_the_same_bytes():
    assert compose(PLAIN, "key", NOW) == compose(PLAIN, "key", NOW)


def test_the_message_id_follows_from_the_key_and_is_of_our_domain():
    id, message = compose(PLAIN, "key", NOW)
    assert id.endswith("@carillon.example>")
    assert read(message)["Message-ID"] == id
    assert compose(PLAIN, "key", datetime(2026, 3, 2, tzinfo=UTC))[0] == id
    assert compose(PLAIN, "another", NOW)[0] != id
    assert compose(PLAIN, None, NOW)[0] != compose(PLAIN, None, NOW)[0]


def test_a_long_header_of_the_callers_own_stays_as_it_is():
    value = f"<https://carillon.example/u/{'a1' * 300}>, <mailto:bye@carillon.example>"
    assert b"\r\nList-Unsubscribe: %b\r\n" % value.encode() in composed(headers={"List-Unsubscribe": value})


def test_the_text_comes_before_the_html():
    message = read(composed())
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_without_html_it_is_one_text():
    message = read(composed(html=None))
    assert message.get_content_type() == "text/plain"
    assert message.get_content() == "Hi"


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "..\n.",
        "a\n.\nb",
        "a\r\n.\r\nRCPT TO:<b@x.example>",
        "a\n.\rb",
        "a\r.\nb",
        "\x00\x1a",
        "x" * 5000,
        " \t\n ",
    ],
)
def test_no_line_of_a_body_ends_the_message_or_is_too_long(text: str):
    lines = composed(text=text, html=text).split(b"\r\n")
    assert b"." not in lines
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)


@patient
@given(st.text(), st.text())
def test_bodies_are_read_as_they_were_written(text: str, html: str):
    parts = list(read(composed(text=text, html=html)).iter_parts())
    written = [body.replace("\r\n", "\n").replace("\r", "\n") for body in (text, html)]
    assert [part.get_content().replace("\r\n", "\n") for part in parts] == written


@patient
@given(st.text().filter(is_fit))
def test_a_subject_is_read_as_it_was_written(subject: str):
    assert read(composed(subject=subject))["Subject"].strip() == subject.strip()


@patient
@given(st.text().filter(is_fit))
def test_a_name_never_becomes_another_recipient(name: str):
    assume(name.strip())
    message = composed(to=Mailbox("odon@post.example", name))
    (address,) = read(message)["To"].addresses
    assert address.addr_spec == "odon@post.example"
    assert address.display_name.replace(" ", "") == name.replace(" ", "")
