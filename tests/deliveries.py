"""A house in memory in which a worker delivers, with a provider that says what it is told to say."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from adapters.address_digest import address_digests
from adapters.allowance import Allowance
from adapters.event_mapper import EventMapper
from adapters.memory.budget import MemoryProviderBudget
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.rate_limiter import MemoryRateLimiter
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from application.carriers.email import EmailCarrier, EmailRules
from application.limiting import Limiting
from application.ports.email import Email
from application.ports.templates import RendererUnavailableError
from application.processes.deliver import Delivery
from application.readers import Readers
from domain.limits import ChannelLimits, Limits, Rates, Rules
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.outcomes import Accepted, Outcome
from domain.personal import Letter, Listed
from domain.preferences import Preferences, Wishes
from domain.suppression import Suppression
from domain.template import Content, RenderError, TemplatePin
from domain.vocabulary import Channel, Ground
from tests.digests import gathering
from tests.examples import notification
from tests.fakes.chance import LoadedDice, SetClock

MINUTE = timedelta(minutes=1)
DIGEST = address_digests(bytes(32))


class Provider:
    provider = "resend"
    key_lifetime: timedelta | None = timedelta(hours=24)

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, Email]] = []
        self.says: list[Outcome] = []

    async def send(self, email: Email, key: str | None) -> Outcome:
        self.calls.append((key, email))
        return self.says.pop(0) if self.says else Accepted(f"re_{len(self.calls)}")

    async def close(self) -> None: ...


class Words:
    """Stands in for the templates: the text is the secret link itself."""

    broken = False
    away = False
    takes = 0.0

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
        await asyncio.sleep(self.takes)
        if self.away:
            raise RendererUnavailableError("too many wait")
        if self.broken:
            raise RenderError("html.html, line 3: UndefinedError")
        return Content(f"Reset {variables['link']}", "<p>", f"Go to\n{variables['link']} now")


class Notes:
    """Keeps what was noted."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def attempt(self, *_: Any) -> None: ...

    def note(self, what: str, *_: Any, **__: Any) -> None:
        self.noted.append(what)

    def unreadable(self, *_: Any) -> None: ...


class House:
    def __init__(self) -> None:
        self.clock = SetClock()
        self.due = MemoryDueWork(self.clock)
        keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(self.due, MemoryWakeups(), EventMapper(keys), keys)
        self.readers = Readers(self.events, DIGEST)
        self.limiter: Any = MemoryRateLimiter()
        self.limiting = Limiting(self.readers, self.limiter, bytes.hex)
        self.budget = MemoryProviderBudget(self.clock, {"resend": Allowance(per_day=10)})
        self.provider, self.words, self.log = Provider(), Words(), Notes()
        self.rules = EmailRules(sender=Mailbox("hello@acme.example"), reply_to=Mailbox("help@acme.example"))

    def delivery(self, rules: EmailRules | None = None) -> Delivery:
        return Delivery(
            events=self.events,
            due=self.due,
            carriers={Channel.EMAIL: EmailCarrier(self.words, self.provider, rules or self.rules)},
            budget=self.budget,
            clock=self.clock,
            dice=LoadedDice(),
            log=self.log,
            readers=self.readers,
            gathering=gathering(self.events, self.due, self.readers, self.clock, self.words),
            limiting=self.limiting,
            name="worker:1",
        )

    async def accept(self, address: str = "jane@example.com", **wishes: Any) -> Notification:
        variables = {"link": "https://acme.example/reset/s3cret"}
        person = self.events.person("acme", address)
        letter = Letter(person=person, address=address, name="Jane", variables=variables)
        it = notification(uuid4(), letter=letter, now=self.clock.now(), **({"secrets": ["link"]} | wishes))
        await self.events.save(it)
        return it

    async def leave(self, ground: Ground = Ground.UNSUBSCRIBE, address: str = "jane@example.com") -> int:
        """The address goes on the list; answers where the log stood when that was acknowledged."""
        listed = Listed(person=self.events.person("acme", address), address=address)
        digest = DIGEST("acme", Channel.EMAIL, address)
        entry = Suppression.begin("acme", Channel.EMAIL, digest, listed, now=self.clock.now(), by="reader")
        entry.add(ground, source="link", now=self.clock.now(), by="reader")
        return await self.events.save(entry)

    async def wish(self, **wishes: Any) -> None:
        preferences = Preferences.begin("acme", "u-1", now=self.clock.now(), by="key:k1")
        preferences.adopt(Wishes(**wishes), now=self.clock.now(), by="key:k1")
        await self.events.save(preferences)

    async def limit(self, **rates: int) -> None:
        """So many mails to any one reader."""
        limits = Limits.begin("acme", now=self.clock.now(), by="key:k1")
        email = ChannelLimits(user=Rates(**rates))
        limits.choose(Rules(channels={Channel.EMAIL: email}), now=self.clock.now(), by="key:k1")
        await self.events.save(limits)

    async def work(self, delivery: Delivery | None = None) -> None:
        leases = await self.due.lease(Channel.EMAIL, 10, 10, MINUTE)
        await (delivery or self.delivery()).deliver(Channel.EMAIL, leases)

    async def now(self, it: Notification) -> Notification:
        found = await self.events.get(Notification, it.id)
        assert found
        return found
