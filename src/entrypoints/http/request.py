"""The one place where a body becomes a value."""

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType, UnionType
from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import Empty

from application.caller import Caller
from application.commands.sending import SendNotification
from application.problems import InvalidCommandError, Problem
from entrypoints.parts import Parts

OPEN: Mapping[str, Any] = MappingProxyType({"open": True})
"""What a handler's `opt` says when everybody may ask. All others need a key."""

MAY_BE_EMPTY: Mapping[str, Any] = MappingProxyType({"may_be_empty": True})
"""What a handler's `opt` says when no body is as good as `{}`."""

MOST_BYTES = 1024 * 1024
BODY_SECONDS = 10.0

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`")


def needs_key(handler: BaseRouteHandler) -> bool:
    return not handler.opt.get("open")


def refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    """A parameter that is misspelled, or is said to be null, would silently not count.

    Raises InvalidCommandError naming each.
    """
    if request.scope["query_string"]:
        known = _parameters(request.route_handler)
        problems = [
            Problem(name, "is not a parameter of this call") for name in request.query_params if name not in known
        ]
        for name, value in request.query_params.items():
            if value.lower() == "null" and not known.get(name, True):
                problems.append(Problem(name, "is null: leave it out"))
        if problems:
            raise InvalidCommandError(problems)


@lru_cache(maxsize=64)
def _parameters(handler: BaseRouteHandler) -> Mapping[str, bool]:
    """By name, whether any text will do."""
    given = handler.parsed_fn_signature.parameters.items()
    return {
        getattr(field.kwarg_definition, "name", None) or name: str in (field.annotation, *get_args(field.annotation))
        for name, field in given
    }


def header(request: Request[Any, Any, Any], name: bytes) -> str:
    """The first header of this name, in lower case, or nothing; a few times as fast as the framework's mapping."""
    for each, value in request.scope["headers"]:
        if each == name:
            return value.decode("latin-1")
    return ""


class MalformedBodyError(HTTPException):
    status_code = 400


class UnsupportedMediaTypeError(HTTPException):
    status_code = 415


class SlowBodyError(HTTPException):
    status_code = 408


class JsonRequest(Request[Any, Any, Any]):
    """Bodies are JSON in UTF-8, at most 1 MiB, here within 10 s, decoded once and strictly into the struct asked for.

    NUL characters are refused, because PostgreSQL cannot keep them. Of a name given twice the last one counts.
    """

    @property
    def parts(self) -> Parts:
        """What the process is made of."""
        parts: Parts = self.app.state["parts"]
        return parts

    @property
    def caller(self) -> Caller:
        """Who asks, which `admit` has found out before any handler runs."""
        caller: Caller = self.scope["state"]["caller"]
        return caller

    async def body(self) -> bytes:
        if self._body is not Empty:
            return self._body
        takes_json = self.route_handler.parsed_data_field is not None
        may_be_empty = self.route_handler.opt.get("may_be_empty")
        if takes_json and not may_be_empty:
            self._check_content_type()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._whole_body()
        except TimeoutError:
            raise SlowBodyError(f"the body was not here within {BODY_SECONDS:.0f} s") from None
        if may_be_empty and not body:
            self._body = body = b"{}"
        elif may_be_empty:
            self._check_content_type()
        elif takes_json and not body:
            raise MalformedBodyError("the body is empty")
        return body

    async def _whole_body(self) -> bytes:
        """Most bodies come in one piece, which the framework hands on in several steps, looking at all headers."""
        length = header(self, b"content-length")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return await super().body()
        receive, first = self.receive, await self.receive()
        if first["type"] == "http.request" and not first.get("more_body") and len(first["body"]) <= MOST_BYTES:
            self._body = self._connection_state.body = first["body"]
            return first["body"]

        async def again() -> Any:
            self.receive = receive
            return first

        self.receive = again
        return await super().body()

    async def json(self) -> Any:
        field = self.route_handler.parsed_data_field
        return decoded(await self.body(), field.annotation if field else Any)

    def _check_content_type(self) -> None:
        if header(self, b"content-type").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaTypeError("the body must be application/json")
        if header(self, b"content-encoding").lower() not in ("", "identity"):
            raise UnsupportedMediaTypeError("the body must not be compressed")


def decoded(body: bytes, kind: Any) -> Any:
    """Raises MalformedBodyError for what is no JSON, InvalidCommandError for JSON that does not fit."""
    if b"\\u0000" in body and _NUL.search(body):  # the second is slow, and seldom needed
        raise MalformedBodyError("the body holds a NUL character")
    try:
        return _decoder(_without_union(kind, body)).decode(body)
    except msgspec.ValidationError as error:
        raise InvalidCommandError([_problem(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBodyError(f"the body is not JSON in UTF-8: {error}") from None
    except RecursionError:
        raise MalformedBodyError("the body is nested too deeply") from None


@lru_cache(maxsize=64)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class _Named(msgspec.Struct):
    command: str | None = None


def _without_union(kind: Any, body: bytes) -> Any:
    """Where several commands are taken, a body without `command` is a send."""
    several = isinstance(kind, UnionType) and SendNotification in get_args(kind)
    return SendNotification if several and _decoder(_Named).decode(body).command is None else kind


def _problem(message: str) -> Problem:
    """msgspec gives the place of the object whose field is missing or unknown; the path is that of the field."""
    place = _AT.search(message)
    said = message[: place.start()] if place else message
    field = _FIELD.fullmatch(said)
    return Problem(".".join(filter(None, [place and place[1], field and field[1]])), said)
