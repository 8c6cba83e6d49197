"""The shipped templates, rendered; and copies of a few of them, as to read all of them takes a while."""

import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest

from adapters.memory.template_archive import MemoryTemplateArchive
from adapters.templates.files import FileTemplates
from adapters.templates.renderer import JinjaRenderer
from domain.template import Content, TemplatePin
from domain.vocabulary import Channel

FOLDER = Path(__file__).parents[1] / "templates"
LANGUAGES = ["de", "en", "es", "ru"]
FEW = ("interview_invitation", "password_reset", "welcome")
AT = datetime(2026, 3, 9, 9, tzinfo=UTC)

TEMPLATES = FileTemplates(FOLDER)
TYPES = {type_.name: type_ for type_ in TEMPLATES.types()}
RENDERER = JinjaRenderer(MemoryTemplateArchive(), TEMPLATES.bundles)

each_type = pytest.mark.parametrize("type_", TYPES.values(), ids=TYPES)


def pin(type: str, locale: str = "en") -> TemplatePin:
    return TEMPLATES.current("acme", type, Channel.EMAIL, locale).pin


async def render(
    pin: TemplatePin,
    variables: Mapping[str, Any],
    *,
    renderer: JinjaRenderer = RENDERER,
    at: datetime = AT,
    time_zone: str | None = "Europe/Berlin",
) -> Content:
    return await renderer.render(pin.name, Channel.EMAIL, pin, variables, at=at, time_zone=time_zone)


def parse(content: Content) -> Element:
    """The tree of a document that has no parse error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree: Element = parser.parse(content.html)
    return tree


def text_of(tree: Element, tag: str) -> str:
    return "".join(next(tree.iter(tag)).itertext())


def copy_few(folder: Path, types: Sequence[str] = FEW) -> Path:
    """The templates of these types in English and German, as they are shipped; the rest is left out."""
    kept = [*FOLDER.glob("*.toml"), *(file for name in types for file in (FOLDER / "emails" / name).iterdir())]
    kept += [file for shared in ("layouts", "partials") for file in (FOLDER / shared).iterdir()]
    kept += [FOLDER / f"types/{name}.toml" for name in types]
    for file in kept:
        copy = folder / file.relative_to(FOLDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    for language in ("de", "en"):
        copy_sentences(folder, language, types)
    return folder


def copy_sentences(folder: Path, language: str, types: Sequence[str] = FEW) -> None:
    """Those of these types, and the common ones."""
    head, *tables = re.split(r"^(?=\[)", (FOLDER / f"i18n/{language}.toml").read_text("utf-8"), flags=re.MULTILINE)
    named = {table[1 : table.index("]")]: table for table in tables}
    (folder / "i18n").mkdir(exist_ok=True)
    (folder / f"i18n/{language}.toml").write_text(head + "".join(named[name] for name in ("common", *types)), "utf-8")
