"""How much a tenant lets go out, as its administrators ask and tell."""

from litestar import Controller, get, put
from litestar.params import JSONBody

from application.caller import Scope
from application.commands.limits import ChooseLimits, LimitsAnswer
from application.queries.limits import RateLimits
from entrypoints.http.authentication import demand
from entrypoints.http.request import JsonRequest


class LimitsController(Controller):
    path = "/api/v1/rate-limits"
    tags = ["Limits"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="GetRateLimits", summary="How much you let go out")
    async def one(self, request: JsonRequest) -> RateLimits:
        """Where nothing was chosen nothing is limited."""
        demand(request.caller, Scope.READ)
        return await request.parts.limits(request.caller)

    @put("/", operation_id="ChooseRateLimits", summary="Choose how much you let go out")
    async def choose(self, data: JSONBody[ChooseLimits], request: JsonRequest) -> LimitsAnswer:
        """So many messages of a channel in all, and to any one reader; and whether the same may go to the same address
        twice within a while. What is not said is not limited any more. What waits for its turn already keeps it.

        What is one too many waits (`deferred`) or, by its category, is not sent (`suppressed`), with the reason
        `rate_limited`; the same once more is not sent, with the reason `duplicate_content`. What is critical, and what
        is of the category `security`, is sent at once, and counts."""
        demand(request.caller, Scope.ADMIN)
        return await request.parts.choose_limits(data, request.caller)
