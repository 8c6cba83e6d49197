"""The pages that links in mails lead to, as readers use them: on a phone too, and without JavaScript."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from application.readers import Who
from domain.vocabulary import Channel
from tests.browser.conftest import DESKTOP, PHONE
from tests.serving import Serving


@pytest.fixture(params=["desktop", "phone", "no script"])
async def context(request: pytest.FixtureRequest, chromium: Browser, serving: Serving) -> AsyncIterator[BrowserContext]:
    wishes = {
        "desktop": {"viewport": DESKTOP},
        "phone": {"viewport": PHONE, "has_touch": True},
        "no script": {"viewport": PHONE, "java_script_enabled": False},
    }[request.param]
    async with await chromium.new_context(base_url=serving.address, locale="en-GB", **wishes) as context:
        yield context


def path(serving: Serving, page: str, user: str | None = "user-1") -> str:
    who = Who(serving.tenant.name, Channel.EMAIL, "jane@example.com", user)
    return f"/{page}/{serving.service.parts.reader_links.token(who, 'promotion')}"


async def status(serving: Serving) -> str:
    """What would become of a message about an order."""
    answer = await serving.tenant.get("/api/v1/preferences", user_id="user-1")
    return str(answer.json()["categories"].get("order", {}).get("channels", {}).get("email", True))


async def fits(page: Page) -> None:
    """Nothing has to be moved sideways, and what is tapped is large enough for a thumb."""
    size = page.viewport_size
    assert size
    box = await page.locator("main").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    for each in await page.locator("button, select, .choice").all():
        box = await each.bounding_box()
        assert box
        assert box["height"] >= 44
        assert box["x"] + box["width"] <= size["width"]


async def test_to_leave_is_one_click_and_looking_is_none(context: BrowserContext, serving: Serving):
    page = await context.new_page()
    await page.goto(path(serving, "u"))
    await expect(page.get_by_role("heading", name="Unsubscribe?")).to_be_visible()
    await expect(page.locator("main")).to_contain_text("“Offers” will no longer go to j•••@example.com")
    await fits(page)
    await page.get_by_role("button", name="Unsubscribe").click()
    await expect(page.get_by_role("heading", name="You are unsubscribed")).to_be_visible()
    await page.get_by_role("link", name="Choose what you get").click()
    await expect(page.get_by_label("Offers", exact=True)).not_to_be_checked()
    await expect(page.get_by_label("Orders", exact=True)).to_be_checked()


async def test_choices_are_saved_and_shown_again(context: BrowserContext, serving: Serving):
    page = await context.new_page()
    await page.goto(path(serving, "p"))
    await fits(page)
    await page.get_by_label("Orders", exact=True).uncheck()
    await page.get_by_label("How often: Offers").select_option("Weekly")
    await page.get_by_label("Time zone").select_option("Europe/Berlin")
    await page.get_by_label("from", exact=True).fill("22:00")
    await page.get_by_label("to", exact=True).fill("07:30")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_have_text("Saved. It holds from now on.")
    await page.goto(path(serving, "p"))
    await expect(page.get_by_label("Orders", exact=True)).not_to_be_checked()
    await expect(page.get_by_label("Offers", exact=True)).to_be_checked()
    await expect(page.get_by_label("How often: Offers")).to_have_value("weekly")
    await expect(page.get_by_label("How often: Orders")).to_have_value("immediate")
    await expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    await expect(page.get_by_label("to", exact=True)).to_have_value("07:30")
    assert await status(serving) == "False"


async def test_everything_is_left_at_once(context: BrowserContext, serving: Serving):
    page = await context.new_page()
    await page.goto(path(serving, "p"))
    await page.get_by_role("button", name="Unsubscribe from everything").click()
    await expect(page.get_by_role("status")).to_be_visible()
    assert await page.locator("input[type=checkbox]:checked").count() == 0


@pytest.mark.parametrize(
    ("code", "title"),
    [("de", "Ihre Nachrichten"), ("es", "Sus mensajes"), ("ru", "Ваши сообщения"), ("en", "Your messages")],
)
async def test_every_language_is_there_and_fits(phone: BrowserContext, serving: Serving, code: str, title: str):
    page = await phone.new_page()
    await page.goto(path(serving, "p"))
    await page.locator(f"nav a[hreflang={code}]").click()
    await expect(page.get_by_role("heading", name=title)).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", code)
    await fits(page)
    await page.goto(path(serving, "u") + f"?lang={code}")
    await fits(page)
    await page.get_by_role("button").click()
    await expect(page.locator("html")).to_have_attribute("lang", code)


async def test_of_an_address_without_a_user_there_are_categories_to_choose(desktop: BrowserContext, serving: Serving):
    page = await desktop.new_page()
    await page.goto(path(serving, "p", None))
    await expect(page.locator("select")).to_have_count(0)
    await page.locator("input[name=on][value=promotion]").uncheck()
    await page.get_by_role("button").first.click()
    await page.goto(path(serving, "p", None))
    await expect(page.locator("input[name=on][value=promotion]")).not_to_be_checked()
