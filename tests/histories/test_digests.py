"""Whatever happens, in whatever order, to what waits for a digest. In memory."""

import asyncio
from contextlib import suppress
from datetime import time, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.notification import NotRetryableError
from domain.outcomes import Outcome, Refused, Retryable, Throttled, Unknown
from domain.preferences import Choice
from domain.vocabulary import Channel, Frequency, Reason, Status
from domain.wall_clock import QuietHours
from tests.digests import CATEGORY, HOUR, JANE, MINUTE, TYPES, House, what


class Course:
    """What may happen, in any order, to what waits for a digest."""

    def __init__(self) -> None:
        self.house = House()
        self.sent: list[UUID] = []
        self.said: dict[UUID, str] = {}

    async def accept(self, type: str, useful_for: timedelta | None, secrets: bool) -> None:
        expires_at = self.house.clock.now() + useful_for if useful_for else None
        it = await self.house.accept(type, expires_at=expires_at, secrets=["code"] if secrets else [])
        self.sent.append(it.id)
        self.said[it.id] = what(it)

    async def choose(self, choices: dict[str, Choice], quiet: QuietHours | None) -> None:
        named = {name: choice for name, choice in choices.items() if name != CATEGORY}
        chosen = {CATEGORY: choices[CATEGORY]} if CATEGORY in choices else {}
        await self.house.wish(types=named, categories=chosen, quiet_hours=quiet)

    async def cancel(self, which: int) -> None:
        if self.sent:
            it = await self.house.now(self.sent[which % len(self.sent)])
            it.cancel(now=self.house.clock.now(), by="key:k1")
            await self.house.events.save(it)

    async def retry(self, which: int) -> None:
        """One of those that were accepted, or of the digests."""
        known = [*self.sent, *(it.id for it in await self.house.digests())]
        if known:
            it = await self.house.now(known[which % len(known)])
            with suppress(NotRetryableError):
                it.retry(now=self.house.clock.now(), by="key:k1")
            await self.house.events.save(it)

    async def forget(self) -> None:
        await self.house.events.forget("acme", JANE)

    async def work(self, limit: int) -> None:
        await self.house.work(limit=limit)

    async def pass_by(self, time: timedelta) -> None:
        self.house.clock.move(time)

    async def refuse(self, outcome: Outcome) -> None:
        self.house.provider.says = [outcome]

    async def die(self, workers: int, ticks: int) -> None:
        """So many workers take up what is due, each a part of it, and are lost in the middle."""
        leases = await self.house.due.lease(Channel.EMAIL, 50, 100, MINUTE)
        parts = [leases[n::workers] for n in range(workers)]
        tasks = [asyncio.create_task(self.house.worker().deliver(Channel.EMAIL, part)) for part in parts]
        for _ in range(ticks):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self) -> None:
        """All that was still to come, with nothing in its way."""
        self.house.provider.says = []
        for _ in range(30):
            self.house.clock.move(10 * HOUR)
            await self.house.work_on()


_frequencies = st.sampled_from([*Frequency, None])
_steps = st.one_of(
    st.tuples(
        st.just("accept"),
        st.sampled_from(TYPES),
        st.sampled_from([None, None, 30 * MINUTE, 90 * MINUTE, 3 * HOUR]),
        st.sampled_from([False, False, True]),
    ),
    st.tuples(
        st.just("choose"),
        st.dictionaries(
            st.sampled_from([CATEGORY, *TYPES]), st.builds(Choice, enabled=st.booleans(), frequency=_frequencies)
        ),
        st.sampled_from([None, None, QuietHours(time(13), time(15))]),
    ),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("retry"), st.integers(0, 9)),
    st.tuples(st.just("forget")),
    st.tuples(st.just("work"), st.sampled_from([1, 2, 50])),
    st.tuples(st.just("pass_by"), st.sampled_from([MINUTE, 10 * MINUTE, HOUR, 21 * HOUR])),
    st.tuples(
        st.just("refuse"),
        st.sampled_from(
            [
                Retryable(Reason.TIMEOUT),
                Throttled(MINUTE, only_this=True),
                Refused(Reason.PROVIDER_REFUSED),
                Unknown(Reason.TIMEOUT),
            ]
        ),
    ),
    st.tuples(st.just("die"), st.integers(1, 3), st.integers(0, 60)),
)


@settings(max_examples=60)
@given(
    first=st.lists(st.tuples(st.just("accept"), st.sampled_from(TYPES), st.none(), st.just(False)), max_size=4),
    then=st.lists(_steps, max_size=12),
)
async def test_whatever_happens_each_ends_as_one_message_in_one_digest_or_for_one_reason(first, then):
    course = Course()
    await course.house.wish()
    for name, *about in [*first, *then]:
        await getattr(course, name)(*about)
    await course.end()
    got, digests = course.house.got(), await course.house.digests()
    for it in [await course.house.now(each) for each in course.sent]:
        assert got.pop(course.said[it.id], 0) == (1 if it.status is Status.SENT else 0)
        assert it.status is Status.SENT or (it.status is not Status.PENDING and it.reason_code)
        assert it.due is None
        assert it.status is not Status.DEFERRED
        sent_in = [digest for digest in digests if it.id in digest.members and digest.status is Status.SENT]
        assert len(sent_in) <= 1
        assert it.digest_id in (None, *(digest.id for digest in digests if it.id in digest.members))
        assert not sent_in or it.digest_id == sent_in[0].id
    assert not got
