"""What is said of failures, made fit to be stored and shown."""

import os
import re
import socket
import ssl

_LONGEST = 300
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class ToldError(OSError):
    """One whose words are our own, and name nobody."""


def failure(error: Exception) -> str:
    """Why there was no connection, or no more of it, without whom it was to: not everybody who reads it may know."""
    match error:
        case ToldError():
            return error.strerror or ""
        case ssl.SSLCertVerificationError():
            return remark(f"certificate: {error.verify_message.partition(',')[0]}")  # what follows names the host
        case ssl.SSLError():
            return remark(f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}")
        case socket.gaierror(strerror=str(said)):
            return remark(said)
        case OSError(errno=int(number)):
            return os.strerror(number)
        case OSError(__cause__=Exception() as cause):
            return failure(cause)
        case OSError():
            return "no connection"
    return remark(str(error) or type(error).__name__)


def remark(said: str | bytes) -> str:
    """On one line, cut to 300 characters, without what PostgreSQL or UTF-8 cannot hold (NUL, halves of characters)."""
    text = said[: 4 * _LONGEST].decode(errors="replace") if isinstance(said, bytes) else said[: 4 * _LONGEST]
    return _UNPRINTABLE.sub(" ", text).strip()[:_LONGEST]
