"""What other systems are told of a tenant's notifications, as the tenant chooses."""

from litestar import Controller, get, put
from litestar.params import JSONBody

from application.caller import Scope
from application.commands.publishing import ChoosePublishing, PublishingAnswer, PublishingChoice
from entrypoints.http.authentication import demand
from entrypoints.http.request import JsonRequest


class PublishingController(Controller):
    path = "/api/v1/publishing"
    tags = ["Publishing"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="GetPublishing", summary="What is told of your notifications")
    async def choice(self, request: JsonRequest) -> PublishingChoice:
        """Where nothing was chosen, nothing personal."""
        demand(request.caller, Scope.READ)
        return await request.parts.publishing(request.caller)

    @put("/", operation_id="ChoosePublishing", summary="Choose what is told of your notifications")
    async def choose(self, data: JSONBody[ChoosePublishing], request: JsonRequest) -> PublishingAnswer:
        """It holds for what is published from the answer on, but for the batch that is on its way; what was published
        before stays with those who have read it."""
        demand(request.caller, Scope.ADMIN)
        return await request.parts.choose_publishing(data, request.caller)
