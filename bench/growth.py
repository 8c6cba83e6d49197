"""What a notification costs, and how long a list takes, as the log grows."""

import http.client
import time
from contextlib import closing
from urllib.parse import urlencode

from bench.figures import Figure
from bench.fill import fill
from bench.flow import metered
from bench.load import percentile
from bench.stage import ACCEPT, Stage, flowing
from bench.views import rebuild

SECONDS = 10
LOOKS = 200


def grown(stage: Stage, most: int = 1_000_000) -> list[Figure]:
    """At an empty log, at a million events, at ten million, as far as `most` goes."""
    figures = []
    for size in (0, 1_000_000, 10_000_000):
        if size <= most:
            fill(stage, size)
            rebuild(stage)
            figures += measured(stage, f"{size:,} events")
    return figures


def measured(stage: Stage, at: str, seconds: float = SECONDS) -> list[Figure]:
    with flowing(stage) as flow:
        before = flow.arrived()["arrived"]
        spent = sum(running.cpu for running in metered(stage, flow).values())
        began = time.monotonic()
        taken = stage.load(flow.address, seconds=seconds, idempotent=True)
        last = flow.await_arrivals(before + taken.requests)
        flow.await_projected()
        used = sum(running.cpu for running in metered(stage, flow).values()) - spent
        looks = {name: _looked(stage, flow.address, query) for name, query in _QUERIES.items()}
    return [
        Figure(f"{at}: end to end", taken.requests / (last - began), "sends/s"),
        Figure(f"{at}: CPU of everything", used / taken.requests * 1e6, "us/message"),
        *(Figure(f"{at}: {name}, p50", percentile(ms, 0.5), "ms") for name, ms in looks.items()),
        *(Figure(f"{at}: {name}, p99", percentile(ms, 0.99), "ms") for name, ms in looks.items()),
    ]


_QUERIES = {
    "first page of the list": {"limit": "50"},
    "first page of one recipient": {"limit": "50", "recipient": "jane@example.com"},
    "first page of what failed": {"limit": "50", "status": "failed"},
}


def _looked(stage: Stage, address: str, query: dict[str, str]) -> list[float]:
    """Latencies in milliseconds, in order of size, one request at a time over one connection."""
    with closing(http.client.HTTPConnection(address.removeprefix("http://"))) as connection:
        latencies = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            connection.request("GET", f"{ACCEPT}?{urlencode(query)}", headers={"Authorization": f"Bearer {stage.key}"})
            answer = connection.getresponse()
            answer.read()
            latencies.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                raise SystemExit(f"the list answered {answer.status}")
    return sorted(latencies)
