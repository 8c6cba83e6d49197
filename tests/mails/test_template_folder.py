"""A fault in the templates folder stops the start, and the message names the file and the reason."""

import re
import shutil
from pathlib import Path

import pytest

from adapters.templates.files import FileTemplates
from adapters.templates.inlining import inline
from adapters.templates.problems import TemplateFolderError
from domain.vocabulary import Channel
from tests.templates import FOLDER, copy_few, copy_sentences


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With one type."""
    return copy_few(tmp_path / "templates", ["welcome"])


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """With a type that counts, and one with a secret."""
    return copy_few(tmp_path / "templates")


def refused(folder: Path) -> str:
    with pytest.raises(TemplateFolderError) as error:
        FileTemplates(folder)
    return str(error.value).replace(f"{folder}/", "")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    "file",
    [
        "emails/welcome/subject.txt",
        "emails/welcome/html.html",
        "emails/welcome/text.txt",
        "layouts/base.html",
        "layouts/base.css",
        "layouts/plain.txt",
        "partials/button.html",
        "partials/footer.txt",
        "i18n/en.toml",
        "branding.toml",
    ],
)
def test_a_file_that_is_missing(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert refused(folder).startswith(file)


def test_a_type_without_a_template(folder: Path) -> None:
    shutil.rmtree(folder / "emails/welcome")
    assert refused(folder) == "types/welcome.toml: has no template in any channel"


def test_a_name_that_a_tenant_may_give(folder: Path) -> None:
    shutil.copy(folder / "types/welcome.toml", folder / "types/spring-sale.toml")
    shutil.copytree(folder / "emails/welcome", folder / "emails/spring-sale")
    assert refused(folder) == "types/spring-sale.toml: has a hyphen in its name: such names belong to the tenants"


def test_a_template_without_a_type(folder: Path) -> None:
    shutil.copytree(folder / "emails/welcome", folder / "emails/farewell")
    assert refused(folder) == "emails/farewell: there is no types/farewell.toml"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == "branding.toml: is missing"


def test_another_default_language_must_be_there_as_well() -> None:
    with pytest.raises(TemplateFolderError, match=r"i18n/fr\.toml: is missing"):
        FileTemplates(FOLDER, default_language="fr")


def check_fault(folder: Path, file: str, old: str, new: str, reason: str) -> None:
    replace(folder / file, old, new)
    message = refused(folder)
    assert file in message
    assert reason in message


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"high"', '"urgent"', "Invalid enum value 'urgent'"),
        ("description =", "descriptoin =", "unknown field `descriptoin`"),
        ("[variables", "[[variables", "line 6"),
        ('"Anna"', "7", "the examples do not fit: welcome: user_name: must be a string"),
        ('example = "Anna"', "", "the examples do not fit: welcome: user_name: is missing"),
        ("user_name", "UserName", "'UserName' cannot be the name of a variable"),
        ("user_name", "language", "'language' cannot be the name of a variable"),
    ],
)
def test_a_fault_of_a_type(folder: Path, old: str, new: str, reason: str) -> None:
    check_fault(folder, "types/welcome.toml", old, new, reason)


ACTION = '"{product} öffnen"'


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('next = "', 'weiter = "', "has no sentence welcome.next, which en.toml has"),
        ("[welcome]", '[welcome]\nnew = "Neu"', "has a sentence welcome.new, which en.toml has not"),
        ("\n[common]", '\n[common]\nnew = "Neu"', "has a sentence common.new, which en.toml has not"),
        ("\n[common]", '\nx = "y"\n[common]', "x stands outside of a table"),
        ("\n[common]", "\n[common", "line 6"),
        ("[welcome]", '[welcome]\nhelp = "x"', "welcome.help is a common sentence as well"),
        (", {name}", "", "welcome.subject does not fill in the same words as in en.toml"),
        (ACTION, '"öffnen {0}"', "welcome.action: {0} is not a plain name in braces"),
        (ACTION, '"{product.x}"', "welcome.action: {product.x} is not a plain name in braces"),
        (ACTION, '"{product!r}"', "welcome.action: {product} is not a plain name in braces"),
        (ACTION, '"{product"', "welcome.action: expected '}'"),
        (ACTION, '""', "welcome.action: must be one line that is not empty"),
        (ACTION, "3", "welcome.action: is neither a sentence nor the forms of one"),
        ('one = "{count} Frage",', "", "interview_invitation.questions: needs the forms one, other"),
        (
            'one = "{count} Frage"',
            'few = "x", one = "{count} Frage"',
            "interview_invitation.questions: needs the forms one, other",
        ),
    ],
)
def test_a_fault_of_a_catalogue(few: Path, old: str, new: str, reason: str) -> None:
    check_fault(few, "i18n/de.toml", old, new, reason)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{% endblock %}", "", "line 18: Unexpected end of template"),
        ('"next"|t', '"next"|tt', "line 9: No filter named 'tt'"),
        ("name=user_name", "name=username", "username is not a variable of welcome"),
        ("name=user_name", "nom=user_name", "line 5: headline is given no name"),
        ('"next"', '"nxet"', "has no sentence welcome.nxet for emails/welcome/text.txt"),
        ('"next"', "user_name", "line 9: the key of a sentence is not written out"),
        ('"layouts/plain.txt"', "user_name", "the name of an extended or included file is not written out"),
        ("{% if support_email %}", "{% if true %}", "without the optional variables: emails/welcome/text.txt line"),
    ],
)
def test_a_fault_of_a_template(folder: Path, old: str, new: str, reason: str) -> None:
    check_fault(folder, "emails/welcome/text.txt", old, new, reason)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("url|link", "url", 'href="{{ url }}" has a value without its filter'),
        ("url|link", "url|upper", 'href="{{ url|upper }}" has a value without its filter'),
        ('"{{ url|link }}"', '"{{ url|link }}{{ url }}"', "has a value without its filter"),
        ('"{{ url|link }}"', "{{ url|link }}", "an attribute's value needs quotes"),
        ("color|ink", "color", "has a value without its filter"),
        ('<a class="button"', '<a\n class="button"', "line 6: "),
        ("<tr>", "<tr>{{ label }}<b>", "line "),
    ],
)
def test_a_fault_of_html(folder: Path, old: str, new: str, reason: str) -> None:
    check_fault(folder, "partials/button.html", old, new, reason)


def test_a_layout_that_is_not_there(folder: Path) -> None:
    replace(folder / "emails/welcome/text.txt", "layouts/plain.txt", "layouts/none.txt")
    assert refused(folder).startswith("layouts/none.txt: cannot be read: ")


def test_a_sentence_that_counts_needs_a_count(few: Path) -> None:
    for language in ("en", "de"):
        replace(few / f"i18n/{language}.toml", "{count} ", "")
        replace(few / f"i18n/{language}.toml", "{count} ", "")
    file = "emails/interview_invitation/html.html"
    replace(few / file, "count=question_count", "")
    assert refused(few) == f"{file}: line 3: questions is given no count"


def test_a_secret_in_a_subject(few: Path) -> None:
    file = "emails/password_reset/subject.txt"
    replace(few / file, "product_name", "reset_url")
    assert refused(few) == f"{file}: reset_url is secret and must not stand in a subject"


def test_a_sentence_that_no_template_says(folder: Path) -> None:
    for language in ("en", "de"):
        replace(folder / f"i18n/{language}.toml", "[welcome]", '[welcome]\nforgotten = "x"')
    assert refused(folder) == "i18n/de.toml: welcome.forgotten is used by no template"


def test_sentences_of_a_type_that_does_not_exist(folder: Path) -> None:
    for language in ("en", "de"):
        replace(folder / f"i18n/{language}.toml", "[welcome]", '[goodbye]\nx = "x"\n[welcome]')
    assert refused(folder) == "i18n/de.toml: goodbye is not a notification type"


def test_a_catalogue_that_is_not_named_after_a_language(folder: Path) -> None:
    shutil.copy(folder / "i18n/en.toml", folder / "i18n/klingon.toml")
    assert refused(folder) == "i18n/klingon.toml: is not named after a language"


def test_a_file_that_is_no_part(folder: Path) -> None:
    (folder / "emails/welcome/notes.md").touch()
    assert refused(folder) == "emails/welcome/notes.md: is none of the parts html, link, subject, text"


def test_a_language_with_four_plural_forms_is_only_a_file(few: Path) -> None:
    copy_sentences(few, "ru")
    assert FileTemplates(few).current("acme", "welcome", Channel.EMAIL, "ru").pin.locale == "ru"
    replace(few / "i18n/ru.toml", 'many = "{count} вопросов", ', "")
    assert refused(few).endswith("interview_invitation.questions: needs the forms few, many, one, other")


def test_inlining_leaves_every_jinja_tag_on_its_line() -> None:
    source = (
        '{% extends "x" %}\n{# a < b #}\n<table>\n{% for a in b if a > 1 %}\n'
        '<tr><td class="a" title="{{ a }}">{{ "<b>"|e }}</td></tr>\n{% endfor %}\n</table>\n'
        "<!--[if mso]>{{ c }}<![endif]-->\n"
    )
    inlined = inline("x.html", source, ".a { color: red; }")
    tags = r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}"
    assert [re.findall(tags, line) for line in inlined.split("\n")] == [
        re.findall(tags, line) for line in source.split("\n")
    ]
    assert '<td class="a" title="{{ a }}" style="color:red">' in inlined
