"""One message out of all that waited for the same digest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from application import message
from application.carriers.carrier import UnreadableError, UnsendableError
from application.carriers.email import envelope, made
from application.ports.due_work import DueWork
from application.ports.log import ConflictError, EventStore
from application.ports.templates import CurrentTexts, TemplateRenderer
from application.ports.time_and_chance import Clock, Dice
from application.readers import Reader, ReaderLinks, Readers, Who
from domain.decision import Digest, Suppress
from domain.notification import Notification
from domain.personal import Envelope, Letter
from domain.template import CurrentTemplate, RenderError, UnknownTemplateError
from domain.vocabulary import Purpose, Reason

DIGEST = "digest"
"""The type of the house that says many things at once."""

MOST_MEMBERS = 100
"""Of one digest; a mail of more is cut off by mailboxes. What is beyond goes in the next one, at the same time."""

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
        postal_address: str | None = None,
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
        self._postal_address = postal_address
        self._default_time_zone = default_time_zone
        self._name = name

    async def gathered(self, found: Mapping[UUID, Notification], read: Read) -> "Gathered":
        """What is to become of what somebody holds: a digest is made by who holds the first of what goes in it."""
        bundles: dict[UUID, dict[UUID, Notification]] = {}
        for id, it in found.items():
            if it.bundle and it.awaits_others:
                bundles.setdefault(it.bundle, {})[id] = it
        if not bundles:
            return Gathered(found)
        lots = await asyncio.gather(*(self._opened(bundle, held, read) for bundle, held in bundles.items()))
        alone = {id: it for id, it in found.items() if not it.awaits_others}
        for lot in lots:
            alone |= lot.alone
        return Gathered(alone, [id for lot in lots for id in lot.later])

    async def dissolved(self, digest: Notification, reader: Reader, read: Read) -> bool:
        """Take the digest apart if something in it may not go out any more; False if all may, or it may have gone out.

        Each member then waits for the others once more, and is decided on by itself. Raises ConflictError, and
        UnreadableError where it cannot be told what is in it.
        """
        if digest.may_have_gone_out:
            return False
        found = await read(digest.members)
        if len(found) < len(digest.members):
            raise UnreadableError
        members = [it for it in found.values() if it.digest_id == digest.id]
        now = self._clock.now()
        if len(members) == len(found) and all(self._may_go(it, reader, now) for it in members):
            return False
        digest.suppress(Reason.DISSOLVED, now=now, by=self._name)
        for it in members:
            it.part(digest, now=now, by=self._name)
        await self._events.save(digest, *members, seen=reader.seen)
        self._log.note("digest dissolved", digest.id, members=len(members))
        return True

    async def _opened(self, bundle: UUID, held: Mapping[UUID, Notification], read: Read) -> "Gathered":
        """Make digests of what goes together in this bundle. What fails stays with who holds it until that lapses."""
        try:
            return await self._merged(bundle, held, read)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others of the lot must not pay for it
            first = next(iter(held))
            self._log.note("not gathered, left for later", first, bundle=str(bundle), error=type(error).__name__)
            return Gathered({})

    async def _merged(self, bundle: UUID, held: Mapping[UUID, Notification], read: Read) -> "Gathered":
        """Who holds the first makes all of them, one after the other, until somebody else is seen to do so."""
        ours, conflicts = False, 0
        while conflicts < _TRIES:
            ids = await self._due.bundled(bundle, MOST_MEMBERS)
            if not ids or not (ours or ids[0] in held):
                return Gathered({}, list(held))
            found = await read(ids)
            members = {id: it for id, it in found.items() if it.bundle == bundle and it.awaits_others}
            merger = await self._merger(members.values())
            if merger is None:
                return Gathered(
                    {id: it for id, it in members.items() if id in held}, [id for id in held if id not in found]
                )
            try:
                await self._save(merger)
                ours = True
            except ConflictError:
                self._readers.forget(merger.reader.seen)
                ours, conflicts = False, conflicts + 1
        raise ConflictError(f"bundle {bundle} keeps changing")

    async def _merger(self, members: Collection[Notification]) -> "_Merger | None":
        """The next digest; None where there are no two that go together, or nobody would get it as it would be."""
        lot = await self._together(members)
        if lot is None:
            return None
        digest = self._digest(lot)
        try:
            await made(digest, self._renderer, self._postal_address)
        except UnsendableError as error:
            newest = lot.members[-1]
            self._log.note("no digest can be made, each goes alone", newest.id, reason=error.reason.value)
            return None
        return _Merger(digest, lot.members, lot.reader, lot.now)

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
        """All but what cannot be made: that goes, and fails, by itself."""
        for notification in wanted:
            try:
                content = await message.rendered(notification, self._renderer)
            except RenderError:
                continue
            yield _Shown(notification, envelope(notification, content))

    def _template(self, like: Notification) -> CurrentTemplate | None:
        try:
            return self._templates.current(like.tenant, DIGEST, like.channel, like.locale)
        except UnknownTemplateError:
            return None

    async def _save(self, merger: "_Merger") -> None:
        for it in merger.members:
            it.merge(merger.digest, now=merger.now, by=self._name)
        await self._events.save(merger.digest, *merger.members, seen=merger.reader.seen)
        self._log.note("gathered", merger.digest.id, members=len(merger.members))

    def _digest(self, lot: "_Lot") -> Notification:
        newest = lot.members[-1]
        return Notification.queue(
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

    def _letter(self, lot: "_Lot") -> Letter:
        """Like the newest of its members; of what is said of the sender, the newest that any of them says."""
        letters = [it.letter for it in reversed(lot.members) if isinstance(it.letter, Letter)]
        newest = letters[0]
        who, category = _who(lot.members[-1]), lot.members[-1].category
        ours = {"postal_address": self._postal_address} if lot.members[-1].purpose is Purpose.MARKETING else {}
        return Letter(
            person=newest.person,
            address=newest.address,
            name=newest.name,
            variables={
                **{name: value for name in _FROM_MEMBERS if (value := next(_given(letters, name), ours.get(name)))},
                "sender_name": next(_given(letters, *_SENDERS), self._sender_name),
                "messages": [_item(shown) for shown in lot.shown],
                **({"preferences_url": link} if (link := self._links.choose(who, category)) else {}),
            },
            unsubscribe_url=newest.unsubscribe_url,
        )


class Gathered(msgspec.Struct, frozen=True):
    """What goes by itself now, as it is now, and what is to be taken up again in a moment, when somebody has merged.

    The rest has gone into digests, or waits until its lease lapses.
    """

    alone: Mapping[UUID, Notification]
    later: Sequence[UUID] = ()


class _Merger(msgspec.Struct, frozen=True):
    digest: Notification
    members: list[Notification]
    reader: Reader
    now: datetime


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
