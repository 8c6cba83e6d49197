"""The one line that each command leaves, accepted or not. Ids and figures, never personal data."""

from time import perf_counter
from typing import Any

import structlog
from litestar import Request
from litestar.types import Message, Scope

from application.caller import Caller

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_log = structlog.get_logger("http")


def note_start(request: Request[Any, Any, Any]) -> None:
    """From here on the time counts."""
    request.scope["state"]["began"] = perf_counter()


async def log_command(message: Message, scope: Scope) -> None:
    """When the answer begins to go out."""
    if message["type"] != "http.response.start" or scope.get("method", "GET") in _READS:
        return
    state: Any = scope.get("state", {})
    caller: Caller | None = state.get("caller")
    handler: Any = scope.get("route_handler")
    _log.info(
        "command",
        operation=getattr(handler, "operation_id", None),
        status=message["status"],
        tenant=caller.tenant if caller else None,
        by=caller.by if caller else None,
        ms=round((perf_counter() - state["began"]) * 1000, 1) if "began" in state else None,
    )
