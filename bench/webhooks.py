"""From an event that is told to the last endpoint that took it, with everything on this machine."""

import json
import time
import urllib.request

from bench.figures import Figure, against
from bench.flow import metered
from bench.stage import Flow, Stage, flowing

SECONDS = 30
ENDPOINTS = 4
_EVENT = {"type": "order.created", "data": {"order": {"id": "A-1042", "total": 59.9, "currency": "EUR"}}}
_BYTES = 180  # of such a webhook's body


def told(stage: Stage, seconds: float = SECONDS) -> list[Figure]:
    """As many events as go in, each to four endpoints; every one is signed, sent, recorded and shown."""
    with flowing(stage) as flow, stage.answering("-m", "bench.sink") as other:
        client = float(stage.python("-m", "bench.client", other.address, str(_BYTES)))
        _subscribe(stage, flow)
        before = flow.arrived()["arrived"]
        spent = {name: running.cpu for name, running in metered(stage, flow).items()}
        began = time.monotonic()
        taken = stage.load(flow.address, "/api/v1/events", body=json.dumps(_EVENT), seconds=seconds)
        sends = taken.requests * ENDPOINTS
        last = flow.await_arrivals(before + sends)
        seen = flow.await_projected()
        used = {name: running.cpu - spent[name] for name, running in metered(stage, flow).items()}
    return [
        Figure("the raw client against the sink", client, "requests/s"),
        *against("end to end, event to endpoint", sends / (last - began), "sends/s", the_raw_client=client),
        Figure("end to end, event to read model", sends / (seen - began), "sends/s"),
        Figure("events", taken.per_second, "events/s"),
        Figure("sent", sends, "webhooks"),
        *(Figure(f"CPU of {name}", spent_s / sends * 1e6, "us/webhook") for name, spent_s in used.items()),
    ]


def _subscribe(stage: Stage, flow: Flow) -> None:
    key = stage.carillon("keys", "create", "--tenant", "bench", "--scope", "webhooks").strip()
    for n in range(ENDPOINTS):
        said = {"name": f"{n}", "url": f"{flow.sink.address}/{n}", "event_types": ["order.*"], "concurrency": 50}
        request = urllib.request.Request(
            f"{flow.address}/api/v1/webhooks",
            json.dumps(said).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request):
            pass
