"""What an SMS comes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sms import SmsEncoding, SmsSize, sms_size

GSM, UCS = SmsEncoding.GSM_7, SmsEncoding.UCS_2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", SmsSize(GSM, 0, 1)),
        ("a" * 160, SmsSize(GSM, 160, 1)),
        ("a" * 161, SmsSize(GSM, 161, 2)),
        ("a" * 306, SmsSize(GSM, 306, 2)),
        ("a" * 307, SmsSize(GSM, 307, 3)),
        ("€" * 80, SmsSize(GSM, 160, 1)),
        ("€" * 81, SmsSize(GSM, 162, 2)),
        ("a" * 152 + "€" + "a" * 7, SmsSize(GSM, 161, 2)),
        ("a" * 152 + "€" + "a" * 152, SmsSize(GSM, 306, 3)),
        ("Grüße an Ångström: ¿50 £?", SmsSize(GSM, 25, 1)),
        ("[x]", SmsSize(GSM, 5, 1)),
        ("ç", SmsSize(UCS, 1, 1)),
        ("п" * 70, SmsSize(UCS, 70, 1)),
        ("п" * 71, SmsSize(UCS, 71, 2)),
        ("п" * 134, SmsSize(UCS, 134, 2)),
        ("п" * 135, SmsSize(UCS, 135, 3)),
        ("a" * 69 + "😀", SmsSize(UCS, 71, 2)),
        ("a" * 66 + "😀" + "a" * 66, SmsSize(UCS, 134, 3)),
        ("a" * 71 + "’", SmsSize(UCS, 72, 2)),
    ],
)
def test_the_size_of_a_message(text, size):
    assert sms_size(text) == size


def test_the_alphabet_is_the_standards():
    """128 septets less the escape, and ten more behind it."""
    assert sum(sms_size(chr(code)).encoding is GSM for code in range(0x3000)) == 127 + 10


@given(st.text())
def test_every_unit_has_its_place_and_no_segment_is_for_nothing(text):
    size = sms_size(text)
    single, part = (160, 153) if size.encoding is GSM else (70, 67)
    assert size.units == (sum(2 if c in "\f^{}\\[~]|€" else 1 for c in text) if size.encoding is GSM else _utf16(text))
    if size.segments == 1:
        assert size.units <= single
    else:
        assert (size.segments - 1) * (part - 1) < size.units <= size.segments * part


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
