"""The HTTP application."""

from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from application.caller import Caller
from entrypoints.bootstrap import Parts
from entrypoints.http.authentication import Authentication
from entrypoints.http.callbacks import CallbacksController
from entrypoints.http.lines import log_command, note_caller, note_start
from entrypoints.http.notifications import InternalController, NotificationsController
from entrypoints.http.operations import OperationsController
from entrypoints.http.problems import handlers
from entrypoints.http.request import MOST_BYTES, JsonRequest

_OPENAPI = OpenAPIConfig(
    title="Carillon",
    version="1",
    description="A notification service: tell people and systems things once, on time, and prove it.",
    security=[{"ApiKey": []}],
    components=Components(security_schemes={"ApiKey": SecurityScheme(type="http", scheme="bearer")}),
    path="/openapi",
)


def create_app(parts: Parts) -> Litestar:
    authentication = Authentication(parts.api_keys)

    async def provide_caller(request: Request) -> Caller:  # type: ignore[type-arg]
        caller = await authentication.caller(request)
        note_caller(request, caller)
        return caller

    def provide_parts() -> Parts:
        return parts

    dependencies: dict[str, Any] = {
        "caller": Provide(provide_caller),
        "parts": Provide(provide_parts, sync_to_thread=False),
    }
    return Litestar(
        route_handlers=[NotificationsController, InternalController, CallbacksController, OperationsController],
        dependencies=dependencies,
        request_class=JsonRequest,
        request_max_body_size=MOST_BYTES,
        exception_handlers=handlers(),
        openapi_config=_OPENAPI,
        before_request=note_start,
        before_send=[log_command],
        logging_config=None,
    )
