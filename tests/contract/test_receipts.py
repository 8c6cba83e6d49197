"""What is kept of a provider's callback, and which notification it is matched with."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.postgres.readers import PostgresReceiptsReader
from adapters.postgres.views import PostgresView
from application.commands.take_receipt import take_receipt
from application.ports.log import Recorded
from application.projections.notifications import Notifications
from application.projections.projection import Projection, folded, touched
from application.projections.receipts import Receipts
from domain.ids import receipt_id
from domain.notification import Notification
from domain.outcomes import Accepted
from domain.personal import Erased
from domain.receipts import ProviderReceipt, Receipt, ReceiptKind
from tests.examples import NOON, POLICY, attempted, notification

WORDS = "550 5.1.1 <ada@example.com> unknown"


def bounce(of: UUID | None) -> ProviderReceipt:
    return ProviderReceipt(
        provider="resend",
        event_id=f"msg_{uuid4()}",
        kind=ReceiptKind.BOUNCED,
        said="email.bounced",
        provider_id="re_1",
        notification=of,
        occurred_at=NOON,
        detail=WORDS,
    )


async def queued(house: Any) -> Notification:
    it = notification(uuid4(), person=house.events.person("acme", "ada@example.com"), now=house.time.now())
    await house.events.save(it)
    return it


async def take(house: Any, receipt: ProviderReceipt, events: Any = None) -> bool:
    return await take_receipt(receipt, events=events or house.events, clock=house.time)


async def kept(house: Any, receipt: ProviderReceipt) -> Any:
    (recorded,) = await house.events.history(receipt_id(receipt.provider, receipt.event_id))
    return recorded.event


async def test_the_providers_words_are_forgotten_with_the_reader(house):
    it = await queued(house)
    assert await take(house, receipt := bounce(it.id))
    assert (await kept(house, receipt)).personal.text == WORDS
    await house.events.forget("acme", "ada@example.com")
    assert (await kept(house, receipt)).personal == Erased(it.person)


@pytest.mark.parametrize("of", [None, UUID(int=7)], ids=["not named", "unknown"])
async def test_words_about_nobody_we_know_are_not_kept(house, of):
    assert await take(house, receipt := bounce(of))
    assert (await kept(house, receipt)).personal is None


async def test_a_receipt_of_a_forgotten_reader_is_kept_without_its_words(house):
    it = await queued(house)
    await house.events.forget("acme", "ada@example.com")
    assert await take(house, receipt := bounce(it.id))
    assert (await kept(house, receipt)).personal is None


class ForgetfulEvents:
    """Somebody is forgotten right after a notification to them was read."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    async def get(self, kind: Any, id: UUID) -> Any:
        found = await self._events.get(kind, id)
        await self._events.forget("acme", "ada@example.com")
        return found


async def test_so_is_that_of_a_reader_who_is_forgotten_at_that_moment(house):
    it = await queued(house)
    assert await take(house, receipt := bounce(it.id), ForgetfulEvents(house.events))
    assert (await kept(house, receipt)).personal is None


async def test_a_receipt_that_comes_twice_is_kept_once(house):
    it = await queued(house)
    assert await take(house, receipt := bounce(it.id))
    assert not await take(house, receipt)


# In the database


async def shown(database: Any, projection: Projection[Any], events: list[Any]) -> None:
    view = PostgresView(database, projection)
    await view.create()
    log = [Recorded(i, event) for i, event in enumerate(events, 1)]
    await view.write(folded(projection, {}, touched(projection, log)), len(log), after=0)


async def test_the_same_id_of_another_provider_is_another_message(database):
    sent = {}
    events: list[Any] = []
    for provider in ("resend", "smtp"):
        it = attempted(notification(uuid4()), provider=provider)
        it.record(Accepted("id-1"), POLICY, luck=0.5, now=NOON + timedelta(seconds=1), by="worker")
        sent[provider] = it.id
        events += it.collect_events()
    receipt = Receipt.record(bounce(None), None, now=NOON)
    await shown(database, Notifications(), events)
    await shown(database, Receipts(), receipt.collect_events())
    reader = PostgresReceiptsReader(database)
    one, other, unknown = ("resend", "id-1"), ("smtp", "id-1"), ("smtp", "re_1")
    assert await reader.notifications_of([one, unknown]) == {one: sent["resend"]}
    assert await reader.notifications_of([one, other]) == {one: sent["resend"], other: sent["smtp"]}
    assert await reader.receipts_of([unknown, one]) == []
    assert await reader.receipts_of([("resend", "re_1")]) == [receipt.id]
