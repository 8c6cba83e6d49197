"""How many requests one API process takes, and what of its time is the framework's."""

from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

import psycopg

from bench.figures import Figure, against
from bench.load import Answers
from bench.stage import ACCEPT, Stage, body

REQUESTS, TURNS = 20_000, 5
BULK = 100
BULK_REQUESTS = 400


def accepts(stage: Stage) -> list[Figure]:
    """Closed loop, one recipient a request; the limits are the same requests to less and less of the endpoint.

    They take turns, in lots: a machine that is slower for a while is then slower for all of them.
    """
    with stage.answering("-m", "bench.noop") as noop, stage.answering("-m", "entrypoints", "api") as api:
        stage.load(api.address, requests=REQUESTS // 10)
        wishes: dict[str, dict[str, Any]] = {
            "bare": {"address": noop.address, "path": "/bare"},
            "plain": {"address": noop.address, "path": "/decoded"},
            "empty": {"address": noop.address},
            "taken": {"address": api.address},
            "empty keyed": {"address": noop.address, "idempotent": True},
            "keyed": {"address": api.address, "idempotent": True},
        }
        lots: dict[str, list[Answers]] = {name: [] for name in wishes}
        for _ in range(TURNS):
            for name, wish in wishes.items():
                lots[name].append(stage.load(**wish, requests=REQUESTS // TURNS))
        bulk = stage.load(api.address, ACCEPT, requests=BULK_REQUESTS, body=body(BULK), connections=8)
        memory = api.memory
    bare, plain, empty, taken, empty_keyed, keyed = map(_rate, lots.values())
    inserted = _raw_inserts(stage)
    return [
        Figure("an endpoint that answers at once", bare, "requests/s"),
        Figure("an endpoint that decodes the body", plain, "requests/s"),
        Figure("the accept endpoint doing nothing", empty, "requests/s"),
        Figure("the same with Idempotency-Key", empty_keyed, "requests/s"),
        *against(
            "accept",
            taken,
            "requests/s",
            the_endpoint_doing_nothing=empty,
            the_endpoint_that_decodes=plain,
            the_endpoint_that_answers=bare,
        ),
        *against(
            "accept with Idempotency-Key",
            keyed,
            "requests/s",
            the_endpoint_doing_nothing=empty_keyed,
            the_endpoint_without_a_key=empty,
        ),
        Figure("accept p50, closed loop, median of the lots", median(lot.p50 for lot in lots["taken"]), "ms"),
        Figure("accept p99, closed loop, median of the lots", median(lot.p99 for lot in lots["taken"]), "ms"),
        *against(
            f"bulk accept, {BULK} recipients a request",
            bulk.per_second * BULK,
            "notifications/s",
            the_raw_insert=inserted,
        ),
        Figure("the raw insert, 100 events a commit", inserted, "events/s"),
        Figure("memory of the API", memory, "MB"),
    ]


def _rate(lots: list[Answers]) -> float:
    return sum(lot.requests for lot in lots) / sum(lot.seconds for lot in lots)


def _raw_inserts(stage: Stage) -> float:
    """What PostgreSQL takes of the same bytes, with nobody but one connection asking: no lock, schedule or keys."""
    ((topic, state),) = stage.rows("SELECT topic, state FROM stored_events WHERE topic = 'notification.queued' LIMIT 1")
    lots = [[uuid4() for _ in range(100)] for _ in range(300)]
    with psycopg.connect(stage.conninfo, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE raw (LIKE stored_events INCLUDING ALL); CREATE SEQUENCE raw_position;"
            " ALTER TABLE raw ALTER COLUMN notification_id SET DEFAULT nextval('raw_position')"
        )
        began = perf_counter()
        for ids in lots:
            connection.execute(
                "INSERT INTO raw (originator_id, originator_version, topic, state)"
                " SELECT id, 1, %b, %b FROM unnest(%b::uuid[]) AS new (id)",
                (topic, state, ids),
                prepare=True,
            )
        seconds = perf_counter() - began
        connection.execute("DROP TABLE raw; DROP SEQUENCE raw_position")
    return sum(map(len, lots)) / seconds
