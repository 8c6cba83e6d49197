"""What the read models know of webhook subscriptions."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from application.ports.webhooks import Interest
from application.projections.subscriptions import SubscriptionRow


class SubscriptionReader(Protocol):
    """Every question but those of the house's own processes is asked for one tenant; deleted ones do not exist."""

    async def get(self, tenant: str, id: UUID) -> SubscriptionRow | None: ...

    async def page(self, tenant: str, before: UUID | None, limit: int) -> Sequence[SubscriptionRow]:
        """Newest first, those before the one that the last page ended with."""

    async def interests(self) -> tuple[int, list[tuple[str, Interest]]]:
        """Every tenant's, with the position of the log that they are at least as of."""

    async def position(self) -> int:
        """Up to where it knows the log."""

    async def troubled(self) -> Sequence[SubscriptionRow]:
        """Every tenant's active ones whose last attempt failed, or of whose failures somebody was warned."""
