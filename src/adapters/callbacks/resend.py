"""What Resend tells later of a message (https://resend.com/docs/dashboard/webhooks/introduction)."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from adapters.remarks import remark
from domain.receipts import ProviderReceipt, ReceiptKind


class InvalidSignatureError(Exception):
    """The callback is not from whom it says, or not of now. It never says which of all reasons it was."""

    def __init__(self) -> None:
        super().__init__("the signature does not fit")


class MalformedCallbackError(Exception):
    """Rightly signed, and not JSON."""


class ResendCallbacks:
    """Standard Webhooks v1 (https://www.standardwebhooks.com) under the header names of Svix.

    Each of `secrets` (`whsec_...`) is good, so that a new one can be rolled in beside the old. A callback older or
    newer than `tolerance` is refused; one that comes twice within it has the same `event_id`.
    """

    def __init__(self, secrets: Sequence[str], tolerance: timedelta = timedelta(seconds=300)) -> None:
        self._secrets = [_secret(text) for text in secrets]
        self._tolerance = tolerance

    def receipt(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ProviderReceipt:
        """Raises InvalidSignatureError and MalformedCallbackError, and nothing else whatever is in it.

        An event whose type or shape is not known is a receipt too, of kind OTHER.
        """
        event_id, sent_at = self._verify({name.lower(): value for name, value in headers.items()}, body, now)
        try:
            event = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise MalformedCallbackError("the body is not JSON") from None
        return _receipt(event_id, sent_at, event)

    def _verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> tuple[str, datetime]:
        id, timestamp = headers.get("svix-id", ""), headers.get("svix-timestamp", "")
        if not (_ID.fullmatch(id) and _TIMESTAMP.fullmatch(timestamp)):
            raise InvalidSignatureError
        sent_at = datetime.fromtimestamp(int(timestamp), UTC)
        signed = b"%b.%b.%b" % (id.encode(), timestamp.encode(), body)
        if not self._signed_by_one(signed, headers.get("svix-signature", "")) or abs(now - sent_at) > self._tolerance:
            raise InvalidSignatureError
        return id, sent_at

    def _signed_by_one(self, signed: bytes, signatures: str) -> bool:
        given = [text.encode(errors="replace") for text in signatures.split(" ")[:_MOST_SIGNATURES]]
        expected = [_signature(secret, signed) for secret in self._secrets]
        fits = [hmac.compare_digest(one, other) for one in expected for other in given]
        return any(fits)


_PREFIX = "whsec_"
_MOST_SIGNATURES = 16
_ID = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_GENERATION = re.compile(r"[1-9][0-9]{0,8}")


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not (secret and text.startswith(_PREFIX)):
        raise ValueError(f"a signing secret of Resend is {_PREFIX} and base64")
    return secret


def _signature(secret: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256))


def _receipt(event_id: str, sent_at: datetime, event: object) -> ProviderReceipt:
    said = _text(event, "type")
    data = _field(event, "data")
    tags = _tags(_field(data, "tags"))
    return ProviderReceipt(
        provider="resend",
        event_id=event_id,
        kind=_kind(said, data),
        said=said,
        provider_id=_text(data, "email_id") or None,
        notification=_notification(tags),
        generation=_generation(tags),
        occurred_at=_moment(_field(event, "created_at")) or sent_at,
        detail=_detail(data),
    )


_KINDS = {
    "email.sent": ReceiptKind.SENT,
    "email.delivery_delayed": ReceiptKind.DELAYED,
    "email.delivered": ReceiptKind.DELIVERED,
    "email.opened": ReceiptKind.OPENED,
    "email.clicked": ReceiptKind.CLICKED,
    "email.complained": ReceiptKind.COMPLAINED,
    "email.failed": ReceiptKind.REJECTED,
    "email.suppressed": ReceiptKind.REJECTED,
}


def _kind(said: str, data: object) -> ReceiptKind:
    if said == "email.bounced":
        permanent = _field(_field(data, "bounce"), "type") == "Permanent"
        return ReceiptKind.BOUNCED if permanent else ReceiptKind.SOFT_BOUNCED
    return _KINDS.get(said, ReceiptKind.OTHER)


def _detail(data: object) -> str:
    return (
        _text(_field(data, "bounce"), "message")
        or _text(_field(data, "suppressed"), "message")
        or _text(_field(data, "failed"), "reason")
    )


def _tags(tags: object) -> object:
    """They come back as an object; a list of names and values, as they were sent, is understood too."""
    return {_text(tag, "name"): _field(tag, "value") for tag in tags} if isinstance(tags, list) else tags


def _generation(tags: object) -> int | None:
    text = _text(tags, "generation")
    return int(text) if _GENERATION.fullmatch(text) else None


def _notification(tags: object) -> UUID | None:
    try:
        return UUID(_text(tags, "notification_id"))
    except ValueError:
        return None


def _moment(value: object) -> datetime | None:
    """When the event happened; `data.created_at` is when the message was made."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _field(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: object, name: str) -> str:
    field = _field(value, name)
    return remark(field) if isinstance(field, str) else ""
