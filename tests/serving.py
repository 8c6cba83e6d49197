"""The whole service behind a real socket, for tests that speak to it as a browser or a shell does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.email.capture import CapturedMail
from application.ports.email import Email
from domain.mailbox import Mailbox
from tests.application import Service, Tenant, listening, running, until

SENDER = Mailbox("notifications@example.com", "Carillon")


@dataclass(frozen=True)
class Serving:
    """`service` is what runs, at `address`; `tenant` has a key, `key`, that may do everything."""

    service: Service
    address: str
    tenant: Tenant

    @property
    def key(self) -> str:
        return self.tenant.key

    async def captured(self, count: int = 1) -> list[CapturedMail]:
        """The newest mails, as soon as there are so many."""

        async def asked() -> list[CapturedMail]:
            mails = await self.service.parts.mails.latest(count)
            return mails if len(mails) == count else []

        return await until(asked)

    async def capture(self, subject: str = "Hello", html: str | None = "<p>Hello</p>", **parts: str) -> int:
        """A mail falls into the mailbox; its id."""
        mail = Email(
            sender=SENDER,
            to=Mailbox("jane@example.com", "Jane"),
            subject=subject,
            html=html,
            text=parts.get("text", "Hello"),
            headers={"List-Unsubscribe": "<https://example.com/leave>"},
            tags={"type": "welcome"},
        )
        return await self.service.parts.mails.add(None, mail)


@asynccontextmanager
async def running_service(conninfo: str, **environment: str) -> AsyncIterator[Serving]:
    """Everything that `carillon run` runs, in this process, on this database, on a port that was free."""
    async with running(conninfo, **environment) as service, listening(service.parts) as address:
        yield Serving(service, address, await service.tenant())


async def shell(command: str) -> str:
    """What the command writes when it is pasted into a shell. Fails when the command does."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
