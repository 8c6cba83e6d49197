"""Which templates a tenant owns. What they are is read from their streams."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.own_template import Template


class TemplateRow(msgspec.Struct, kw_only=True):
    tenant: str
    name: str
    id: UUID
    position: int


class OwnedTemplates(Projection[TemplateRow]):
    """One row per template."""

    name = "templates"
    topics: Sequence[str] = (Template.Created.TOPIC,)
    begins: Sequence[str] = (Template.Created.TOPIC,)
    row = TemplateRow
    key_columns = ("tenant", "name")
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event: Any = recorded.event
        return [(event.tenant, event.name)]

    def fold(self, key: tuple[Any, ...], row: TemplateRow | None, recorded: Recorded) -> TemplateRow:
        event: Any = recorded.event
        return TemplateRow(tenant=event.tenant, name=event.name, id=event.originator_id, position=recorded.position)
