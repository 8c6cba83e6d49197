"""A house in memory in which messages wait for digests, and what each of its readers has got in the end."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from adapters.address_digest import address_digests
from adapters.event_mapper import EventMapper
from adapters.memory.budget import MemoryProviderBudget
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.rate_limiter import MemoryRateLimiter
from adapters.memory.troubles import MemoryTroubles
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from adapters.reader_tokens import ReaderTokens
from application.carriers.email import EmailCarrier, EmailRules
from application.limiting import Limiting
from application.ports.due_work import DueWork
from application.ports.email import Email
from application.ports.log import ConflictError, EventStore
from application.ports.templates import RendererUnavailableError, TemplateRenderer
from application.ports.time_and_chance import Clock, Dice
from application.processes.deliver import Delivery
from application.processes.follow import Following
from application.processes.gather import DIGEST, Gathering
from application.readers import Readers, Who
from domain.notification import Notification
from domain.outcomes import Accepted, Outcome
from domain.personal import Letter, Listed
from domain.preferences import Choice, Preferences, Wishes
from domain.suppression import Suppression
from domain.template import Content, CurrentTemplate, NotificationType, RenderError, TemplatePin, UnknownTemplateError
from domain.vocabulary import Channel, Frequency, Ground, Priority, Purpose
from tests.examples import SENDER, notification
from tests.fakes.chance import LoadedDice, SetClock

JANE, USER = "jane@example.com", "u-1"
CATEGORY = "order"
TYPES = ("order_shipped", "order_delivered", "order_returned")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HOURLY = Choice(frequency=Frequency.HOURLY)
KNOWN_BY = address_digests(bytes(32))


class Texts:
    """Has one text of every type, but for those that are `missing`."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        if type in self.missing:
            raise UnknownTemplateError(type, channel)
        declared = NotificationType(
            name=type, category=DIGEST, purpose=Purpose.TRANSACTIONAL, priority=Priority.MEDIUM, description=""
        )
        return CurrentTemplate(TemplatePin(type, "v1", locale), channel, declared)


class Words:
    """Says what is to be said in as few words as can be; what is to break, breaks."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.away = False
        self.shows_imprint: set[str] = set()

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
        if self.away:
            raise RendererUnavailableError("too many wait")
        if type in self.broken:
            raise RenderError("html.html, line 3: UndefinedError")
        if type == DIGEST:
            lines = [item["subject"] for item in variables["messages"]]
            subject = f"{len(lines)} things"
        else:
            lines = [f"All about {variables['what']}"]
            subject = str(variables["what"])
        if type in self.shows_imprint:
            lines += [variables.get("postal_address", ""), variables.get("unsubscribe_url", "")]
        return Content(subject, None, "\n".join(lines))


class Notes:
    """Keeps what was noted."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def attempt(self, *_: Any) -> None: ...

    def note(self, what: str, *_: Any, **__: Any) -> None:
        self.noted.append(what)

    def unreadable(self, *_: Any) -> None:
        self.noted.append("unreadable")


class Provider:
    """Takes all once under its key, unless it is told to say something else; `mails` are those it took."""

    provider = "resend"
    key_lifetime: timedelta | None = timedelta(hours=24)

    def __init__(self) -> None:
        self.says: list[Outcome] = []
        self._taken: dict[str | None, Email] = {}

    @property
    def mails(self) -> list[Email]:
        return list(self._taken.values())

    async def send(self, email: Email, key: str | None) -> Outcome:
        outcome = self.says.pop(0) if self.says else Accepted(f"re_{key}")
        if isinstance(outcome, Accepted):
            assert self._taken.setdefault(key, email) == email
        return outcome

    async def close(self) -> None: ...


class Place:
    def __init__(self) -> None:
        self.at = 0

    async def position(self) -> int:
        return self.at

    async def move(self, position: int) -> None:
        self.at = position


def gathering(
    events: EventStore,
    due: DueWork,
    readers: Readers,
    clock: Clock,
    renderer: TemplateRenderer | None = None,
    texts: Texts | None = None,
    log: Notes | None = None,
    dice: Dice | None = None,
    postal_address: str | None = None,
) -> Gathering:
    return Gathering(
        events=events,
        due=due,
        readers=readers,
        links=ReaderTokens(bytes(32), "https://notes.acme.example"),
        templates=texts or Texts(),
        renderer=renderer or Words(),
        clock=clock,
        dice=dice or LoadedDice(),
        log=log or Notes(),
        sender_name="Acme",
        postal_address=postal_address,
    )


class Store(MemoryEventStore):
    """Some of what is in it cannot be read, if the house says so."""

    def __init__(self, *parts: Any) -> None:
        *usual, self._house = parts
        super().__init__(*usual)

    async def get_many(self, kind: Any, ids: Any, *, personal: bool = True) -> dict[UUID, Any]:
        if self._house.unreadable.intersection(ids := list(ids)):
            raise LookupError("an event of a later version")
        return await super().get_many(kind, ids, personal=personal)


class House:
    """One reader at one address, who wants one category by the hour. It begins at noon."""

    def __init__(self, postal_address: str | None = None) -> None:
        self.postal_address = postal_address
        self.clock = SetClock()
        self.due = MemoryDueWork(self.clock)
        keys = PersonKeys(bytes(32))
        self.unreadable: set[UUID] = set()
        self.events = Store(self.due, MemoryWakeups(), EventMapper(keys), keys, self)
        self.readers = Readers(self.events, KNOWN_BY)
        self.provider, self.words, self.texts, self.log, self.dice = Provider(), Words(), Texts(), Notes(), LoadedDice()
        self.place, self.troubles = Place(), MemoryTroubles(self.clock)
        self.limiter: Any = MemoryRateLimiter()
        self._gathering = gathering(
            self.events, self.due, self.readers, self.clock, self.words, self.texts, self.log, self.dice, postal_address
        )
        self.delivery = self.worker()

    def worker(self) -> Delivery:
        return Delivery(
            events=self.events,
            due=self.due,
            carriers={
                Channel.EMAIL: EmailCarrier(
                    self.words, self.provider, EmailRules(sender=SENDER, postal_address=self.postal_address)
                )
            },
            budget=MemoryProviderBudget(self.clock, {}),
            clock=self.clock,
            dice=self.dice,
            log=self.log,
            readers=self.readers,
            gathering=self._gathering,
            limiting=Limiting(self.readers, self.limiter, bytes.hex),
        )

    async def counted(self) -> tuple[list[UUID], list[Exception]]:
        """Which notifications are read from now on, and which saves are refused. Others get their turn meanwhile."""
        reads: list[UUID] = []
        conflicts: list[Exception] = []
        get_many, save = self.events.get_many, self.events.save

        async def counting(kind: Any, ids: Any, **more: Any) -> Any:
            reads.extend(ids if kind is Notification else [])
            await asyncio.sleep(0)
            return await get_many(kind, ids, **more)

        async def saving(*aggregates: Any, **more: Any) -> int:
            await asyncio.sleep(0)
            try:
                return await save(*aggregates, **more)
            except ConflictError as error:
                conflicts.append(error)
                raise

        self.events.get_many, self.events.save = counting, saving  # type: ignore[method-assign]
        return reads, conflicts

    async def wish(self, *, told: bool = True, **wishes: Any) -> None:
        """All that is wished from now on; by default this category by the hour. `told` as below."""
        known = await self.events.get(Preferences, Preferences.begin("acme", USER, now=self.clock.now(), by="k").id)
        preferences = known or Preferences.begin("acme", USER, now=self.clock.now(), by="key:k1")
        preferences.adopt(Wishes(**({"categories": {CATEGORY: HOURLY}} | wishes)), now=self.clock.now(), by="key:k1")
        await self.events.save(preferences)
        if told:
            self.readers.forget([preferences.id])

    async def leave(self, ground: Ground = Ground.UNSUBSCRIBE, *, told: bool = True) -> None:
        """Unless it is `told`, this process does not know of it until the log refuses something."""
        listed = Listed(person=self.events.person("acme", JANE), address=JANE)
        known_by = KNOWN_BY("acme", Channel.EMAIL, JANE)
        entry = Suppression.begin("acme", Channel.EMAIL, known_by, listed, now=self.clock.now(), by="reader")
        entry.add(ground, source="link", now=self.clock.now(), by="reader")
        await self.events.save(entry)
        if told:
            self.readers.forget([entry.id])

    async def accept(self, type: str = TYPES[0], *, user: str = USER, **wishes: Any) -> Notification:
        """As `send` does: what is to become of it is decided at once."""
        now = self.clock.now()
        id = self.dice.id()
        said = wishes.pop("variables", {})
        letter = Letter(
            person=self.events.person("acme", JANE),
            address=JANE,
            name="Jane",
            variables={"what": f"no. {id.int % 1000}", **said},
            unsubscribe_url=wishes.pop("unsubscribe_url", None),
        )
        usual = {"type": type, "category": CATEGORY, "letter": letter, "recipient_user_id": user}
        it = notification(id, now=now, **(usual | wishes))
        (reader,) = await self.readers.of([Who("acme", Channel.EMAIL, JANE, user)])
        reader.heed(reader.decide(it, max(now, it.due_at), "UTC"), it, now=now, by="key:k1")
        await self.events.save(it)
        return it

    async def work(self, delivery: Delivery | None = None, limit: int = 50) -> None:
        """One worker takes up what is due."""
        leases = await self.due.lease(Channel.EMAIL, limit, 2 * limit, MINUTE)
        await (delivery or self.delivery).deliver(Channel.EMAIL, leases)

    async def work_on(self) -> None:
        """Until nothing is due, and members have followed."""
        for _ in range(20):
            await self.work()
            wait = await self.due.next_due(Channel.EMAIL)
            if wait is None or wait > timedelta(0):
                break
        await self.follow()

    async def follow(self) -> None:
        await self.following().catch_up(await self.events.head())

    def following(self) -> Following:
        return Following(self.events, self.events, self.place, self.troubles, self.clock, self.log)

    async def on_the_hour(self) -> None:
        """The windows of all that waits by the hour end, and what is due is worked."""
        now = self.clock.now()
        self.clock.move(now.replace(minute=0, second=0, microsecond=0) + HOUR - now)
        await self.work_on()

    async def now(self, it: Notification | UUID) -> Notification:
        id = it if isinstance(it, UUID) else it.id
        found = await self.events.get(Notification, id)
        assert found
        return found

    async def all(self) -> list[Notification]:
        history = await self.events.read(0, 100_000, [Notification.Queued.TOPIC])
        ids = [recorded.event.originator_id for recorded in history]
        return list((await MemoryEventStore.get_many(self.events, Notification, ids)).values())

    async def digests(self) -> list[Notification]:
        """In the order in which they were made."""
        return sorted((it for it in await self.all() if it.members), key=lambda it: it.created_on)

    def got(self) -> Counter[str]:
        """How often each thing was said to its reader, by itself or in a digest."""
        lines = (line.removeprefix("All about ") for mail in self.provider.mails for line in mail.text.split("\n"))
        return Counter(line for line in lines if line.startswith("no. "))


def what(it: Notification) -> str:
    assert isinstance(it.letter, Letter)
    return str(it.letter.variables["what"])
