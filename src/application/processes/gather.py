"""One message out of all that waited for the same digest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from application import message
from application.carriers.email import envelope
from application.ports.due_work import DueWork
from application.ports.log import ConflictError, EventStore
from application.ports.templates import CurrentTexts, TemplateRenderer
from application.ports.time_and_chance import Clock, Dice
from application.readers import Reader, ReaderLinks, Readers, Who
from domain.decision import Digest, Suppress
from domain.notification import Notification
from domain.personal import Envelope, Letter
from domain.template import CurrentTemplate, RenderError, UnknownTemplateError
from domain.vocabulary import Reason

DIGEST = "digest"
"""The type of the house that says many things at once."""

MOST_MEMBERS = 100
"""Of one digest; a mail of more is cut off by mailboxes. What is beyond goes in the next one, at the same time."""

_MOST_LOOKED_AT = 500
_TRIES = 5

_SENDERS = ("shop_name", "company_name", "product_name")
_FROM_MEMBERS = (
    "product_name",
    "logo_url",
    "primary_color",
    "support_email",
    "postal_address",
    "social_links",
    "unsubscribe_url",
)

Read = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, Notification]]]
"""Answers those of these notifications that can be read."""


class GatherLog(Protocol):
    def note(self, what: str, notification: UUID, **facts: Any) -> None: ...


class Gathering:
    """Makes digests, and takes them apart again when not all of one may go out any more.

    The digest and the word of each member that it goes with it are one save. The log refuses a second one, so it does
    not matter who holds which member, nor who is lost in between.
    """

    def __init__(
        self,
        *,
        events: EventStore,
        due: DueWork,
        readers: Readers,
        links: ReaderLinks,
        templates: CurrentTexts,
        renderer: TemplateRenderer,
        clock: Clock,
        dice: Dice,
        log: GatherLog,
        sender_name: str,
        default_time_zone: str = "UTC",
        name: str = "worker",
    ) -> None:
        self._events = events
        self._due = due
        self._readers = readers
        self._links = links
        self._templates = templates
        self._renderer = renderer
        self._clock = clock
        self._dice = dice
        self._log = log
        self._sender_name = sender_name
        self._default_time_zone = default_time_zone
        self._name = name

    async def gathered(self, found: Mapping[UUID, Notification], read: Read) -> Mapping[UUID, Notification]:
        """Those of `found` that go by themselves, as they are now.

        The others have gone into digests, or are left to be taken up once more.
        """
        bundles = {each.bundle for each in found.values() if each.bundle and each.awaits_others}
        if not bundles:
            return found
        lots = await asyncio.gather(*(self._opened(bundle, read) for bundle in bundles))
        alone = {id: it for lot in lots for id, it in lot.items() if id in found}
        return {id: it for id, it in found.items() if not it.awaits_others} | alone

    async def dissolved(self, digest: Notification, reader: Reader, read: Read) -> bool:
        """Take the digest apart if something in it may not go out any more; False if all may, or it may have gone out.

        Each member then waits for the others once more, and is decided on by itself. Raises ConflictError.
        """
        if digest.may_have_gone_out:
            return False
        members = [it for it in (await read(digest.members)).values() if it.digest_id == digest.id]
        now = self._clock.now()
        if all(self._may_go(it, reader, now) for it in members):
            return False
        digest.suppress(Reason.DISSOLVED, now=now, by=self._name)
        for it in members:
            it.part(digest, now=now, by=self._name)
        await self._events.save(digest, *members, seen=reader.seen)
        self._log.note("digest dissolved", digest.id, members=len(members))
        return True

    async def _opened(self, bundle: UUID, read: Read) -> Mapping[UUID, Notification]:
        """Make digests of what goes together in this bundle; answers what goes by itself."""
        try:
            return await self._merged(bundle, read)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others of the lot must not pay for it
            self._log.note("not gathered, left for later", bundle, error=type(error).__name__)
            return {}

    async def _merged(self, bundle: UUID, read: Read) -> Mapping[UUID, Notification]:
        conflicts = 0
        while conflicts < _TRIES:
            found = await read(await self._due.bundled(bundle, _MOST_LOOKED_AT))
            members = {id: it for id, it in found.items() if it.bundle == bundle and it.awaits_others}
            lot = await self._together(members.values())
            if lot is None:
                return members
            try:
                await self._merge(lot)
            except ConflictError:
                self._readers.forget(lot.reader.seen)
                conflicts += 1
        raise ConflictError(f"bundle {bundle} keeps changing")

    async def _together(self, members: Collection[Notification]) -> "_Lot | None":
        """What makes the next digest; None where there are no two of them."""
        known = sorted((it for it in members if isinstance(it.letter, Letter)), key=lambda it: (it.created_on, it.id))
        if len(known) < 2:
            return None
        (reader,) = await self._readers.of([_who(known[0])])
        now = self._clock.now()
        moment = max(now, min(it.due_at for it in known))  # whoever leased one of them knows that it is due
        wanted = [it for it in known if self._may_go(it, reader, now) and self._goes_with_others(it, reader, moment)]
        shown = [each async for each in self._shown(wanted)]
        template = self._template(known[-1]) if len(shown) > 1 else None
        return _Lot(shown, reader, template, now) if template else None

    def _may_go(self, notification: Notification, reader: Reader, now: datetime) -> bool:
        if notification.expires_at and now >= notification.expires_at:
            return False
        return not isinstance(reader.decide(notification, now, self._default_time_zone, gathered=True), Suppress)

    def _goes_with_others(self, notification: Notification, reader: Reader, moment: datetime) -> bool:
        return isinstance(reader.decide(notification, moment, self._default_time_zone, gathered=True), Digest)

    async def _shown(self, wanted: Sequence[Notification]) -> AsyncIterator["_Shown"]:
        """As many as fit, but for what cannot be made: that goes, and fails, by itself."""
        many = 0
        for notification in wanted:
            try:
                content = await message.rendered(notification, self._renderer)
            except RenderError:
                continue
            yield _Shown(notification, envelope(notification, content))
            many += 1
            if many == MOST_MEMBERS:
                return

    def _template(self, like: Notification) -> CurrentTemplate | None:
        try:
            return self._templates.current(like.tenant, DIGEST, like.channel, like.locale)
        except UnknownTemplateError:
            return None

    async def _merge(self, lot: "_Lot") -> None:
        newest = lot.members[-1]
        digest = Notification.queue(
            self._dice.id(),
            tenant=newest.tenant,
            channel=newest.channel,
            type=DIGEST,
            category=newest.category,
            purpose=newest.purpose,
            priority=min((it.priority for it in lot.members), key=lambda priority: priority.head_start),
            request=self._dice.id(),
            letter=self._letter(lot),
            template=lot.template.pin,
            now=lot.now,
            by=self._name,
            locale=newest.locale,
            recipient_user_id=newest.recipient_user_id,
            time_zone=lot.reader.wishes.time_zone or newest.time_zone,
            secrets=lot.template.type.secrets,
            members=[it.id for it in lot.members],
        )
        for it in lot.members:
            it.merge(digest, now=lot.now, by=self._name)
        await self._events.save(digest, *lot.members, seen=lot.reader.seen)
        self._log.note("gathered", digest.id, members=len(lot.members))

    def _letter(self, lot: "_Lot") -> Letter:
        """Like the newest of its members; of what is said of the sender, the newest that any of them says."""
        letters = [it.letter for it in reversed(lot.members) if isinstance(it.letter, Letter)]
        newest = letters[0]
        who, category = _who(lot.members[-1]), lot.members[-1].category
        return Letter(
            person=newest.person,
            address=newest.address,
            name=newest.name,
            variables={
                **{name: value for name in _FROM_MEMBERS if (value := next(_given(letters, name), None))},
                "sender_name": next(_given(letters, *_SENDERS), self._sender_name),
                "messages": [_item(shown) for shown in lot.shown],
                **({"preferences_url": link} if (link := self._links.choose(who, category)) else {}),
            },
            unsubscribe_url=newest.unsubscribe_url,
        )


class _Shown(msgspec.Struct, frozen=True):
    notification: Notification
    envelope: Envelope


class _Lot(msgspec.Struct, frozen=True):
    """What makes one digest, in the order in which it was accepted."""

    shown: list[_Shown]
    reader: Reader
    template: CurrentTemplate
    now: datetime

    @property
    def members(self) -> list[Notification]:
        return [shown.notification for shown in self.shown]


def _item(shown: _Shown) -> dict[str, Any]:
    return {
        "subject": shown.envelope.subject or "",
        "preview": shown.envelope.preview,
        "at": shown.notification.created_on.isoformat(),
    }


def _given(letters: Sequence[Letter], *names: str) -> Iterator[Any]:
    """What they say under these names, the first letter before the others."""
    for letter in letters:
        said = {"unsubscribe_url": letter.unsubscribe_url, **letter.variables}
        yield from (said[name] for name in names if said.get(name))


def _who(notification: Notification) -> Who:
    assert isinstance(notification.letter, Letter)
    return Who(notification.tenant, notification.channel, notification.letter.address, notification.recipient_user_id)
