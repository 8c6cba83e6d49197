"""What the delivery of a notification asks of its channel."""

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Protocol

import msgspec

from application.ports.webhooks import WebhookCall
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.outcomes import Outcome
from domain.personal import Envelope
from domain.retry import Retries
from domain.vocabulary import Reason


class WorkRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one channel is worked. A call ends by `deadline`, which is less than half of `lease`."""

    concurrency: int = 5
    lease: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(seconds=20)

    def __post_init__(self) -> None:
        if self.deadline * 2 >= self.lease:
            raise ValueError("the deadline of a call must be less than half of the lease")

    @property
    def certain(self) -> timedelta:
        """How long a lease lasts at the least when work under it begins."""
        return self.lease * 3 / 4


class Parcel(msgspec.Struct, frozen=True):
    """What a call hands over: what is recorded of it before, and the call itself.

    `heard` is told what it came to while that is recorded. It raises nothing, and the deadline is not for it.
    """

    digest: str
    envelope: Envelope
    sender: Mailbox | None
    reply_to: Mailbox | None
    send: Callable[[], Awaitable[Outcome | WebhookCall]]
    heard: Callable[[Outcome], Awaitable[None]] | None = None


class UnsendableError(Exception):
    """There is nothing to hand over, and never will be: it ends. `unwanted`: nobody is there to get it any more."""

    def __init__(self, reason: Reason, detail: str = "", *, unwanted: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.unwanted = unwanted


class HeldError(Exception):
    """Not now: its lane is held, and it is due again when that is over."""


class UnreadableError(Exception):
    """What it is about cannot be read."""


class Load(Protocol):
    """What is known of one lot of notifications."""

    def retries(self, notification: Notification) -> Retries:
        """When this one is tried again."""

    async def prepare(self, notification: Notification) -> Parcel:
        """What is to be handed over now.

        Raises UnsendableError, HeldError, UnreadableError, and RendererUnavailableError when it may go well later.
        """


class Carrier(Protocol):
    """How the messages of one channel are made and handed over."""

    rules: WorkRules

    @property
    def provider(self) -> str:
        """Its name in events, budgets and settings."""

    @property
    def key_lifetime(self) -> timedelta | None:
        """For how long the other side takes nothing twice under one key; None: for no time."""

    async def load(self, notifications: Collection[Notification]) -> Load:
        """Fetch what these need, all at once."""
