"""The suppression list: looking, adding, removing, and the whole of it as a file."""

from collections.abc import AsyncIterator
from typing import Annotated, TextIO
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from application.addresses import InvalidAddressError, address_of
from application.caller import Scope
from application.commands.suppressions import Allow, ImportProgress, Suppress, SuppressionAnswer
from application.problems import InvalidCommandError, Problem
from application.queries.suppressions import ListSuppressions, SuppressionPage
from domain.vocabulary import Channel, Ground
from entrypoints.http.authentication import demand
from entrypoints.http.notifications import WaitFor, caught_up
from entrypoints.http.request import JsonRequest
from entrypoints.http.upload import MOST_UPLOADED, uploaded

Address = Annotated[str | None, QueryParameter(min_length=1, max_length=4096, pattern=r"^[^\x00]*$", required=False)]
_encode = msgspec.json.Encoder().encode


class SuppressionsController(Controller):
    path = "/api/v1/suppressions"
    tags = ["Readers"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="ListSuppressions", summary="Addresses that nothing is sent to")
    async def page(
        self,
        request: JsonRequest,
        channel: FromQuery[Channel | None] = None,
        ground: FromQuery[Ground | None] = None,
        address: Address = None,
        cursor: FromQuery[UUID | None] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> SuppressionPage:
        """With `address`, that one; it needs its channel."""
        demand(request.caller, Scope.READ)
        digest = _digest(request, channel, address) if address else None
        await caught_up(request.parts, wait_for)
        query = ListSuppressions(channel=channel, ground=ground, address_digest=digest, after=cursor, limit=limit)
        return await request.parts.reader_uses.list_suppressions(query, request.caller.tenant)

    @post("/", status_code=200, operation_id="Suppress", summary="Put an address on the list")
    async def add(self, data: JSONBody[Suppress], request: JsonRequest) -> SuppressionAnswer:
        """It holds from the answer on, also for what was accepted before."""
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.suppress(data, request.caller)

    @post("/remove", status_code=200, operation_id="Allow", summary="Take an address off the list")
    async def remove(self, data: JSONBody[Allow], request: JsonRequest) -> SuppressionAnswer:
        """What stands there on one ground, or all of it. What was suppressed meanwhile is not sent any more."""
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.allow(data, request.caller)

    @get("/export", media_type="text/csv", operation_id="ExportSuppressions", summary="The whole list as CSV")
    async def export(self, request: JsonRequest, wait_for: WaitFor = None) -> Stream:
        """`X-Total-Count` says how many addresses that is. It can be imported again."""
        demand(request.caller, Scope.READERS)
        await caught_up(request.parts, wait_for)
        tenant = request.caller.tenant
        count = await request.parts.reader_uses.count_suppressions(tenant)
        lines = request.parts.reader_uses.export_suppressions(tenant)
        return Stream(lines, media_type="text/csv", headers={"X-Total-Count": str(count)})

    @post(
        "/import",
        status_code=200,
        media_type="application/x-ndjson",
        operation_id="ImportSuppressions",
        summary="Put many on the list, from CSV",
        request_max_body_size=MOST_UPLOADED,
    )
    async def import_(self, request: JsonRequest) -> Stream:
        """The columns `channel` and `address` are needed; `ground`, `category` and `until` may be there. Answers with
        lines of JSON that say how far it has come, the last one `finished`. Rows that cannot be read are told of and
        left out. A file may have up to 64 MiB."""
        demand(request.caller, Scope.READERS)
        upload = await uploaded(request)
        try:
            progress = request.parts.reader_uses.import_suppressions(upload.text, upload.lines, request.caller)
        except InvalidCommandError:
            upload.text.close()
            raise
        return Stream(_lines(progress, upload.text), media_type="application/x-ndjson")


async def _lines(progress: AsyncIterator[ImportProgress], text: TextIO) -> AsyncIterator[bytes]:
    with text:
        async for each in progress:
            yield _encode(each) + b"\n"


def _digest(request: JsonRequest, channel: Channel | None, address: str) -> str:
    if channel is None:
        raise InvalidCommandError([Problem("channel", "is needed with an address")])
    try:
        known = address_of(channel, address)
    except InvalidAddressError as error:
        raise InvalidCommandError([Problem("address", str(error))]) from None
    return request.parts.reader_uses.digest(request.caller.tenant, channel, known)
