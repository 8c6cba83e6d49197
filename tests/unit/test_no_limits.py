"""Where nothing was chosen nothing is paid for it: what is asked of whom is counted, not how long it takes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from adapters.reader_tokens import ReaderTokens
from application.caller import Caller
from application.commands.send import SendAnswer, send
from application.commands.sending import Recipient, SendNotification
from domain.limits import ChannelLimits, Limits, Rates, Rules
from domain.notification import Notification
from domain.saying import Saying
from domain.vocabulary import Channel
from tests.digests import JANE, House, Texts

MESSAGES = 5


class Counted(House):
    """Counts what is asked of the store, by what it is about, and of the limiter."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        for name in ("get", "get_many"):
            setattr(self.events, name, self._counting(getattr(self.events, name)))
        self.limiter.take = self._taking(self.limiter.take)

    def _counting(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def counting(kind: type[Any], *said: Any, **named: Any) -> Any:
            self.asked[kind.__name__] += 1
            return ask(kind, *said, **named)

        return counting

    def _taking(self, take: Callable[..., Any]) -> Callable[..., Any]:
        def taking(*said: Any) -> Any:
            self.asked["place"] += 1
            return take(*said)

        return taking

    async def choose(self, rules: Rules) -> None:
        limits = Limits.begin("acme", now=self.clock.now(), by="key:k1")
        limits.choose(rules, now=self.clock.now(), by="key:k1")
        await self.events.save(limits)
        self.readers.forget([limits.id])

    async def send(self) -> SendAnswer:
        async def own(*_: str) -> Texts:
            return self.texts

        return await send(
            SendNotification(type="order_shipped", recipients=[Recipient(email=JANE)]),
            Caller("acme", "key:k1"),
            events=self.events,
            templates=self.texts,
            own=own,
            readers=self.readers,
            links=ReaderTokens(bytes(32), None),
            persons=self.events,
            clock=self.clock,
            dice=self.dice,
            fingerprint=bytes.hex,
            default_language="en",
            default_time_zone="UTC",
            postal_address=None,
        )


@pytest.fixture
async def house() -> Counted:
    """It knows of its tenant already, as far as there is anything to know."""
    house = Counted()
    await house.send()
    await house.work()
    return house


async def test_to_accept_without_rules_asks_nothing_of_anybody(house):
    house.asked.clear()
    for _ in range(MESSAGES):
        await house.send()
    assert house.asked == {}


async def test_to_deliver_without_rules_reads_the_notifications_and_nothing_else(house):
    for _ in range(MESSAGES):
        await house.send()
    house.asked.clear()
    await house.work()
    assert house.asked == {Notification.__name__: 1}


async def test_with_rules_it_is_seen_what_they_cost(house):
    """Or the two above would count nothing."""
    email = ChannelLimits(user=Rates(per_hour=100))
    await house.choose(Rules(channels={Channel.EMAIL: email}, duplicate_window=60))
    house.asked.clear()
    for _ in range(MESSAGES):
        await house.send()
    await house.work()
    assert (house.asked[Limits.__name__], house.asked[Saying.__name__]) == (1, MESSAGES)
    assert house.asked["place"] >= 1
