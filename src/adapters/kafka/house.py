"""The house's mappings, from the file that is shipped or the operator's own."""

import tomllib
from pathlib import Path

import msgspec

from application.inbound.event import Paths
from application.inbound.mappings import House, faults_of_mapping
from domain.mapping import Mapping, MappingTerms

SHIPPED = Path(__file__).with_name("mappings.toml")


class MappingFileError(Exception):
    """The file of mappings cannot be used; the message names the first fault."""


class _Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant: str = "tenant_id"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topics: dict[str, _Topic]
    mappings: dict[str, MappingTerms] = {}


def read_house(file: Path, paths: Paths) -> House:
    """Raises MappingFileError."""
    try:
        said = msgspec.convert(tomllib.loads(file.read_text()), _File)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MappingFileError(f"{file.name}: {error}") from None
    for topic, terms in said.topics.items():
        if fault := paths.fault(terms.tenant):
            raise MappingFileError(f"{file.name}: topics.{topic}.tenant: {fault}")
    for name, mapping in said.mappings.items():
        for problem in faults_of_mapping(name, mapping, paths, said.topics):
            raise MappingFileError(f"{file.name}: mappings.{name}.{problem.path}: {problem.message}")
    topics = {topic: terms.tenant for topic, terms in said.topics.items()}
    return House(topics, {name: Mapping(name, 0, terms) for name, terms in said.mappings.items()})
