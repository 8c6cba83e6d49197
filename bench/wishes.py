"""What asking for a reader's wishes adds to an accept: processor time of this process, the best of five rounds."""

import asyncio
from datetime import UTC, datetime
from time import perf_counter, process_time
from uuid import uuid4

from application.caller import Caller
from application.commands.preferences import UpdatePreferences
from application.commands.suppressions import Suppress
from application.queries.preferences import GivenChoice, GivenQuietHours
from application.readers import Who
from bench.figures import Figure
from bench.stage import Stage
from domain.decision import SendNow
from domain.notification import Notification
from domain.personal import Letter
from domain.template import TemplatePin
from domain.vocabulary import Channel, Ground, Priority, Purpose
from entrypoints import settings
from entrypoints.bootstrap import opened
from entrypoints.parts import Parts

ROUNDS, ACCEPTS, STRANGERS = 5, 5_000, 500
LIMIT = 60.0
_CALLER = Caller("bench", "bench")
_READER = Who("bench", Channel.EMAIL, "jane@example.com", "user-1")


def wishes(stage: Stage) -> list[Figure]:
    """Of a reader with preferences and an address that is on the list for another category."""
    return asyncio.run(_measured(stage))


async def _measured(stage: Stage) -> list[Figure]:
    given = settings.load(stage.environment)
    assert given.master_key
    async with opened(given, stage.conninfo, given.master_key) as parts:
        await _prepare(parts)
        known = [await _cost(parts) for _ in range(ROUNDS + 1)]
        strangers = await _first_looks(parts)
    cost = min(known[1:])
    return [
        Figure("what a reader wishes, added to an accept", cost, "us", "what it may add", cost / LIMIT),
        Figure("the first look at an address, waiting included", strangers, "us"),
    ]


async def _prepare(parts: Parts) -> None:
    wished = UpdatePreferences(
        language="de",
        time_zone="Europe/Berlin",
        quiet_hours=GivenQuietHours(starts=_hour(12), ends=_hour(13)),  # not now
        categories={f"category-{n}": GivenChoice(channels={Channel.SMS: False}) for n in range(20)},
        types={f"type-{n}": GivenChoice(enabled=False) for n in range(20)},
    )
    await parts.reader_uses.update(wished, "user-1", _CALLER)
    listed = Suppress(address=_READER.address, ground=Ground.UNSUBSCRIBE, category="promotion")
    await parts.reader_uses.suppress(listed, _CALLER)


def _hour(later: int) -> str:
    return f"{(datetime.now(UTC).hour + later) % 24:02}:00"


async def _cost(parts: Parts) -> float:
    notification, now = _notification(parts), parts.clock.now()
    began = process_time()
    for _ in range(ACCEPTS):
        await parts.readers.users("bench", {"user-1"})
        (reader,) = await parts.readers.of([_READER])
        assert isinstance(reader.decide(notification, now, "UTC"), SendNow)
    return (process_time() - began) / ACCEPTS * 1e6


async def _first_looks(parts: Parts) -> float:
    began = perf_counter()
    for _ in range(STRANGERS):
        await parts.readers.of([Who("bench", Channel.EMAIL, f"{uuid4().hex}@example.com")])
    return (perf_counter() - began) / STRANGERS * 1e6


def _notification(parts: Parts) -> Notification:
    return Notification.queue(
        uuid4(),
        tenant="bench",
        channel=Channel.EMAIL,
        type="welcome",
        category="registration",
        purpose=Purpose.TRANSACTIONAL,
        priority=Priority.HIGH,
        request=uuid4(),
        letter=Letter(person=uuid4(), address=_READER.address),
        template=TemplatePin("welcome", "hash", "de"),
        now=parts.clock.now(),
        by="bench",
        locale="de",
    )
