"""A worker that notes a message as sent before it sends it, for the checker to see: python -m tests.faults.unsafe"""

import asyncio
from datetime import timedelta

from application.ports import Email, EmailSender
from domain.outcomes import Accepted, Outcome
from entrypoints import bootstrap, cli


class HastyEmailSender:
    """Says at once that the provider took it, and asks the provider half a second later."""

    key_lifetime: timedelta | None = None

    def __init__(self, sender: EmailSender) -> None:
        self._sender = sender
        self._later: set[asyncio.Task[None]] = set()

    @property
    def provider(self) -> str:
        return self._sender.provider

    async def send(self, email: Email, key: str | None) -> Outcome:
        task = asyncio.create_task(self._send(email, key))
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return Accepted(None)

    async def close(self) -> None:
        await self._sender.close()

    async def _send(self, email: Email, key: str | None) -> None:
        await asyncio.sleep(0.5)
        await self._sender.send(email, key)


if __name__ == "__main__":
    careful = bootstrap.email_sender
    bootstrap.email_sender = lambda *given: HastyEmailSender(careful(*given))  # type: ignore[assignment]
    cli.main()
