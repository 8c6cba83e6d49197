"""The description of the API in OpenAPI: what Litestar sees, finished with what only the service itself can tell."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, OpenAPI, Reference, SecurityScheme, Server, Tag
from litestar.plugins import OpenAPISchemaPlugin
from litestar.plugins.base import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.typing import FieldDefinition

from application.commands.send_webhook import SendWebhook
from application.commands.sending import SendNotification
from domain.template import NotificationType
from entrypoints.http.inbound_examples import inbound_examples, inbound_path_example
from entrypoints.http.notification_examples import PROOF, first_of, notification_examples
from entrypoints.http.problems import ProblemDetails
from entrypoints.http.reader_examples import CSV, USER, reader_examples
from entrypoints.http.request import needs_key
from entrypoints.http.template_examples import path_example, template_examples
from entrypoints.http.webhook_examples import webhook_examples, webhook_path_example

JSON_PATH = "/openapi/openapi.json"

_TEXT = """A notification service: tell people and systems things once, on time, and prove it.

Every call but health, metrics, the callbacks of providers and what readers' links open needs an API key:
`Authorization: Bearer <key>`. A send is answered once it is stored for good; what was answered with 2xx is not lost.
Give an `Idempotency-Key` with it, and it is accepted once however often it is repeated.

What goes wrong is answered with problem details (RFC 9457) and a `code` that stays the same.
Every write answers its `position` in the log; a read with `wait_for` that position sees it."""

_TAGS = {
    "Notifications": "Send, look, cancel, send once more.",
    "Templates": "What is said: the house's templates, and your own in versions. To write needs the scope templates.",
    "Readers": "What readers wish, and addresses that nothing is sent to. To change it needs the scope readers.",
    "Limits": "How much you let go out, and how often the same. To choose it needs the scope admin.",
    "Webhooks": "Say what happened, and everybody who subscribed to it is told by a signed request. To say it needs "
    "the scope send, all else the scope webhooks.",
    "Event types": "What your events are called and look like, for those who receive them. To write needs the scope "
    "webhooks.",
    "Kafka": "What becomes of the events that other services of yours tell by Kafka, and those that became nothing. To "
    "write, and for those, needs the scope admin.",
    "Publishing": "What other systems hear of your notifications, over Kafka. To change it needs the scope admin.",
    "Service to service": "The commands themselves, for other services of yours. Needs a key with the scope internal.",
    "Provider callbacks": "Called by the providers, who sign what they say. They need no API key.",
    "Operations": "For those who run the service. They need no API key.",
}

_PARAMETERS = {
    "Idempotency-Key": "The same key and body again get the first answer and send nothing; another body is refused.",
    "wait_for": "Answer once the read models have come to this position of the log; after 5 s, 503.",
    "cursor": "The `next_cursor` of the page before.",
    "limit": "How many at most.",
    "from": "Created at this moment or later.",
    "to": "Created before this moment.",
    "type": "The type of notification, such as `welcome`.",
    "recipient": "The address it went to, written as it was sent.",
    "recipient_user_id": "Your own id of the recipient.",
    "id": "The id of a notification.",
    "webhook_id": "The id of a subscription.",
    "after": "The `next` of the answer before; 0 is the beginning.",
    "status": "Only those of this status.",
    "name": "Its name, such as `welcome` or, of your own templates, `spring-sale`; of events such as `order.created`.",
    "locale": "The language of the texts, such as `de` or `pt-BR`.",
    "version": "The number of a version.",
    "as_of": "As things were at this moment; default: now.",
    "user_id": "Your own id of the user.",
    "address": "An address of the channel.",
    "channel": "By which way it goes or went.",
    "ground": "Why an address is on the list.",
    "reason": "Only those that were set aside for this reason.",
    "topic": "Only those of this topic.",
    "base": "The version to start from; default: the newest.",
}

_SAID = {
    400: ("malformed", "The body is not JSON in UTF-8, is nested too deeply or holds a NUL character"),
    401: ("unauthenticated", "There is no API key, or it is not good"),
    403: ("forbidden", "The API key has not the scope for this"),
    404: ("not_found", "There is no such thing, or it is not yours"),
    408: ("body_timeout", "The body was not here within 10 s"),
    409: ("conflict", "It does not go with what is there: a used idempotency key, a state that does not allow it"),
    413: ("too_large", "The body is larger than 1 MiB"),
    415: ("unsupported_media_type", "The body is not application/json, or it is compressed"),
    422: ("invalid", "The request cannot be accepted as it is; `errors` names every bad field"),
    429: ("too_many_failures", "Too many requests with a wrong API key; wait as long as Retry-After says"),
    503: ("store_unavailable", "Not now; wait as long as Retry-After says"),
}
_GOOD = {"200": "Done", "201": "Stored for good", "202": "Stored for good; it will be seen to"}
_WAITING = frozenset({429, 503})


class _Document(OpenAPI):
    def __init__(self, made: OpenAPI, finish: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__(**{field.name: getattr(made, field.name) for field in fields(made)})
        self._finish = finish

    def to_schema(self) -> dict[str, Any]:
        return self._finish(super().to_schema())


class _Config(OpenAPIConfig):
    finish: Callable[[dict[str, Any]], dict[str, Any]]

    def to_openapi_schema(self) -> OpenAPI:
        return _Document(super().to_openapi_schema(), self.finish)


class Description(OpenAPISchemaPlugin, ReceiveRoutePlugin):
    """Describes structs exactly as msgspec checks them, each operation with the problems it can answer, and bodies
    with examples made from the notification types, which are therefore always good."""

    def __init__(self, types: Iterable[NotificationType], public_url: str | None = None) -> None:
        self._servers = [Server(url=public_url or "/")]
        self._examples = _examples(list(types))
        self._structs: set[type] = {ProblemDetails}
        self._with_key: set[str] = set()

    def config(self) -> OpenAPIConfig:
        config = _Config(
            title="Carillon",
            version="1",
            description=_TEXT,
            servers=self._servers,
            security=[{"ApiKey": []}],
            components=Components(security_schemes={"ApiKey": SecurityScheme(type="http", scheme="bearer")}),
            tags=[Tag(name, description) for name, description in _TAGS.items()],
            use_handler_docstrings=True,
            openapi_router=Router("/openapi", route_handlers=[], include_in_schema=False, opt={"open": True}),
            render_plugins=[JsonRenderPlugin(), YamlRenderPlugin()],
        )
        config.finish = self._finished
        return config

    def receive_route(self, route: BaseRoute) -> None:
        handlers = route.route_handlers if isinstance(route, HTTPRoute) else []
        self._with_key |= {str(h.operation_id) for h in handlers if needs_key(h)}

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, msgspec.Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Reference:  # type: ignore[override]
        """A reference only: what it refers to is made when the whole is finished, with what it contains."""
        self._structs.add(field_definition.annotation)
        registry = schema_creator.schema_registry
        registry.get_schema_for_field_definition(field_definition)
        reference: Reference = registry.get_reference_for_field_definition(field_definition)
        return reference

    def _finished(self, schema: dict[str, Any]) -> dict[str, Any]:
        components = schema["components"]
        _, structs = msgspec.json.schema_components(self._structs, ref_template="#/components/schemas/{name}")
        components["schemas"] |= {name: _tidy(struct) for name, struct in structs.items()}
        components["responses"] = {f"Problem{status}": _problem(status) for status in _SAID}
        schema["paths"] = dict(sorted(schema["paths"].items(), key=lambda item: (item[0].count("/"), item[0])))
        for item in schema["paths"].values():
            for operation in item.values():
                self._finish(operation)
        return schema

    def _finish(self, operation: dict[str, Any]) -> None:
        id, with_key = operation["operationId"], operation["operationId"] in self._with_key
        for parameter in operation.get("parameters", []):
            _finish_parameter(parameter)
            named = {"Event types": webhook_path_example, "Kafka": inbound_path_example}.get(
                operation["tags"][0], path_example
            )
            if parameter["in"] == "path" and (example := named(id, parameter["name"])):
                parameter["example"] = example
            if parameter["name"] == "user_id":
                parameter["example"] = USER
        if not with_key:
            operation["security"] = []
        if body := operation.get("requestBody"):
            body["content"]["application/json"]["examples"] = self._examples.get(id, {})
            body["required"] = id != "RotateWebhookSecret"
        operation["responses"].pop("400", None)  # Litestar's own idea of it
        for status, response in operation["responses"].items():
            response["description"] = _GOOD.get(status, response["description"])
            for content in response.get("content", {}).values():
                if "oneOf" in content["schema"]:  # an answer may look like two of them
                    content["schema"] = {"anyOf": content["schema"]["oneOf"]}
        if id == "ProveNotification":
            operation["responses"]["200"]["content"]["application/json"]["example"] = PROOF
        if id == "ImportSuppressions":
            csv = {"schema": {"type": "string"}, "example": CSV}
            operation["requestBody"] = {"required": True, "content": {"text/csv": csv}}
        for status in _problems(operation, with_key):
            operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
        operation["responses"] = dict(sorted(operation["responses"].items()))


def _problems(operation: Mapping[str, Any], with_key: bool) -> Iterator[int]:
    """Which problems an operation can answer follows from what it takes."""
    parameters = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", [])}
    if operation["operationId"] != "Live":
        yield 503
    if with_key:
        yield from (401, 403, 422, 429)
    if "requestBody" in operation:
        yield from (400, 408, 413, 415)
    if "requestBody" in operation or not {"query", "header"}.isdisjoint(parameters.values()):
        yield 422
    if "path" in parameters.values():
        yield 404
    if "Idempotency-Key" in parameters:
        yield 409
    yield from _MORE_PROBLEMS.get(operation["operationId"], ())


_MORE_PROBLEMS: Mapping[str, tuple[int, ...]] = {
    "RetryNotification": (409,),
    "CreateTemplate": (409,),
    "AddTemplateVersion": (409,),
    "LocalizeTemplate": (409,),
    "ActivateTemplate": (409,),
    "RollBackTemplate": (409,),
    "TestTemplate": (409,),
    "SendWebhook": (409,),
    "UpdateWebhook": (409,),
    "DeleteWebhook": (409,),
    "RotateWebhookSecret": (409,),
    "PauseWebhook": (409,),
    "ResumeWebhook": (409,),
    "DescribeEventType": (409,),
    "RemoveEventType": (409,),
    "WriteMapping": (409,),
    "RemoveMapping": (409,),
    "DiscardParked": (409,),
    "ReplayParked": (404,),
    "InternalSend": (404,),
    "UpdatePreferences": (409,),
    "ChangePreferences": (409,),
    "Unsubscribe": (409,),
    "Subscribe": (409,),
    "RemoveContact": (409,),
    "Suppress": (409,),
    "Allow": (409,),
    "ChooseRateLimits": (409,),
    "ChoosePublishing": (409,),
    "ImportSuppressions": (400, 408, 413),
    "ResendCallback": (400, 401, 404, 408, 413),
}


def _problem(status: int) -> dict[str, Any]:
    code, said = _SAID[status]
    example = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code}
    content = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "example": example}
    response: dict[str, Any] = {"description": said, "content": {"application/problem+json": content}}
    if status in _WAITING:
        wait = {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}
        response["headers"] = {"Retry-After": wait}
    return response


def _finish_parameter(parameter: dict[str, Any]) -> None:
    """A parameter that may be left out is not null: it is not there."""
    schema = parameter["schema"]
    given = [each for each in schema.get("oneOf", []) if each.get("type") != "null"]
    if len(given) == 1:
        parameter["schema"] = {key: value for key, value in schema.items() if key != "oneOf"} | given[0]
    if description := _PARAMETERS.get(parameter["name"]):
        parameter["description"] = description


def _tidy(struct: dict[str, Any]) -> dict[str, Any]:
    """What msgspec leaves out: that our enumerations are strings, and that what is named `_at` is a moment."""
    if "enum" in struct:
        return {**struct, "type": "string"}
    for name, field in struct.get("properties", {}).items():
        for each in (field, *field.get("anyOf", [])):
            if each.get("type") == "string" and (name == "at" or name.endswith("_at")):
                each.setdefault("format", "date-time")
    if struct["title"] in (SendNotification.__name__, SendWebhook.__name__):  # taken without their names
        struct["required"].remove("command")
    return struct


def _examples(types: Sequence[NotificationType]) -> dict[str, dict[str, Any]]:
    """By operation."""
    if not types:
        return {}
    return {
        "ChoosePublishing": {"with": {"summary": "With whom they go to.", "value": {"personal_data": True}}},
        **notification_examples(types),
        **template_examples(first_of(types)),
        **webhook_examples(),
        **inbound_examples(),
        **reader_examples(),
    }
