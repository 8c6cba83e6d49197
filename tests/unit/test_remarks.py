"""What is said of failures is fit to be shown to tenants."""

import errno
import socket
import ssl

import pytest

from adapters.remarks import ToldError, failure


def wrapped(error: Exception) -> Exception:
    """As libraries do it, with words of their own."""
    try:
        raise OSError("Error connecting to mail.internal on port 587: Connect call failed ('10.0.0.5', 587)") from error
    except OSError as wrapped:
        return wrapped


def certificate(said: str) -> Exception:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {said} (_ssl.c:1006)")
    error.verify_message = said
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.5', 587)"), "Connection refused"),
        (wrapped(OSError(errno.EHOSTUNREACH, "10.0.0.5")), "No route to host"),
        (wrapped(socket.gaierror(socket.EAI_NONAME, "Name or service not known")), "Name or service not known"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 587)"), "no connection"),
        (ToldError(errno.ENOENT, "the name has no address"), "the name has no address"),
        (
            certificate("Hostname mismatch, certificate is not valid for 'mail.internal'."),
            "certificate: Hostname mismatch",
        ),
        (certificate("certificate has expired"), "certificate: certificate has expired"),
        (ValueError("a header with two lines"), "a header with two lines"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_failure_says_why_and_not_with_whom(error, said):
    assert failure(error) == said
