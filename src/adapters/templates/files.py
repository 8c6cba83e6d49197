"""Templates out of a folder, as they were when the process started."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from adapters.templates.bundle import encode, version
from adapters.templates.folder import TemplateFolder
from adapters.templates.locales import nearest
from domain.template import CurrentTemplate, NotificationType, TemplatePin, UnknownTemplateError
from domain.vocabulary import Channel


class FileTemplates:
    """Raises TemplateFolderError when the folder is not in order.

    `bundles` are to be put into the archive before anything is accepted. All tenants have the same templates.
    """

    def __init__(self, folder: Path, default_language: str = "en") -> None:
        self._default_language = default_language.replace("_", "-")
        self._types: dict[str, NotificationType] = {}
        self._versions: dict[tuple[str, Channel], dict[str, str]] = {}
        self._bundles: dict[str, bytes] = {}
        self._read(folder, default_language)
        self._find = lru_cache(maxsize=4096)(self._find_template)

    @property
    def bundles(self) -> Mapping[str, bytes]:
        """Every current bundle by its version."""
        return self._bundles

    def types(self) -> list[NotificationType]:
        return list(self._types.values())

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        """The pin's locale is the reader's, de-AT, as long as the text is in that language: dates follow the region."""
        return self._find(type, channel, locale)

    def _read(self, folder: Path, default_language: str) -> None:
        for type_, channel, bundle in TemplateFolder(folder, default_language).bundles():
            document = encode(bundle)
            self._types[type_.name] = type_
            self._versions.setdefault((type_.name, channel), {})[bundle.language.replace("_", "-")] = version(document)
            self._bundles[version(document)] = document

    def versions(self, type: str) -> Mapping[Channel, Mapping[str, str]]:
        """The current version in every language of every channel that this type has."""
        return {channel: versions for (name, channel), versions in self._versions.items() if name == type}

    def _find_template(self, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        versions = self._versions.get((type, channel))
        if versions is None:
            raise UnknownTemplateError(type, channel)
        language, written_by = nearest(locale, versions, self._default_language)
        return CurrentTemplate(TemplatePin(type, versions[language], written_by), channel, self._types[type])
