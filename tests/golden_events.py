"""What the log holds of each type of event since it was first stored: never changed, only added to.

`python -m tests.golden_events` stores an example of every type that has none yet. Run it for a new event; for a changed
one give the event class a `class_version` and an upcast, and leave its file alone.
"""

from pathlib import Path
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from adapters.event_mapper import EventMapper
from adapters.person_keys import PersonKeys
from tests.examples import SOMEBODY, one_of_each

FOLDER = Path(__file__).parent / "golden" / "events"

_MASTER_KEY = bytes(range(32))
_KEY_OF_SOMEBODY = bytes.fromhex(
    "407f3ae89699b4aba629ae1df724542ffba59dbea5f4d6eff01fbf8b65fd4088"
    "cf00b0e032566a06e0d691d1d98a280f9b361840bab5e059c67c42eb"
)


def mapper() -> EventMapper:
    """One that knows the key under which the golden events are sealed."""
    keys = PersonKeys(_MASTER_KEY)
    keys.load([SOMEBODY], [(SOMEBODY, _KEY_OF_SOMEBODY)])
    return EventMapper(keys)


def load(topic: str) -> StoredEvent:
    golden = msgspec.json.decode(_file(topic).read_bytes(), type=_Golden)
    return StoredEvent(golden.originator_id, golden.originator_version, golden.topic, bytes(golden.state))


def store_missing() -> list[str]:
    """The topics that had no golden event until now."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = {topic: event for topic, event in one_of_each().items() if not _file(topic).exists()}
    for topic, event in missing.items():
        stored = mapper().to_stored(event)
        golden = _Golden(stored.originator_id, stored.originator_version, topic, msgspec.Raw(stored.state))
        _file(topic).write_bytes(msgspec.json.format(msgspec.json.encode(golden)) + b"\n")
    return list(missing)


class _Golden(msgspec.Struct):
    originator_id: UUID
    originator_version: int
    topic: str
    state: msgspec.Raw


def _file(topic: str) -> Path:
    return FOLDER / f"{topic}.json"


if __name__ == "__main__":
    store_missing()
