"""The HTTP application."""

from typing import Any

from litestar import Litestar, Request
from litestar.datastructures import State

from entrypoints.http.authentication import Authentication
from entrypoints.http.callbacks import CallbacksController
from entrypoints.http.description import Description
from entrypoints.http.docs import docs
from entrypoints.http.gallery import GalleryController
from entrypoints.http.inbound import MappingsController, ParkedController
from entrypoints.http.limits import LimitsController
from entrypoints.http.lines import hand_back_id, log_command, note_caller, note_start
from entrypoints.http.mailbox import MailboxController
from entrypoints.http.notifications import InternalController, NotificationsController
from entrypoints.http.operations import OperationsController
from entrypoints.http.page import asset
from entrypoints.http.preferences import PreferencesController
from entrypoints.http.problems import handlers
from entrypoints.http.publishing import PublishingController
from entrypoints.http.readers import ReadersController
from entrypoints.http.request import MOST_BYTES, JsonRequest, header, needs_key, refuse_unknown_parameters
from entrypoints.http.suppressions import SuppressionsController
from entrypoints.http.templates import TemplatesController
from entrypoints.http.webhooks import EventsController, EventTypesController, WebhooksController
from entrypoints.parts import Parts


def create_app(parts: Parts) -> Litestar:
    authentication = Authentication(parts.api_keys)

    async def admit(request: Request[Any, Any, Any]) -> None:
        """Strangers are turned away before their body is read."""
        note_start(request, header(request, b"x-request-id"))
        if needs_key(request.route_handler):
            note_caller(request, await authentication.caller(request))
            refuse_unknown_parameters(request)

    description = Description(parts.templates.types(), parts.settings.public_url)
    local: list[Any] = [MailboxController, GalleryController] if parts.settings.email_provider == "capture" else []
    controllers: list[Any] = [
        NotificationsController,
        TemplatesController,
        PreferencesController,
        SuppressionsController,
        LimitsController,
        ReadersController,
        WebhooksController,
        EventsController,
        EventTypesController,
        MappingsController,
        ParkedController,
        PublishingController,
        InternalController,
        CallbacksController,
        OperationsController,
    ]
    return Litestar(
        route_handlers=[*controllers, docs, asset, *local],
        state=State({"parts": parts}),
        request_class=JsonRequest,
        request_max_body_size=MOST_BYTES,
        exception_handlers=handlers(),
        openapi_config=description.config(),
        plugins=[description],
        before_request=admit,
        before_send=[log_command, hand_back_id],
        logging_config=None,
    )
