"""Templates: the house's to look at and try, the tenant's own to write."""

from typing import Annotated

from litestar import Controller, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from application.caller import Scope
from application.commands.send import SendAnswer
from application.commands.templates.change import ActivateTemplate, TemplateAnswer
from application.commands.templates.send_test import SendTemplateTest
from application.commands.templates.texts import AddTemplateVersion, ChannelTexts, CreateTemplate
from application.problems import NotFoundError
from application.queries.templates import Preview, PreviewTemplate, TemplateDetail, TemplatePage, TemplateSource
from entrypoints.http.authentication import demand
from entrypoints.http.lines import note_accepted
from entrypoints.http.notifications import Text, WaitFor, caught_up
from entrypoints.http.request import JsonRequest

Base = Annotated[int | None, QueryParameter(name="base", ge=1, required=False)]
Name = FromPath[str]


class TemplatesController(Controller):
    path = "/api/v1/templates"
    tags = ["Templates"]  # noqa: RUF012 - the form that Litestar asks for

    @get("/", operation_id="ListTemplates", summary="List, by name")
    async def page(
        self,
        request: JsonRequest,
        cursor: Text = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> TemplatePage:
        """Those of the house and your own. `variables` of each is the JSON Schema of what a send has to give."""
        demand(request.caller, Scope.READ)
        await caught_up(request.parts, wait_for)
        return await request.parts.template_uses.page(cursor or "", limit, request.caller)

    @post("/", status_code=201, operation_id="CreateTemplate", summary="Create one of your own")
    async def create(self, data: JSONBody[CreateTemplate], request: JsonRequest) -> TemplateAnswer:
        """Version 1 of it, in Jinja. Nothing is sent with it before a version is activated."""
        demand(request.caller, Scope.TEMPLATES)
        return await request.parts.template_uses.create(data, request.caller)

    @get("/{name:str}", operation_id="GetTemplate", summary="Detail with versions")
    async def one(
        self,
        name: Name,
        request: JsonRequest,
        cursor: Annotated[int | None, QueryParameter(ge=1, required=False)] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    ) -> TemplateDetail:
        """Versions are paged, newest first: `next_cursor` is the `cursor` of the page with older ones."""
        demand(request.caller, Scope.READ)
        return await request.parts.template_uses.detail(_storable(name), cursor, limit, request.caller)

    @post("/{name:str}/versions", status_code=201, operation_id="AddTemplateVersion", summary="Add a version")
    async def add_version(self, name: Name, data: JSONBody[AddTemplateVersion], request: JsonRequest) -> TemplateAnswer:
        """The versions before stay as they are, and the active one stays active."""
        demand(request.caller, Scope.TEMPLATES)
        return await request.parts.template_uses.add_version(data, _storable(name), request.caller)

    @get("/{name:str}/versions/{version:int}", operation_id="GetTemplateVersion", summary="One version as written")
    async def source(self, name: Name, version: FromPath[int], request: JsonRequest) -> TemplateSource:
        demand(request.caller, Scope.READ)
        return await request.parts.template_uses.source(_storable(name), version, request.caller)

    @put("/{name:str}/localizations/{locale:str}", operation_id="LocalizeTemplate", summary="Say it in a language")
    async def localize(
        self, name: Name, locale: FromPath[str], data: JSONBody[ChannelTexts], request: JsonRequest, base: Base = None
    ) -> TemplateAnswer:
        """A new version, like the newest or `base` but for the texts in this locale. The same again changes nothing."""
        demand(request.caller, Scope.TEMPLATES)
        return await request.parts.template_uses.localize(data, _storable(name), locale, base, request.caller)

    @post("/{name:str}/activate", status_code=200, operation_id="ActivateTemplate", summary="Activate a version")
    async def activate(self, name: Name, data: JSONBody[ActivateTemplate], request: JsonRequest) -> TemplateAnswer:
        """What is accepted from now on has its texts; what was accepted before keeps those it had."""
        demand(request.caller, Scope.TEMPLATES)
        return await request.parts.template_uses.activate(data, _storable(name), request.caller)

    @post("/{name:str}/rollback", status_code=200, operation_id="RollBackTemplate", summary="Back to the one before")
    async def roll_back(self, name: Name, request: JsonRequest) -> TemplateAnswer:
        """Activates the version that was active before the one that is."""
        demand(request.caller, Scope.TEMPLATES)
        return await request.parts.template_uses.roll_back(_storable(name), request.caller)

    @post("/{name:str}/preview", status_code=200, operation_id="PreviewTemplate", summary="Render, and send nothing")
    async def preview(self, name: Name, data: JSONBody[PreviewTemplate], request: JsonRequest) -> Preview:
        """With the variables given, or the examples."""
        demand(request.caller, Scope.READ)
        return await request.parts.template_uses.preview(data, _storable(name), request.caller)

    @post("/{name:str}/test", status_code=202, operation_id="TestTemplate", summary="Send it to yourself")
    async def test(self, name: Name, data: JSONBody[SendTemplateTest], request: JsonRequest) -> SendAnswer:
        """Goes to the address of the API key's owner, as any message goes; also a version that is not active."""
        demand(request.caller, Scope.SEND)
        return note_accepted(request, await request.parts.template_uses.test(data, _storable(name), request.caller))


def _storable(name: str) -> str:
    """What the database could not even be asked for is not there."""
    if "\0" in name or len(name) > 200:
        raise NotFoundError("there is no template of this name")
    return name
