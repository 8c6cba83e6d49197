"""What makes a text of a template: the nearest language, the reader's region, values that stay in their places."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from adapters.memory.template_archive import MemoryTemplateArchive
from adapters.templates.bundle import decode
from adapters.templates.compiled import CompiledBundle
from adapters.templates.files import FileTemplates
from adapters.templates.reader import Reader, find_locale
from adapters.templates.renderer import JinjaRenderer
from adapters.templates.types import examples
from adapters.templates.values import on_one_line
from domain.headers import check_header
from domain.template import (
    Content,
    InvalidVariablesError,
    NotificationType,
    RenderError,
    TemplatePin,
    UnknownTemplateError,
    Variable,
    VariableType,
    check_variables,
)
from domain.vocabulary import Channel
from tests.templates import AT, FEW, FOLDER, LANGUAGES, TEMPLATES, TYPES, copy_few, each_type, parse, pin, render


async def test_equal_arguments_make_equal_bytes_in_every_process(folder: Path) -> None:
    type_ = TYPES["interview_invitation"]
    other = JinjaRenderer(MemoryTemplateArchive(), FileTemplates(folder).bundles)
    first = await render(pin(type_.name), examples(type_))
    assert first == await render(pin(type_.name), examples(type_))
    assert first == await render(pin(type_.name), examples(type_), renderer=other)


# Language, region and time zone


@pytest.mark.parametrize(
    ("asked", "language", "kept"),
    [
        ("de", "de", "de"),
        ("de-AT", "de", "de-AT"),
        ("de_at", "de", "de-AT"),
        ("de-Latn-CH", "de", "de-CH"),
        ("de-AT-u-co-phonebk", "de", "de-AT"),
        ("de-XX", "de", "de"),
        ("en-GB", "en", "en-GB"),
        ("fr-FR", "en", "en"),
        ("x", "en", "en"),
        ("", "en", "en"),
        ("../../etc", "en", "en"),
    ],
)
async def test_the_nearest_language_is_taken_and_the_region_kept(asked: str, language: str, kept: str) -> None:
    found = pin("password_reset", asked)
    assert found.locale == kept
    assert found.version == pin("password_reset", language).version
    content = await render(found, examples(TYPES["password_reset"]))
    assert content.subject == (await render(pin("password_reset", language), examples(TYPES["password_reset"]))).subject


async def test_the_default_language_can_be_another(folder: Path) -> None:
    german = FileTemplates(folder, default_language="de")
    found = german.current("acme", "welcome", Channel.EMAIL, "fr").pin
    assert found == TemplatePin("welcome", pin("welcome", "de").version, "de")


@pytest.mark.parametrize(
    ("locale", "time_zone", "said"),
    [
        ("en", "America/New_York", "Friday, March 13, 2026 at 12:00\u202fPM (EDT)"),
        ("en-GB", "Europe/Berlin", "Friday, 13 March 2026 at 17:00 (CET)"),
        ("en-GB", "Asia/Kolkata", "Friday, 13 March 2026 at 21:30 (UTC+5:30)"),
        ("en-GB", "Pacific/Auckland", "Saturday, 14 March 2026 at 05:00 (UTC+13)"),
        ("en-GB", None, "Friday, 13 March 2026 at 16:00 (UTC)"),
        ("de", "Europe/Berlin", "Freitag, 13. März 2026 um 17:00 Uhr (MEZ)"),
        ("de-AT", "America/Sao_Paulo", "Freitag, 13. März 2026 um 13:00 Uhr (UTC-3)"),
    ],
)
async def test_a_moment_is_told_in_the_readers_zone_and_region(locale: str, time_zone: str | None, said: str) -> None:
    type_ = TYPES["interview_invitation"]
    content = await render(pin(type_.name, locale), examples(type_), time_zone=time_zone)
    assert said in content.text
    assert said in (content.html or "")


@pytest.mark.parametrize(
    ("locale", "count", "minutes", "said"),
    [
        ("en", 1, 1, "1 question, 1 minute"),
        ("en", 6, 45, "6 questions, 45 minutes"),
        ("en", 0, 60, "0 questions, 1 hour"),
        ("en", 1200, 120, "1,200 questions, 2 hours"),
        ("de", 1, 90, "1 Frage, 90 Minuten"),
        ("de", 1200, 2880, "1.200 Fragen, 2 Tage"),
        ("de-CH", 12000, 1440, "12’000 Fragen, 1 Tag"),
    ],
)
async def test_numbers_and_lengths_follow_the_language(locale: str, count: int, minutes: int, said: str) -> None:
    type_ = TYPES["interview_invitation"]
    variables = examples(type_) | {"question_count": count, "total_time_limit": minutes}
    assert f": {said}\n" in (await render(pin(type_.name, locale), variables)).text


# What senders may put into variables

MARK = "qzx"
NASTY = [
    f"<script>{MARK}</script>",
    f'"><img src=x onerror={MARK}>',
    f"' onmouseover='{MARK}",
    f"</style></title></p><a href='javascript:{MARK}'>",
    f"<!--{MARK}",
    f"{{{{ 7 * 7 }}}} {{% for a in b %}} {MARK} {{name}} {{0}} %s %(name)s",
    f"a\r\nBcc: {MARK}@example.org",
    f"a\u2028b\u2029c\x85d\x00{MARK}",
    f"\u202e{MARK}\u2066",
    f"=?utf-8?q?a=0d=0aBcc:_{MARK}?=",
    f"javascript:{MARK}",
    f"data:text/html,<b>{MARK}</b>",
    f"http://example.org/{MARK}'a&b=<c>",
    f"https://example.org/?a=1&b=2;c='{MARK}'&lt;",
    f"#fff;background:url(//{MARK})",
    MARK * 200,
    f"{MARK} " * 60,
    "\ud800",
    "",
]
hostile_text = st.sampled_from(NASTY) | st.text(max_size=60) | st.text("<>&\"'=:/{}%# \r\n\u2028\u202e;aj", max_size=40)
hostile: dict[VariableType, st.SearchStrategy[Any]] = {
    VariableType.URL: hostile_text | hostile_text.map("https://example.org/{}".format),
    VariableType.EMAIL: hostile_text | hostile_text.map("{}@example.org".format),
    VariableType.INTEGER: st.integers(),
    VariableType.NUMBER: st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    VariableType.BOOLEAN: st.booleans(),
    VariableType.DATE: st.dates().map(str) | hostile_text,
    VariableType.DATETIME: st.datetimes(timezones=st.timezones()).map(datetime.isoformat) | hostile_text,
    VariableType.CURRENCY: st.text("ABCEGPUSDRJYXZ", min_size=3, max_size=3) | hostile_text,
}


def hostile_value(variable: Variable) -> st.SearchStrategy[Any]:
    if variable.type is VariableType.LIST:
        fields = {name: hostile_value(field) for name, field in variable.fields.items()}
        return st.lists(st.fixed_dictionaries(fields), max_size=3)
    return hostile.get(variable.type, hostile_text)


@st.composite
def hostile_variables(draw: st.DrawFn, type_: NotificationType) -> dict[str, Any]:
    """Hostile values as far as they are accepted; the examples take the place of what is refused."""
    variables = examples(type_)
    for name, variable in type_.variables.items():
        value = draw(hostile_value(variable))
        try:
            check_variables(type_, variables | {name: value})
        except InvalidVariablesError:
            continue
        variables[name] = value
    return variables


@each_type
@settings(max_examples=6)  # of each type, with as many values as it has variables
@given(data=st.data(), locale=st.sampled_from(LANGUAGES))
async def test_no_value_leaves_its_place(type_: NotificationType, data: st.DataObject, locale: str) -> None:
    variables = data.draw(hostile_variables(type_))
    content = await rendered_or_refused(pin(type_.name, locale), variables)
    if content is None:
        return
    marked, values = marks_for(type_, variables)
    page = (await render(pin(type_.name, locale), marked)).html or ""
    assert content.html == re.sub("mark[0-9]+end", lambda mark: str(escape(values[mark[0]])), page)
    assert content == unfolded(pin(type_.name, locale), variables)
    assert content.subject is not None
    check_header(content.subject)
    assert [line for line in content.text.split("\n") if len(line) > 78 and " " in line.strip()] == []
    assert len(content.text.splitlines()) == content.text.count("\n")
    assert all(str(variables[name]) not in content.subject for name in type_.secrets)


async def rendered_or_refused(pin: TemplatePin, variables: Mapping[str, Any]) -> Content | None:
    """None where a subject cannot be sent, or a number is too long to be written."""
    try:
        return await render(pin, variables)
    except RenderError as error:
        refused = str(error)
    assert re.fullmatch(
        r"\S+/subject\.txt: (contains .*|is empty)|\S+ line \d+: (ValueError|InvalidOperation|OverflowError)", refused
    )
    assert MARK not in refused
    return None


def marks_for(type_: NotificationType, variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The same variables with a mark for each text in them, and for each mark what it stands for."""
    values: dict[str, str] = {}
    marked = {name: _marked(type_.variables[name], value, values) for name, value in variables.items()}
    return marked, values


def _marked(variable: Variable, value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [{name: _marked(field, item[name], values) for name, field in variable.fields.items()} for item in value]
    if variable.type not in (VariableType.STRING, VariableType.EMAIL, VariableType.URL) or not on_one_line(value):
        return value
    mark = f"mark{len(values)}end"
    scheme = value[: value.index("//") + 2] if variable.type is VariableType.URL else ""
    values[mark] = on_one_line(value).removeprefix(scheme)
    return scheme + mark


def unfolded(pin: TemplatePin, variables: Mapping[str, Any]) -> Content:
    """What the files say without being folded."""
    locale = find_locale(pin.locale)
    assert locale is not None
    bundle = UNFOLDED.get(pin.version) or CompiledBundle(decode(TEMPLATES.bundles[pin.version]))
    UNFOLDED[pin.version] = bundle
    return bundle.render_unfolded(variables, Reader(locale, ZoneInfo("Europe/Berlin"), AT))


UNFOLDED: dict[str, CompiledBundle] = {}


@each_type
async def test_values_stand_in_texts_and_in_quoted_attributes_alone(type_: NotificationType) -> None:
    marked, values = marks_for(type_, examples(type_))
    tree = parse(await render(pin(type_.name), marked))
    places = {(name, value) for element in tree.iter() for name, value in element.items() if "mark" in value}
    assert {name for name, _ in places} <= {"href", "src", "alt"}
    assert all(re.match("https?://mark", value) for name, value in places if name != "alt")
    assert not any("mark" in (element.text or "") for name in ("style", "script") for element in tree.iter(name))
    assert values


async def test_a_name_cannot_start_a_paragraph_of_its_own() -> None:
    variables = examples(TYPES["welcome"]) | {"user_name": "Anna\r\n\r\nYou won! \u2028Call now"}
    content = await render(pin("welcome"), variables)
    assert content.text.startswith("Welcome, Anna You won! Call now\n")
    assert content.subject == "Welcome to Tallyho, Anna You won! Call now"


@pytest.mark.parametrize("name", ["=?utf-8?q?=0d=0aBcc:_a@example.org?=", "=?UTF-8?B?QQ0K?="])
async def test_a_subject_that_would_decode_to_something_else_is_refused(name: str) -> None:
    with pytest.raises(RenderError, match=r"emails/welcome/subject\.txt: contains an encoded word"):
        await render(pin("welcome"), examples(TYPES["welcome"]) | {"user_name": name})


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "JaVaScRiPt:a()", "data:text/html,x", "ftp://x.org", "//x.org"]
)
async def test_a_link_that_is_not_http_is_refused_even_if_it_was_accepted(link: str) -> None:
    with pytest.raises(RenderError, match=r"partials/button\.html line \d+: a link is not an http or https address"):
        await render(pin("welcome"), examples(TYPES["welcome"]) | {"action_url": link})


# When rendering fails


async def test_a_failure_names_file_and_line_and_nothing_of_the_person() -> None:
    variables = examples(TYPES["interview_invitation"]) | {"candidate_name": ["Anna", "Berger"]}
    with pytest.raises(RenderError) as failed:
        await render(pin("interview_invitation"), variables)
    line = line_of("emails/interview_invitation/html.html", "candidate_name")
    assert str(failed.value) == f"emails/interview_invitation/html.html line {line}: TypeError"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def line_of(file: str, word: str) -> int:
    lines = (FOLDER / file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if word in line)


async def test_a_missing_variable_is_an_error_and_not_a_gap() -> None:
    variables = examples(TYPES["welcome"])
    del variables["user_name"]
    with pytest.raises(RenderError, match=r"emails/welcome/.* line \d+: UndefinedError"):
        await render(pin("welcome"), variables)


async def test_an_unknown_time_zone_or_locale_is_an_error() -> None:
    variables = examples(TYPES["welcome"])
    for zone in ("Mars/Olympus_Mons", "../../etc/passwd", "\x00"):
        with pytest.raises(RenderError, match="time zone is unknown"):
            await render(pin("welcome"), variables, time_zone=zone)
    with pytest.raises(RenderError, match="no locale 'xx'"):
        await render(TemplatePin("welcome", pin("welcome").version, "xx"), variables)


def test_an_unknown_template_is_an_error() -> None:
    for type_, channel in (("no_such", Channel.EMAIL), ("welcome", Channel.SMS)):
        with pytest.raises(UnknownTemplateError):
            TEMPLATES.current("acme", type_, channel, "en")


# Pins


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_few(tmp_path / "templates")


def say_otherwise(folder: Path, sentence: str, instead: str) -> None:
    file = folder / "i18n" / "en.toml"
    text = file.read_text("utf-8")
    assert sentence in text
    file.write_text(text.replace(sentence, instead), "utf-8")


async def test_what_was_accepted_is_rendered_as_it_was_then(folder: Path) -> None:
    archive, old = MemoryTemplateArchive(), FileTemplates(folder)
    await archive.put(old.bundles)
    old_pin = old.current("acme", "welcome", Channel.EMAIL, "en").pin
    before = await render(old_pin, examples(TYPES["welcome"]))

    say_otherwise(folder, "See you inside", "Be seeing you")
    (folder / "layouts" / "base.css").write_text(".page { background-color: #abcdef; }")
    new = FileTemplates(folder)
    await archive.put(new.bundles)
    renderer = JinjaRenderer(archive, new.bundles)
    new_pin = new.current("acme", "welcome", Channel.EMAIL, "en").pin

    assert await render(old_pin, examples(TYPES["welcome"]), renderer=renderer) == before
    after = await render(new_pin, examples(TYPES["welcome"]), renderer=renderer)
    assert "Be seeing you" in after.text
    assert "#abcdef" in (after.html or "")


async def test_a_sentence_of_a_translator_is_text_and_not_markup(folder: Path) -> None:
    say_otherwise(folder, "See you inside", "<b>See you</b> & 'us'")
    templates = FileTemplates(folder)
    renderer = JinjaRenderer(MemoryTemplateArchive(), templates.bundles)
    found = templates.current("acme", "welcome", Channel.EMAIL, "en").pin
    content = await render(found, examples(TYPES["welcome"]), renderer=renderer)
    assert "\n<b>See you</b> & 'us'\n" in content.text
    assert "&lt;b&gt;See you&lt;/b&gt; &amp; " in (content.html or "")


def test_a_version_changes_with_what_its_text_is_made_of_and_with_nothing_else(folder: Path) -> None:
    say_otherwise(folder, "See you inside", "Be seeing you")
    new = FileTemplates(folder)
    unchanged = [(name, locale) for name in FEW for locale in ("de", "en") if (name, locale) != ("welcome", "en")]
    for name, locale in unchanged:
        assert new.current("acme", name, Channel.EMAIL, locale).pin == pin(name, locale)
    assert new.current("acme", "welcome", Channel.EMAIL, "en").pin.version != pin("welcome").version


async def test_a_version_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RenderError, match="no such version"):
        await render(TemplatePin("welcome", "0" * 64, "en"), {})


async def test_a_stored_bundle_that_was_tampered_with_is_refused() -> None:
    archive, found = MemoryTemplateArchive(), pin("welcome")
    await archive.put({found.version: TEMPLATES.bundles[found.version].replace(b"glad", b"sorry")})
    with pytest.raises(RenderError, match="something else"):
        await render(found, examples(TYPES["welcome"]), renderer=JinjaRenderer(archive, {}))


async def test_more_versions_than_are_kept_compiled_can_be_rendered() -> None:
    renderer = JinjaRenderer(MemoryTemplateArchive(), TEMPLATES.bundles, cache_size=1)
    for name in [*FEW, *FEW]:
        variables = examples(TYPES[name])
        assert await render(pin(name), variables, renderer=renderer) == await render(pin(name), variables)
