"""The templates folder, read and checked as a whole.

* `types/<type>.toml`: what a notification type is, and which variables it takes
* `branding.toml`: the variables that every type takes: logo, colour, address
* `i18n/<language>.toml`: the sentences
* `layouts/`, `partials/`: what templates share; `layouts/base.css` is inlined into all HTML
* `emails/<type>/{subject.txt,html.html,text.txt}`, and the same by channel under `sms/`, `push/`, `in_app/`
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from adapters.templates.bundle import Bundle
from adapters.templates.catalogue import COMMON, Catalogue, needed, read_catalogue
from adapters.templates.compiled import CompiledBundle
from adapters.templates.environment import GIVEN, make_environment
from adapters.templates.inlining import inline
from adapters.templates.problems import TemplateFolderError
from adapters.templates.reader import Reader, find_locale
from adapters.templates.sources import Call, Inspected, inspect
from adapters.templates.types import read_types
from domain.template import NotificationType, RenderError, examples
from domain.vocabulary import Channel

# The parts that a channel cannot do without. Any of subject, html, text and link may stand beside them.
_NEEDED = {
    Channel.EMAIL: ("subject.txt", "html.html", "text.txt"),
    Channel.SMS: ("text.txt",),
    Channel.PUSH: ("subject.txt", "text.txt"),
    Channel.IN_APP: ("subject.txt", "text.txt"),
}
_FOLDERS = {channel: "emails" if channel is Channel.EMAIL else channel.value for channel in _NEEDED}
_PARTS = frozenset({"subject", "html", "text", "link"})
_STYLE_SHEET = "layouts/base.css"


class TemplateFolder:
    """Raises TemplateFolderError, with file and reason, for the first thing that is wrong."""

    def __init__(self, path: Path, default_language: str) -> None:
        self.path = path
        self.types = {type_.name: type_ for type_ in read_types(path)}
        self.catalogues = {file.stem: read_catalogue(file) for file in sorted((path / "i18n").glob("*.toml"))}
        self._sources: dict[str, str] = {}
        self._inspected: dict[str, Inspected] = {}
        self._environment = make_environment(self._sources)
        self._check_catalogues(default_language)
        self._check_folders()

    def bundles(self) -> Iterator[tuple[NotificationType, Channel, Bundle]]:
        """Every type in every channel and language that there is."""
        for type_ in self.types.values():
            channels = [channel for channel in _NEEDED if self._home(channel, type_.name).is_dir()]
            if not channels:
                raise TemplateFolderError(self.path / f"types/{type_.name}.toml", "has no template in any channel")
            self._check_all_said(type_, channels)
            for channel in channels:
                for bundle in self._bundles(type_, channel):
                    yield type_, channel, bundle

    def _bundles(self, type_: NotificationType, channel: Channel) -> Iterator[Bundle]:
        parts = self._parts(type_.name, channel)
        files = {file for part in parts.values() for file in self._closure(part)}
        sources = {file: self._sources[file] for file in sorted(files)}
        self._check_sources(type_, parts, [self._source(file) for file in sources])
        for language, catalogue in self.catalogues.items():
            bundle = Bundle(
                name=type_.name,
                language=language,
                variables=sorted(type_.variables),
                parts=parts,
                sources=sources,
                sentences=catalogue.sentences(type_.name),
            )
            _try_out(type_, CompiledBundle(bundle, self._environment))
            yield bundle

    def _home(self, channel: Channel, type: str) -> Path:
        return self.path / _FOLDERS[channel] / type

    def _parts(self, type: str, channel: Channel) -> dict[str, str]:
        home = self._home(channel, type)
        for name in _NEEDED[channel]:
            if not (home / name).is_file():
                raise TemplateFolderError(home / name, "is missing")
        files = sorted(home.iterdir())
        for file in files:
            if file.stem not in _PARTS:
                raise TemplateFolderError(file, f"is none of the parts {', '.join(sorted(_PARTS))}")
        return {file.stem: file.relative_to(self.path).as_posix() for file in files}

    def _source(self, name: str) -> Inspected:
        if name not in self._inspected:
            text = self._read(name)
            self._sources[name] = inline(name, text, self._style_sheet) if name.endswith(".html") else text
            self._inspected[name] = inspect(name, self._sources[name], self._environment)
        return self._inspected[name]

    def _read(self, name: str) -> str:
        file = self.path / name
        try:
            return file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateFolderError(file, f"cannot be read: {error}") from error

    @cached_property
    def _style_sheet(self) -> str:
        return self._read(_STYLE_SHEET)

    def _closure(self, name: str) -> list[str]:
        """The file and all that it extends, includes and imports."""
        found = [name]
        for file in found:
            found += [other for other in sorted(self._source(file).references) if other not in found]
        return found

    # Checks

    def _check_catalogues(self, default_language: str) -> None:
        default = self.catalogues.get(default_language)
        if default is None:
            raise TemplateFolderError(self.path / f"i18n/{default_language}.toml", "is missing")
        for catalogue in self.catalogues.values():
            catalogue.check_against(default)
            if strangers := sorted(catalogue.tables.keys() - self.types.keys() - {COMMON}):
                raise TemplateFolderError(catalogue.file, f"{strangers[0]} is not a notification type")

    def _check_folders(self) -> None:
        for channel in _NEEDED:
            for home in sorted((self.path / _FOLDERS[channel]).glob("*")):
                if home.name not in self.types:
                    raise TemplateFolderError(home, f"there is no types/{home.name}.toml")

    def _check_sources(self, type_: NotificationType, parts: dict[str, str], sources: list[Inspected]) -> None:
        known = type_.variables.keys() | GIVEN | {name for source in sources for name in source.sets}
        for source in sources:
            if strangers := sorted(source.reads - known):
                raise TemplateFolderError(source.file, f"{strangers[0]} is not a variable of {type_.name}")
            for call in source.calls:
                for catalogue in self.catalogues.values():
                    _check_call(type_, source, call, catalogue)
        if "subject" in parts:
            self._check_subject(type_, parts["subject"])

    def _check_subject(self, type_: NotificationType, part: str) -> None:
        """A subject is shown in lists, in notifications and by the API."""
        for file in self._closure(part):
            if shown := sorted(self._source(file).reads & type_.secrets):
                raise TemplateFolderError(file, f"{shown[0]} is secret and must not stand in a subject")

    def _check_all_said(self, type_: NotificationType, channels: list[Channel]) -> None:
        files = {
            file
            for channel in channels
            for part in self._parts(type_.name, channel).values()
            for file in self._closure(part)
        }
        said = {call.key for file in files for call in self._source(file).calls}
        for catalogue in self.catalogues.values():
            if silent := sorted(catalogue.tables.get(type_.name, {}).keys() - said):
                raise TemplateFolderError(catalogue.file, f"{type_.name}.{silent[0]} is used by no template")


def _check_call(type_: NotificationType, source: Inspected, call: Call, catalogue: Catalogue) -> None:
    sentence = catalogue.sentences(type_.name).get(call.key)
    if sentence is None:
        raise TemplateFolderError(catalogue.file, f"has no sentence {type_.name}.{call.key} for {source.file}")
    if missing := sorted(needed(sentence) - call.given):
        raise TemplateFolderError(source.file, f"line {call.line}: {call.key} is given no {missing[0]}")


def _try_out(type_: NotificationType, compiled: CompiledBundle) -> None:
    locale = find_locale(compiled.language)
    assert locale is not None, "catalogues are named after locales"
    for optional in (True, False):
        try:
            compiled.render_unfolded(examples(type_, optional=optional), Reader(locale, UTC, _SOME_DAY))
        except RenderError as error:
            with_or_without = "with" if optional else "without"
            reason = f"in {compiled.language}, {with_or_without} the optional variables: {error}"
            raise TemplateFolderError(f"{type_.name}", reason) from error


_SOME_DAY = datetime(2026, 1, 31, 9, tzinfo=UTC)
