"""What becomes of what other services tell by Kafka, and of what could not become it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from application.caller import Scope
from application.commands.mappings import MappingAnswer, MappingTrial, TryMapping
from application.commands.parked import ListParked, ParkedDetail, ParkedReplay, ReplayParked
from application.projections.parked import ParkedRow, ParkStatus
from domain.mapping import MappingTerms
from domain.parked import ParkReason
from entrypoints.http.authentication import demand
from entrypoints.http.notifications import Text, WaitFor, caught_up
from entrypoints.http.request import JsonRequest
from entrypoints.http.webhooks import Removed


class MappingList(msgspec.Struct, frozen=True):
    """`topics` are those that are read, by the operator's choice; a mapping can be for no other."""

    topics: list[str]
    mappings: list[MappingAnswer]


class MappingsController(Controller):
    path = "/api/v1/mappings"
    tags = ["Kafka"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="ListMappings", summary="List those in force, by name")
    async def page(self, request: JsonRequest) -> MappingList:
        """The house's, and yours in their place or beside them."""
        demand(request.caller, Scope.READ)
        inbound = request.parts.inbound
        return MappingList(sorted(inbound.house.topics), await inbound.mappings.all(request.caller))

    @get("/{name:str}", operation_id="GetMapping", summary="Detail")
    async def one(self, name: FromPath[str], request: JsonRequest) -> MappingAnswer:
        demand(request.caller, Scope.READ)
        return await request.parts.inbound.mappings.one(name, request.caller)

    @put("/{name:str}", operation_id="WriteMapping", summary="Write one of your own")
    async def write(self, name: FromPath[str], data: JSONBody[MappingTerms], request: JsonRequest) -> MappingAnswer:
        """In force within a second, for your events alone. Under the name of one of the house's it takes its place;
        with `enabled` false nothing does."""
        demand(request.caller, Scope.ADMIN)
        return await request.parts.inbound.mappings.write(name, data, request.caller)

    @delete("/{name:str}", status_code=200, operation_id="RemoveMapping", summary="Remove one of your own")
    async def remove(self, name: FromPath[str], request: JsonRequest) -> Removed:
        """If the house has one of this name, it is in force again."""
        demand(request.caller, Scope.ADMIN)
        return Removed(await request.parts.inbound.mappings.remove(name, request.caller))

    @post("/test", status_code=200, operation_id="TryMapping", summary="What would become of a record?")
    async def try_out(self, data: JSONBody[TryMapping], request: JsonRequest) -> MappingTrial:
        """Takes the record for yours, whoever it names. Nothing is stored or sent."""
        demand(request.caller, Scope.READ)
        return await request.parts.inbound.mappings.try_out(data, request.caller)


class ParkedRecordSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A record without what is in it. Of one that is not `complete` only the beginning was kept."""

    id: UUID
    status: ParkStatus
    reason: ParkReason
    topic: str
    partition: int
    offset: int
    size: int
    complete: bool
    said_tenant: str | None
    event_id: str | None
    event_type: str | None
    mappings: list[str]
    parked_at: datetime
    updated_at: datetime


class ParkedPage(msgspec.Struct, frozen=True):
    records: list[ParkedRecordSummary]
    next_cursor: str | None


class ParkedController(Controller):
    path = "/api/v1/kafka/parked"
    tags = ["Kafka"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="ListParked", summary="List what was set aside, newest first")
    async def page(
        self,
        request: JsonRequest,
        status: FromQuery[ParkStatus | None] = None,
        reason: FromQuery[ParkReason | None] = None,
        topic: Text = None,
        cursor: Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1, required=False)] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> ParkedPage:
        demand(request.caller, Scope.ADMIN)
        await caught_up(request.parts, wait_for)
        query = ListParked(status=status, reason=reason, topic=topic, before=cursor, limit=limit + 1)
        rows = await request.parts.inbound.parked.page(request.caller.tenant, query)
        more = str(rows[limit - 1].position) if len(rows) > limit else None
        return ParkedPage([parked_summary(row) for row in rows[:limit]], more)

    @get("/{id:uuid}", operation_id="GetParked", summary="Detail, with what is in it")
    async def one(self, id: FromPath[UUID], request: JsonRequest) -> ParkedDetail:
        demand(request.caller, Scope.ADMIN)
        return await request.parts.inbound.parked.one(request.caller.tenant, id)

    @post("/replay", status_code=200, operation_id="ReplayParked", summary="Try again")
    async def replay(self, data: JSONBody[ReplayParked], request: JsonRequest) -> ParkedReplay:
        """As if the records came now, by the mappings now in force; up to 100 at once. What became of an event before
        becomes nothing more, and what is in a record that was replayed is erased. With `next` of the answer as `after`
        the next request goes on behind those that stay parked."""
        demand(request.caller, Scope.ADMIN)
        return await request.parts.inbound.parked.replay(data, request.caller, request.caller.tenant)

    @delete("/{id:uuid}", status_code=200, operation_id="DiscardParked", summary="Give one up")
    async def discard(self, id: FromPath[UUID], request: JsonRequest) -> Removed:
        """What is in it is erased for good; that it was there stays known. If Kafka delivers it again, it is taken as
        any other record."""
        demand(request.caller, Scope.ADMIN)
        return Removed(await request.parts.inbound.parked.discard(id, request.caller, request.caller.tenant))


def parked_summary(row: ParkedRow) -> ParkedRecordSummary:
    said = {name: getattr(row, name) for name in ParkedRecordSummary.__struct_fields__ if name != "offset"}
    return ParkedRecordSummary(**said, offset=row.record_offset)
