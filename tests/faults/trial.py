"""One scenario as it runs: what it sends, what it expects, and what it came to."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count

import msgspec
import psycopg

from tests.faults.cluster import LEASE, Cluster, Provider
from tests.faults.history import ENDS, Acknowledged, Verdict, check
from tests.faults.load import Load, acknowledged_in
from tests.faults.waiting import until

LIVE_AGAIN_WITHIN = 10.0
"""Seconds from the moment when what was broken is back until readers of every read model see what is accepted then."""

RATE = 80.0  # requests a second, while something is being broken
_AS_BEFORE_WITHIN = LEASE + 30.0
_SETTLED_WITHIN = 300.0
_names = count(1)


class Findings(msgspec.Struct, kw_only=True):
    """What a scenario came to. `lost`: acknowledged, never arrived, and not given up in the log either.

    `may_repeat` is what the promise allows. `live` is the longest time in seconds from the moment when something was
    back until the read models went on, `recovery` that from a fault until everything was as before, `within` its limit
    where there is one. What is `broken` is a promise that was not kept, in words.
    """

    sent: int
    calls: int
    lost: int
    repeated: int
    may_repeat: int
    given_up: int
    reordered: int
    misdirected: int
    live: float | None
    recovery: float | None
    within: float | None
    tallies: dict[str, float]
    broken: list[str]


class Trial:
    """One stretch of a cluster's history, from now on, with a sender of its own.

    `luck` decides what a seed is to decide: when, whom, how much.
    """

    def __init__(self, cluster: Cluster, provider: Provider, began: int, luck: random.Random) -> None:
        self.cluster = cluster
        self.provider = provider
        self.began = began
        self.luck = luck
        self.tell: Callable[[str], None] = lambda _: None
        self.tallies: Counter[str] = Counter()
        self.may_give_up = False
        self.speed_counts = True
        self.is_control = False
        self.seen: Verdict | None = None  # of a control that mends what it broke
        self.live: float | None = None
        self.recovery: float | None = None
        self.within: float | None = _AS_BEFORE_WITHIN
        self.not_in_the_log: frozenset[str] = frozenset()  # ids that a backup does not know, and why that is as it is
        self._broken: list[str] = []
        self._watches: list[asyncio.Task[Load]] = []
        self._log = cluster.folder / f"acknowledged-{next(_names)}.jsonl"
        self._loads: list[Load] = []
        self.load = self.another_load()

    @classmethod
    async def begin(cls, cluster: Cluster, provider: Provider = "resend", seed: str = "0") -> "Trial":
        await cluster.full_set(provider)
        await cluster.provider_does()
        return cls(cluster, provider, await cluster.head(), random.Random(seed))

    def another_load(self) -> Load:
        luck = random.Random(self.luck.random())
        name = f"run{next(_names)}"
        load = Load(name, lambda: self.cluster.address, self.cluster.api_keys, self._log, luck)
        self._loads.append(load)
        return load

    def close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        for load in self._loads:
            load.close()

    # What a scenario says of itself

    def expect(self, kept: object, promise: str) -> None:
        if not kept:
            self._broken.append(f"not so: {promise}")

    def note(self, **tallies: float) -> None:
        self.tallies.update(tallies)

    def lived(self, seconds: float) -> None:
        """That long after something was back the read models went on."""
        self.live = max(self.live or 0.0, seconds)

    def recovered(self, seconds: float, *, within: float | None = None) -> None:
        """That long after a fault everything was as before."""
        self.recovery = max(self.recovery or 0.0, seconds)
        self.within = within or self.within

    def faults(self, number: int, name: str) -> Iterator[int]:
        for fault in range(1, number + 1):
            self.tell(f"{name} {fault} of {number}")
            yield fault
            self.note(**{name: 1})

    # What is sent

    @asynccontextmanager
    async def sending(self, sends: int, clients: int = 10) -> AsyncIterator[None]:
        """Send as many meanwhile, and go on until all is acknowledged. A failure of either ends both."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.load.send(sends, clients=clients))
            yield

    @asynccontextmanager
    async def traffic(self, rate: float = RATE, clients: int = 10) -> AsyncIterator[None]:
        """Send for as long as the block lasts, and until all that was begun is acknowledged."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.load.send_until(stop, rate=rate, clients=clients))
            try:
                yield
            finally:
                stop.set()

    async def some_time(self, least: float = 0.35, most: float = 0.9) -> None:
        await asyncio.sleep(self.luck.uniform(least, most))

    async def live_again(self, back: float) -> Load:
        """Note how long after `back` a fresh message was accepted and seen by readers of every read model."""
        fresh = self.another_load()
        await fresh.send(1)
        await until(lambda: self.readers_see(fresh.positions[0]), "readers see a fresh message")
        self.lived(time.monotonic() - back)
        return fresh

    def watch(self, back: float) -> None:
        """The same, while the scenario goes on."""
        self._watches.append(asyncio.create_task(self.live_again(back)))

    async def all_as_before(self, since: float, back: float | None = None) -> float:
        """Seconds from `since` until a message went all the way: accepted, seen by readers, at the provider.

        What was broken is back since then too, unless that was later, at `back`.
        """
        (probe,) = (await self.live_again(back or since)).acknowledged
        await until(lambda: self._seen_at_the_provider(probe.address), "a fresh message arrives")
        return time.monotonic() - since

    def acknowledge(self, accepted: Iterable[Acknowledged]) -> None:
        """These were accepted by another way than the load's, and have to arrive all the same."""
        self.load.note(list(accepted))

    # What can be seen meanwhile

    @property
    def _has_keys(self) -> bool:
        return self.provider == "resend"

    @property
    def acknowledged(self) -> set[str]:
        return {each.id for load in self._loads for each in load.acknowledged}

    def arrived(self) -> int:
        self.cluster.check_that_all_live()
        ours = {each.address for load in self._loads for each in load.acknowledged}
        return len({each.address for each in self.cluster.arrivals(self.provider)} & ours)

    def _seen_at_the_provider(self, address: str) -> bool:
        self.cluster.check_that_all_live()
        return any(each.address == address for each in self.cluster.arrivals(self.provider))

    async def arrivals_reach(self, number: int) -> None:
        await until(lambda: self.arrived() >= number, f"{number} arrivals")

    async def readers_see(self, position: int) -> bool:
        try:
            return await self.cluster.projected() >= position
        except psycopg.Error:
            return False

    async def caught_up(self) -> None:
        """Until the read models are at the head of the log, and equal to it."""
        head = await self.cluster.head()
        await until(lambda: self.readers_see(head), "the read models are at the head")
        await self.cluster.carillon("verify")

    async def settled(self) -> Verdict:
        """Once all that was acknowledged has come to an end, without waiting for the times of retries."""
        self.tell("until all has come to an end")
        await asyncio.gather(*self._watches)

        async def nothing_is_due() -> bool:
            self.cluster.check_that_all_live()
            await self.cluster.skip_the_wait()
            ((due,),) = await self.cluster.query("SELECT count(*) FROM schedule")
            return bool(due == 0)

        await until(nothing_is_due, "all has come to an end", _SETTLED_WITHIN, pause=0.1)
        return await self.verdict()

    async def verdict(self) -> Verdict:
        """As things stand now."""
        events = await self.cluster.events(self.began)
        return check(acknowledged_in(self._log), self.cluster.arrivals(self.provider), events)

    async def made_good(self, faults: Iterable[float]) -> None:
        """Recovered from each fault (seconds of the wall clock) when all acknowledged before it had come to its end."""
        events = await self.cluster.events(self.began)
        ended = {e.notification: e.time.timestamp() for e in events if e.topic in ENDS and e.time}
        known = [(each.time, ended.get(each.id, each.time)) for load in self._loads for each in load.acknowledged]
        for fault in faults:
            self.recovered(max((end - fault for time, end in known if time < fault), default=0.0))

    async def findings(self) -> Findings:
        """To ask at the end."""
        verdict = self.seen or await self.verdict()
        lost = verdict.lost - verdict.given_up if self.may_give_up else verdict.lost
        return Findings(
            sent=verdict.acknowledged,
            calls=verdict.calls,
            lost=len(lost),
            repeated=verdict.repeats,
            may_repeat=0 if self._has_keys else sum(verdict.uncertain.values()),
            given_up=len(verdict.given_up),
            reordered=len(verdict.reordered),
            misdirected=len(verdict.misdirected),
            live=self.live,
            recovery=self.recovery,
            within=self.within,
            tallies=dict(self.tallies),
            broken=self._broken if self.is_control else [*self._broken, *self._judged(verdict, len(lost))],
        )

    def _judged(self, verdict: Verdict, lost: int) -> Iterator[str]:
        if not verdict.acknowledged:
            yield "nothing was sent"
        if lost:
            yield f"{lost} lost"
        if verdict.repeats and self._has_keys:
            yield f"{verdict.repeats} repeated, though the provider knows keys"
        if beyond := verdict.unexplained.keys() - self.not_in_the_log:
            yield f"{len(beyond)} had more effects than calls that were accepted or are of unknown outcome"
        for what in ("unfinished", "sent_twice", "accepted_twice", "misdirected", "reordered"):
            if found := getattr(verdict, what) - self.not_in_the_log:
                yield f"{len(found)} {what.replace('_', ' ')}"
        if verdict.given_up and not self.may_give_up:
            yield f"{len(verdict.given_up)} given up"
        for surprise, times in sum((load.surprises for load in self._loads), Counter[str]()).items():
            yield f"{times} times answered {surprise}"
        if self.live is None:
            yield "nobody looked whether the read models live again"
        if self.speed_counts and self.live is not None and self.live > LIVE_AGAIN_WITHIN:
            yield f"read models live again only after {self.live:.1f} s, where {LIVE_AGAIN_WITHIN:g} s are promised"
        if self.speed_counts and self.recovery is not None and self.within is not None and self.recovery > self.within:
            yield f"as before only after {self.recovery:.1f} s, where {self.within:g} s are promised"
