"""How the process that takes a lot hears of it: a text of words, which PostgreSQL carries."""

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent

MOST_TOLD = 200
_LONGEST = 7_900
"""Characters, beside the token that goes before: a payload of PostgreSQL is shorter than 8,000 bytes."""

Row = tuple[Any, ...]
"""Of the log: originator_id, originator_version, topic, state, and 0 for a position that nobody knows yet."""


def notice(ids: Collection[UUID], events: Iterable[StoredEvent]) -> str:
    """Of streams that begin among these events: `events` and four words for each or, if that is too long, `ids`.

    The states go as they are stored, which is sealed.
    """
    words = [_words(event) for event in events if event.originator_id in ids]
    if sum(map(len, words)) + len(words) + len("events") < _LONGEST:
        return " ".join(["events", *words])
    return " ".join(["ids", *map(str, ids)])


def _words(event: StoredEvent) -> str:
    state = b64encode(event.state).decode()
    return f"{event.originator_id} {event.originator_version} {event.topic} {state}"


def heard(words: Sequence[str]) -> tuple[list[UUID], list[Row]]:
    """The ids of a notice, and what came along, which may be nothing. Raises ValueError when it is none."""
    kind, *rest = words
    if kind not in {"ids", "events"}:
        raise ValueError(kind)
    if kind == "ids":
        return [UUID(id) for id in rest], []
    rows = [
        (UUID(id), int(version), topic, b64decode(state), 0)
        for id, version, topic, state in zip(*[iter(rest)] * 4, strict=True)
    ]
    return list(dict.fromkeys(row[0] for row in rows)), rows
