"""Parts that do what Carillon must not do, for the checker to see: python -m tests.faults.unsafe MISTAKE ROLE"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta

from taskiq import AsyncBroker
from taskiq.result_backends.dummy import DummyResultBackend
from taskiq_redis import RedisStreamBroker

from application.ports.email import Email, EmailSender
from domain.outcomes import Accepted, Outcome
from domain.vocabulary import Channel
from entrypoints import bootstrap, cli, roles


class _Wrapped:
    key_lifetime: timedelta | None = None

    def __init__(self, sender: EmailSender) -> None:
        self._sender = sender
        self._later: set[asyncio.Task[None]] = set()

    @property
    def provider(self) -> str:
        return self._sender.provider

    async def close(self) -> None:
        await self._sender.close()


class HastyEmailSender(_Wrapped):
    """Says at once that the provider took it, and asks the provider half a second later."""

    async def send(self, email: Email, key: str | None) -> Outcome:
        task = asyncio.create_task(self._send(email, key))
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return Accepted(None)

    async def _send(self, email: Email, key: str | None) -> None:
        await asyncio.sleep(0.5)
        await self._sender.send(email, key)


class DoublingEmailSender(_Wrapped):
    """Asks the provider twice, and does not tell it that it is the same message."""

    async def send(self, email: Email, key: str | None) -> Outcome:
        await self._sender.send(email, None)
        return await self._sender.send(email, None)


def _make_senders(kind: type[HastyEmailSender | DoublingEmailSender]) -> None:
    careful = bootstrap.email_sender
    bootstrap.email_sender = lambda *given: kind(careful(*given))  # type: ignore[assignment]


def _listen_from_now_on() -> None:
    """The stream broker as the library makes it: what was put before its group was there is not for it."""

    def broker(url: str, channel: Channel) -> AsyncBroker:
        return RedisStreamBroker(
            url, queue_name=f"carillon:deliver:{channel}", consumer_group_name="carillon"
        ).with_result_backend(DummyResultBackend())

    roles.redis_brokers = lambda url: {channel: broker(url, channel) for channel in (Channel.EMAIL, Channel.WEBHOOK)}


MISTAKES: Mapping[str, Callable[[], None]] = {
    "hasty": lambda: _make_senders(HastyEmailSender),
    "doubling": lambda: _make_senders(DoublingEmailSender),
    "from-now-on": _listen_from_now_on,
}

if __name__ == "__main__":
    MISTAKES[sys.argv.pop(1)]()
    cli.main()
