"""What was read once is not read again. In memory."""

from collections.abc import Sequence
from uuid import UUID

from application.processes.read_along import ReadAlong
from domain.notification import Notification
from domain.outcomes import Accepted
from tests.examples import NOON, POLICY, attempted, notification
from tests.fakes.log import FakeLog

SENT = [Notification.Sent.TOPIC]


def two_that_were_sent() -> FakeLog:
    """Queued, rendered, sent, queued, rendered, sent."""
    return FakeLog(event for number in (1, 2) for event in _life(UUID(int=number)))


def _life(id: UUID) -> Sequence[Notification.Event]:
    made = attempted(notification(id))
    made.record(Accepted(None), POLICY, luck=0, now=NOON, by="worker")
    return made.collect_events()  # type: ignore[return-value]


async def test_what_the_projector_has_read_is_not_read_again() -> None:
    log = two_that_were_sent()
    along = ReadAlong(log)
    await along.read(0, 100)
    assert [each.position for each in await along.read(0, 100, SENT, until=6)] == [3, 6]
    assert [each.position for each in await along.read(3, 100, SENT, until=6)] == [6]
    assert [each.position for each in await along.read(0, 1, SENT, until=6)] == [3]
    assert [each.position for each in await along.read(0, 100, SENT, until=5)] == [3]
    assert log.asked == 1


async def test_what_lies_before_or_behind_is_asked_of_the_log() -> None:
    log = two_that_were_sent()
    along = ReadAlong(log)
    await along.read(2, 2)  # 3 and 4
    assert [each.position for each in await along.read(0, 100, SENT, until=4)] == [3]
    assert [each.position for each in await along.read(4, 100, SENT, until=6)] == [6]
    assert [each.position for each in await along.read(2, 100, SENT)] == [3, 6]
    assert log.asked == 4


async def test_the_stretch_of_a_read_model_that_is_behind_is_not_taken_for_all_there_is() -> None:
    log = two_that_were_sent()
    along = ReadAlong(log)
    await along.read(2, 2)  # 3 and 4, for who is behind; the others have come to 6
    assert [each.position for each in await along.read(2, 100, SENT, until=6)] == [3, 6]


async def test_what_was_read_sealed_is_no_answer() -> None:
    log = two_that_were_sent()
    along = ReadAlong(log)
    await along.read(0, 100, personal=False)
    await along.read(0, 100, SENT, until=6)
    assert log.asked == 2


async def test_what_was_read_of_some_topics_is_no_answer() -> None:
    log = two_that_were_sent()
    along = ReadAlong(log)
    await along.read(0, 100, SENT)
    queued = await along.read(0, 100, [Notification.Queued.TOPIC], until=6)
    assert [each.position for each in queued] == [1, 4]
    assert log.asked == 2
