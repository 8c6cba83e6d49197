"""How a webhook is signed: Standard Webhooks 1.0.0 (https://www.standardwebhooks.com) and the plain `sha256=` scheme.

Both sign the exact bytes that are sent. A secret is `whsec_` and base64, for HMAC, or `whsk_` and base64, for ed25519;
while one is being replaced by another, both sign.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.vocabulary import SecretKind

SHARED, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"


class RandomWebhookSecrets:
    """From the operating system's randomness."""

    def make(self, kind: SecretKind) -> str:
        return new_secret(secrets.token_bytes(32), kind)

    def public(self, secret: str) -> str | None:
        return public_key(secret)


class InvalidSecretError(ValueError):
    """Not a signing secret. The message never repeats it."""


def signature_headers(id: str, timestamp: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers that prove the body, one signature for each secret, in their order.

    `timestamp` is of this attempt, in seconds since 1970. X-Webhook-Signature takes a secret that both sides know,
    so a `whsk_` one does not appear there. Raises InvalidSecretError, also when there is no secret at all.
    """
    if not keys:
        raise InvalidSecretError("there is nothing to sign with")
    at = str(timestamp)
    signed = b"%b.%b.%b" % (id.encode("ascii"), at.encode(), body)
    headers = {
        "webhook-id": id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(_standard(secret, signed) for secret in keys),
        "X-Webhook-Timestamp": at,
    }
    if plain := ",".join(_plain(secret, at, body) for secret in keys if secret.startswith(SHARED)):
        headers["X-Webhook-Signature"] = plain
    return headers


def new_secret(randomness: bytes, kind: SecretKind = SecretKind.SYMMETRIC) -> str:
    """The secret made of 32 random bytes: `whsec_...`, or `whsk_...` whose other half `public_key` tells."""
    if len(randomness) != 32:
        raise InvalidSecretError("a secret is made of 32 random bytes")
    if kind is SecretKind.SYMMETRIC:
        return SHARED + _to_base64(randomness)
    return PRIVATE + _to_base64(randomness + _raw_public(Ed25519PrivateKey.from_private_bytes(randomness)))


def public_key(secret: str) -> str | None:
    """`whpk_...`, with which receivers verify what a `whsk_` secret signed; None: it is a shared one."""
    key = _key(secret)
    return PUBLIC + _to_base64(_raw_public(key)) if isinstance(key, Ed25519PrivateKey) else None


def _standard(secret: str, signed: bytes) -> str:
    key = _key(secret)
    if isinstance(key, Ed25519PrivateKey):
        return "v1a," + _to_base64(key.sign(signed))
    return "v1," + _to_base64(hmac.digest(key, signed, hashlib.sha256))


def _plain(secret: str, at: str, body: bytes) -> str:
    """The key is the whole text of the secret, `whsec_` included, as whoever reads of the scheme would write it."""
    return "sha256=" + hmac.digest(secret.encode("ascii"), b"%b.%b" % (at.encode(), body), hashlib.sha256).hex()


@lru_cache(maxsize=4096)
def _key(secret: str) -> bytes | Ed25519PrivateKey:
    prefix = next((prefix for prefix in (SHARED, PRIVATE) if secret.startswith(prefix)), None)
    try:
        key = base64.b64decode(secret.removeprefix(prefix or ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if prefix == SHARED and 24 <= len(key) <= 64:
        return key
    if prefix == PRIVATE and len(key) == 64:  # the seed and, after it, the public key
        return _checked(Ed25519PrivateKey.from_private_bytes(key[:32]), key[32:])
    raise InvalidSecretError(f"a signing secret is {SHARED} or {PRIVATE} and base64")


def _checked(key: Ed25519PrivateKey, public: bytes) -> Ed25519PrivateKey:
    if _raw_public(key) != public:
        raise InvalidSecretError("the two halves of the key do not belong together")
    return key


def _raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
