"""The read model of subscriptions, on the database that it is kept in."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.postgres.readers import PostgresSubscriptionReader
from adapters.postgres.views import PostgresView
from application.processes.project import Known, project
from application.projections.subscriptions import WebhookSubscriptions
from application.subscriptions import SubscriptionDirectory
from domain.outcomes import Accepted, Outcome, Retryable
from domain.retry import STANDARD_WEBHOOKS
from domain.subscription import WebhookSubscription
from domain.vocabulary import Channel, Reason
from tests.contract.conftest import PostgresHouse
from tests.examples import NOON, attempted, notification, subscription


@pytest.fixture
async def house(conninfo: str) -> Any:
    async with PostgresHouse(conninfo) as house:
        await PostgresView(house.database, WebhookSubscriptions()).create()
        yield house


async def made(house: PostgresHouse, number: int, **terms: Any) -> WebhookSubscription:
    person = house.events.person("acme", f"webhook:{number}")
    it = subscription(UUID(int=number), person=person, now=house.time.now(), **terms)
    await house.events.save(it)
    return it


async def caught_up(house: PostgresHouse) -> None:
    projection, view = WebhookSubscriptions(), PostgresView(house.database, WebhookSubscriptions())
    after = await view.position()
    batch = await house.events.read(after, 1_000)
    await project(projection, view, batch, Known(), after=after)


async def test_pages_show_the_newest_first_and_none_that_was_deleted(house):
    reader = PostgresSubscriptionReader(house.database)
    first, second, third, gone = [await made(house, number) for number in (1, 2, 3, 4)]
    gone.delete(now=house.time.now(), by="key:k1")
    await house.events.save(gone)
    await caught_up(house)
    assert await reader.position() == await house.events.head()
    page = await reader.page("acme", None, 2)
    assert [row.id for row in page] == [third.id, second.id]
    assert [row.id for row in await reader.page("acme", page[-1].id, 2)] == [first.id]
    assert await reader.page("north", None, 2) == []
    assert await reader.get("acme", gone.id) is None
    assert (await reader.get("acme", first.id)).name == "billing"
    assert await reader.get("north", first.id) is None


async def test_position_and_rows_are_of_one_moment_whatever_is_written_meanwhile(house):
    await made(house, 1)
    await caught_up(house)
    before = await PostgresView(house.database, WebhookSubscriptions()).position()

    class Busy:
        """Between any two statements somebody subscribes."""

        number = 1

        async def rows(self, *query: Any) -> Any:
            found = await house.database.rows(*query)
            self.number += 1
            await made(house, self.number)
            await caught_up(house)
            return found

    position, rows = await PostgresSubscriptionReader(Busy()).interests()
    assert (position, [interest.id for _, interest in rows]) == (before, [UUID(int=1)])


async def test_a_directory_begins_with_the_rows_and_goes_on_with_the_log(house):
    known = await made(house, 1, event_types=("order.*",), organization="north")
    changed, gone = await made(house, 2), await made(house, 3)
    await caught_up(house)
    changed.update(
        subscription(UUID(int=9), event_types=("payment.*",)).terms,
        person=changed.endpoint.person,
        url="https://other.acme.example",
        headers={},
        owner_email=None,
        now=house.time.now() + timedelta(seconds=1),
        by="key:k1",
    )
    gone.delete(now=house.time.now(), by="key:k1")
    await house.events.save(changed, gone)
    new = await made(house, 4)
    directory = SubscriptionDirectory(house.events, PostgresSubscriptionReader(house.database))
    found = {each.id: each for each in await directory.of("acme")}
    assert found.keys() == {known.id, changed.id, new.id}
    assert (found[known.id].event_types, found[known.id].organization) == (("order.*",), "north")
    assert found[changed.id].event_types == ("payment.*",)
    assert await directory.of("north") == []


async def test_those_in_trouble_are_active_and_their_last_attempt_failed(house):
    failing, well, paused = [await made(house, number) for number in (1, 2, 3)]
    await called(house, failing, Retryable(Reason.ENDPOINT_ERROR))
    await called(house, well, Accepted(None))
    await called(house, paused, Retryable(Reason.ENDPOINT_ERROR))
    paused.pause(now=house.time.now(), by="key:k1")
    await house.events.save(paused)
    await caught_up(house)
    assert [row.id for row in await PostgresSubscriptionReader(house.database).troubled()] == [failing.id]


async def called(house: PostgresHouse, it: WebhookSubscription, outcome: Outcome) -> None:
    hook = notification(uuid4(), person=it.endpoint.person, channel=Channel.WEBHOOK, subscription=it.id, template=None)
    attempted(hook, provider="webhook")
    hook.record(outcome, STANDARD_WEBHOOKS, luck=0.5, now=NOON, by="worker")
    await house.events.save(hook)
