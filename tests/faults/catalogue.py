"""Every scenario by name, with its sizes: a short form for the tests, the usual one, and a long one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec

from tests.faults.cluster import Cluster, Provider
from tests.faults.scenarios import (
    clocks,
    controls,
    digests,
    kills,
    poison,
    providers,
    publishing,
    readers,
    records,
    stores,
    webhooks,
)
from tests.faults.trial import Findings, Trial

Form = Literal["short", "usual", "long"]
Sizes = Mapping[str, Any]


class Scenario(msgspec.Struct, frozen=True):
    """`run` with the sizes of a form; without a short form it takes too long for the tests."""

    name: str
    run: Callable[..., Awaitable[None]]
    short: Sizes | None
    usual: Sizes
    long: Sizes | None = None
    provider: Provider = "resend"
    spoils: bool = False  # what it leaves is no cluster for others

    def sizes(self, form: Form) -> Sizes | None:
        match form:
            case "short":
                return self.short
            case "usual":
                return self.usual
        return self.long or self.usual

    async def play(
        self, cluster: Cluster, form: Form, seed: str, tell: Callable[[str], None] = lambda _: None
    ) -> Findings:
        """On a cluster that is whole, or is made so. The seed decides what is left to luck."""
        trial = await Trial.begin(cluster, self.provider, f"{seed} {self.name}")
        trial.tell = tell
        trial.speed_counts = form != "short"  # that one runs beside other tests
        try:
            await self.run(trial, **(self.sizes(form) or {}))
            return await trial.findings()
        finally:
            trial.close()


SCENARIOS = (
    Scenario("workers-killed", kills.workers_killed, {"kills": 1}, {"kills": 10}, {"kills": 40}),
    Scenario("workers-killed-without-keys", kills.workers_killed, {"kills": 1}, {"kills": 5}, {"kills": 20}, "smtp"),
    Scenario("api-killed", kills.apis_killed, {"kills": 1}, {"kills": 5}, {"kills": 20}),
    Scenario("dispatcher-killed", kills.dispatchers_killed, {"kills": 1}, {"kills": 3}, {"kills": 15}),
    Scenario("deliverers-killed", kills.deliverers_killed, {"kills": 1}, {"kills": 5}, {"kills": 20}),
    Scenario("projector-killed", kills.projectors_killed, None, {"kills": 3}, {"kills": 15}),
    Scenario("all-killed-at-once", kills.all_killed_at_once, None, {"rounds": 1}, {"rounds": 3}),
    Scenario("sigterm", kills.drained, None, {"rounds": 1}, {"rounds": 4}),
    Scenario("opt-outs", readers.opted_out, None, {"kills": 5}, {"kills": 20}),
    Scenario("worker-stopped-past-its-lease", kills.worker_paused, {"sends": 200}, {"sends": 400}),
    Scenario("postgres-restarted", stores.postgres_restarted, {"restarts": 1}, {"restarts": 2}, {"restarts": 6}),
    Scenario("redis-emptied", stores.redis_emptied, {"losses": 1}, {"losses": 3}, {"losses": 6}),
    Scenario("redis-away", stores.redis_away, None, {"seconds": 60.0}),
    Scenario("wakeups-lost", stores.wakeups_lost, {"sends": 4}, {"sends": 15}, {"sends": 60}),
    Scenario("disk-full", stores.disk_full, None, {"seconds": 5.0}, {"seconds": 20.0}),
    Scenario("connections-used-up", stores.connections_used_up, None, {"seconds": 5.0}, {"seconds": 20.0}),
    Scenario("log-locked", stores.log_locked, None, {"seconds": 15.0}, {"seconds": 30.0}),
    Scenario("restored-from-a-backup", stores.restored, None, {"waiting": 50}, {"waiting": 500}, spoils=True),
    Scenario("schedule-dropped", stores.schedule_dropped, {"waiting": 500}, {"waiting": 1000}, {"waiting": 5000}),
    Scenario("poison-row", poison.row_refused, None, {"sends": 100}),
    Scenario("poison-stream", poison.stream_unreadable, None, {"sends": 150}),
    Scenario("provider-brown-out", providers.brown_out, {"sends": 30}, {"sends": 300}, {"sends": 1000}),
    Scenario("slow-and-dripping-answers", providers.slow_answers, None, {"seconds": 8.0}, {"seconds": 30.0}),
    Scenario("dead-endpoints", webhooks.dead_endpoints, None, {"seconds": 10.0}, {"seconds": 30.0}),
    Scenario(
        "records-taken",
        records.records_taken,
        {"records": 200, "kills": 1},
        {"records": 2000, "kills": 5},
        {"records": 2000, "kills": 20},
    ),
    Scenario("publisher-killed", publishing.publishers_killed, {"kills": 1}, {"kills": 20}, {"kills": 40}),
    Scenario(
        "digests",
        digests.gathered,
        {"readers": 12, "each": 3, "kills": 1},
        {"readers": 300, "each": 4, "kills": 10},
        {"readers": 900, "each": 6, "kills": 40},
    ),
    Scenario("retry-storm", providers.retry_storm, None, {"sends": 500}, {"sends": 2000}),
    Scenario("clocks-wrong", clocks.clocks_skewed, None, {"sends": 60}, {"sends": 200}),
    Scenario("clocks-changed", clocks.clocks_changed, None, {"seconds": 12, "each": 10}, {"seconds": 30, "each": 20}),
    Scenario("control-noted-before-sent", controls.noted_before_sent, {"sends": 40}, {"sends": 100}),
    Scenario("control-sent-twice", controls.sent_twice, {"sends": 20}, {"sends": 100}),
    Scenario("control-listened-too-late", controls.listened_too_late, None, {"sends": 20}),
)
