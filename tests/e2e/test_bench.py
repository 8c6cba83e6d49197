"""The short form of the benchmark: it runs, and nothing is lost or repeated on the way. It judges no speed."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import flow, kafka, plot, records, webhooks
from bench.figures import Figure
from bench.fill import EVENTS_OF_ONE, fill
from bench.growth import measured
from bench.stage import Stage
from bench.views import VIEWS, rebuild


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def named(figures: list[Figure]) -> dict[str, float]:
    return {figure.name: figure.value for figure in figures}


def test_everything_that_goes_in_comes_out_once(stage):
    """Which the run itself sees to: it ends when a message is missing at the sink, or there again."""
    figures = named(flow.sustained(stage, seconds=2))
    assert figures["sent"] > 0
    assert {f"CPU of {role}" for role in ("API", "deliverer", "projector", "PostgreSQL")} <= figures.keys()
    assert all(megabytes < 150 for name, megabytes in figures.items() if name.startswith("memory"))


def test_dispatcher_and_worker_apart_bring_out_the_same(stage):
    """As the run itself sees to, with one process for both and with one for each."""
    figures = flow.apart(stage, seconds=1, rate=20, turns=1)
    assert {figure.name.split(":")[0] for figure in figures} == {"deliverer", "dispatcher and worker"}
    assert all(figure.value > 0 for figure in figures)


def test_every_webhook_comes_out_once_at_each_endpoint(stage):
    figures = named(webhooks.told(stage, seconds=2))
    assert figures["sent"] > 0
    assert figures["end to end, event to endpoint"] > 0


def test_every_record_is_taken_in_once(stage):
    """Which the run itself sees to."""
    figures = named(records.taken_in(stage, records=2_000, requests=100))
    assert figures["records in, one consumer"] > 0


def test_everything_that_happened_is_published_once(stage):
    """As the run itself sees to."""
    figures = named(kafka.published(stage, events=3_000))
    assert figures["published, log to broker"] > 0


def test_an_open_loop_asks_as_often_as_it_was_told_and_draws_a_picture(stage, tmp_path: Path):
    figures = flow.latencies(stage, rates=(20, 40), seconds=1)
    assert [figure.name for figure in figures[::6]] == ["at 20/s, accept p50", "at 40/s, accept p50"]
    assert all(figure.value > 0 for figure in figures)
    ((asked,),) = stage.rows("SELECT count(*) FROM stored_events WHERE topic = 'request.accepted'")
    assert asked >= 60
    plot.draw(figures, tmp_path / "latency.svg")
    picture = ElementTree.parse(tmp_path / "latency.svg")
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 5


def test_a_filled_log_is_one_that_the_service_can_read(stage):
    ((before,),) = stage.rows("SELECT count(*) FROM stored_events")
    fill(stage, before + 30 * EVENTS_OF_ONE)
    assert set(VIEWS) <= rebuild(stage).keys()
    stage.carillon("verify")
    assert named(measured(stage, "now", seconds=1))["now: end to end"] > 0
