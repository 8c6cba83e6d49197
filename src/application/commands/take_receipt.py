"""Take in what a provider reports: stored first, applied to its notification as soon as that is known."""

import msgspec

from application.ports.log import ConflictError, EventStore
from application.ports.time_and_chance import Clock
from domain.ids import receipt_id
from domain.notification import Notification
from domain.personal import Letter, Remark
from domain.receipts import ProviderReceipt, Receipt


async def take_receipt(receipt: ProviderReceipt, *, events: EventStore, clock: Clock) -> bool:
    """Keep a callback for good; False when this very one had come before.

    The provider's words are kept as the reader's, to be forgotten with them; where no reader is known they are not.
    """
    remark = await _remark(receipt, events)
    try:
        await events.save(Receipt.record(receipt, remark, now=clock.now()))
    except ConflictError:
        if remark is None or await events.history(receipt_id(receipt.provider, receipt.event_id)):
            return False
        return await take_receipt(msgspec.structs.replace(receipt, detail=""), events=events, clock=clock)
    return True


async def _remark(receipt: ProviderReceipt, events: EventStore) -> Remark | None:
    if not receipt.detail or receipt.notification is None:
        return None
    notification = await events.get(Notification, receipt.notification)
    if notification is None or not isinstance(notification.letter, Letter):
        return None
    return Remark(person=notification.person, text=receipt.detail)
