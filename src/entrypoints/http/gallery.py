"""Every template of the house in every language, to look at: rendered with the examples, as a reader would get it."""

import msgspec
from litestar import Controller, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery

from domain.sms import SmsSize, sms_size
from domain.template import Content, NotificationType, examples
from domain.vocabulary import Channel
from entrypoints.http.loopback import only_loopback
from entrypoints.http.mailbox import MAIL_HEADERS
from entrypoints.http.page import page
from entrypoints.http.request import OPEN, JsonRequest
from entrypoints.parts import Parts


class Shown(msgspec.Struct, frozen=True):
    """One template by one channel in one language."""

    channel: Channel
    language: str
    content: Content
    size: SmsSize | None


class Entry(msgspec.Struct, frozen=True):
    type: NotificationType
    shown: list[Shown]


class GalleryController(Controller):
    path = "/mailbox/templates"
    guards = [only_loopback]  # noqa: RUF012 - the form that Litestar asks for
    include_in_schema = False
    opt = OPEN

    @get("/")
    async def all(self, request: JsonRequest, language: FromQuery[str | None] = None) -> Response[str]:
        """In all languages, or in one."""
        parts = request.parts
        languages = sorted({each for type_ in parts.templates.types() for _, each in _places(parts, type_)})
        chosen = language if language in languages else None
        entries = []
        for type_ in parts.templates.types():
            places = [(channel, each) for channel, each in _places(parts, type_) if chosen in (None, each)]
            entries.append(Entry(type_, [await _shown(parts, type_, *place) for place in places]))
        return page("gallery.html", entries=entries, languages=languages, language=chosen)

    @get("/{name:str}/{channel:str}/{language:str}/html")
    async def html(
        self, name: FromPath[str], channel: FromPath[str], language: FromPath[str], request: JsonRequest
    ) -> Response[str]:
        """Under the policy of captured mail: no script, nothing that could be sent."""
        type_ = next((each for each in request.parts.templates.types() if each.name == name), None)
        if type_ is None or (channel, language) not in _places(request.parts, type_):
            raise NotFoundException("there is no such template")
        shown = await _shown(request.parts, type_, Channel(channel), language)
        if shown.content.html is None:
            raise NotFoundException("it has no HTML")
        return Response(shown.content.html, media_type="text/html", headers=MAIL_HEADERS)


def _places(parts: Parts, type_: NotificationType) -> list[tuple[Channel, str]]:
    versions = parts.templates.versions(type_.name)
    return [(channel, language) for channel, languages in versions.items() for language in languages]


async def _shown(parts: Parts, type_: NotificationType, channel: Channel, language: str) -> Shown:
    pin = parts.templates.current("", type_.name, channel, language).pin
    content = await parts.renderer.render(
        type_.name, channel, pin, examples(type_), at=parts.clock.now(), time_zone=None
    )
    return Shown(channel, language, content, sms_size(content.text) if channel is Channel.SMS else None)
