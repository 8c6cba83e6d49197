"""From the request to the last arrival at a local sink, with everything on this machine."""

import time
from statistics import median
from typing import NamedTuple

from bench.figures import Figure, against
from bench.load import Answers, percentile
from bench.stage import APART, TOGETHER, Flow, Running, Stage, flowing

SECONDS = 60
RATES = (50, 100, 200, 500, 750, 1_000)
LATENCY_SECONDS = 20
APART_SECONDS, APART_RATE, APART_TURNS = 10, 500, 3


def sustained(stage: Stage, seconds: float = SECONDS) -> list[Figure]:
    """As much as goes in for a minute, every request with an Idempotency-Key, until the last message is out."""
    with flowing(stage) as flow, stage.answering("-m", "bench.sink") as other:
        client = _raw_client(stage, other.address)
        spent = {name: running.cpu for name, running in metered(stage, flow).items()}
        full = _as_much_as_goes_in(stage, flow, seconds)
        used = {name: running.cpu - spent[name] for name, running in metered(stage, flow).items()}
        memory = {name: running.memory for name, running in flow.roles.items()}
    return [
        Figure("the raw client against the sink", client, "requests/s"),
        *against("end to end, accept to sink", full.sent / full.until_sent, "sends/s", the_raw_client=client),
        Figure("end to end, accept to read model", full.sent / full.until_seen, "sends/s"),
        Figure("sent", full.sent, "messages"),
        Figure("last arrival after the last accept", max(0.0, full.until_sent - full.accepting), "s"),
        *(Figure(f"CPU of {name}", spent_s / full.sent * 1e6, "us/message") for name, spent_s in used.items()),
        *(Figure(f"memory of {name} under load", megabytes, "MB") for name, megabytes in memory.items()),
    ]


class _Full(NamedTuple):
    """Messages, and the seconds from the first request to the last answer, the last arrival, the last row."""

    sent: int
    accepting: float
    until_sent: float
    until_seen: float


def _as_much_as_goes_in(stage: Stage, flow: Flow, seconds: float) -> _Full:
    before = flow.arrived()["arrived"]
    began = time.monotonic()
    taken = stage.load(flow.address, seconds=seconds, idempotent=True)
    accepted = time.monotonic()
    last = flow.await_arrivals(before + taken.requests)
    seen = flow.await_projected()
    return _Full(taken.requests, accepted - began, last - began, seen - began)


def apart(
    stage: Stage, seconds: float = APART_SECONDS, rate: int = APART_RATE, turns: int = APART_TURNS
) -> list[Figure]:
    """One process that leases and delivers, and two with Redis between them: what each carries, and how soon.

    They take turns, for a machine may change its speed meanwhile; each figure is the median of them.
    """
    seen = [[_carried(stage, seconds, rate, beside) for beside in (TOGETHER, APART)] for _ in range(turns)]
    figures = []
    for name, unit in (
        ("end to end, accept to sink", "sends/s"),
        (f"at {rate}/s, accept p99", "ms"),
        (f"at {rate}/s, request to sink p50", "ms"),
        (f"at {rate}/s, request to sink p95", "ms"),
    ):
        one, two = (median(turn[way][name] for turn in seen) for way in (0, 1))
        figures.append(Figure(f"deliverer: {name}", one, unit))
        figures += against(f"dispatcher and worker: {name}", two, unit, the_deliverer=one)
    return figures


def _carried(stage: Stage, seconds: float, rate: int, beside: tuple[str, ...]) -> dict[str, float]:
    with flowing(stage, beside) as flow:
        answers, arrivals = _at_rate(stage, flow, rate, seconds)
        full = _as_much_as_goes_in(stage, flow, seconds)
    return {
        "end to end, accept to sink": full.sent / full.until_sent,
        f"at {rate}/s, accept p99": answers.p99,
        f"at {rate}/s, request to sink p50": percentile(arrivals, 0.5),
        f"at {rate}/s, request to sink p95": percentile(arrivals, 0.95),
    }


def latencies(stage: Stage, rates: tuple[int, ...] = RATES, seconds: float = LATENCY_SECONDS) -> list[Figure]:
    """Open loop at fixed rates; all latencies count from when the request was due."""
    figures = []
    with flowing(stage) as flow:
        for rate in rates:
            answers, arrivals = _at_rate(stage, flow, rate, seconds)
            figures += [
                Figure(f"at {rate}/s, accept p50", answers.p50, "ms"),
                Figure(f"at {rate}/s, accept p99", answers.p99, "ms"),
                Figure(f"at {rate}/s, request to sink p50", percentile(arrivals, 0.5), "ms"),
                Figure(f"at {rate}/s, request to sink p95", percentile(arrivals, 0.95), "ms"),
                Figure(f"at {rate}/s, request to sink p99", percentile(arrivals, 0.99), "ms"),
                Figure(f"at {rate}/s, load generator late p99", answers.late, "ms"),
            ]
    return figures


def _at_rate(stage: Stage, flow: Flow, rate: int, seconds: float) -> tuple[Answers, list[float]]:
    log = stage.folder / "accepted"
    before = flow.arrived()["arrived"]
    answers = stage.load(flow.address, seconds=seconds, rate=rate, connections=64, idempotent=True, log=str(log))
    flow.await_arrivals(before + answers.requests)
    arrived = flow.arrivals()
    flow.await_projected()
    pairs = (line.split() for line in log.read_text().splitlines())
    return answers, sorted((arrived[id] - float(due)) * 1000 for id, due in pairs)


def metered(stage: Stage, flow: Flow) -> dict[str, Running]:
    """Everything whose CPU counts, the load generator aside."""
    return {**flow.roles, "PostgreSQL": stage.postgres, "Redis": stage.redis, "the sink": flow.sink}


def _raw_client(stage: Stage, sink: str) -> float:
    """The same client with the same bytes and nothing else to do."""
    return float(stage.python("-m", "bench.client", sink))
