"""The mails as readers see them, each in every language. Their look is kept under tests/golden/renders.

After a change that is meant, make the golden renders again and read the difference:

    RENEW_GOLDEN=1 pytest tests/mails/test_mails.py -k golden
"""

import os
import re
import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from adapters.templates.types import examples
from domain.template import Content, NotificationType, VariableType
from domain.vocabulary import Purpose
from tests.templates import FOLDER, LANGUAGES, TYPES, each_type, parse, pin, render, text_of

GOLDEN = Path(__file__).parents[1] / "golden" / "renders"


# What is sent


@each_type
async def test_the_golden_renders_have_not_changed(type_: NotificationType) -> None:
    """With the examples of all variables."""
    for locale in LANGUAGES:
        content = await render(pin(type_.name, locale), examples(type_))
        check_golden(f"{type_.name}.{locale}.subject.txt", f"{content.subject}\n")
        check_golden(f"{type_.name}.{locale}.html", content.html or "")
        check_golden(f"{type_.name}.{locale}.txt", content.text)


@each_type
async def test_the_golden_renders_of_the_least_have_not_changed(type_: NotificationType) -> None:
    """Without what may be left out, and in other plural forms: one page, and the words of all languages in one file."""
    check_golden(f"{type_.name}.least.html", (await render(pin(type_.name), least(type_, 1))).html or "")
    counts = (1, 3, 1_000_000) if COUNTS & type_.variables.keys() else (1,)
    words = [await words_of(type_, locale, count) for locale in LANGUAGES for count in counts]
    check_golden(f"{type_.name}.least.txt", "\n".join(words))


COUNTS = {"question_count", "answered_count", "days_left", "billing_period_months", "items"}


def least(type_: NotificationType, count: int) -> dict[str, Any]:
    """Only what is required, and so many of what is counted."""
    given = examples(type_, optional=False)
    given |= {name: [{**ITEM, "quantity": count}] if name == "items" else count for name in COUNTS & given.keys()}
    return given


ITEM = {"name": "Watering can", "price": 34.9}


async def words_of(type_: NotificationType, locale: str, count: int) -> str:
    content = await render(pin(type_.name, locale), least(type_, count))
    (preheader,) = re.findall('<div class="preheader"[^>]*>(.*?)&#847;', content.html or "")
    return f"=== {locale}, {count}\n{content.subject}\n{unescape(preheader)}\n\n{content.text}"


def check_golden(name: str, text: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


@each_type
@pytest.mark.parametrize("optional", [True, False], ids=["all variables", "only the required"])
async def test_the_html_is_valid(type_: NotificationType, optional: bool) -> None:
    content = await render(pin(type_.name), examples(type_, optional=optional))
    tree = parse(content)
    assert tree.get("lang") == "en"
    assert all(image.get("alt") for image in tree.iter("img"))
    assert all(paragraph.get("style") for paragraph in tree.iter("p"))
    assert len(list(tree.iter("h1"))) == 1
    assert text_of(tree, "title")


@each_type
@pytest.mark.parametrize("optional", [True, False], ids=["all variables", "only the required"])
async def test_the_languages_differ_in_words_alone(type_: NotificationType, optional: bool) -> None:
    for locale in LANGUAGES:
        variables = examples(type_, optional=optional)
        content = await render(pin(type_.name, locale), variables)
        assert markup(content) == [
            tag.replace('lang="en"', f'lang="{locale}"') for tag in markup(await render(pin(type_.name), variables))
        ]
        for address in re.findall(r"""(?:href|src|action|background)=["']?([^"'>]*)""", content.html or ""):
            assert re.match("https?://", address)
        assert len((content.html or "").encode()) < 50_000, "Gmail cuts a mail at 102 kB"


def markup(content: Content) -> list[str]:
    return re.findall("<[^>]*>", content.html or "")


@each_type
async def test_there_is_one_button_with_the_senders_colour(type_: NotificationType) -> None:
    for locale in LANGUAGES:
        content = await render(pin(type_.name, locale), examples(type_) | {"primary_color": "#123abc"})
        (button,) = [tag for tag in markup(content) if tag.startswith("<a") and 'class="button"' in tag]
        assert "background-color:#123abc" in button.replace(" ", "")


@pytest.mark.parametrize(
    ("color", "ink"),
    [("#000", "#ffffff"), ("#0b6e4f", "#ffffff"), ("#ffd23f", "#000000"), ("#ffffff", "#000000"), (None, "#ffffff")],
)
async def test_the_label_of_the_button_can_be_read_on_any_colour(color: str | None, ink: str) -> None:
    content = await render(pin("welcome"), examples(TYPES["welcome"]) | {"primary_color": color})
    (button,) = [tag.replace(" ", "") for tag in markup(content) if 'class="button"' in tag]
    (ground,) = re.findall("background-color:(#[0-9a-f]+)", button)
    assert ground == color or color is None
    assert re.search(rf"[;\"]color:{ink}", button)
    assert contrast(ink, ground) >= READABLE


@each_type
async def test_the_text_part_has_the_link_and_no_markup(type_: NotificationType) -> None:
    for locale in LANGUAGES:
        content = await render(pin(type_.name, locale), examples(type_))
        (link,) = re.findall(r'<a class="button"[^>]* href="([^"]*)"', content.html or "")
        assert f":\n{link}\n" in content.text
        assert not re.search(r"</?[a-z]|&[a-z#0-9]+;|\n\n\n", content.text)
        assert [line for line in content.text.splitlines() if len(line) > 78] == []


@pytest.mark.parametrize("type_", [type_ for type_ in TYPES.values() if type_.purpose is Purpose.MARKETING])
async def test_advertising_says_who_sends_it_and_how_to_leave(type_: NotificationType) -> None:
    for locale in LANGUAGES:
        assert {"postal_address", "unsubscribe_url"} <= {n for n, v in type_.variables.items() if v.required}
        variables = examples(type_, optional=False)
        content = await render(pin(type_.name, locale), variables)
        for required in (str(variables["postal_address"]), str(variables["unsubscribe_url"])):
            assert required in content.text
            assert str(escape(required)) in (content.html or "")


# What is said


SHIPPED = {
    "digest": ("digest", "medium"),
    "welcome": ("registration", "high"),
    "interview_invitation": ("interview", "high"),
    "interview_reminder": ("interview", "medium"),
    "interview_completed": ("interview", "medium"),
    "analysis_ready": ("analysis", "medium"),
    "candidate_approved": ("candidate", "high"),
    "candidate_rejected": ("candidate", "high"),
    "order_confirmation": ("order", "high"),
    "order_shipped": ("order", "medium"),
    "order_delivered": ("order", "medium"),
    "subscription_confirmed": ("billing", "high"),
    "payment_successful": ("billing", "low"),
    "payment_failed": ("billing", "critical"),
    "trial_ending": ("billing", "high"),
    "password_reset": ("security", "critical"),
    "new_login": ("security", "medium"),
    "promotion_reminder": ("promotion", "low"),
    "webhook_failing": ("webhook", "high"),
}


def test_what_is_shipped() -> None:
    assert {name: (type_.category, type_.priority.value) for name, type_ in TYPES.items()} == SHIPPED
    assert [name for name, type_ in TYPES.items() if type_.purpose is Purpose.MARKETING] == ["promotion_reminder"]
    assert sorted(file.stem for file in (FOLDER / "i18n").glob("*.toml")) == LANGUAGES


@each_type
def test_every_variable_says_what_it_is(type_: NotificationType) -> None:
    for name, variable in type_.variables.items():
        assert variable.example is not None, name
        assert variable.description or variable.type is not VariableType.LIST, name


# The same in both languages: names, figures, and words that the languages share.
ALIKE = {
    "de": {
        "common.signer",
        "common.fact_interview",
        "common.fact_position",
        "interview_invitation.length",
        "order_confirmation.item",
    },
    "es": {
        "common.signer",
        "common.fact_plan",
        "interview_invitation.length",
        "order_confirmation.item",
        "order_confirmation.total",
    },
    "ru": {"common.signer", "interview_invitation.length", "order_confirmation.item"},
}


@pytest.mark.parametrize("language", ALIKE)
def test_every_sentence_is_translated(language: str) -> None:
    english, other = sentences("en"), sentences(language)
    assert {key for key, sentence in other.items() if sentence == english[key]} == ALIKE[language]


def sentences(language: str) -> dict[str, Any]:
    tables = tomllib.loads((FOLDER / "i18n" / f"{language}.toml").read_text("utf-8"))
    return {f"{name}.{key}": sentence for name, table in tables.items() for key, sentence in table.items()}


@pytest.mark.parametrize(
    ("locale", "days", "said"),
    [
        ("en", 1, "1 day left"),
        ("en", 3, "3 days left"),
        ("de", 1, "noch 1 Tag in"),
        ("de", 14, "noch 14 Tage in"),
        ("es", 1, "queda 1 día de prueba"),
        ("es", 7, "quedan 7 días de prueba"),
        ("es", 1_000_000, "quedan 1.000.000 de días de prueba"),
        ("ru", 1, "остался 1 день"),
        ("ru", 2, "осталось 2 дня"),
        ("ru", 5, "осталось 5 дней"),
        ("ru", 11, "осталось 11 дней"),
        ("ru", 21, "остался 21 день"),
        ("ru", 24, "осталось 24 дня"),
    ],
)
async def test_what_counts_follows_the_plural_forms_of_the_language(locale: str, days: int, said: str) -> None:
    content = await render(pin("trial_ending", locale), examples(TYPES["trial_ending"]) | {"days_left": days})
    assert said in (content.subject or "")


@pytest.mark.parametrize(
    ("locale", "amount", "currency", "said"),
    [
        ("en", 1049.5, "EUR", "€1,049.50"),
        ("en", 1050, "JPY", "¥1,050"),
        ("en-GB", 12, "GBP", "£12.00"),
        ("de", 1049.5, "EUR", "1.049,50\xa0€"),
        ("de-AT", 1049.5, "EUR", "€\xa01.049,50"),
        ("es", 21049.5, "EUR", "21.049,50\xa0€"),
        ("ru", 1049.5, "RUB", "1\xa0049,50\xa0₽"),
    ],
)
async def test_money_is_written_as_the_region_writes_it(locale: str, amount: float, currency: str, said: str) -> None:
    variables = examples(TYPES["payment_successful"]) | {"amount": amount, "currency": currency}
    content = await render(pin("payment_successful", locale), variables)
    assert (content.subject or "").endswith(f": {said}")
    assert said in content.text
    assert said in (content.html or "")


async def test_nothing_is_not_less_than_nothing_because_somebody_else_owed_it() -> None:
    """-0.0 equals 0, and what was written for the one is remembered for the other."""
    for amount in (-0.0, 0):
        variables = examples(TYPES["payment_successful"]) | {"amount": amount, "currency": "EUR"}
        assert "-" not in (await render(pin("payment_successful", "en"), variables)).subject.partition(":")[2]


@pytest.mark.parametrize(("months", "said"), [(1, "a month"), (12, "a year"), (3, "every 3 months")])
async def test_a_price_says_what_it_is_for(months: int, said: str) -> None:
    for name in ("subscription_confirmed", "trial_ending"):
        content = await render(pin(name), examples(TYPES[name]) | {"billing_period_months": months})
        assert f"€49.00 {said}" in content.text
        assert f"€49.00 {said}" in (content.html or "")


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
async def test_a_date_is_the_same_day_everywhere(zone: str) -> None:
    content = await render(pin("order_shipped"), examples(TYPES["order_shipped"]), time_zone=zone)
    assert "Expected: Thursday, March 12, 2026\n" in content.text


async def test_a_trial_says_what_happens_after_it() -> None:
    variables = examples(TYPES["trial_ending"])
    ends = await render(pin("trial_ending"), variables | {"becomes_paid": False})
    paid = await render(pin("trial_ending"), variables | {"becomes_paid": True})
    assert "costs you nothing" in " ".join(ends.text.split())
    assert "starts by itself, at €49.00 a month" in " ".join(paid.text.split())


@pytest.mark.parametrize(("shipping", "said"), [(4.9, "Delivery: €4.90"), (0, "Delivery: free"), (None, None)])
async def test_an_order_is_listed_with_what_its_delivery_costs(shipping: float | None, said: str | None) -> None:
    content = await render(pin("order_confirmation"), examples(TYPES["order_confirmation"]) | {"shipping": shipping})
    assert "1 × Watering can, 5 litres: €34.90\n3 × Basil seeds: €8.70\n" in content.text
    assert said in content.text if said else "Delivery:" not in content.text
    assert (content.html or "").count('class="item"') == 2


# Contrast

READABLE = 4.5  # WCAG 2.2, 1.4.3

# What an element's text stands on: the class that has the ground; the card where it is none of these.
GROUND = {
    **dict.fromkeys(["sender-name", "footer-text", "footer-link"], "page"),
    **dict.fromkeys(["fact-name", "fact-value"], "facts"),
}


def colors() -> Iterator[tuple[str, str, str]]:
    """Each class with a text of its own, its colour and its ground: light, dark, and dark in Outlook."""
    layout = (FOLDER / "layouts/base.html").read_text("utf-8")
    dark = layout[layout.index("(prefers-color-scheme: dark)") : layout.index("[data-ogsb]")]
    light = (FOLDER / "layouts/base.css").read_text("utf-8")
    outlook = layout[layout.index("[data-ogsb]") :]
    texts = [name for name in properties(light, "color") if name not in ("preheader", "logo")]
    for sheet in (light, dark, outlook):
        color, ground = properties(sheet, "color"), properties(sheet, "background-color")
        yield from ((name, color[name], ground[GROUND.get(name, "card")]) for name in texts)
        yield "logo", color["logo"], ground.get("logo", ground["page"])


def properties(sheet: str, name: str) -> dict[str, str]:
    found = {}
    for selectors, body in re.findall(r"([^{}]*)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)):
        for color in re.findall(rf"(?<![\w-]){name}: (#[0-9a-f]{{6}})", body):
            found |= dict.fromkeys(re.findall(r"\.([\w-]+)", selectors), color)
    return found


def test_every_text_can_be_read_on_its_ground() -> None:
    assert [(name, color, ground) for name, color, ground in colors() if contrast(color, ground) < READABLE] == []


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: from 1, the same, to 21, black and white."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
