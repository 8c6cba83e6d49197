"""A log of many notifications, made by the domain and the mapper as the service makes it, but written in bulk."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
from rich.console import Console
from rich.progress import track

from adapters.event_mapper import EventMapper
from adapters.group_commit import Append
from adapters.person_keys import PersonKeys
from adapters.stored import append_of
from adapters.system import SystemDice
from adapters.templates.files import FileTemplates
from bench.stage import Stage
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.outcomes import Accepted
from domain.personal import Envelope, Letter
from domain.retry import RetryPolicy
from domain.template import CurrentTemplate
from domain.vocabulary import Channel
from entrypoints import settings
from entrypoints.bootstrap import templates_folder

EVENTS_OF_ONE = 3
PERSONS = 10_000
_LOT = 2_000


def fill(stage: Stage, size: int) -> None:
    """Append whole lives of notifications, by the domain and the mapper, until the log holds so many events."""
    ((have,),) = stage.rows("SELECT count(*) FROM stored_events")
    wanted = (size - have) // EVENTS_OF_ONE
    if wanted <= 0:
        return
    with psycopg.connect(stage.conninfo) as connection:
        lots = range(0, wanted, _LOT)
        for lot in track(_lots(stage, wanted), f"a log of {size:,} events", len(lots), console=Console(stderr=True)):
            _write(connection, lot)
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE stored_events")


def _write(connection: psycopg.Connection[tuple[object, ...]], lot: list[Append]) -> None:
    with connection.cursor() as cursor:
        with cursor.copy(
            "COPY stored_events (originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)"
        ) as copy:
            copy.set_types(["uuid", "int8", "text", "bytea"])
            for append in lot:
                for event in append.events:
                    copy.write_row((event.originator_id, event.originator_version, event.topic, event.state))
        keys = [key for append in lot for key in append.keys]
        cursor.executemany(
            "INSERT INTO person_keys (person, subject, wrapped) VALUES (%s, %s, %s)",
            [(key.person, key.subject, key.wrapped) for key in keys],
        )


def _lots(stage: Stage, wanted: int) -> Iterator[list[Append]]:
    given = settings.load(stage.environment)
    assert given.master_key
    keys = PersonKeys(given.master_key)
    mapper = EventMapper(keys)
    template = FileTemplates(templates_folder(given), "en").current("bench", "welcome", Channel.EMAIL, "en")
    dice = SystemDice()
    for start in range(0, wanted, _LOT):
        lives = [_life(template, keys, dice, number) for number in range(start, min(start + _LOT, wanted))]
        lot = [append_of(life.collect_events(), [life], mapper, keys) for life in lives]
        keys.stored([key for append in lot for key in append.keys])
        yield lot


def _life(template: CurrentTemplate, keys: PersonKeys, dice: SystemDice, number: int) -> Notification:
    """Accepted, rendered, sent."""
    now = datetime.now(UTC)
    address = f"reader{number % PERSONS}@example.com"
    person = keys.person("bench", address)
    sender = Mailbox("notifications@example.com", None)
    variables = {"user_name": "Jane", "product_name": "Acme", "action_url": "https://acme.example.com/start"}
    notification = Notification.queue(
        dice.id(),
        tenant="bench",
        channel=Channel.EMAIL,
        type="welcome",
        category=template.type.category,
        purpose=template.type.purpose,
        priority=template.type.priority,
        request=dice.id(),
        letter=Letter(person=person, address=address, name="Jane", variables=variables),
        template=template.pin,
        now=now,
        by="bench",
        locale="en",
    )
    envelope = Envelope(person=person, subject="Welcome to Acme", preview="Hello Jane")
    signed = {"now": now, "by": "bench"}
    notification.attempt("resend", now, "0" * 64, envelope, sender=sender, reply_to=None, **signed)  # type: ignore[arg-type]
    notification.record(Accepted(f"re_{number}"), RetryPolicy(), luck=0.5, **signed)  # type: ignore[arg-type]
    return notification
