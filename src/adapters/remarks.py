"""What a provider says of its failures, made fit to be stored and shown."""

import re

_LONGEST = 300
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def remark(said: str | bytes) -> str:
    """On one line, cut to 300 characters, without what PostgreSQL or UTF-8 cannot hold (NUL, halves of characters)."""
    text = said[: 4 * _LONGEST].decode(errors="replace") if isinstance(said, bytes) else said[: 4 * _LONGEST]
    return _UNPRINTABLE.sub(" ", text).strip()[:_LONGEST]
