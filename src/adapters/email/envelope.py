"""What no sender may put on the wire, whoever asks for it.

A header that could end early, or an address that is two, would let a template's variables write headers and
recipients of their own.
"""

import re

from application.ports.email import Email
from domain.headers import UnsafeHeaderError, check_header
from domain.mailbox import Mailbox
from domain.outcomes import Refused
from domain.vocabulary import Reason

_ATOM = r'[^\s@<>()\[\],;:."\\]+'
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*")  # RFC 5322, 3.4.1, without the quoted forms
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_OURS = {"from", "to", "cc", "bcc", "reply-to", "sender", "subject", "date", "message-id"}
_OURS |= {"mime-version", "received", "return-path", "dkim-signature"}
_OURS_BY_PREFIX = ("content-", "resent-")
_LONGEST_LINE = 998  # RFC 5322, 2.1.1


def objection(email: Email) -> Refused | None:
    """Why this message must not be handed to anybody, or None. It never repeats the value it objects to."""
    try:
        _check_sender("sender", email.sender)
        if email.reply_to:
            _check_sender("reply-to", email.reply_to)
        _check_mailbox("recipient", email.to)
        _check("subject", email.subject)
        for name, value in email.headers.items():
            _check_custom_header(name, value)
        _check_bodies(email)
    except UnsafeHeaderError as error:
        return Refused(Reason.PROVIDER_REFUSED, str(error))
    if not _ADDRESS.fullmatch(email.to.address):
        return Refused(Reason.INVALID_RECIPIENT, "the recipient's address is not one address")
    return None


def _check(what: str, value: str) -> None:
    try:
        check_header(value)
    except UnsafeHeaderError as error:
        raise UnsafeHeaderError(f"unsafe {what}: {error}") from None


def _check_mailbox(what: str, mailbox: Mailbox) -> None:
    _check(f"{what}'s name", mailbox.name or "")
    _check(f"{what}'s address", mailbox.address)


def _check_sender(what: str, mailbox: Mailbox) -> None:
    _check_mailbox(what, mailbox)
    if not _ADDRESS.fullmatch(mailbox.address):
        raise UnsafeHeaderError(f"the {what}'s address is not one address")


def _check_custom_header(name: str, value: str) -> None:
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name) or lower in _OURS or lower.startswith(_OURS_BY_PREFIX):
        raise UnsafeHeaderError("unsafe header: a name that may not be set")
    _check("header", value)
    if not value.isascii() or len(name) + 2 + len(value) > _LONGEST_LINE:
        raise UnsafeHeaderError("unsafe header: not ASCII, or longer than a line may be")


def _check_bodies(email: Email) -> None:
    try:
        (email.text + (email.html or "")).encode()
    except UnicodeEncodeError:
        raise UnsafeHeaderError("the text holds halves of characters, which no charset can carry") from None
