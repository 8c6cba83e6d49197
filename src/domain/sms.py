"""How an SMS is counted: by the encoding it needs, and the segments it is sent and paid in.

GSM 03.38 (3GPP TS 23.038), 6.2.1 for the alphabet; 3GPP TS 23.040, 9.2.3.24.1 for what a part of many may hold.
"""

from enum import StrEnum

import msgspec


class SmsEncoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


class SmsSize(msgspec.Struct, frozen=True):
    """`units` are septets of GSM-7 or 16-bit units of UCS-2; `segments` what is sent, and paid."""

    encoding: SmsEncoding
    units: int
    segments: int


def sms_size(text: str) -> SmsSize:
    """One character outside of GSM-7 puts the whole message into UCS-2. What takes two units is never cut in half."""
    gsm = all(character in _SEPTETS for character in text)
    costs = [_SEPTETS[each] for each in text] if gsm else [2 if ord(each) > _BASIC_PLANE else 1 for each in text]
    single, part = (160, 153) if gsm else (70, 67)
    units = sum(costs)
    segments = 1 if units <= single else _filled(costs, part)
    return SmsSize(SmsEncoding.GSM_7 if gsm else SmsEncoding.UCS_2, units, segments)


def _filled(costs: list[int], part: int) -> int:
    segments, used = 1, 0
    for cost in costs:
        if used + cost > part:
            segments, used = segments + 1, 0
        used += cost
    return segments


_BASIC_PLANE = 0xFFFF
_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = "\f^{}\\[~]|€"
_SEPTETS = dict.fromkeys(_ALPHABET, 1) | dict.fromkeys(_EXTENDED, 2)
