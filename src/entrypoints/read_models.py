"""The read models there are, and their tables."""

from typing import Any

from adapters.postgres.database import Database
from adapters.postgres.views import PostgresView
from application.projections.attempts import Attempts
from application.projections.event_types import EventTypesDescribed
from application.projections.happenings import Happenings
from application.projections.metrics import Metrics, Totals
from application.projections.notifications import Notifications
from application.projections.parked import KafkaParked
from application.projections.projection import Projection
from application.projections.receipts import Receipts
from application.projections.subscriptions import WebhookSubscriptions
from application.projections.suppressions import Suppressions
from application.projections.templates import OwnedTemplates

PROJECTIONS: tuple[Projection[Any], ...] = (
    Notifications(),
    Attempts(),
    Metrics(),
    Totals(),
    Receipts(),
    OwnedTemplates(),
    WebhookSubscriptions(),
    Suppressions(),
    Happenings(),
    EventTypesDescribed(),
    KafkaParked(),
)


async def create_views(database: Database) -> None:
    """The read models' tables, where they are not there yet or are those of another version."""
    for projection in PROJECTIONS:
        await PostgresView(database, projection).create()


async def missing_views(database: Database) -> list[str]:
    """The read models whose tables are not there yet or are those of another version."""
    views = [PostgresView(database, projection) for projection in PROJECTIONS]
    return [view.schema for view in views if not await view.is_up_to_date()]
