"""What a run comes to: a promise that was not kept is told, ends the run with 1, and does not end the others."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.faults import __main__ as program
from tests.faults.catalogue import SCENARIOS, Scenario
from tests.faults.history import Acknowledged, Arrival, Event
from tests.faults.trial import Findings, Trial

_KEPT = Findings(
    sent=3,
    calls=3,
    lost=0,
    repeated=0,
    may_repeat=0,
    given_up=0,
    reordered=0,
    misdirected=0,
    live=0.3,
    recovery=0.5,
    within=None,
    tallies={"kills": 2},
    broken=[],
)


class Staged(Scenario, frozen=True):
    comes_to: Findings | None = None

    async def play(self, *_: Any) -> Findings:
        assert self.comes_to, "it hangs"
        return self.comes_to


def staged(name: str, comes_to: Findings | None) -> Staged:
    return Staged(name, _does_nothing, {}, {}, comes_to=comes_to)


async def _does_nothing(_: Trial) -> None:
    """Do nothing."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    @asynccontextmanager
    async def no_cluster() -> AsyncIterator[Any]:
        yield SimpleNamespace(processes=[])

    def run(*scenarios: Scenario, arguments: tuple[str, ...] = ()) -> Result:
        monkeypatch.setattr(program, "running", no_cluster)
        monkeypatch.setattr(program, "SCENARIOS", scenarios)
        return CliRunner().invoke(program.main, arguments)

    return run


def test_a_run_in_which_all_is_kept_ends_with_0_and_writes_its_report(run, tmp_path):
    file = tmp_path / "report.json"
    result = run(staged("one", _KEPT), staged("two", _KEPT), arguments=("--json", str(file), "--seed", "7"))
    assert result.exit_code == 0
    report = json.loads(file.read_bytes())
    assert report["seed"] == "7"
    assert [row["scenario"] for row in report["rows"]] == ["one", "two"]
    assert report["totals"]["kills"] == 4


def test_a_promise_that_was_not_kept_ends_the_run_with_1(run):
    result = run(staged("one", msgspec.structs.replace(_KEPT, lost=2, broken=["2 lost"])), staged("two", _KEPT))
    assert result.exit_code == 1
    assert "BROKEN one: 2 lost" in result.output


def test_the_table_shows_how_soon_read_models_live_again_and_all_is_as_before_beside_what_is_promised(run):
    result = run(staged("one", msgspec.structs.replace(_KEPT, live=1.26, recovery=3.0, within=34.0)))
    assert "1.3 of 10" in result.output
    assert "3.0 of 34" in result.output


def test_a_scenario_that_does_not_come_to_an_end_is_told_and_the_others_run(run):
    result = run(staged("one", None), staged("two", _KEPT))
    assert result.exit_code == 1
    assert "BROKEN one: did not come to an end: AssertionError it hangs" in result.output
    assert "two: 3 sent" in result.output


def test_what_controls_lose_is_not_counted_with_the_rest(run, tmp_path):
    file = tmp_path / "report.json"
    run(
        staged("one", _KEPT),
        staged("control-two", msgspec.structs.replace(_KEPT, lost=3)),
        arguments=("--json", str(file)),
    )
    assert json.loads(file.read_bytes())["totals"]["lost"] == 0


def test_a_name_that_nobody_has_is_refused_with_those_there_are(run):
    result = run(staged("one", _KEPT), arguments=("tow",))
    assert result.exit_code == 2
    assert "there are one" in result.output


def test_the_long_form_kills_often_enough():
    sizes = [each.sizes("long") or {} for each in SCENARIOS]
    assert sum(size.get("kills", 0) for size in sizes) >= 100
    assert sum(size.get("restarts", 0) for size in sizes) >= 5
    assert sum(size.get("losses", 0) for size in sizes) >= 5


def test_every_scenario_says_what_it_is():
    assert all(each.run.__doc__ for each in SCENARIOS)
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS)


# What a trial judges


class Histories:
    """A cluster of which only the histories are left: one message, acknowledged, sent once and noted as sent."""

    api_keys: dict[str, str] = {}  # noqa: RUF012 - nobody has one

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.acknowledged = [Acknowledged("id-0", "key-0", "acme", "0@example.com")]
        self.arrived = [Arrival("0@example.com", 0.0, True, "id-0/1", "id-0", subject="Welcome to acme, key-0")]
        self.log = [
            Event(n, "id-0", f"notification.{what}", "acme", "worker", "key-0", version=n)
            for n, what in enumerate(("queued", "rendered", "sent"), start=1)
        ]

    def arrivals(self, _: str) -> list[Arrival]:
        return self.arrived

    async def events(self, _: int) -> list[Event]:
        return self.log


@pytest.fixture
def histories(tmp_path: Path) -> Histories:
    return Histories(tmp_path)


@pytest.fixture
def trial(histories: Histories) -> Iterator[Trial]:
    trial = Trial(histories, "resend", 0, random.Random(0))  # type: ignore[arg-type]
    trial.lived(0.1)
    yield trial
    trial.close()


async def broken(trial: Trial, histories: Histories) -> list[str]:
    trial._log.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in histories.acknowledged))
    return (await trial.findings()).broken


async def test_nothing_is_broken_where_all_is_as_promised(trial, histories):
    assert await broken(trial, histories) == []


async def test_nothing_sent_proves_nothing(trial, histories):
    histories.acknowledged = []
    assert await broken(trial, histories) == ["nothing was sent"]


async def test_what_did_not_arrive_is_lost_and_told(trial, histories):
    histories.arrived = []
    assert await broken(trial, histories) == ["1 lost"]


NOT_EXPLAINED = "1 had more effects than calls that were accepted or are of unknown outcome"


async def test_a_repeat_that_no_call_explains_is_told(trial, histories):
    histories.arrived *= 2
    assert await broken(trial, histories) == ["1 repeated, though the provider knows keys", NOT_EXPLAINED]
    trial.provider = "smtp"
    assert await broken(trial, histories) == [NOT_EXPLAINED]


async def test_a_repeat_after_a_call_of_unknown_outcome_is_told_where_the_provider_knows_keys(trial, histories):
    histories.arrived *= 2
    life = ("queued", "rendered", "failed", "retried", "rendered", "sent")
    histories.log = [
        Event(n, "id-0", f"notification.{what}", "acme", "worker", "key-0", version=n, uncertain=what == "failed")
        for n, what in enumerate(life, start=1)
    ]
    assert await broken(trial, histories) == ["1 repeated, though the provider knows keys"]
    trial.provider = "smtp"
    assert await broken(trial, histories) == []
    assert (await trial.findings()).may_repeat == 1


async def test_what_was_given_up_is_lost_unless_the_provider_is_what_is_broken(trial, histories):
    histories.arrived = []
    histories.log[2:] = [
        Event(n, "id-0", f"notification.{what}", "acme", "worker", version=n)
        for n, what in ((3, "failed"), (4, "dead_lettered"))
    ]
    assert await broken(trial, histories) == ["1 lost", "1 given up"]
    trial.may_give_up = True
    assert await broken(trial, histories) == []


async def test_a_recovery_that_took_too_long_is_told(trial, histories):
    trial.recovered(3.0)
    trial.recovered(11.0, within=10.0)
    assert await broken(trial, histories) == ["as before only after 11.0 s, where 10 s are promised"]
    trial.speed_counts = False
    assert await broken(trial, histories) == []


async def test_every_recovery_has_a_limit_unless_a_scenario_says_why_not(trial, histories):
    trial.recovered(60.0)
    assert await broken(trial, histories) == ["as before only after 60.0 s, where 34 s are promised"]


async def test_read_models_that_live_again_too_late_are_told(trial, histories):
    trial.lived(10.5)
    trial.lived(1.0)
    assert await broken(trial, histories) == ["read models live again only after 10.5 s, where 10 s are promised"]
    trial.speed_counts = False
    assert await broken(trial, histories) == []


async def test_a_scenario_that_does_not_look_whether_read_models_live_again_is_told(trial, histories):
    trial.live = None
    assert await broken(trial, histories) == ["nobody looked whether the read models live again"]


async def test_an_answer_that_nobody_should_get_is_told(trial, histories):
    trial.load.surprises["500 internal_error"] += 2
    assert await broken(trial, histories) == ["2 times answered 500 internal_error"]


async def test_what_a_scenario_expects_of_its_fault_is_judged_for_controls_too(trial, histories):
    trial.is_control = True
    histories.arrived = []
    assert await broken(trial, histories) == []
    trial.expect(False, "the checker sees what is lost")
    assert await broken(trial, histories) == ["not so: the checker sees what is lost"]
