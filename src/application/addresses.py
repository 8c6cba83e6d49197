"""Addresses as they are stored: checked for form, never by looking anything up."""

from email_validator import EmailNotValidError, validate_email


class InvalidAddressError(ValueError):
    """Not an address; the message says why, without repeating it."""


def email_address(text: str) -> str:
    """The address in its normal form: NFC local part as written, domain in lower case and, where needed, punycode.

    Raises InvalidAddressError. A local part beyond ASCII is refused: most providers cannot carry it.
    """
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=True)
    except EmailNotValidError as error:
        raise InvalidAddressError(str(error).replace(text, "the address")) from None
    if found.ascii_email is None:
        raise InvalidAddressError("the part before the @ must be ASCII")
    return found.ascii_email
