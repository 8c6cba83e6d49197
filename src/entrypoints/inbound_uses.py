"""What is done with what other services tell by Kafka, with the ports it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.kafka.envelope import read_record
from adapters.kafka.house import SHIPPED, MappingFileError, read_house
from adapters.paths import JmesPaths
from adapters.postgres.database import Database
from adapters.postgres.records import PostgresParkedReader, PostgresRecordCounts
from application.commands.mappings import MappingUses
from application.commands.parked import ParkedReader, ParkedUses
from application.inbound.intake import Accept, Intake, Tell
from application.inbound.mappings import House, MappingsInForce
from application.inbound.tenants import TenantsWithKeys
from application.ports.api_keys import ApiKeys
from application.ports.log import EventStore, Persons
from application.ports.time_and_chance import Clock
from application.processes.consume import RecordCounts
from entrypoints.logs import Lines
from entrypoints.settings import Kafka, SettingError, Settings

if TYPE_CHECKING:
    from adapters.kafka.group import KafkaGroup


@dataclass(frozen=True)
class InboundUses:
    """`group` is there when brokers are."""

    house: House
    intake: Intake
    mappings: MappingUses
    parked: ParkedUses
    parked_reader: ParkedReader
    counts: RecordCounts
    group: "KafkaGroup | None"


def inbound_uses(
    settings: Settings,
    database: Database,
    events: EventStore,
    persons: Persons,
    keys: ApiKeys,
    clock: Clock,
    accept: Accept,
    tell: Tell,
    fingerprint: Callable[[bytes], str],
) -> InboundUses:
    """Raises SettingError for a file of mappings that cannot be used."""
    paths = JmesPaths()
    house = _house(settings, paths)
    in_force = MappingsInForce(house, events, clock)
    intake = Intake(
        read=read_record,
        mappings=in_force,
        paths=paths,
        tenants=TenantsWithKeys(keys, clock),
        accept=accept,
        tell=tell,
        events=events,
        persons=persons,
        clock=clock,
        fingerprint=fingerprint,
        log=Lines("consumer"),
        nobody=settings.kafka_tenant or "",
    )
    reader = PostgresParkedReader(database)
    return InboundUses(
        house=house,
        intake=intake,
        mappings=MappingUses(in_force, paths, read_record, events, clock),
        parked=ParkedUses(intake, reader, events, persons, clock),
        parked_reader=reader,
        counts=PostgresRecordCounts(database),
        group=_group(settings.kafka, house) if settings.kafka else None,
    )


def _house(settings: Settings, paths: JmesPaths) -> House:
    try:
        return read_house(settings.mappings or SHIPPED, paths)
    except MappingFileError as error:
        raise SettingError("MAPPINGS_PATH", f"names a file that cannot be used: {error}") from None


def _group(kafka: Kafka, house: House) -> "KafkaGroup":
    from adapters.kafka.group import KafkaGroup

    return KafkaGroup(kafka.connection, kafka.group_id, house.topics)
