"""Email by an SMTP server (RFC 5321), usually a relay that knows us."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from time import monotonic
from typing import Literal, cast

import aiosmtplib
import idna
import msgspec
from aiosmtplib.protocol import normalize_message_line_endings

from adapters.email.envelope import objection
from adapters.email.mime import beyond_ascii, compose
from adapters.remarks import failure, remark
from application.ports.email import Email
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Misconfigured, Outcome, Refused, Retryable, Throttled, Unknown
from domain.vocabulary import Reason


class SmtpEmailSender:
    """One transaction per message, over a few connections that stay open between messages.

    SMTP knows no keys. The Message-ID follows from the key, so a mailbox may drop the second of two. `starttls`: True
    demands it, "auto" takes it where offered, False never asks; `tls` is for servers that begin with it (port 465).
    """

    provider = "smtp"
    key_lifetime: timedelta | None = None

    def __init__(
        self,
        host: str,
        port: int = 587,
        user: str | None = None,
        password: str | None = None,
        *,
        starttls: bool | Literal["auto"] = True,
        tls: bool = False,
        tls_context: ssl.SSLContext | None = None,
        connections: int = 10,
        deadline: timedelta = timedelta(seconds=20),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        def connection() -> aiosmtplib.SMTP:
            return aiosmtplib.SMTP(
                hostname=host,
                port=port,
                username=user,
                password=password,
                use_tls=tls,
                start_tls=False if tls else None if starttls == "auto" else starttls,
                tls_context=tls_context,
                local_hostname=_own_name(),
                timeout=None,  # the deadline is around the whole
            )

        self._connections = _Connections(connection, connections)
        self.deadline = deadline
        self._now = now

    async def send(self, email: Email, key: str | None) -> Outcome:
        if refused := objection(email):
            return refused
        sendable = _with_ascii_domains(email)
        if isinstance(sendable, Refused):
            return sendable
        message_id, message = compose(sendable, key, self._now())
        return await self._hand_over(_Transaction(sendable, message)) or Accepted(message_id)

    async def close(self) -> None:
        await self._connections.close()

    async def _hand_over(self, transaction: "_Transaction") -> Outcome | None:
        """None once the server has taken it."""
        try:
            async with (
                asyncio.timeout(self.deadline.total_seconds()),
                self._connections.one() as connection,
            ):
                await transaction.run(connection)
        except TimeoutError:
            detail = f"no answer within {self.deadline.total_seconds():g} s"
            return _lost(transaction.stage, Reason.TIMEOUT, Reason.TIMEOUT, detail)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return _meaning(error, transaction.stage)
        return None


class Stage(IntEnum):
    """How far a message has come: the same words of the server mean different things at each."""

    OPENING = 0
    SENDER = 1
    RECIPIENT = 2
    DATA = 3
    SENT = 4


class _Transaction:
    """MAIL, RCPT, DATA. SENT begins before the first byte of the text is written, for all of it is written at once."""

    def __init__(self, email: Email, message: bytes) -> None:
        self.stage = Stage.OPENING
        self._email = email
        self._message = normalize_message_line_endings(message)

    async def run(self, connection: aiosmtplib.SMTP) -> None:
        options, encoding = self._options(connection)
        self.stage = Stage.SENDER
        await connection.mail(self._email.sender.address, options=options, encoding=encoding)
        self.stage = Stage.RECIPIENT
        await connection.rcpt(self._email.to.address, encoding=encoding)
        self.stage = Stage.DATA
        _expect(await connection.execute_command(b"DATA"), 354)
        self.stage = Stage.SENT
        _expect(await self._send_text(connection), *range(200, 300))

    def _options(self, connection: aiosmtplib.SMTP) -> tuple[list[str], str]:
        options = [f"SIZE={len(self._message)}"] if connection.supports_extension("size") else []
        if not beyond_ascii(self._email):
            return options, "ascii"
        if not connection.supports_extension("smtputf8"):
            raise aiosmtplib.SMTPRecipientRefused(553, f"{_NO_UTF8} the server does not offer SMTPUTF8", "")
        return [*options, "SMTPUTF8"], "utf-8"

    async def _send_text(self, connection: aiosmtplib.SMTP) -> aiosmtplib.SMTPResponse:
        if connection.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("connection lost")
        connection.protocol.write(_LEADING_DOT.sub(b"..", self._message) + b".\r\n")
        return await connection.protocol.read_response()


class _Connections:
    """At most so many at a time; those that are idle are tried before they are used again."""

    def __init__(self, make: Callable[[], aiosmtplib.SMTP], limit: int) -> None:
        self._make = make
        self._places = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, aiosmtplib.SMTP]] = []
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[aiosmtplib.SMTP]:
        async with self._places:
            connection = await self._still_open() or await self._new()
            try:
                yield connection
            except BaseException as error:
                if not _still_in_step(error):
                    _drop(connection)
                raise
            finally:
                self._put_back(connection)

    def _put_back(self, connection: aiosmtplib.SMTP) -> None:
        if self._closed:
            _drop(connection)
        elif connection.is_connected:
            self._idle.append((monotonic(), connection))

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            _, connection = self._idle.pop()
            with suppress(TimeoutError, aiosmtplib.SMTPException, OSError):
                async with asyncio.timeout(1):
                    await connection.quit()
            _drop(connection)

    async def _still_open(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            since, connection = self._idle.pop()
            try:
                if monotonic() - since < _LONGEST_IDLE:
                    await connection.rset()
                    return connection
            except (aiosmtplib.SMTPException, OSError):
                pass
            except BaseException:
                _drop(connection)
                raise
            _drop(connection)
        return None

    async def _new(self) -> aiosmtplib.SMTP:
        connection = self._make()
        try:
            await connection.connect()
            if connection.is_ehlo_or_helo_needed:
                await connection.ehlo()
        except BaseException:
            _drop(connection)
            raise
        return connection


def _still_in_step(error: BaseException) -> bool:
    """Whether the server refused in good order, so that the connection can take the next message."""
    return isinstance(error, aiosmtplib.SMTPResponseException) and 400 <= error.code < 600 and error.code != 421


def _drop(connection: aiosmtplib.SMTP) -> None:
    """At once: close() alone would wait for a server that reads nothing."""
    if connection.transport is not None:
        cast(asyncio.WriteTransport, connection.transport).abort()
    connection.close()


def _expect(response: aiosmtplib.SMTPResponse, *codes: int) -> None:
    if response.code not in codes:
        raise aiosmtplib.SMTPDataError(response.code, response.message)


def _own_name() -> str:
    """For EHLO, without asking the DNS, which may take longer than sending."""
    name = socket.gethostname()
    return name if _HOSTNAME.fullmatch(name) else "localhost"


def _with_ascii_domains(email: Email) -> Email | Refused:
    """As the DNS knows them (IDNA 2008), so that only what stands before the @ may need SMTPUTF8."""
    reason = Reason.PROVIDER_REFUSED
    try:
        sender = _with_ascii_domain(email.sender)
        reply_to = _with_ascii_domain(email.reply_to) if email.reply_to else None
        reason = Reason.INVALID_RECIPIENT
        to = _with_ascii_domain(email.to)
    except idna.IDNAError:
        return Refused(reason, "a domain that cannot be in the DNS")
    return msgspec.structs.replace(email, sender=sender, reply_to=reply_to, to=to)


def _with_ascii_domain(mailbox: Mailbox) -> Mailbox:
    local, _, domain = mailbox.address.rpartition("@")
    if domain.isascii():
        return mailbox
    return Mailbox(f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}", mailbox.name)


# What the server's words mean


def _meaning(error: Exception, stage: Stage) -> Outcome:
    match error:
        case aiosmtplib.SMTPResponseException(code=code, message=text):
            return _judge(code, remark(text), stage)
        case aiosmtplib.SMTPServerDisconnected() | OSError() | ValueError():
            return _lost(stage, Reason.CONNECTION_FAILED, Reason.OUTCOME_UNKNOWN, _words(error))
    # what the server does not offer and we insist on: STARTTLS, AUTH
    return Misconfigured(_OPERATOR_NEEDED, remark(str(error)))


def _words(error: Exception) -> str:
    """The library's own for a connection that was there; of one that never was they name the host."""
    return remark(str(error)) if isinstance(error, aiosmtplib.SMTPServerDisconnected) else failure(error)


def _lost(stage: Stage, before: Reason, after: Reason, detail: str) -> Retryable | Unknown:
    return Unknown(after, detail) if stage is Stage.SENT else Retryable(before, detail=detail)


def _judge(code: int, text: str, stage: Stage) -> Outcome:
    """By the reply code (RFC 5321, 4.2) and the enhanced one (RFC 3463) that may lead the text."""
    if 500 <= code < 600:
        return _permanent(code, text, stage)
    if not 400 <= code < 500:
        return _lost(stage, Reason.PROVIDER_ERROR, Reason.OUTCOME_UNKNOWN, text)
    if _TOO_FAST.search(text):
        return Throttled(_SLOW_DOWN, text)
    return Retryable(Reason.PROVIDER_UNAVAILABLE if code == 421 else Reason.PROVIDER_ERROR, detail=text)


def _permanent(code: int, text: str, stage: Stage) -> Misconfigured | Refused:
    found = _ENHANCED.match(text)
    enhanced = found[1] if found else ""
    if enhanced == _NO_UTF8:
        return Refused(Reason.INVALID_RECIPIENT, text)
    if _is_about_us(code, enhanced, text, stage):
        return Misconfigured(_OPERATOR_NEEDED, text)
    if enhanced.startswith("5.1.") or (not enhanced and stage is Stage.RECIPIENT and _NO_SUCH_PERSON.search(text)):
        return Refused(Reason.INVALID_RECIPIENT, text)
    return Refused(Reason.PROVIDER_REFUSED, text)


def _is_about_us(code: int, enhanced: str, text: str, stage: Stage) -> bool:
    """Our name, our password, our sender address; but not the size, which MAIL tells the server too."""
    if stage is Stage.OPENING or code in _AUTH_CODES or enhanced in _OUR_FAULTS or _NO_RELAY.search(text):
        return True
    return stage is Stage.SENDER and code != 552


_OPERATOR_NEEDED = timedelta(minutes=5)
_SLOW_DOWN = timedelta(minutes=1)
_LONGEST_IDLE = 30.0  # seconds; servers may hang up after five minutes (RFC 5321, 4.5.3.2.7), many do sooner

_LEADING_DOT = re.compile(rb"(?m)^\.")
_HOSTNAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_ENHANCED = re.compile(r"(5\.\d{1,3}\.\d{1,3})\b")
_AUTH_CODES = frozenset({530, 534, 535, 538})  # RFC 4954, 6
_OUR_FAULTS = frozenset({"5.1.7", "5.1.8", "5.7.3", "5.7.8", "5.7.9", "5.7.11", "5.7.13"})  # RFC 3463, RFC 4954
_NO_UTF8 = "5.6.7"  # RFC 6531, 3.5
_NO_RELAY = re.compile(r"relay\w* (?:access )?(?:denied|not (?:permitted|allowed))|unable to relay", re.IGNORECASE)
_TOO_FAST = re.compile(
    r"\brate\b|throttl|too (?:many|much|fast|frequent)|slow down|(?:quota|limit) (?:is )?(?:exceeded|reached)",
    re.IGNORECASE,
)
_NO_SUCH_PERSON = re.compile(
    r"(?:unknown|no such|invalid) (?:user|mailbox|recipient|address|person)"
    r"|(?:user|mailbox|recipient|address)\b.*\b(?:unknown|not found|(?:does not|doesn't) exist)",
    re.IGNORECASE,
)
