"""Take in what a provider reports: stored first, applied to its notification as soon as that is known."""

from application.ports import Clock, ConflictError, EventStore, Persons
from domain.personal import Remark
from domain.receipts import ProviderReceipt, Receipt


async def take_receipt(receipt: ProviderReceipt, *, events: EventStore, persons: Persons, clock: Clock) -> bool:
    """Keep a callback for good; False when this very one had come before."""
    remark = None
    if receipt.detail:
        person = persons.person(f"provider:{receipt.provider}", str(receipt.notification or receipt.event_id))
        remark = Remark(person=person, text=receipt.detail)
    try:
        await events.save(Receipt.record(receipt, remark, now=clock.now()))
    except ConflictError:
        return False
    return True
