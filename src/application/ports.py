"""The roles that something outside this process, or something that cannot be foretold, plays for the application.

Every promise below is proved by a contract test that runs on each adapter, the in-memory one included.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate, AggregateEvent

from application.problems import Problem
from domain.chain import Entry, Link
from domain.filters import Filter
from domain.mailbox import Mailbox
from domain.outcomes import Outcome
from domain.personal import Response
from domain.template import Content, CurrentTemplate, NotificationType, TemplatePin
from domain.template import RenderError as RenderError
from domain.vocabulary import Channel, SecretKind

A = TypeVar("A", bound=Aggregate)
K = TypeVar("K")
R = TypeVar("R", bound=msgspec.Struct)


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, in UTC, with its zone."""


class Dice(Protocol):
    """Everything that must not repeat."""

    def id(self) -> UUID:
        """A new UUIDv7: later ids sort after earlier ones of the same process."""

    def luck(self) -> float:
        """A number in [0, 1)."""


# The log


class ConflictError(Exception):
    """Somebody else appended to one of these streams first; nothing of this save was stored."""


class StaleError(ConflictError):
    """What was decided on has changed meanwhile: look again, and decide again. Nothing of this save was stored."""


class StoreUnavailableError(Exception):
    """The store does not answer. What was being saved may or may not be stored; nothing was acknowledged."""


class AlteredError(Exception):
    """What is stored is not what was stored: somebody has changed or moved it."""


class Recorded(msgspec.Struct, frozen=True):
    """An event and its position in the log: positions grow without ever revealing a smaller one later."""

    position: int
    event: AggregateEvent


class EventStore(Protocol):
    """The only place where something becomes true."""

    async def save(self, *aggregates: Aggregate, urgent: bool = True, seen: Mapping[UUID, int] | None = None) -> int:
        """Append the pending events of all `aggregates`, all or none, together with the work that follows from them.

        Answers the position of the last event once it is durable. Raises ConflictError when a stream has grown
        meanwhile and StoreUnavailableError when the store is away. Concurrent saves share one transaction; a conflict
        fails its own caller only. With nothing pending it answers the last position known. What is not `urgent` may
        wait a few milliseconds, so that more go together.

        `seen` are streams and the lengths that the decision rests on: raises StaleError when one of them is longer by
        now, also by what is stored together with this.
        """

    async def get(self, kind: type[A], id: UUID) -> A | None:
        """The aggregate as its events made it, or None; a stream of another kind is None too."""

    async def get_many(self, kind: type[A], ids: Collection[UUID], *, personal: bool = True) -> dict[UUID, A]:
        """Those that exist, in one round trip; without `personal` as in `history`."""

    async def history(self, id: UUID, *, personal: bool = True) -> list[Recorded]:
        """The events of one stream in order; empty when there is none.

        Without `personal`, personal data stay sealed and read as `Erased`. With it, this and whatever else reads them
        raises AlteredError when they are not as they were stored.
        """

    async def length(self, id: UUID) -> int:
        """How many events the stream has now, 0 when there is none; cheaper than to read them."""


class EventLog(Protocol):
    """The log as one sequence, for those who follow it."""

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, personal: bool = True
    ) -> list[Recorded]:
        """At most `limit` events with a position greater than `after`, in order, of these topics (none: all).

        Without `personal`, which costs as much as the rest, personal data stay sealed and read as `Erased`.

        No event ever appears at a position that was already read past.
        """

    async def head(self) -> int:
        """The position of the last event, 0 for an empty log."""


class StoredLog(Protocol):
    """The log as it is stored, for those who answer for its bytes."""

    async def entries(self, after: int, limit: int) -> list[Entry]:
        """At most `limit` events with a position greater than `after`, in order.

        Bytes that cannot be read are handed out like others, as nobody's.
        """


class Chain(Protocol):
    """The links of all tenants' chains. They are evidence: there is no way to change or to remove one."""

    async def position(self) -> int:
        """How far the log is chained."""

    async def heads(self, tenants: Collection[str] | None = None) -> list[Link]:
        """The last link of each of these that has one, or of everybody, by tenant."""

    async def links(self, after: int, until: int) -> list[Link]:
        """Those that end after position `after` and not after `until`, in order of their ends."""

    async def extend(self, links: Sequence[Link], position: int, *, after: int) -> None:
        """Add these links and stand at `position`, both or neither.

        Raises ConflictError when not at `after`, or when a tenant's link with one of these ends is there already.
        """


class Wakeup(Protocol):
    async def wait(self, timeout: float) -> None:
        """Return as soon as the log may have grown since the last return, or after `timeout` seconds."""


class Persons(Protocol):
    """Whose data is whose: each person's data is sealed with keys of their own."""

    def person(self, tenant: str, address: str) -> UUID:
        """The id of a key of this person; it becomes durable together with the first event that uses it."""

    async def forget(self, tenant: str, address: str) -> int:
        """Destroy every key of this person and answer how many: their data then reads as `Erased` everywhere."""


# Work that is due


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """The right to work on one notification until `expires_at` of the store's clock."""

    notification: UUID
    token: UUID
    channel: Channel


class Backlog(msgspec.Struct, frozen=True):
    """What waits on one channel: `due` now, `later`, `held` under a lease; `oldest` is the wait of the oldest due.

    What is due in a lane that is held counts as `later`: nobody is behind with it.
    `unreadable` of them were set aside, and what is due of those has not changed since.
    """

    channel: str
    due: int
    later: int
    held: int
    oldest: timedelta
    unreadable: int = 0


class DueWork(Protocol):
    """What follows from the log to be done, and who does it. Times are of the store's own clock."""

    async def lease(self, channel: Channel, limit: int, window: int, duration: timedelta) -> list[Lease]:
        """Take up to `limit` notifications that are due, so that no more than `window` are held on this channel.

        Urgent ones first, aged so that none starves, lanes in turn. Nobody else gets them until `duration` is over.

        A lane (a tenant, or one endpoint of theirs) never holds more than half of the window, however slow it is. One
        that has terms of its own holds no more than they allow at a time and gets no more than they allow per second,
        give or take a tenth of a second's worth; nothing while it is held or closed. While no call of it has succeeded
        for five minutes it gets one at a time, and all like that hold no more than a quarter of the window together.
        """

    async def renew(
        self, leases: Sequence[Lease], duration: timedelta, *, enough: timedelta | None = None
    ) -> list[Lease]:
        """Extend to `duration` from now what would not last for `enough` (None: `duration`) anyway.

        Answers those that are still held by these tokens.
        """

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give back those still held: they are due again at once."""

    async def set_aside(self, leases: Sequence[Lease]) -> None:
        """Give back what cannot be read: due again in a minute, then in two, twice as long each time, an hour at most.

        Once what is due of it has changed it is like any other again.
        """

    async def drop(self, leases: Sequence[Lease]) -> None:
        """Forget what turned out to need no work."""

    async def next_due(self, channel: Channel) -> timedelta | None:
        """How long until something is due that is not leased; zero or less: now; None: nothing waits.

        What waits in a lane counts from when the lane opens, and not at all in one that is held, or of which as many
        are leased as may be at a time.
        """

    async def close_lane(self, channel: Channel, lane: str, duration: timedelta) -> None:
        """Lease nothing of this lane for `duration`, then one at a time until it is opened.

        All that are tried like that hold no more than a quarter of the window together.
        """

    async def open_lane(self, channel: Channel, lane: str) -> None:
        """A call of it has just succeeded: lease of it as its terms allow. One that is held stays so."""

    async def closed_lanes(self, channel: Channel, lanes: Collection[str]) -> set[str]:
        """Those of `lanes` that were closed and not opened since."""

    async def backlog(self) -> list[Backlog]:
        """Per channel, for people and metrics. Takes the longer the more waits."""

    async def unreadable(self) -> int:
        """How many are set aside, however much else waits."""


class DeliveryQueue(Protocol):
    """A hint to the workers. It may lose everything: a lease that lapses is taken again."""

    async def put(self, channel: Channel, leases: Sequence[Lease]) -> bool:
        """False when the queue does not answer, so that probably nobody will hear of these."""


class ProviderBudget(Protocol):
    """What a provider may be asked to take, per second and per day (UTC), over all processes together."""

    async def take(self, provider: str, wanted: int) -> int:
        """How many of `wanted` messages may be sent now; those count as spent. 0 while paused."""

    async def give_back(self, provider: str, unused: int) -> None:
        """Return what was taken and not sent."""

    async def pause(self, provider: str, duration: timedelta, reason: str) -> None:
        """Let nobody send by this provider for `duration`; a shorter pause never shortens a longer one."""

    async def paused(self) -> Mapping[str, str]:
        """The providers paused now, with the reason."""


# What is said, and by whom it is carried


class CurrentTexts(Protocol):
    """Texts to choose from."""

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        """The text to be used for what is accepted now, in the nearest language there is to `locale`.

        Raises UnknownTemplateError. What it answers can be rendered by `TemplateRenderer` for ever.
        """


class Templates(CurrentTexts, Protocol):
    """The house's own notification types and texts, which every tenant has."""

    def types(self) -> list[NotificationType]: ...

    def versions(self, type: str) -> Mapping[Channel, Mapping[str, str]]:
        """By channel and locale, the version that is current; empty for a type that is not there."""


Sources = Mapping[Channel, Mapping[str, str]]
"""What was written: by channel and part (subject, html, text, link)."""


class InvalidTextsError(Exception):
    """What was written cannot be a template; `problems` names every fault found, with its line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" for p in problems))
        self.problems = problems


class TemplateMaker(Protocol):
    """Makes texts that can be rendered for ever out of what a tenant wrote, which nobody trusts."""

    def locale(self, name: str) -> str | None:
        """The normal form of a locale's name, such as pt-BR; None for one whose conventions are not known."""

    def nearest(self, locale: str, languages: Collection[str], default: str) -> tuple[str, str]:
        """The nearest of `languages` to the reader's `locale`, else the default; and the locale to write it by."""

    async def make(
        self, tenant: str, declared: NotificationType, texts: Mapping[str, Sources]
    ) -> dict[str, dict[Channel, str]]:
        """Check what is written by locale, try it out with the examples, and keep it durably; answers the versions.

        However much that is, it takes a few seconds of computing time at the most. Raises RendererUnavailableError,
        and InvalidTextsError with paths such as texts.de.email.subject, where parts are called as they are rendered.
        """

    async def sources(self, version: str) -> Mapping[str, str]:
        """What was written, by part, of a version that was made."""


class RendererUnavailableError(Exception):
    """Nothing is wrong with the template: what renders it cannot be had just now."""


class TenantSlowError(RendererUnavailableError):
    """The tenant's own templates took so much computing time that they have to wait; `retry_after` is in seconds."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.retry_after = math.ceil(wait)


class TemplateMissingError(RenderError):
    """The pinned version is not kept."""


class TemplateAlteredError(RenderError):
    """What is kept as the pinned version is something else."""


class TemplateRenderer(Protocol):
    async def render(
        self,
        type: str,
        channel: Channel,
        pin: TemplatePin,
        variables: Mapping[str, Any],
        *,
        at: datetime,
        time_zone: str | None,
    ) -> Content:
        """The same bytes for the same arguments, whatever was deployed since. `at` is what the text takes for now.

        Raises RenderError, and RendererUnavailableError when it may go well later: TenantSlowError where that is the
        tenant's own doing.
        """


class Email(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one recipient. `tags` come back in the provider's callbacks: ids, never personal data."""

    sender: Mailbox
    to: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    html: str | None
    text: str
    headers: dict[str, str] = {}
    tags: dict[str, str] = {}


class EmailSender(Protocol):
    """One provider of email.

    A failure is a value, never an exception; only cancellation passes through. `Retryable` promises that nothing
    went out; where that is not certain the answer is `Unknown`.
    """

    @property
    def provider(self) -> str:
        """Its name in events, metrics and settings."""

    @property
    def key_lifetime(self) -> timedelta | None:
        """How long it remembers a key and will not send twice under it; None: it knows no keys."""

    async def send(self, email: Email, key: str | None) -> Outcome:
        """Hand one message over. `key` names it: also a provider that knows no keys may mark the message with it."""

    async def close(self) -> None: ...


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One POST to an endpoint. `body` are the bytes that are signed with each of `secrets` (newest first) and sent."""

    id: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    secrets: tuple[str, ...]


class WebhookCall(msgspec.Struct, frozen=True):
    """What a call came to; without `response` where nothing was answered."""

    outcome: Outcome
    response: Response | None = None


class WebhookSender(Protocol):
    """The way to the endpoints.

    A failure is a value, never an exception; only cancellation passes through. It ends by its own deadline and reads
    no more of an answer than is kept of it. Never `Throttled` nor `Misconfigured`, which would keep others waiting:
    2xx is Accepted, 410 is Refused(ENDPOINT_GONE), which is held, all else is Retryable: ENDPOINT_ERROR for another
    answer, ENDPOINT_BUSY for 429 and 503, TIMEOUT (`wait` of a minute at least for these, as for `Retry-After`),
    CONNECTION_FAILED, ADDRESS_BLOCKED, TLS_FAILED. Receivers know the id, so an unknown outcome is a Retryable too.
    """

    async def send(self, request: WebhookRequest, now: datetime) -> WebhookCall:
        """Make one call, signed as of `now`."""

    async def close(self) -> None: ...


class WebhookSecrets(Protocol):
    """Secrets to sign with."""

    def make(self, kind: SecretKind) -> str:
        """A new one: `whsec_` and 32 random bytes in base64, or `whsk_` and an ed25519 key pair."""

    def public(self, secret: str) -> str | None:
        """What a receiver verifies with, `whpk_...`, where that is another than the secret itself."""


class Subscriptions(Protocol):
    """Who wants to be told."""

    async def of(self, tenant: str) -> Collection["Interest"]:
        """All that the tenant has, at least those whose creation was acknowledged before this was asked."""


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is for, as far as it decides who gets what."""

    id: UUID
    organization: str | None
    event_types: tuple[str, ...]
    filters: tuple[Filter, ...]


# What other systems are told


class Announcement(msgspec.Struct, frozen=True):
    """One record for other systems: `id` is the same whenever it is told again, and those of one `key` are in order."""

    id: str
    key: str
    body: bytes


class Untold(msgspec.Struct, frozen=True):
    """Those that may not have arrived, and what is in the way, in words for an operator."""

    ids: frozenset[str]
    problem: str


class EventTopic(Protocol):
    """Where other systems hear of what happens.

    That it cannot be told is a value, never an exception; only cancellation passes through.
    """

    async def publish(self, announcements: Sequence[Announcement]) -> Untold | None:
        """Hand these over; None: all of them are there for good. Those of a key arrive in this order.

        It ends by its own deadline. What it then answers as untold does not arrive later than the next call begins,
        and of one key nothing arrives behind what is untold.
        """

    async def problem(self) -> str | None:
        """What would be in the way now; None: nothing that is known."""

    async def close(self) -> None:
        """Let go at once, of what is not acknowledged too."""


class Troubles(Protocol):
    """What keeps a part from its work, for those who watch the service. It changes nothing of what is done."""

    async def tell(self, part: str, problem: str) -> None:
        """It holds for a minute from now: who is still in trouble says so again, and who is gone is forgotten."""

    async def over(self, part: str) -> None: ...

    async def known(self) -> Mapping[str, str]:
        """The problem of each part that has told of one."""


# What readers see


class View(Protocol[K, R]):
    """The rows of one projection. Rows and position are written together or not at all."""

    async def position(self) -> int: ...

    async def rows(self, keys: Collection[K]) -> dict[K, R]: ...

    async def write(self, rows: Mapping[K, R], position: int, *, after: int, new: Collection[K] = frozenset()) -> None:
        """Put these rows, of which those under the keys `new` are not there yet, and stand at `position`.

        Raises ConflictError when the view does not stand at `after`, or is another than the one this object last
        asked for its position or wrote: somebody else has moved or replaced it, and nothing was written. The same when
        a row is there under one of the keys `new`, however many rows they are.
        """


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key; the key itself is shown once and never stored.

    `owner_email` is where tests that are sent with it go; it is forgotten when the key is revoked.
    """

    id: str
    tenant: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None
    owner_email: str | None = None


class ApiKeys(Protocol):
    async def create(
        self, tenant: str, name: str, scopes: Collection[str], owner_email: str | None = None
    ) -> tuple[ApiKey, str]:
        """A new key and, this once, its text `ck_<id>_<secret>`."""

    async def find(self, text: str) -> ApiKey | None:
        """The live key with exactly this text. Takes as long for a wrong id as for a wrong secret."""

    async def all(self) -> list[ApiKey]: ...

    async def tenant_has_one(self, tenant: str) -> bool:
        """Whether any live key is this tenant's."""

    async def revoke(self, id: str) -> bool:
        """True if it was live until now. Its owner's address is forgotten."""
