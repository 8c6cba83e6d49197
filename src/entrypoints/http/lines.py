"""What the lines of a request say of it, and the one line that each command leaves, accepted or not.

Ids and figures, never personal data.
"""

import re
from secrets import token_hex
from time import perf_counter
from typing import Any

import structlog
from litestar import Request
from litestar.types import Message, Scope
from structlog.contextvars import bind_contextvars, clear_contextvars

from application.caller import Caller
from application.commands.send import SendAnswer

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[!-~]{1,100}")
_log = structlog.get_logger("http")


def note_start(request: Request[Any, Any, Any], given_id: str) -> None:
    """From here on the time counts, and every line carries the id: the caller's if it is fit for that."""
    id = given_id if _REQUEST_ID.fullmatch(given_id) else token_hex(16)
    request.scope["state"] |= {"began": perf_counter(), "request_id": id}
    clear_contextvars()
    bind_contextvars(request_id=id)


def note_caller(request: Request[Any, Any, Any], caller: Caller) -> None:
    """Every further line names the tenant."""
    request.scope["state"]["caller"] = caller
    bind_contextvars(tenant=caller.tenant)


def note_accepted(request: Request[Any, Any, Any], answer: SendAnswer) -> SendAnswer:
    """The line of this command will say what came of it."""
    request.scope["state"]["accepted"] = facts(answer)
    return answer


def facts(answer: SendAnswer) -> dict[str, Any]:
    return {"request": str(answer.id), "notifications": len(answer.notifications)}


async def hand_back_id(message: Message, scope: Scope) -> None:
    """The id that the lines carry, for the caller to quote."""
    id = scope.get("state", {}).get("request_id")
    if id and message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], (b"x-request-id", id.encode())]


async def log_command(message: Message, scope: Scope) -> None:
    """When the answer begins to go out."""
    if message["type"] != "http.response.start" or scope.get("method", "GET") in _READS:
        return
    state: Any = scope.get("state", {})
    caller: Caller | None = state.get("caller")
    handler: Any = scope.get("route_handler")
    one = scope.get("path_params", {}).get("id")
    _log.info(
        "command",
        operation=getattr(handler, "operation_id", None),
        status=message["status"],
        tenant=caller.tenant if caller else None,
        by=caller.by if caller else None,
        **({"notification": str(one)} if one else {}),
        **({"template": template} if (template := scope.get("path_params", {}).get("name")) else {}),
        **state.get("accepted", {}),
        ms=round((perf_counter() - state["began"]) * 1000, 1) if "began" in state else None,
    )
