"""How many requests one API process takes, and what of its time is the framework's."""

from time import perf_counter
from uuid import uuid4

import psycopg

from bench.figures import Figure, against
from bench.stage import ACCEPT, Stage, body

REQUESTS = 20_000
BULK = 100
BULK_REQUESTS = 400


def accepts(stage: Stage) -> list[Figure]:
    """Closed loop, one recipient a request; the limits are the same requests to less and less of the endpoint."""
    with stage.answering("-m", "bench.noop") as noop:
        bare = stage.load(noop.address, "/bare", requests=REQUESTS).per_second
        plain = stage.load(noop.address, "/decoded", requests=REQUESTS).per_second
        empty = stage.load(noop.address, requests=REQUESTS).per_second
        empty_keyed = stage.load(noop.address, requests=REQUESTS, idempotent=True).per_second
    with stage.answering("-m", "entrypoints", "api") as api:
        stage.load(api.address, requests=REQUESTS // 10)
        taken = stage.load(api.address, requests=REQUESTS)
        keyed = stage.load(api.address, requests=REQUESTS, idempotent=True)
        bulk = stage.load(api.address, ACCEPT, requests=BULK_REQUESTS, body=body(BULK), connections=8)
        memory = api.memory
    inserted = _raw_inserts(stage)
    return [
        Figure("an endpoint that answers at once", bare, "requests/s"),
        Figure("an endpoint that decodes the body", plain, "requests/s"),
        Figure("the accept endpoint doing nothing", empty, "requests/s"),
        Figure("the same with Idempotency-Key", empty_keyed, "requests/s"),
        *against(
            "accept",
            taken.per_second,
            "requests/s",
            the_endpoint_doing_nothing=empty,
            the_endpoint_that_decodes=plain,
            the_endpoint_that_answers=bare,
        ),
        *against(
            "accept with Idempotency-Key",
            keyed.per_second,
            "requests/s",
            the_endpoint_doing_nothing=empty_keyed,
            the_endpoint_without_a_key=empty,
        ),
        Figure("accept p50, closed loop", taken.p50, "ms"),
        Figure("accept p99, closed loop", taken.p99, "ms"),
        *against(
            f"bulk accept, {BULK} recipients a request",
            bulk.per_second * BULK,
            "notifications/s",
            the_raw_insert=inserted,
        ),
        Figure("the raw insert, 100 events a commit", inserted, "events/s"),
        Figure("memory of the API", memory, "MB"),
    ]


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
