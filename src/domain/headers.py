"""What may stand in one line of a message's header: a subject, or a name beside an address."""

import re
import unicodedata


class UnsafeHeaderError(ValueError):
    """The value would not stay one header line as it was written. The message says why and never repeats the value."""


def check_header(value: str) -> None:
    """Raise UnsafeHeaderError unless every mail program shows exactly `value`, on one line.

    Refused are line ends of every kind and other control characters; RFC 2047 encoded words, which decode to what
    nobody checked (CVE-2024-6923); marks that turn the direction of writing (UTR 36, 2.5); and lone surrogates.
    """
    if _ENCODED_WORD.search(value):
        raise UnsafeHeaderError("contains an encoded word")
    if found := _FORBIDDEN.search(value):
        raise UnsafeHeaderError(f"contains {_describe(found.group())}")


# The marks U+200E and U+200F stay allowed: right-to-left text needs them and they end with themselves.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1, which holds the line end U+0085
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates
    "\ud800-\udfff]"  # half a character, which no charset can carry
)
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bq]\?", re.IGNORECASE)


def _describe(character: str) -> str:
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    return f"{name} ({code})" if name else f"the control character {code}"
