"""A read model is compared with what the log says as far as the read model has come. On PostgreSQL."""

from uuid import UUID

from adapters.postgres.database import Database
from adapters.postgres.views import PostgresView
from application.processes.project import Known, project
from application.processes.rebuild import verify
from application.projections.notifications import Notifications
from tests.examples import notification
from tests.fakes.log import FakeLog


def two_new() -> FakeLog:
    return FakeLog(event for number in (1, 2) for event in notification(UUID(int=number)).collect_events())


async def test_what_the_read_model_has_not_come_to_yet_is_no_difference(database: Database) -> None:
    projection, log = Notifications(), two_new()
    live, shadow = PostgresView(database, projection), PostgresView(database, projection, shadow=True)
    await live.create()
    await project(projection, live, await log.read(0, 1), Known(), after=0)
    assert await verify(projection, log, live, shadow, lambda *_: None) == []


async def test_what_the_read_model_passed_over_is_a_difference(database: Database) -> None:
    projection, log = Notifications(), two_new()
    live, shadow = PostgresView(database, projection), PostgresView(database, projection, shadow=True)
    await live.create()
    await project(projection, live, await log.read(1, 1), Known(), after=0)
    (missing,) = await verify(projection, log, live, shadow, lambda *_: None)
    assert missing.live is None
    assert missing.expected
    assert missing.expected["id"] == str(UUID(int=1))
