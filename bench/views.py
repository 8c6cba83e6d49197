"""How fast read models are made anew."""

import re

from bench.figures import Figure
from bench.fill import fill
from bench.stage import Stage
from entrypoints.read_models import PROJECTIONS

EVENTS = 300_000
VIEWS = ("notifications", "attempts", "metrics")


def rebuilds(stage: Stage) -> list[Figure]:
    """Of a log of whole lives, accepted, rendered and sent: events by the seconds that the command says it took."""
    fill(stage, EVENTS)
    return [Figure(f"rebuild {name}", speed, "events/s") for name, speed in rebuild(stage).items()]


def rebuild(stage: Stage) -> dict[str, float]:
    """Events a second for each read model; all of them follow the log from its end then."""
    said = stage.carillon("rebuild", *(projection.name for projection in PROJECTIONS))
    made = re.findall(r"(\w+) stands at (\d+), made in ([\d.]+) s", said)
    return {name: int(events) / max(float(seconds), 0.01) for name, events, seconds in made}
