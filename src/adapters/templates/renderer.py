"""Renders what a pin names: from memory while it is current, else from the archive."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from adapters.templates.bundle import Bundle, BundleArchive, decode, version
from adapters.templates.cell import Job
from adapters.templates.compiled import CompiledBundle, reader_of
from adapters.templates.sandbox import Sandbox
from application.ports.templates import TemplateAlteredError, TemplateMissingError
from domain.template import Content, RenderError, TemplatePin
from domain.vocabulary import Channel


class JinjaRenderer:
    """Keeps up to `cache_size` bundles compiled; those of `current` need no archive.

    What a tenant wrote is never run in this process: without a sandbox it is not rendered at all.
    """

    def __init__(
        self,
        archive: BundleArchive,
        current: Mapping[str, bytes],
        *,
        sandbox: Sandbox | None = None,
        cache_size: int = 512,
    ) -> None:
        self._archive = archive
        self._current = current
        self._sandbox = sandbox
        self._cache_size = cache_size
        self._compiled: OrderedDict[str, CompiledBundle | _Untrusted] = OrderedDict()

    async def render(
        self,
        type: str,
        channel: Channel,
        pin: TemplatePin,
        variables: Mapping[str, Any],
        *,
        at: datetime,
        time_zone: str | None,
    ) -> Content:
        bundle = self._compiled.get(pin.version) or await self._load(pin)
        self._compiled.move_to_end(pin.version)
        if isinstance(bundle, CompiledBundle):
            return bundle.render(variables, reader_of(pin.name, pin.locale, at, time_zone))
        if self._sandbox is None:
            raise RenderError(f"{pin.name}: a tenant's template is rendered in a sandbox, and there is none here")
        job = Job(pin.version, bundle.document, dict(variables), pin.locale, time_zone, at)
        return await self._sandbox.render(bundle.tenant, job)

    async def _load(self, pin: TemplatePin) -> "CompiledBundle | _Untrusted":
        document = self._current.get(pin.version) or await self._archive.get(pin.version)
        if document is None:
            raise TemplateMissingError(f"{pin.name}: no such version {pin.version}")
        if version(document) != pin.version:
            raise TemplateAlteredError(f"{pin.name}: what is stored as version {pin.version} is something else")
        decoded = _decoded(pin, document)
        bundle = CompiledBundle(decoded) if decoded.tenant is msgspec.UNSET else _Untrusted(decoded.tenant, document)
        self._compiled[pin.version] = bundle
        while len(self._compiled) > self._cache_size:
            self._compiled.popitem(last=False)
        return bundle


class _Untrusted(msgspec.Struct, frozen=True):
    """What a tenant wrote."""

    tenant: str
    document: bytes


def _decoded(pin: TemplatePin, document: bytes) -> Bundle:
    try:
        return decode(document)
    except msgspec.DecodeError as error:
        raise RenderError(f"{pin.name}: version {pin.version} cannot be read: {error}") from error
