"""Workers, dispatcher and projector are lost while the windows of many digests end."""

import itertools
import time
from collections import Counter, defaultdict
from typing import NamedTuple

import aiohttp

from tests.faults.cluster import TENANTS
from tests.faults.trial import Trial
from tests.faults.waiting import until

_CATEGORY = "registration"


async def gathered(trial: Trial, *, readers: int, each: int, kills: int) -> None:
    """Let the windows of a share of the readers end, and kill whoever is at it, again and again.

    Every third reader has only one message, which goes by itself; all that others have goes in one digest.
    """
    cluster = trial.cluster
    waiting = await _waiting(trial, readers, each)
    share = max(1, readers // kills)
    async with trial.traffic():
        for kill in trial.faults(kills, "kills"):
            await _windows_end(trial, share)
            await until(lambda: _taken_up(trial), "some of it is taken up", pause=0.005)
            kind = "worker" if kill == 1 else trial.luck.choice(["worker", "worker", "dispatcher", "projector"])
            role = trial.luck.choice(cluster.all_of(kind))
            role.kill()
            since = time.monotonic()
            cluster.start(role.kind, trial.provider)
            trial.recovered(await trial.all_as_before(since))
    await _windows_end(trial, readers)
    await trial.settled()
    await until(lambda: _all_have_followed(trial, waiting), "all have followed")
    await trial.caught_up()
    await _judge(trial, waiting)


class _Message(NamedTuple):
    """To whom it goes, and by what it is found in the mail that it comes in."""

    address: str
    mark: str


async def _waiting(trial: Trial, readers: int, each: int) -> dict[str, _Message]:
    """What waits for digests."""
    tenant, *_ = TENANTS
    scopes = itertools.chain.from_iterable(("--scope", scope) for scope in ("send", "readers"))
    key = (await trial.cluster.carillon("keys", "create", "--tenant", tenant, *scopes)).strip()
    users = [f"{tenant}-{trial.began}-{n}" for n in range(readers)]
    waiting: dict[str, _Message] = {}
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(trial.cluster.address, headers=headers) as session:
        for user in users:
            body = {"categories": {_CATEGORY: {"frequency": "weekly"}}}
            async with session.patch("/api/v1/preferences", params={"user_id": user}, json=body) as answer:
                assert answer.status == 200, await answer.text()
        for n in range(each):
            named = users if n == 0 else [user for place, user in enumerate(users) if place % 3]
            body = {
                "type": "welcome",
                "recipients": [{"user_id": user, "email": f"{user}@example.com"} for user in named],
                "variables": {"user_name": f"mark-{n}", "product_name": tenant, "action_url": "https://acme.example"},
            }
            async with session.post("/api/v1/notifications", json=body) as answer:
                assert answer.status == 202, await answer.text()
                told = (await answer.json())["notifications"]
            assert {each["reason_code"] for each in told} == {"digest"}
            waiting |= {each["id"]: _Message(each["recipient"]["email"], f"mark-{n}") for each in told}
    return waiting


async def _windows_end(trial: Trial, readers: int) -> None:
    """Of so many that are not over yet."""
    await trial.cluster.query(
        "UPDATE schedule SET due_at = now(), rank_at = now() WHERE bundle IN"
        " (SELECT DISTINCT bundle FROM schedule WHERE bundle IS NOT NULL AND due_at > now() LIMIT %s)",
        (readers,),
    )


async def _taken_up(trial: Trial) -> bool:
    """Also where all of it has gone already."""
    ((leased, due),) = await trial.cluster.query(
        "SELECT count(*) FILTER (WHERE lease_until > now()), count(*) FROM schedule"
        " WHERE bundle IS NOT NULL AND due_at <= now()"
    )
    return bool(leased or not due)


async def _all_have_followed(trial: Trial, waiting: dict[str, _Message]) -> bool:
    ((sent,),) = await trial.cluster.query(
        "SELECT count(*) FROM view_notifications.rows WHERE id = ANY(%s::uuid[]) AND status = 'sent'", (list(waiting),)
    )
    return bool(sent == len(waiting))


async def _judge(trial: Trial, waiting: dict[str, _Message]) -> None:
    """By what arrived: each message in one mail to its reader, as itself or in the digest that the log names."""
    merged = dict(
        await trial.cluster.query(
            "SELECT originator_id::text, convert_from(state, 'UTF8')::jsonb->>'into' FROM stored_events"
            " WHERE topic = 'notification.merged' AND originator_id = ANY(%s::uuid[]) ORDER BY notification_id",
            (list(waiting),),
        )
    )
    readers = {message.address for message in waiting.values()}
    arrivals = [each for each in trial.cluster.arrivals(trial.provider) if each.new and each.address in readers]
    reached: dict[_Message, list[str | None]] = defaultdict(list)
    for each in arrivals:
        for mark in each.marks:
            reached[_Message(each.address, mark)].append(each.notification)
    messages = Counter(message.address for message in waiting.values())
    trial.note(
        gathered=len(merged),
        digests=sum(messages[each.address] > 1 for each in arrivals),
        alone=sum(messages[each.address] == 1 for each in arrivals),
    )
    trial.expect(all(reached[message] for message in waiting.values()), "nothing is missing")
    trial.expect(all(len(mails) < 2 for mails in reached.values()), "nothing reaches anybody twice")
    trial.expect(len(arrivals) == len(readers), "every reader gets one message")
    trial.expect(
        all(reached[message] == [merged.get(id, id)] for id, message in waiting.items()),
        "each came in the digest that it went into, or as itself",
    )
    trial.expect(reached.keys() <= set(waiting.values()), "nobody gets what is somebody else's")
