"""The active versions of the templates that tenants own."""

from collections import OrderedDict
from collections.abc import Callable, Collection

import msgspec

from application.caller import Caller
from application.ports.log import EventStore
from application.ports.templates import CurrentTexts
from application.problems import NotFoundError
from domain.ids import template_id
from domain.own_template import Template, Version, is_own_name
from domain.template import CurrentTemplate, TemplatePin, UnknownTemplateError
from domain.vocabulary import Channel

Nearest = Callable[[str, Collection[str], str], tuple[str, str]]


class InactiveTemplateError(UnknownTemplateError):
    """The tenant has the template, and none of its versions is active."""

    def __init__(self, name: str, channel: str) -> None:
        super().__init__(name, channel)
        self.args = (f"no version of the template {name!r} is active",)


class VersionTexts:
    """The texts of one version, in the nearest language to the reader's that there is."""

    def __init__(self, version: Version, nearest: Nearest) -> None:
        self._version = version
        self._nearest = nearest

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        languages = self._version.languages(channel)
        if not languages:
            raise UnknownTemplateError(type, channel)
        language, written_by = self._nearest(locale, languages, self._version.default_locale)
        return CurrentTemplate(TemplatePin(type, languages[language], written_by), channel, self._version.declared)


class _NoTexts:
    def __init__(self, template: Template | None) -> None:
        self._template = template

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        raise InactiveTemplateError(type, channel) if self._template else UnknownTemplateError(type, channel)


class _Known(msgspec.Struct, frozen=True):
    length: int
    texts: CurrentTexts


class OwnTemplates:
    """What was read of a template is used for as long as its stream has not grown: that is asked each time, so that

    a version counts everywhere from the moment that its activation was answered.
    """

    def __init__(self, events: EventStore, nearest: Nearest, *, most: int = 4096) -> None:
        self._events = events
        self._nearest = nearest
        self._most = most
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def active(self, tenant: str, name: str) -> CurrentTexts:
        """What the tenant's template of this name says now; without one, `current` raises UnknownTemplateError."""
        id = template_id(tenant, name)
        length = await self._events.length(id)
        known = self._known.get((tenant, name))
        if known is None or known.length != length:
            template = await self._events.get(Template, id) if length else None
            texts = VersionTexts(active, self._nearest) if template and (active := template.active) else None
            known = _Known(template.version if template else 0, texts or _NoTexts(template))
            self._remember(tenant, name, known)
        return known.texts

    def _remember(self, tenant: str, name: str, known: _Known) -> None:
        if known.length:  # of names that nobody has there is no end
            self._known[tenant, name] = known
            self._known.move_to_end((tenant, name))
        if len(self._known) > self._most:
            self._known.popitem(last=False)


async def own_template(name: str, caller: Caller, events: EventStore) -> Template:
    """Raises NotFoundError; there is nothing of others, and nothing of the house's, that could be changed."""
    template = await events.get(Template, template_id(caller.tenant, name)) if is_own_name(name) else None
    if template is None:
        raise NotFoundError(f"there is no template {name} of your own")
    return template


def version_of(template: Template, number: int | None) -> Version:
    """The one with this number; without one the active one, else the newest. Raises NoSuchVersionError."""
    return template.numbered(number) if number else template.active or template.newest
