"""An SMTP server (aiosmtpd) in the test's own loop that can be told to fail at any step.

async with FakeSmtp() as smtp: smtp.script(At("RCPT", "550 5.1.1 No such user")); ... smtp.mails
"""

import asyncio
import email.policy
import ssl
from collections import deque
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any, Literal, NamedTuple, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "carillon", "right"

Step = Literal["GREETING", "MAIL", "RCPT", "DATA", "TEXT"]


class Act(NamedTuple):
    name: str


DROP = Act("drop")
"""The connection is gone, without a word."""
HANG = Act("hang")
"""Nothing more is said; the connection stays open."""
DRIP = Act("drip")
"""An answer that comes a byte at a time and never ends."""


class At(NamedTuple):
    """What to do at a step instead of what is right: a reply, or an act. TEXT is the answer to the final dot."""

    step: Step
    reply: str | Act
    takes: bool = False  # the message counts as taken all the same


class Arrived(NamedTuple):
    """One message as the server got it: the envelope, the bytes, and what they say."""

    sender: str
    recipients: list[str]
    content: bytes
    message: EmailMessage


class FakeSmtp:
    def __init__(self, *, tls: ssl.SSLContext | None = None, utf8: bool = True) -> None:
        self.mails: list[Arrived] = []
        self.connections = 0
        self.encrypted = 0
        self.port = 0
        self._tls = tls
        self._utf8 = utf8
        self._scripted: deque[At] = deque()
        self._sessions: set[_Session] = set()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Session(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.hang_up()
        await asyncio.sleep(0)

    async def all_have_left(self) -> None:
        """Wait until no connection is open."""
        await self._empty.wait()

    def script(self, *faults: At) -> None:
        """What to do at the next time each step is reached, in this order."""
        self._scripted.extend(faults)

    def hang_up(self) -> None:
        """On everybody, as servers do with connections that say nothing for long."""
        for session in list(self._sessions):
            cast(asyncio.WriteTransport, session.transport).abort()

    def came(self, session: "_Session") -> None:
        self.connections += 1
        self._sessions.add(session)
        self._empty.clear()

    def left(self, session: "_Session") -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._empty.set()

    def next_at(self, step: str) -> At | None:
        return self._scripted.popleft() if self._scripted and self._scripted[0].step == step else None

    # aiosmtpd calls these

    async def handle_MAIL(  # noqa: N802
        self, server: "_Session", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := await server.treated("MAIL"):
            return reply
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: "_Session", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := await server.treated("RCPT"):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: "_Session", session: Session, envelope: Envelope) -> str:  # noqa: N802
        fault = self._scripted[0] if self._scripted else None
        if fault is None or fault.step != "TEXT" or fault.takes:
            self._take(envelope)
        return await server.treated("TEXT") or "250 2.0.0 queued"

    def _take(self, envelope: Envelope) -> None:
        content = cast(bytes, envelope.content)
        message = cast(EmailMessage, message_from_bytes(content, policy=email.policy.default))
        self.mails.append(Arrived(envelope.mail_from or "", list(envelope.rcpt_tos), content, message))


def _authenticate(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


class _Session(SMTP):
    def __init__(self, fake: FakeSmtp) -> None:
        self._fake = fake
        self._greeted = False
        super().__init__(
            fake,
            hostname="localhost",
            enable_SMTPUTF8=fake._utf8,
            tls_context=fake._tls,
            authenticator=_authenticate,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if transport.get_extra_info("sslcontext"):  # the same connection, once more after STARTTLS
            self._fake.encrypted += 1
            return
        self._fake.came(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._fake.left(self)

    async def push(self, status: str | bytes) -> None:
        if not self._greeted:
            self._greeted = True
            status = await self.treated("GREETING") or status
        await super().push(status)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if reply := await self.treated("DATA"):
            await self.push(reply)
        else:
            await super().smtp_DATA(arg)

    async def treated(self, step: str) -> str | None:
        """The reply to give instead of the right one; an act never comes back from here."""
        fault = self._fake.next_at(step)
        if fault is None or isinstance(fault.reply, str):
            return fault and cast(str, fault.reply)
        if fault.reply is DROP:
            cast(asyncio.WriteTransport, self.transport).abort()
        while fault.reply is DRIP:
            self._writer.write(b"2")
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()  # until the connection is lost, which cancels it
        return None
