"""One message as the bytes that SMTP carries (RFC 5322, RFC 2045)."""

import hashlib
from binascii import b2a_qp
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.policy import EmailPolicy
from email.utils import format_datetime
from uuid import uuid4

from application.ports.email import Email
from domain.mailbox import Mailbox

_FOLDED = frozenset({"from", "to", "reply-to", "subject", "date", "mime-version", "content-type"})


class _Policy(EmailPolicy):
    """The library's, but for headers of the caller's own, which stay on one line as they are.

    It would write a long List-Unsubscribe as encoded words, which no mail program follows.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() in _FOLDED:
            return super().fold_binary(name, value)
        return f"{name}: {value}{self.linesep}".encode("ascii")


_ASCII = _Policy(linesep="\r\n", cte_type="7bit")
_UTF8 = _ASCII.clone(utf8=True)


def compose(email: Email, key: str | None, now: datetime) -> tuple[str, bytes]:
    """The Message-ID and the message.

    Both are the same for the same email, key and `now`: the Message-ID follows from the key, and the boundary from the
    texts, so that no text can hold it. No body holds a bare CR or LF (SMTP smuggling, CVE-2023-51764).
    """
    message = EmailMessage(_UTF8 if beyond_ascii(email) else _ASCII)
    message_id = _message_id(email.sender, key)
    message["From"] = _shown(email.sender)
    message["To"] = _shown(email.to)
    if email.reply_to:
        message["Reply-To"] = _shown(email.reply_to)
    message["Subject"] = email.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    for name, value in email.headers.items():
        message[name] = value
    message["MIME-Version"] = "1.0"
    _put_content(message, email)
    return message_id, message.as_bytes()


def beyond_ascii(email: Email) -> bool:
    """Whether only a server that speaks SMTPUTF8 may get it (RFC 6531)."""
    return not all(box.address.isascii() for box in (email.sender, email.to, email.reply_to or email.sender))


def _message_id(sender: Mailbox, key: str | None) -> str:
    digest = hashlib.sha256((key or str(uuid4())).encode(errors="surrogatepass")).hexdigest()[:32]
    domain = sender.address.rpartition("@")[2]
    return f"<{digest}@{domain}>"


def _shown(mailbox: Mailbox) -> Address:
    local, _, domain = mailbox.address.rpartition("@")
    return Address(mailbox.name or "", local, domain)


def _put_content(message: MIMEPart, email: Email) -> None:
    if email.html is None:
        return _put_text(message, email.text, "plain")
    boundary = hashlib.sha256(f"{email.text}\0{email.html}".encode()).hexdigest()[:40]
    message["Content-Type"] = f'multipart/alternative; boundary="{boundary}"'
    for text, subtype in ((email.text, "plain"), (email.html, "html")):
        part = MIMEPart(message.policy)
        _put_text(part, text, subtype)
        message.attach(part)
    return None


def _put_text(part: MIMEPart, text: str, subtype: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    part["Content-Type"] = f'text/{subtype}; charset="utf-8"'
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(b2a_qp(lines.encode(), istext=True).decode("ascii"))
