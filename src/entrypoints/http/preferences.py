"""What readers wish, as their tenant's services ask and tell."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from application.caller import Scope
from application.commands.preferences import (
    ChangePreferences,
    PreferencesAnswer,
    Subscribe,
    SubscribeAnswer,
    Unsubscribe,
    UnsubscribeAnswer,
    UpdatePreferences,
)
from application.queries.preferences import UserPreferences
from entrypoints.http.authentication import demand
from entrypoints.http.request import JsonRequest

User = Annotated[str, QueryParameter(name="user_id", min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class PreferencesController(Controller):
    path = "/api/v1/preferences"
    tags = ["Readers"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="GetUserPreferences", summary="What a user wishes")
    async def one(self, user: User, request: JsonRequest) -> UserPreferences:
        """Of a user of whom nothing is known: that nothing is wished."""
        demand(request.caller, Scope.READ)
        return await request.parts.reader_uses.preferences(user, request.caller)

    @put("/", operation_id="UpdatePreferences", summary="Set all that a user wishes")
    async def update(self, user: User, data: JSONBody[UpdatePreferences], request: JsonRequest) -> PreferencesAnswer:
        """What is not said is not wished any more; the addresses stay."""
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.update(data, user, request.caller)

    @patch("/", operation_id="ChangePreferences", summary="Change some of it")
    async def change(self, user: User, data: JSONBody[ChangePreferences], request: JsonRequest) -> PreferencesAnswer:
        """What is said is changed, all else stays; null takes a wish back."""
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.change(data, user, request.caller)

    @post("/unsubscribe", status_code=200, operation_id="Unsubscribe", summary="Take a user or an address off")
    async def unsubscribe(self, data: JSONBody[Unsubscribe], request: JsonRequest) -> UnsubscribeAnswer:
        """Of one category, or of all that can be switched off. It holds from the answer on."""
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.unsubscribe(data, request.caller)

    @post("/subscriptions", status_code=201, operation_id="Subscribe", summary="Add an address of a user")
    async def subscribe(self, data: JSONBody[Subscribe], request: JsonRequest) -> SubscribeAnswer:
        """With the consent that it was given with. The one given last is written to where a send names the user."""
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.subscribe(data, request.caller)

    @delete(
        "/subscriptions/{id:uuid}", status_code=200, operation_id="RemoveContact", summary="Remove an address of a user"
    )
    async def remove(self, id: FromPath[UUID], user: User, request: JsonRequest) -> PreferencesAnswer:
        demand(request.caller, Scope.READERS)
        return await request.parts.reader_uses.remove_contact(id, user, request.caller)
