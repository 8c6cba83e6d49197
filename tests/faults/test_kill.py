"""Nothing that was acknowledged is lost, and nothing has its effect twice, whatever is killed meanwhile.

The figures of each scenario are printed at the end of the run. All share one cluster, which every test finds whole.
"""

import sys
from collections.abc import Callable

from tests.faults import scenarios
from tests.faults.cluster import Cluster
from tests.faults.scenarios import Scenario
from tests.faults.waiting import until

Note = Callable[..., None]


async def test_workers_killed_in_the_middle_of_sends_lose_nothing_and_repeat_nothing(
    cluster: Cluster, figures: Note
) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, cut_short = await scenarios.workers_killed(scenario, sends=500, kills=2)
    figures(verdict, cut_short=cut_short)
    assert cut_short
    assert verdict.faultless
    assert verdict.calls <= verdict.acknowledged + cut_short


async def test_a_dispatcher_that_is_killed_is_replaced_without_a_trace(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    verdict = await scenarios.dispatcher_killed(scenario, sends=200)
    figures(verdict)
    assert verdict.faultless
    assert verdict.calls == verdict.acknowledged


async def test_redis_may_forget_everything_and_be_away_for_a_while(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, seconds = await scenarios.redis_lost(scenario, sends=300, losses=2)
    figures(verdict, caught_up_after=seconds)
    assert verdict.faultless
    assert scenario.load.unanswered == scenario.load.unavailable == 0, "who sends must not notice"


async def test_a_crash_of_the_database_loses_nothing_acknowledged_and_the_read_models_move_on(
    cluster: Cluster, figures: Note
) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, seconds = await scenarios.postgres_restarted(scenario, sends=300, restarts=2)
    figures(verdict, live_again_after=seconds, asked_again=scenario.load.unanswered + scenario.load.unavailable)
    assert verdict.faultless
    assert seconds < 10
    head = await cluster.head()
    await until(lambda: _projected(cluster, head), "the read models are at the head")
    assert (await cluster.carillon("verify")).count("equal to the log") == 4


async def test_an_api_killed_between_storing_and_answering_accepts_each_key_once(
    cluster: Cluster, figures: Note
) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, unanswered = await scenarios.api_killed(scenario, clients=20, sends=300, kills=3)
    figures(verdict, stored_and_not_answered=unanswered, asked_again=scenario.load.unanswered)
    assert unanswered
    assert verdict.faultless


async def test_lost_wake_ups_cost_less_than_two_seconds(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, cut, sending, reading = await scenarios.wakeups_lost(scenario, sends=8)
    figures(verdict, cut=cut, longest_until_sent=sending, longest_until_seen=reading)
    assert cut > verdict.acknowledged
    assert verdict.faultless
    assert sending < 2
    assert reading < 2


async def test_a_worker_that_slept_past_its_leases_has_its_outcomes_refused(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, taken_over, said = await scenarios.worker_paused(scenario, sends=200)
    assert taken_over
    await until(lambda: _given_up(said()) >= taken_over, "the worker gives up each call that others took over")
    refused = said().count("late outcome refused")
    figures(verdict, taken_over=taken_over, refused=refused)
    assert refused
    assert verdict.faultless
    assert await scenario.verdict() == verdict, "what came late changed something"


async def test_the_schedule_made_again_from_the_log_sends_each_once(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, said = await scenarios.schedule_dropped(scenario, waiting=1000)
    figures(verdict)
    assert "holds 1000 rows" in said
    assert verdict.faultless
    assert verdict.calls == 1000


async def test_a_worker_that_is_asked_to_stop_finishes_its_calls_first(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    verdict, code, cut_short = await scenarios.worker_stopped(scenario, sends=300)
    figures(verdict, cut_short=cut_short)
    assert (code, cut_short) == (0, 0)
    assert verdict.faultless
    assert verdict.calls == verdict.acknowledged


async def test_a_worker_that_notes_before_it_sends_is_seen_to_lose_messages(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster)
    program = [sys.executable, "-m", "tests.faults.unsafe"]
    verdict = await scenarios.hasty_worker_killed(scenario, sends=100, program=program)
    figures(verdict)
    assert verdict.lost
    assert not verdict.unfinished


async def test_without_keys_at_most_the_calls_cut_short_are_repeated(cluster: Cluster, figures: Note) -> None:
    scenario = await Scenario.begin(cluster, "smtp")
    verdict, cut_short = await scenarios.workers_killed(scenario, sends=300, kills=2)
    figures(verdict, cut_short=cut_short)
    assert cut_short
    assert not verdict.lost
    assert not verdict.unfinished
    assert verdict.repeats <= cut_short


def _given_up(said: str) -> int:
    """Calls whose outcome came too late, and those that were not begun because it was too late for them."""
    return sum(said.count(note) for note in ("late outcome refused", "lease too short", "store away"))


async def _projected(cluster: Cluster, head: int) -> bool:
    return await cluster.projected() >= head
