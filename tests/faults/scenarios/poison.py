"""What cannot be digested must not hold up the rest."""

import time

from tests.faults.cluster import LEASE
from tests.faults.trial import Trial
from tests.faults.waiting import until

_NEVER_READY = "view_attempts"


async def row_refused(trial: Trial, *, sends: int) -> None:
    """One read model cannot be written: sending and all other read models go on, and it catches up afterwards."""
    cluster = trial.cluster
    projector = cluster.one("projector")
    said = projector.said.count("projection stuck")
    ((table,),) = await cluster.query(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name <> 'position'",
        (_NEVER_READY,),
    )
    await cluster.query(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''poison''; END'"
    )
    await cluster.query(
        f"CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON {_NEVER_READY}.{table} EXECUTE FUNCTION poison()"
    )
    async with trial.sending(sends):
        await trial.arrivals_reach(sends)
        await until(lambda: projector.said.count("projection stuck") > said + 2, "it says that it is stuck")
    head = await cluster.head()
    ((stuck,),) = await cluster.query(f"SELECT position FROM {_NEVER_READY}.position")
    await until(lambda: _others_reach(trial, head), "the other read models go on")
    await cluster.query("DROP FUNCTION poison CASCADE")
    since = time.monotonic()
    trial.expect(stuck < head, "the one that is stuck stays behind")
    await until(lambda: trial.readers_see(head), "it catches up")
    trial.lived(time.monotonic() - since)
    trial.recovered(time.monotonic() - since)
    await trial.settled()
    await trial.caught_up()


async def stream_unreadable(trial: Trial, *, sends: int) -> None:
    """The key of one reader cannot be unwrapped: whoever waits beside them is sent to, and they once it can be."""
    cluster = trial.cluster
    for worker in cluster.all_of("worker"):
        worker.kill()
    await trial.load.send(sends)
    ill = trial.luck.choice(trial.load.acknowledged)
    await trial.caught_up()
    ((person, wrapped),) = await cluster.query(
        "SELECT person, wrapped FROM person_keys WHERE person = (SELECT"
        " (convert_from(state, 'UTF8')::jsonb->'personal'->>'person')::uuid FROM stored_events"
        " WHERE originator_id = %s AND originator_version = 1)",
        (ill.id,),
    )
    await cluster.query("UPDATE person_keys SET wrapped = %s WHERE person = %s", (b"\x00" * len(wrapped), person))
    cluster.start("worker", trial.provider)
    cluster.start("worker", trial.provider)
    began = time.monotonic()
    try:
        await trial.live_again(began)
        await until(lambda: trial.arrived() >= sends, "all others and a fresh one arrive", within=10 * LEASE)
        await until(lambda: _set_aside(trial), "it is set aside")
    finally:
        await cluster.query("UPDATE person_keys SET wrapped = %s WHERE person = %s", (wrapped, person))
    trial.recovered(time.monotonic() - began)
    await trial.settled()


async def _set_aside(trial: Trial) -> bool:
    ((aside,),) = await trial.cluster.query("SELECT count(*) FROM schedule WHERE unreadable > 0")
    return bool(aside == 1)


async def _others_reach(trial: Trial, position: int) -> bool:
    views = await trial.cluster.query(
        "SELECT table_schema FROM information_schema.tables"
        " WHERE table_schema LIKE 'view\\_%%' AND table_name = 'position' AND table_schema <> %s",
        (_NEVER_READY,),
    )
    for (view,) in views:
        ((stands,),) = await trial.cluster.query(f"SELECT position FROM {view}.position")
        if stands < position:
            return False
    return True
