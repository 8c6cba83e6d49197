"""What went wrong, as RFC 9457 problem details with a stable `code`: the one table of statuses."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from adapters.callbacks.resend import InvalidSignatureError, MalformedCallbackError
from adapters.group_commit import ClosedError
from application.commands.templates.change import NameTakenError
from application.commands.templates.send_test import NoOwnerAddressError
from application.commands.try_webhook import TooManyTrialsError
from application.ports.log import ConflictError, StoreUnavailableError
from application.ports.templates import RendererUnavailableError, TenantSlowError
from application.problems import EventIdReusedError, InvalidCommandError, KeyReusedError, NotFoundError, Problem
from domain.limits import TooManyCategoriesError
from domain.mapping import TooManyMappingsError
from domain.notification import GoesWithDigestError, NotRetryableError
from domain.own_template import (
    NoSuchVersionError,
    NothingToRollBackError,
    TooManyActivationsError,
    TooManyTemplatesError,
    TooManyVersionsError,
)
from domain.preferences import NoSuchContactError, TooManyChoicesError, TooManyContactsError
from domain.subscription import TooManySecretsError
from domain.template import RenderError


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. `errors` names each bad field by its path."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str = ""
    errors: list[Problem] = []


class NotReadyError(Exception):
    """What was waited for did not come in time."""


class TooManyFailuresError(Exception):
    """Too many wrong API keys from one place."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many wrong API keys")
        self.retry_after = retry_after


class _Answer(msgspec.Struct, frozen=True):
    status: int
    code: str
    title: str


_ANSWERS: Mapping[type[Exception], _Answer] = {
    InvalidCommandError: _Answer(422, "invalid", "The request cannot be accepted as it is"),
    NotFoundError: _Answer(404, "not_found", "There is no such thing"),
    KeyReusedError: _Answer(409, "idempotency_key_reused", "The idempotency key belongs to another request"),
    EventIdReusedError: _Answer(409, "idempotency_key_reused", "The id belongs to another event"),
    NotRetryableError: _Answer(409, "not_retryable", "Only what failed, bounced or expired can be sent again"),
    GoesWithDigestError: _Answer(409, "in_digest", "What is in a digest is sent again with it"),
    NoSuchVersionError: _Answer(404, "not_found", "There is no such version"),
    NameTakenError: _Answer(409, "name_taken", "You have a template of this name"),
    NothingToRollBackError: _Answer(409, "nothing_to_roll_back", "No version was active before"),
    TooManyVersionsError: _Answer(409, "too_many_versions", "There is no room for another version"),
    TooManyActivationsError: _Answer(409, "too_many_activations", "It was activated too often"),
    TooManyTemplatesError: _Answer(409, "too_many_templates", "There is no room for another template"),
    NoOwnerAddressError: _Answer(409, "no_owner_address", "The API key has no address of its owner"),
    NoSuchContactError: _Answer(404, "not_found", "There is no such address"),
    TooManyChoicesError: _Answer(409, "too_many_choices", "There is no room for another choice"),
    TooManyContactsError: _Answer(409, "too_many_contacts", "There is no room for another address"),
    TooManyCategoriesError: _Answer(409, "too_many_choices", "There is no room for another category"),
    TooManySecretsError: _Answer(409, "too_many_secrets", "Too many older secrets still sign"),
    TooManyMappingsError: _Answer(409, "too_many_mappings", "There is no room for another mapping"),
    RenderError: _Answer(422, "not_renderable", "The template cannot be rendered with these variables"),
    TenantSlowError: _Answer(429, "templates_too_slow", "Your own templates and schemas took too much computing time"),
    RendererUnavailableError: _Answer(503, "renderer_unavailable", "Too much is being rendered"),
    ConflictError: _Answer(409, "conflict", "Somebody else changed it at the same moment"),
    StoreUnavailableError: _Answer(503, "store_unavailable", "The database does not answer"),
    ClosedError: _Answer(503, "stopping", "This process is stopping"),
    NotReadyError: _Answer(503, "not_caught_up", "The read models have not come that far yet"),
    TooManyTrialsError: _Answer(429, "too_many_tests", "What is tried out already is not over yet"),
    TooManyFailuresError: _Answer(429, "too_many_failures", "Too many wrong API keys"),
    InvalidSignatureError: _Answer(401, "invalid_signature", "The signature does not fit"),
    MalformedCallbackError: _Answer(400, "malformed", "The callback cannot be read"),
}

_CODES = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}


def handlers() -> dict[Any, Any]:
    """For Litestar: our own errors by the table, its errors by their status, anything else as a logged 500."""
    return {**dict.fromkeys(_ANSWERS, _own), HTTPException: _http, ValidationException: _validation, 500: _bug}


def _own(request: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    answer = next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
    errors = error.problems if isinstance(error, InvalidCommandError) else []
    detail = "" if answer.status == 503 else str(error)
    wait = getattr(error, "retry_after", 1) if answer.status in (429, 503) else None
    return _response(
        ProblemDetails(title=answer.title, status=answer.status, code=answer.code, detail=detail, errors=errors), wait
    )


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[ProblemDetails]:
    code = _CODES.get(error.status_code, "error")
    wait = 1 if error.status_code == 429 else None
    details = ProblemDetails(title=code.replace("_", " "), status=error.status_code, code=code, detail=error.detail)
    return _response(details, wait, dict(error.headers or {}))


def _validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[ProblemDetails]:
    given: list[Any] = error.extra if isinstance(error.extra, list) else []
    errors = [Problem(_name_outside(request, each.get("key", "")), str(each.get("message", ""))) for each in given]
    answer = _ANSWERS[InvalidCommandError]
    return _response(ProblemDetails(title=answer.title, status=answer.status, code=answer.code, errors=errors), None)


def _name_outside(request: Request[Any, Any, Any], name: str) -> str:
    """What a parameter is called by those who send it, such as `from`, which cannot be a name in Python."""
    parameter = request.route_handler.parsed_fn_signature.parameters.get(name)
    return getattr(parameter and parameter.kwarg_definition, "name", None) or name


def _bug(request: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetails]:
    structlog.get_logger("http").error("unexpected error", path=request.url.path, exc_info=error)
    return _response(ProblemDetails(title="Our mistake", status=500, code="internal_error"), None)


def _response(
    details: ProblemDetails, wait: int | None, headers: dict[str, str] | None = None
) -> Response[ProblemDetails]:
    return Response(
        details,
        status_code=details.status,
        media_type="application/problem+json",
        headers={**(headers or {}), **({"Retry-After": str(wait)} if wait else {})},
    )
