"""Templates that tenants write, made into bundles."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from adapters.templates.bundle import Bundle, BundleArchive, decode, encode, version
from adapters.templates.cell import Job
from adapters.templates.environment import GIVEN
from adapters.templates.locales import locale_tag, nearest
from adapters.templates.sandbox import Sandbox
from application.ports import InvalidTextsError, Sources
from application.problems import Problem
from domain.template import NotificationType, RenderError, examples
from domain.vocabulary import Channel

_FILES = {"subject": "subject.txt", "html": "html.html", "text": "text.txt", "link": "link.txt"}
_SOME_DAY = datetime(2026, 1, 31, 9, tzinfo=UTC)


class JinjaTemplateMaker:
    """Looks at nothing that a tenant wrote itself: that is the sandbox's part."""

    def __init__(self, archive: BundleArchive, sandbox: Sandbox) -> None:
        self._archive = archive
        self._sandbox = sandbox

    def locale(self, name: str) -> str | None:
        return locale_tag(name)

    def nearest(self, locale: str, languages: Collection[str], default: str) -> tuple[str, str]:
        return nearest(locale, languages, default)

    async def make(self, tenant: str, declared: NotificationType, locale: str, sources: Sources) -> dict[Channel, str]:
        documents = {
            channel: encode(_bundle(tenant, declared, locale, parts)) for channel, parts in sources.items() if parts
        }
        problems = list(_taken_names(declared))
        for channel, document in documents.items():
            problems += await self._problems(tenant, declared, locale, channel, document)
        if problems:
            raise InvalidTextsError(problems)
        made = {channel: version(document) for channel, document in documents.items()}
        await self._archive.put({made[channel]: document for channel, document in documents.items()})
        return made

    async def sources(self, version: str) -> Mapping[str, str]:
        document = await self._archive.get(version)
        if document is None:
            return {}
        bundle = decode(document)
        return {part: bundle.sources[file] for part, file in bundle.parts.items()}

    async def _problems(
        self, tenant: str, declared: NotificationType, locale: str, channel: Channel, document: bytes
    ) -> list[Problem]:
        faults = await self._sandbox.faults(tenant, document, declared.secrets)
        if faults:
            return [Problem(".".join(filter(None, [channel, fault.part])), fault.message) for fault in faults]
        for optional, how in ((True, "with the examples"), (False, "without the optional variables")):
            values = examples(declared, optional=optional)
            try:
                await self._sandbox.render(tenant, Job(version(document), document, values, locale, "UTC", _SOME_DAY))
            except RenderError as error:
                return [Problem(channel, f"{how}: {error}")]
        return []


def _bundle(tenant: str, declared: NotificationType, locale: str, parts: Mapping[str, str]) -> Bundle:
    return Bundle(
        name=declared.name,
        language=locale,
        variables=sorted(declared.variables),
        parts={part: _FILES[part] for part in parts},
        sources={_FILES[part]: source for part, source in parts.items()},
        sentences={},
        tenant=tenant,
    )


def _taken_names(declared: NotificationType) -> Iterator[Problem]:
    for name in sorted(GIVEN.intersection(declared.variables)):
        yield Problem(f"variables.{name}", "is a name that every template has already")
