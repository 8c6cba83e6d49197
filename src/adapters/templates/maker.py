"""Templates that tenants write, made into bundles."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from adapters.templates.bundle import Bundle, BundleArchive, decode, encode, version
from adapters.templates.cell import Job
from adapters.templates.environment import GIVEN
from adapters.templates.locales import locale_tag, nearest
from adapters.templates.sandbox import CostlyError, Purse, Sandbox
from application.ports.templates import InvalidTextsError, RendererUnavailableError, Sources
from application.problems import Problem
from domain.template import NotificationType, RenderError, examples
from domain.vocabulary import Channel

_FILES = {"subject": "subject.txt", "html": "html.html", "text": "text.txt", "link": "link.txt"}
_MOST_SECONDS = 5.0
"""Of computing time, which all texts of one command may take together to be tried out."""
_MOST_WALL_SECONDS = 30.0
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

    async def make(
        self, tenant: str, declared: NotificationType, texts: Mapping[str, Sources]
    ) -> dict[str, dict[Channel, str]]:
        documents = {
            (locale, channel): encode(_bundle(tenant, declared, locale, parts))
            for locale, sources in texts.items()
            for channel, parts in sources.items()
        }
        problems = [*_taken_names(declared), *await self._tried(tenant, declared, documents)]
        if problems:
            raise InvalidTextsError(problems)
        versions = {place: version(document) for place, document in documents.items()}
        await self._archive.put({versions[place]: document for place, document in documents.items()})
        return {
            locale: {channel: versions[locale, channel] for channel in sources} for locale, sources in texts.items()
        }

    async def sources(self, version: str) -> Mapping[str, str]:
        document = await self._archive.get(version)
        if document is None:
            return {}
        bundle = decode(document)
        return {part: bundle.sources[file] for part, file in bundle.parts.items()}

    async def _tried(
        self, tenant: str, declared: NotificationType, documents: Mapping[tuple[str, Channel], bytes]
    ) -> list[Problem]:
        """What is wrong with them; what takes too long is the last that is looked at."""
        purse, problems = Purse(_MOST_SECONDS), list[Problem]()
        try:
            async with asyncio.timeout(_MOST_WALL_SECONDS):
                for (locale, channel), document in documents.items():
                    path = f"texts.{locale}.{channel}"
                    try:
                        problems += await self._problems(tenant, declared, locale, path, document, purse)
                    except CostlyError as error:
                        return [*problems, Problem(path, str(error))]
                    if purse.left <= 0:
                        return [*problems, Problem("texts", f"take more than {_MOST_SECONDS:g} s to be tried out")]
        except TimeoutError:
            raise RendererUnavailableError("the sandbox had no time") from None
        return problems

    async def _problems(
        self, tenant: str, declared: NotificationType, locale: str, path: str, document: bytes, purse: Purse
    ) -> list[Problem]:
        faults = await self._sandbox.faults(tenant, document, declared.secrets, purse)
        if faults:
            return [Problem(".".join(filter(None, [path, fault.part])), fault.message) for fault in faults]
        for optional, how in ((True, "with the examples"), (False, "without the optional variables")):
            values = examples(declared, optional=optional)
            job = Job(version(document), document, values, locale, "UTC", _SOME_DAY)
            try:
                await self._sandbox.render(tenant, job, purse)
            except CostlyError as error:
                raise CostlyError(f"{how}: {error}") from None
            except RenderError as error:
                return [Problem(path, f"{how}: {error}")]
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
