"""Time: clocks that are wrong, and nights in which they are set."""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from tests.faults.trial import Trial
from tests.faults.waiting import until

_SKEWED = (sys.executable, "-m", "tests.faults.skewed")
_MINUTES = 600.0
_ZONE = "Europe/Berlin"
_EARLY = 0.05  # seconds by which two clocks of one machine may seem to differ


async def clocks_skewed(trial: Trial, *, sends: int) -> None:
    """Roles whose clocks are ten minutes ahead or behind; the database's is right.

    Nothing is sent before its time, nothing expires too soon, and who failed waits a minute as ever.
    """
    cluster = trial.cluster
    for role in cluster.roles:
        role.kill()
    for kind, ahead in (("dispatcher", 1), ("worker", 1), ("worker", -1), ("projector", -1), ("api", -1)):
        _start_skewed(trial, kind, ahead * _MINUTES)
    await cluster.ready()
    await _send_skewed(trial, sends)
    cluster.one("api").kill()
    _start_skewed(trial, "api", _MINUTES)
    back = time.monotonic()
    await cluster.ready()
    await trial.live_again(back)
    await _send_skewed(trial, sends)
    await trial.caught_up()


async def _send_skewed(trial: Trial, sends: int) -> None:
    cluster, now = trial.cluster, datetime.now(UTC)
    ((began,),) = await cluster.query("SELECT now()")
    at, expiry = now + timedelta(seconds=5), now + timedelta(minutes=3)
    later = trial.another_load()
    await later.send(sends // 4, scheduled_at=at)
    await cluster.provider_does(_503=0.3)
    await trial.load.send(sends, expires_at=expiry)
    await until(lambda: _all_tried(trial), "each was tried once", pause=0.2)
    ((put_off, others),) = await cluster.query(
        "SELECT count(*) FILTER (WHERE patient), count(*) FILTER (WHERE NOT patient) FROM (SELECT due_at"
        " BETWEEN %s + interval '47 s' AND now() + interval '73 s' AS patient FROM schedule WHERE attempt > 0) failed",
        (began,),
    )
    trial.note(put_off=put_off)
    trial.expect(put_off and not others, f"who failed waits for about a minute: {put_off} do, {others} do not")
    await cluster.provider_does()
    await trial.settled()
    due = {each.address for each in later.acknowledged}
    first = min(a.time for a in cluster.arrivals(trial.provider) if a.address in due)
    trial.expect(first >= at.timestamp() - _EARLY, f"nothing is sent {at.timestamp() - first:.1f} s before its time")


async def _all_tried(trial: Trial) -> bool:
    ((waiting,),) = await trial.cluster.query("SELECT count(*) FROM schedule WHERE attempt = 0 OR lease_until > now()")
    return bool(waiting == 0)


def _start_skewed(trial: Trial, kind: str, ahead: float) -> None:
    trial.cluster.start(kind, trial.provider, program=_SKEWED, changes={"CLOCK_AHEAD": f"{ahead:g}"})
    trial.note(clocks_wrong=1)


async def clocks_changed(trial: Trial, *, seconds: int, each: int) -> None:
    """Messages for the seconds around the next two changes of the clock in Berlin, as it is written there.

    Two dispatchers lease them, with other ideas of the local time, and one is killed in the middle of the night. So
    that nobody has to wait for that night, the rows of the schedule are moved to the present as they are.
    """
    cluster = trial.cluster
    await cluster.query(f"ALTER DATABASE carillon SET timezone = '{_ZONE}'")
    for role in cluster.roles:
        role.kill()
    for kind, zone in (
        ("api", "America/St_Johns"),
        ("worker", "Australia/Lord_Howe"),
        ("projector", _ZONE),
        ("dispatcher", _ZONE),
        ("dispatcher", "Pacific/Chatham"),
    ):
        cluster.start(kind, trial.provider, changes={"TZ": zone})
    await cluster.ready()
    try:
        for change in (_next_change(datetime.now(UTC), +1), _next_change(datetime.now(UTC), -1)):
            await _night(trial, change, seconds, each)
    finally:
        await cluster.query("ALTER DATABASE carillon RESET timezone")
    await trial.settled()


async def _night(trial: Trial, change: datetime, seconds: int, each: int) -> None:
    cluster, moments = trial.cluster, dict[str, datetime]()
    for moment in _seconds_around(change, seconds):
        load = trial.another_load()
        await load.send(2, clients=1, recipients=each, scheduled_at=moment)
        moments |= {one.address: moment for one in load.acknowledged}
    trial.expect(
        await _due_as_written(trial, set(moments.values())), "the schedule knows each moment as it was written"
    )
    begin = datetime.now(UTC) + timedelta(seconds=2)
    shift = min(moments.values()).astimezone(UTC) - begin
    await cluster.query(  # in seconds: a day of an interval is not always as long here
        "UPDATE schedule SET due_at = due_at - make_interval(secs => %(by)s),"
        " rank_at = rank_at - make_interval(secs => %(by)s)",
        {"by": shift.total_seconds()},
    )
    trial.tell(f"the night of {change:%d %B %Y}")
    await asyncio.sleep(2 + seconds / 2)
    trial.luck.choice(cluster.all_of("dispatcher")).kill()
    cluster.start("dispatcher", trial.provider, changes={"TZ": "America/St_Johns"})
    trial.watch(time.monotonic())
    trial.note(kills=1)
    ours = moments.keys()
    await until(
        lambda: len({a.address for a in cluster.arrivals(trial.provider)} & ours) == len(ours), "the night is over"
    )
    late = [
        a.time - (moments[a.address].astimezone(UTC) - shift).timestamp()
        for a in cluster.arrivals(trial.provider)
        if a.address in ours
    ]
    trial.expect(min(late) >= -_EARLY, f"nothing is sent {-min(late):.2f} s before its time")
    trial.recovered(max(late))


async def _due_as_written(trial: Trial, moments: set[datetime]) -> bool:
    rows = await trial.cluster.query("SELECT DISTINCT due_at FROM schedule")
    return {due.astimezone(UTC) for (due,) in rows} == {moment.astimezone(UTC) for moment in moments}


def _next_change(after: datetime, hours: int) -> datetime:
    """The next moment (UTC) from which on the clocks show so many hours more than before."""
    zone = ZoneInfo(_ZONE)
    hour = after.replace(minute=0, second=0, microsecond=0)
    every_hour = (hour + timedelta(hours=n) for n in range(24 * 400))
    for before, then in pairwise(every_hour):
        old, new = before.astimezone(zone).utcoffset(), then.astimezone(zone).utcoffset()
        if new is not None and old is not None and new - old == timedelta(hours=hours):
            return then
    raise AssertionError(f"the clocks of {_ZONE} are not set any more")


def _seconds_around(change: datetime, seconds: int) -> Iterator[datetime]:
    """As a clock on the wall shows them, with its offset: 01:59:59+01:00 is followed by 03:00:00+02:00."""
    for second in range(-(seconds // 2), seconds // 2):
        moment = (change + timedelta(seconds=second)).astimezone(ZoneInfo(_ZONE))
        yield datetime.fromisoformat(moment.isoformat())
