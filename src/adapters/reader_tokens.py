"""What stands in a link for its reader: whom it is about and which category, to be read by nobody but us."""

import base64
import binascii
import hmac

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from application.readers import Who

_ABOUT = [b"carillon reader token v1"]
_LONGEST = 8_192


class _Token(msgspec.Struct, frozen=True, array_like=True):
    who: Who
    category: str


class ReaderTokens:
    """Implements the port ReaderLinks: AES-SIV (RFC 5297) under a key that follows from the master key.

    The same reader and category make the same token, so a mail that is made again is the same mail.
    """

    def __init__(self, master_key: bytes, public_url: str | None) -> None:
        self._cipher = AESSIV(hmac.digest(master_key, b"carillon reader tokens", "sha512"))
        self._public_url = public_url

    def unsubscribe(self, who: Who, category: str) -> str | None:
        return f"{self._public_url}/u/{self.token(who, category)}" if self._public_url else None

    def choose(self, who: Who, category: str) -> str | None:
        return f"{self._public_url}/p/{self.token(who, category)}" if self._public_url else None

    def token(self, who: Who, category: str) -> str:
        sealed = self._cipher.encrypt(msgspec.msgpack.encode(_Token(who, category)), _ABOUT)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def read(self, token: str) -> tuple[Who, str] | None:
        if len(token) > _LONGEST:
            return None
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            known = msgspec.msgpack.decode(self._cipher.decrypt(sealed, _ABOUT), type=_Token)
        except (binascii.Error, ValueError, InvalidTag, msgspec.MsgspecError):
            return None
        return known.who, known.category
