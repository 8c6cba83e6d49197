"""The text of an API key: `ck_<id>_<secret>`, of which only a digest of the secret is ever stored.

The secret has 256 random bits, so a plain SHA-256 is enough: there is nothing to guess.
"""

import hashlib
import hmac
import re
import secrets

_PREFIX = "ck"
_TEXT = re.compile(r"ck_([0-9a-z]{12})_([0-9a-f]{64})")


def new_text() -> tuple[str, str, bytes]:
    """A fresh id, the key's whole text, and the digest to store."""
    id = secrets.token_hex(6)
    secret = secrets.token_hex(32)
    return id, f"{_PREFIX}_{id}_{secret}", digest(secret)


def taken_apart(text: str) -> tuple[str, str] | None:
    """Id and secret, or None when it is not even shaped like a key."""
    match = _TEXT.fullmatch(text)
    return (match[1], match[2]) if match else None


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def fits(secret: str, stored: bytes | None) -> bool:
    """In constant time, also when there is nothing stored."""
    return hmac.compare_digest(digest(secret), stored or bytes(32)) and stored is not None
