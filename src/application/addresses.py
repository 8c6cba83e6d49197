"""Addresses as they are stored: checked for form, never by looking anything up."""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from domain.vocabulary import Channel

_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_BETWEEN_FIGURES = re.compile(r"[ ()./-]")
_LONGEST_LOCAL, _LONGEST = 64, 254  # RFC 5321, 4.5.3.1; RFC 3696, erratum 1690


class InvalidAddressError(ValueError):
    """Not an address; the message says why, without repeating it."""


def email_address(text: str) -> str:
    """The address in its normal form: NFC local part as written, domain in lower case and, where needed, punycode.

    Raises InvalidAddressError. A local part beyond ASCII is refused: most providers cannot carry it.
    """
    local, _, domain = text.rpartition("@")
    if len(local) <= _LONGEST_LOCAL and len(text) <= _LONGEST and _PLAIN_LOCAL.fullmatch(local):
        return f"{local}@{_domain(domain)}"
    return _checked(text)


def address_of(channel: Channel, text: str) -> str:
    """The address of this channel in its normal form. Raises InvalidAddressError."""
    match channel:
        case Channel.EMAIL:
            return email_address(text)
        case Channel.SMS if _PHONE.fullmatch(phone := _BETWEEN_FIGURES.sub("", text)):
            return phone
        case Channel.SMS:
            raise InvalidAddressError("must be a phone number with its country, such as +4930123456")
        case Channel.PUSH if text.isascii() and text.isprintable() and " " not in text:
            return text
        case Channel.PUSH:
            raise InvalidAddressError("must be a device token")
    raise InvalidAddressError(f"the channel {channel} has no addresses")


@lru_cache(maxsize=4096)
def _domain(domain: str) -> str:
    """The normal form of a domain, looked at in full once: most readers share a few."""
    return _checked(f"x@{domain}").removeprefix("x@")


def _checked(text: str) -> str:
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=True)
    except EmailNotValidError as error:
        raise InvalidAddressError(str(error).replace(text, "the address")) from None
    if found.ascii_email is None:
        raise InvalidAddressError("the part before the @ must be ASCII")
    return found.ascii_email
