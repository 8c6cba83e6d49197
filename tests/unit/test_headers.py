"""One line of a header stays one line, and says what it seems to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.headers import UnsafeHeaderError, check_header


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Welcome, Anna",
        "Grüße an Ægir Þórðarson, 李雷 und Ольга",
        "שלום עולם",
        "מחיר \u200f(₪)",  # a mark for right-to-left text, which ends with itself
        "Zoë 👩\u200d💻",  # a joined emoji
        "100 % = everything? Yes!",
        "a=?b",
        "Is 3 =? 3, or =? q? Who knows?",
        "x" * 5000,
    ],
)
def test_what_people_write_passes(value: str) -> None:
    check_header(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Hello\r\nBcc: eve@example.org", "U+000D"),
        ("Hello\nBcc: eve@example.org", "U+000A"),
        ("Hello\rBcc: eve@example.org", "U+000D"),
        ("Hello\r\n\r\n<h1>body</h1>", "U+000D"),
        ("Hello\x00Anna", "U+0000"),
        ("Hello\tAnna", "U+0009"),
        ("Hello\x0bAnna", "U+000B"),
        ("Hello\x0cAnna", "U+000C"),
        ("Hello\x1cAnna", "U+001C"),
        ("Hello\x7fAnna", "U+007F"),
        ("Hello\x85Bcc: eve@example.org", "U+0085"),
        ("Hello\u2028Bcc: eve@example.org", "U+2028"),
        ("Hello\u2029Bcc: eve@example.org", "U+2029"),
        ("gro.elpmaxe\u202e@moc", "U+202E"),
        ("Hello \u2066Anna", "U+2066"),
        ("Hello \ud800", "U+D800"),
        ("=?utf-8?q?a=0d=0aBcc:_eve@example.org?=", "encoded word"),  # CVE-2024-6923
        ("=?UTF-8?B?QQ0KQmNjOiBldmVAZXhhbXBsZS5vcmc=?=", "encoded word"),
        ("Hello =?iso-8859-1?Q?=0A?=", "encoded word"),
        ("=?utf-8*en?q?=0a?=", "encoded word"),
        ("=??q?=0a?=", "encoded word"),
    ],
)
def test_what_would_change_the_line_is_refused(value: str, reason: str) -> None:
    with pytest.raises(UnsafeHeaderError, match=reason.replace("+", r"\+")):
        check_header(value)


@given(st.text())
def test_what_passes_is_one_line_and_can_be_encoded(value: str) -> None:
    try:
        check_header(value)
    except UnsafeHeaderError:
        return
    assert len(value.splitlines()) <= 1
    value.encode()


def test_the_reason_does_not_repeat_the_value() -> None:
    with pytest.raises(UnsafeHeaderError) as refused:
        check_header("Anna Berger\n")
    assert "Anna" not in str(refused.value)
