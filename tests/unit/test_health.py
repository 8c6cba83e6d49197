"""Who is warned, and what is given up. In memory."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from adapters.event_mapper import EventMapper
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from adapters.templates.types import read_types
from application.caller import Caller
from application.commands.send import IdempotencyKey, SendAnswer
from application.commands.sending import SendNotification
from application.ports.log import ConflictError, StoreUnavailableError
from application.problems import InvalidCommandError
from application.processes.health import TYPE, HealthCheck
from application.projections.projection import folded, touched
from application.projections.subscriptions import SubscriptionRow, WebhookSubscriptions
from domain.health import GIVEN_UP_AFTER, WELL_AFTER, Health, Verdict
from domain.outcomes import Accepted, Outcome, Refused, Retryable
from domain.retry import RetrySchedule
from domain.subscription import SubscriptionState, WebhookSubscription
from domain.template import check_variables
from domain.vocabulary import Channel, Reason
from tests.examples import attempted, notification, subscription
from tests.fakes.chance import SetClock

TYPES = {type_.name: type_ for type_ in read_types(Path(__file__).parents[2] / "templates")}
FAILED = Retryable(Reason.TIMEOUT)
FOR_EVER = RetrySchedule((timedelta(seconds=1),) * 100)


class House:
    """Its read model is folded from the log whenever it is asked: from all of it, or up to where it `stands`."""

    def __init__(self) -> None:
        self.clock = SetClock()
        keys = PersonKeys(bytes(32))
        due = MemoryDueWork(self.clock)
        self.events = MemoryEventStore(due, MemoryWakeups(), EventMapper(keys), keys)
        self.mails: list[tuple[SendNotification, Caller, IdempotencyKey]] = []
        self.verdicts: list[Verdict] = []
        self.unreadable: list[tuple[UUID, type[Exception]]] = []
        self.refuses = False
        self.stands: int | None = None
        link = "https://carillon.acme.example/docs"
        self.check = HealthCheck(self, self.events, self.events, self.send, self.clock, self, link)

    async def position(self) -> int:
        return await self.events.head() if self.stands is None else self.stands

    async def troubled(self) -> Sequence[SubscriptionRow]:
        projection = WebhookSubscriptions()
        position = await self.position()
        batch = [each for each in await self.events.read(0, 10_000, projection.topics) if each.position <= position]
        rows = folded(projection, {}, touched(projection, batch)).values()
        return [row for row in rows if row.state is SubscriptionState.ACTIVE and (row.failing_since or row.warned)]

    async def send(self, command: SendNotification, caller: Caller, key: IdempotencyKey) -> SendAnswer:
        if self.refuses:
            raise InvalidCommandError([])
        check_variables(TYPES[command.type], command.variables)
        self.mails.append((command, caller, key))
        return SendAnswer(uuid4(), 1, [])

    def health(self, subscription: WebhookSubscription, verdict: Verdict, health: Health) -> None:
        self.verdicts.append(verdict)

    def unjudged(self, subscription: UUID, error: Exception) -> None:
        self.unreadable.append((subscription, type(error)))

    async def subscribe(self, owner: str | None = "jane@acme.example") -> WebhookSubscription:
        it = subscription(uuid4(), person=self.events.person("acme", "webhook:1"), now=self.clock.now())
        if owner:
            it.update(
                it.terms,
                person=it.endpoint.person,
                url="https://hooks.acme.example/in?token=t0ken",
                headers={},
                owner_email=owner,
                now=self.clock.now(),
                by="key:k1",
            )
        await self.events.save(it)
        return it

    async def call(self, it: WebhookSubscription, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            hook = notification(
                uuid4(),
                person=it.endpoint.person,
                channel=Channel.WEBHOOK,
                subscription=it.id,
                template=None,
                now=self.clock.now(),
            )
            attempted(hook, self.clock.now(), provider="webhook")
            hook.record(outcome, FOR_EVER, luck=0.5, now=self.clock.now(), by="worker")
            await self.events.save(hook)

    async def resume(self, it: WebhookSubscription) -> None:
        found = await self.events.get(WebhookSubscription, it.id)
        assert found
        found.resume(now=self.clock.now(), by="key:k1")
        await self.events.save(found)

    async def state(self, id: UUID) -> SubscriptionState:
        found = await self.events.get(WebhookSubscription, id)
        assert found
        return found.state


@pytest.fixture
async def house() -> House:
    """Its check has looked at the log once."""
    house = House()
    await house.check.turn()
    return house


async def test_the_owner_is_warned_twice_then_told_that_it_is_disabled_and_no_more(house):
    it = await house.subscribe()
    await house.call(it, *[FAILED] * 10)
    for share in (0.4, 0.5, 0.51, 0.9, 0.95, 1.0, 1.1):
        house.clock.at = it.created_on + GIVEN_UP_AFTER * share
        await house.check.turn()
        await house.check.turn()
    assert house.verdicts == [Verdict.WARN_HALF, Verdict.WARN_LATE, Verdict.FAILING]
    assert await house.state(it.id) is SubscriptionState.DISABLED
    assert [(mail.type, mail.recipients[0].email) for mail, _, _ in house.mails] == [(TYPE, "jane@acme.example")] * 3
    assert len({key.key for _, _, key in house.mails}) == 3
    assert not any(key.key.isprintable() for _, _, key in house.mails), "no caller can have used it before"
    assert [caller.tenant for _, caller, _ in house.mails] == ["acme"] * 3
    assert ["disabled_at" in mail.variables for mail, _, _ in house.mails] == [True, True, False]


async def test_the_mail_says_nothing_of_the_url_but_its_host(house):
    await house.call(await house.subscribe(), Refused(Reason.ENDPOINT_GONE))
    await house.check.turn()
    ((mail, _, _),) = house.mails
    assert mail.variables["host"] == "hooks.acme.example"
    assert b"t0ken" not in msgspec.json.encode(mail)


async def test_one_that_nobody_owns_is_given_up_all_the_same(house):
    it = await house.subscribe(owner=None)
    await house.call(it, Refused(Reason.ENDPOINT_GONE))
    await house.check.turn()
    assert await house.state(it.id) is SubscriptionState.DISABLED
    assert house.mails == []


async def test_one_whose_owner_cannot_be_written_to_is_given_up_all_the_same(house):
    house.refuses = True
    it = await house.subscribe()
    await house.call(it, Refused(Reason.ENDPOINT_GONE))
    await house.check.turn()
    assert await house.state(it.id) is SubscriptionState.DISABLED


async def test_what_does_not_pass_by_itself_is_told_at_once_and_once(house):
    it = await house.subscribe()
    for _ in range(3):
        await house.call(it, Retryable(Reason.TLS_FAILED))
        await house.check.turn()
    assert house.verdicts == [Verdict.WARN_AT_ONCE]
    assert await house.state(it.id) is SubscriptionState.ACTIVE


async def test_an_hour_without_failure_takes_the_warning_back_without_a_mail(house):
    it = await house.subscribe()
    await house.call(it, Retryable(Reason.TLS_FAILED))
    await house.check.turn()
    await house.call(it, Accepted(None))
    await house.check.turn()
    assert house.verdicts == [Verdict.WARN_AT_ONCE]
    house.clock.move(WELL_AFTER)
    await house.check.turn()
    await house.check.turn()
    assert house.verdicts == [Verdict.WARN_AT_ONCE, Verdict.RECOVERED]
    assert len(house.mails) == 1


@pytest.mark.parametrize("pause", [timedelta(seconds=1), timedelta(minutes=61)])
async def test_one_that_fails_and_succeeds_by_turns_is_warned_of_once_a_day(house, pause):
    it = await house.subscribe()
    began = house.clock.now()
    while house.clock.now() < began + pause * 40:
        await house.call(it, Retryable(Reason.TLS_FAILED))
        await house.check.turn()
        await house.call(it, Accepted(None))
        house.clock.move(pause)
        await house.check.turn()
    days = (pause * 40) // timedelta(days=1) + 1
    assert len(house.mails) == days
    assert len(house.verdicts) <= 2 * days


async def test_interrupted_between_mail_and_event_the_mail_is_asked_for_again_under_the_same_key(house, monkeypatch):
    it = await house.subscribe()
    await house.call(it, Refused(Reason.ENDPOINT_GONE))

    async def conflicts(*_: Any) -> int:
        raise ConflictError

    with monkeypatch.context() as patched:
        patched.setattr(house.events, "save", conflicts)
        assert await house.check.turn() == 0
    assert await house.check.turn() == 1
    first, second = house.mails
    assert first[2] == second[2]


async def test_nobody_is_judged_while_the_read_model_is_behind_where_the_log_ended_a_turn_ago(house):
    it = await house.subscribe()
    await house.call(it, *[FAILED] * 12)
    then = await house.events.head()
    await house.call(it, Accepted(None))
    await house.check.turn()
    house.clock.move(GIVEN_UP_AFTER * 40)
    for stands in (then, then, None):
        house.stands = stands
        assert await house.check.turn() == 0
    assert await house.state(it.id) is SubscriptionState.ACTIVE
    assert house.mails == []


async def test_the_first_turn_judges_nobody_for_what_is_read_may_be_from_long_ago():
    house = House()
    await house.call(await house.subscribe(), Refused(Reason.ENDPOINT_GONE))
    assert await house.check.turn() == 0
    assert await house.check.turn() == 1


async def test_a_resume_that_the_read_model_does_not_know_yet_is_not_undone(house):
    it = await house.subscribe()
    await house.call(it, Refused(Reason.ENDPOINT_GONE))
    house.stands = await house.events.head()
    await house.check.turn()
    await house.resume(it)
    house.check._head = house.stands
    assert await house.check.turn() == 0
    assert await house.state(it.id) is SubscriptionState.ACTIVE
    assert (house.verdicts, len(house.mails)) == ([Verdict.GONE], 1)


async def test_what_was_rotated_or_changed_is_judged_as_before(house):
    it = await house.subscribe()
    await house.call(it, Refused(Reason.ENDPOINT_GONE))
    it.rotate("whsec_new", GIVEN_UP_AFTER, person=it.endpoint.person, now=house.clock.now(), by="key:k1")
    await house.events.save(it)
    assert await house.check.turn() == 1


async def test_another_url_begins_with_a_clean_record(house):
    it = await house.subscribe()
    await house.call(it, *[FAILED] * 9, Refused(Reason.ENDPOINT_GONE))
    it.update(
        it.terms,
        person=it.endpoint.person,
        url="https://new.acme.example/in",
        headers={},
        owner_email=None,
        now=house.clock.now(),
        by="key:k1",
    )
    await house.events.save(it)
    assert await house.check.turn() == 0
    await house.call(it, FAILED)
    house.clock.move(GIVEN_UP_AFTER)
    assert await house.check.turn() == 0


async def test_one_that_cannot_be_read_holds_up_no_other_and_is_told_of_once(house, monkeypatch):
    unreadable, gone = [await house.subscribe() for _ in range(2)]
    for each in (unreadable, gone):
        await house.call(each, Refused(Reason.ENDPOINT_GONE))
    get = house.events.get

    async def altered(kind: Any, id: UUID) -> Any:
        if id == unreadable.id:
            raise ValueError
        return await get(kind, id)

    monkeypatch.setattr(house.events, "get", altered)
    assert [await house.check.turn() for _ in range(3)] == [1, 0, 0]
    assert house.unreadable == [(unreadable.id, ValueError)]
    monkeypatch.undo()
    assert await house.state(gone.id) is SubscriptionState.DISABLED
    assert await house.check.turn() == 1


async def test_a_database_that_is_away_ends_the_turn(house, monkeypatch):
    async def away(*_: Any) -> Any:
        raise StoreUnavailableError

    await house.call(await house.subscribe(), Refused(Reason.ENDPOINT_GONE))
    monkeypatch.setattr(house.events, "get", away)
    with pytest.raises(StoreUnavailableError):
        await house.check.turn()
    assert house.unreadable == []
