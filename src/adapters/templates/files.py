"""Templates out of a folder, as they were when the process started."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from babel import Locale

from adapters.templates.bundle import encode, version
from adapters.templates.folder import TemplateFolder
from adapters.templates.reader import find_locale
from domain.template import NotificationType, Template, TemplatePin, UnknownTemplateError
from domain.vocabulary import Channel


class FileTemplates:
    """Raises TemplateFolderError when the folder is not in order.

    `bundles` are to be put into the archive before anything is accepted. All tenants have the same templates.
    """

    def __init__(self, folder: Path, default_language: str = "en") -> None:
        self._default_language = default_language
        self._types: dict[str, NotificationType] = {}
        self._versions: dict[tuple[str, Channel], dict[str, str]] = {}
        self._bundles: dict[str, bytes] = {}
        self._read(folder)
        self._find = lru_cache(maxsize=4096)(self._find_template)

    @property
    def bundles(self) -> Mapping[str, bytes]:
        """Every current bundle by its version."""
        return self._bundles

    def types(self) -> list[NotificationType]:
        return list(self._types.values())

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> Template:
        """The pin's locale is the reader's, de-AT, as long as the text is in that language: dates follow the region."""
        return self._find(type, channel, locale)

    def _read(self, folder: Path) -> None:
        for type_, channel, bundle in TemplateFolder(folder, self._default_language).bundles():
            document = encode(bundle)
            self._types[type_.name] = type_
            self._versions.setdefault((type_.name, channel), {})[bundle.language] = version(document)
            self._bundles[version(document)] = document

    def _find_template(self, type: str, channel: Channel, locale: str) -> Template:
        versions = self._versions.get((type, channel))
        if versions is None:
            raise UnknownTemplateError(type, channel)
        language = next((name for name in _from_near_to_far(locale) if name in versions), None)
        if language is None:
            language = locale = self._default_language
        pin = TemplatePin(type, versions[language], _tag(_known_locale(locale)))
        return Template(pin, channel, self._types[type])


def _from_near_to_far(locale: str) -> Iterator[str]:
    """de_AT, then de; zh_Hant_TW, then zh_Hant, then zh."""
    subtags = locale.replace("-", "_").split("_")
    for length in range(len(subtags), 0, -1):
        found = find_locale("_".join(subtags[:length]))
        if found is not None:
            yield str(found)


def _known_locale(locale: str) -> Locale:
    nearest = find_locale(next(_from_near_to_far(locale)))
    assert nearest is not None
    return nearest


def _tag(locale: Locale) -> str:
    return str(locale).replace("_", "-")
