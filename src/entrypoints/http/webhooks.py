"""Webhooks: who wants to be told of what, and how that goes."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from application.caller import Scope
from application.commands.replay_webhook import ReplayAnswer, ReplayWebhook
from application.commands.send_webhook import EventAnswer, SendWebhook
from application.commands.try_webhook import WebhookTest
from application.commands.webhooks import CreateWebhook, RotateSecret, UpdateWebhook, WebhookAnswer
from application.event_types import DescribeEventType, EventTypeAnswer, EventTypePage
from application.problems import NotFoundError
from application.queries.feed import Feed
from application.queries.webhook_deliveries import DeliveryPage
from application.queries.webhook_detail import WebhookDetail
from domain.vocabulary import Status
from entrypoints.http.authentication import demand
from entrypoints.http.notifications import Text, WaitFor, caught_up, cursor_at, place_of
from entrypoints.http.request import MAY_BE_EMPTY, JsonRequest

Id = FromPath[UUID]


class WebhookPage(msgspec.Struct, frozen=True):
    webhooks: list[WebhookDetail]
    next_cursor: str | None


class Removed(msgspec.Struct, frozen=True):
    """The position from which on it is not there any more."""

    position: int


class WebhooksController(Controller):
    path = "/api/v1/webhooks"
    tags = ["Webhooks"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="ListWebhooks", summary="List, newest first")
    async def page(
        self,
        request: JsonRequest,
        cursor: Text = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> WebhookPage:
        demand(request.caller, Scope.WEBHOOKS)
        before = place_of(cursor, request.caller) if cursor else None
        await caught_up(request.parts, wait_for)
        found = await request.parts.webhook_uses.page(before, limit + 1, request.caller)
        more = len(found) > limit
        return WebhookPage(found[:limit], cursor_at(found[limit - 1].id, request.caller) if more else None)

    @post("/", status_code=201, operation_id="CreateWebhook", summary="Subscribe")
    async def create(self, data: JSONBody[CreateWebhook], request: JsonRequest) -> WebhookAnswer:
        """The answer shows the `secret` to verify signatures with, this once; with a key pair there is none to be
        shown, but the `public_key`, always. From now on events are told to the url:
        those that were told of before can be replayed."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.create(data, request.caller)

    @get("/{webhook_id:uuid}", operation_id="GetWebhook", summary="Detail")
    async def one(self, webhook_id: Id, request: JsonRequest, wait_for: WaitFor = None) -> WebhookDetail:
        demand(request.caller, Scope.WEBHOOKS)
        await caught_up(request.parts, wait_for)
        return await request.parts.webhook_uses.detail(webhook_id, request.caller)

    @put("/{webhook_id:uuid}", operation_id="UpdateWebhook", summary="Change all that it says")
    async def update(self, webhook_id: Id, data: JSONBody[UpdateWebhook], request: JsonRequest) -> WebhookAnswer:
        """What is left out gets its default, but `headers`, which then stay as they were; `{}` means none. The secret
        stays, and whether it is paused."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.update(data, webhook_id, request.caller)

    @delete("/{webhook_id:uuid}", status_code=200, operation_id="DeleteWebhook", summary="Unsubscribe")
    async def remove(self, webhook_id: Id, request: JsonRequest) -> Removed:
        """What waits for it is not sent. Its url, headers and secrets, and what it answered, are erased for good."""
        demand(request.caller, Scope.WEBHOOKS)
        return Removed(await request.parts.webhook_uses.delete(webhook_id, request.caller))

    @post(
        "/{webhook_id:uuid}/rotate-secret",
        status_code=200,
        operation_id="RotateWebhookSecret",
        summary="A new secret",
        opt=MAY_BE_EMPTY,
    )
    async def rotate(self, webhook_id: Id, data: JSONBody[RotateSecret], request: JsonRequest) -> WebhookAnswer:
        """The answer shows it, this once, or the new `public_key`. Until the grace is over, requests are signed with
        both. No body is as good as `{}`."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.rotate_secret(data, webhook_id, request.caller)

    @post("/{webhook_id:uuid}/pause", status_code=200, operation_id="PauseWebhook", summary="Hold what happens")
    async def pause(self, webhook_id: Id, request: JsonRequest) -> WebhookAnswer:
        """From now on nothing is sent, and nothing is lost: it waits until the subscription is resumed."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.pause(webhook_id, request.caller)

    @post("/{webhook_id:uuid}/resume", status_code=200, operation_id="ResumeWebhook", summary="Send what was held")
    async def resume(self, webhook_id: Id, request: JsonRequest) -> WebhookAnswer:
        """Also for one that was disabled because its endpoint kept failing or was gone."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.resume(webhook_id, request.caller)

    @post("/{webhook_id:uuid}/test", status_code=200, operation_id="TestWebhook", summary="Try the endpoint out")
    async def test(self, webhook_id: Id, request: JsonRequest) -> WebhookTest:
        """Sends a signed `webhook.test` now, also while it is paused or disabled, and answers what came of it, within
        10 s. Each process of the service tries out an endpoint once at a time, and two of yours."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.test(webhook_id, request.caller)

    @post("/{webhook_id:uuid}/replay", status_code=200, operation_id="ReplayWebhook", summary="Send again")
    async def replay(self, webhook_id: Id, data: JSONBody[ReplayWebhook], request: JsonRequest) -> ReplayAnswer:
        """One event, what was given up since a moment, or everything told after a position; with `dry_run` it is only
        counted. What is still on its way is left out, and an event that the subscription is not for is refused. It goes
        at the subscription's own pace, under the same event ids, so that receivers know what they have."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.replay(data, webhook_id, request.caller)

    @get("/{webhook_id:uuid}/deliveries", operation_id="ListDeliveries", summary="What was sent, and what was answered")
    async def deliveries(
        self,
        webhook_id: Id,
        request: JsonRequest,
        status: FromQuery[Status | None] = None,
        cursor: Text = None,
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
        wait_for: WaitFor = None,
    ) -> DeliveryPage:
        """Newest first, each with every attempt. A page ends at 4 MiB, after one delivery at the least."""
        demand(request.caller, Scope.WEBHOOKS)
        before = place_of(cursor, request.caller) if cursor else None
        await caught_up(request.parts, wait_for)
        found, more = await request.parts.webhook_uses.deliveries(
            webhook_id, request.caller, status=status, before=before, limit=limit
        )
        return DeliveryPage(found, cursor_at(found[-1].id, request.caller) if more else None)

    @get("/{webhook_id:uuid}/feed", operation_id="ReadFeed", summary="Fetch instead of being told")
    async def feed(
        self,
        webhook_id: Id,
        request: JsonRequest,
        after: Annotated[int, QueryParameter(ge=0, le=2**63 - 1)] = 0,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> Feed:
        """For those who cannot be called: the events the subscription is for, oldest first, from the first one there
        ever was, whether or not it is paused. Pass `next` back as `after`. A page ends at 1 MiB of `data`, after one
        event at the least."""
        demand(request.caller, Scope.WEBHOOKS)
        await caught_up(request.parts, wait_for)
        return await request.parts.webhook_uses.feed(webhook_id, after, limit, request.caller)


class EventsController(Controller):
    path = "/api/v1/events"
    tags = ["Webhooks"]  # noqa: RUF012 - the form that Litestar asks for

    @post("/", status_code=202, operation_id="SendWebhook", summary="Say what happened")
    async def tell(self, data: JSONBody[SendWebhook], request: JsonRequest) -> EventAnswer:
        """Everybody who subscribed to it is told; `notifications` says who. Under an `id` of your own it happens once,
        for ever: the same again gets the first answer, something else is refused."""
        demand(request.caller, Scope.SEND)
        return await request.parts.webhook_uses.send(data, request.caller)


class EventTypesController(Controller):
    path = "/api/v1/event-types"
    tags = ["Event types"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="ListEventTypes", summary="List, by name")
    async def page(
        self,
        request: JsonRequest,
        cursor: Text = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> EventTypePage:
        demand(request.caller, Scope.READ)
        await caught_up(request.parts, wait_for)
        return await request.parts.webhook_uses.event_types.page(cursor or "", limit, request.caller)

    @get("/{name:str}", operation_id="GetEventType", summary="Detail")
    async def one(self, name: FromPath[str], request: JsonRequest) -> EventTypeAnswer:
        demand(request.caller, Scope.READ)
        return await request.parts.webhook_uses.event_types.one(_storable(name), request.caller)

    @put("/{name:str}", operation_id="DescribeEventType", summary="Describe one")
    async def describe(
        self, name: FromPath[str], data: JSONBody[DescribeEventType], request: JsonRequest
    ) -> EventTypeAnswer:
        """For those who receive it; where it is `checked`, an event whose `data` does not fit is refused."""
        demand(request.caller, Scope.WEBHOOKS)
        return await request.parts.webhook_uses.event_types.describe(name, data, request.caller)

    @delete("/{name:str}", status_code=200, operation_id="RemoveEventType", summary="Take it out of the catalogue")
    async def remove(self, name: FromPath[str], request: JsonRequest) -> Removed:
        """It can still be told of, and is not checked any more."""
        demand(request.caller, Scope.WEBHOOKS)
        return Removed(await request.parts.webhook_uses.event_types.remove(_storable(name), request.caller))


def _storable(name: str) -> str:
    """What the database could not even be asked for is not there."""
    if "\0" in name or len(name) > 200:
        raise NotFoundError("there is no event type of this name")
    return name
