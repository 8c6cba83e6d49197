"""The mailbox and the documentation as people use them."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.async_api import BrowserContext, Page, expect

from tests.browser.conftest import PHONE
from tests.serving import Serving, shell


@contextmanager
def quiet(page: Page, serving: Serving) -> Iterator[None]:
    """Nothing is complained of in the console, and nothing is asked of anybody else."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield
    assert said == []
    assert [url for url in asked if not url.startswith((serving.address, "data:"))] == []


async def test_mail_appears_without_a_reload_and_opens(desktop: BrowserContext, serving: Serving):
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/mailbox")
        await expect(page.get_by_role("heading", name="No mail yet")).to_be_visible()
        await expect(page.locator("#live")).to_have_text("live")
        await serving.tenant.send("jane@example.com")
        await expect(page.frame_locator("iframe").get_by_text("Welcome, Anna")).to_be_visible()
        await page.evaluate("window.here = true")
        await serving.tenant.send("max@example.com")
        rows = page.locator("#mails li")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text("max@example.com")
        await expect(page).to_have_title("(1) Mailbox - Carillon")
        await rows.first.locator("a").click()
        await expect(page.locator(".to")).to_contain_text("max@example.com")
        await expect(page).to_have_title("Mailbox - Carillon")
        assert await page.evaluate("window.here"), "the page was not loaded again"


async def test_the_views_of_a_mail(desktop: BrowserContext, serving: Serving):
    await serving.tenant.send("jane@example.com")
    (mail,) = await serving.captured()
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto(f"/mailbox/{mail.id}")
        await expect(page.frame_locator("iframe").get_by_role("link", name="Open Tallyho")).to_be_visible()
        await page.get_by_role("link", name="Text", exact=True).click()
        await expect(page.locator("pre.text")).to_contain_text("Welcome, Anna")
        await expect(page.get_by_role("link", name="https://app.tallyho.example.com/start")).to_be_visible()
        await page.get_by_role("link", name="Headers").click()
        await expect(page.locator(".facts")).to_contain_text(mail.tags["notification_id"])
        await page.go_back()
        await expect(page.locator("pre.text")).to_be_visible()
        await page.reload()
        await expect(page.locator("pre.text")).to_be_visible()


async def test_no_script_of_a_mail_ever_runs(desktop: BrowserContext, serving: Serving):
    id = await serving.capture(
        html="<h1>Hello</h1><script>top.document.title = 'taken'; document.body.textContent = 'taken'</script>"
        "<img src=x onerror=\"document.body.textContent = 'taken'\"><form action=/mailbox/clear method=post>"
        "<button>Win</button></form>"
    )
    page = await desktop.new_page()
    for path in (f"/mailbox/{id}", f"/mailbox/{id}/html"):
        await page.goto(path)
        mail = page.frame_locator("iframe") if path.endswith(str(id)) else page
        await expect(mail.get_by_role("heading", name="Hello")).to_be_visible()
        await mail.get_by_role("button", name="Win").click()
        await expect(mail.get_by_role("heading", name="Hello")).to_be_visible()
        assert await page.title() != "taken"
    assert await serving.service.parts.mails.get(id)


async def test_a_picture_of_a_mail_is_shown(desktop: BrowserContext, serving: Serving):
    pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    id = await serving.capture(html=f'<img id="pixel" alt="" width="20" height="20" src="{pixel}">')
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto(f"/mailbox/{id}")
        picture = page.frame_locator("iframe").locator("#pixel")
        await expect(picture).to_be_visible()
        assert await picture.evaluate("picture => picture.naturalWidth") == 1


async def test_an_empty_mailbox_fits_a_phone(phone: BrowserContext, serving: Serving):
    page = await phone.new_page()
    with quiet(page, serving):
        await page.goto("/mailbox")
        await expect(page.get_by_role("heading", name="No mail yet")).to_be_visible()
        await fits(page)
        sample = await page.locator(".sample").bounding_box()
        assert sample
        assert sample["x"] + sample["width"] <= PHONE["width"]


async def test_a_phone_shows_one_pane_at_a_time(phone: BrowserContext, serving: Serving):
    for address in ("jane@example.com", "somebody.with.a.very.long.address@subdomain.of.example.com"):
        await serving.tenant.send(address)
    await serving.captured(2)
    page = await phone.new_page()
    with quiet(page, serving):
        await page.goto("/mailbox")
        await expect(page.locator("#mails li")).to_have_count(2)
        await expect(page.locator("#pane")).to_be_hidden()
        await fits(page)
        await page.locator("#mails a").first.tap()
        await expect(page.frame_locator("iframe").get_by_text("Welcome, Anna")).to_be_visible()
        await expect(page.locator("#mails")).to_be_hidden()
        await fits(page)
        await page.get_by_role("link", name="All mails").tap()
        await expect(page.locator("#mails li")).to_have_count(2)
        await page.goto("/docs")
        await fits(page)


async def test_keys_lead_through_many_mails_and_pages(desktop: BrowserContext, serving: Serving):
    for i in range(53):
        await serving.capture(f"Mail number {i}", text=f"This is {i}")
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/mailbox")
        await expect(page.locator("#mails li")).to_have_count(50)
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("heading", name="Mail number 51")).to_be_visible()
        await page.keyboard.press("ArrowUp")
        await expect(page.get_by_role("heading", name="Mail number 52")).to_be_visible()
        await page.get_by_role("link", name="Older mails").click()
        await expect(page.locator("#mails li")).to_have_count(3)
        await page.get_by_role("link", name="Newest mails").click()
        await expect(page.locator("#mails li")).to_have_count(50)


async def test_clear_asks_first(desktop: BrowserContext, serving: Serving):
    await serving.capture()
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/mailbox")
        page.once("dialog", lambda dialog: dialog.dismiss())
        await page.get_by_role("button", name="Clear").click()
        await expect(page.locator("#mails li")).to_have_count(1)
        page.once("dialog", lambda dialog: dialog.accept())
        await page.get_by_role("button", name="Clear").click()
        await expect(page.get_by_role("heading", name="No mail yet")).to_be_visible()


async def test_the_gallery_shows_every_template_in_every_language(desktop: BrowserContext, serving: Serving):
    templates = serving.service.parts.templates
    page = await desktop.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: "Content Security Policy" in message.text and said.append(message.text))
    await page.goto("/mailbox")
    await page.get_by_role("link", name="Templates", exact=True).click()
    for type_ in templates.types():
        section = page.locator(f"#{type_.name}")
        for channel, languages in templates.versions(type_.name).items():
            for language in languages:
                shown = section.locator(f"article[lang={language}]").filter(has_text=channel)
                await expect(shown.locator("h3")).not_to_be_empty()
                await expect(shown.locator("pre.text")).not_to_be_empty()
                frame = shown.locator("iframe")
                assert await frame.get_attribute("sandbox") == ""
                await frame.scroll_into_view_if_needed()
                await expect(frame.content_frame.locator("h1")).to_be_visible()
    assert said == []


async def test_the_gallery_in_one_language_and_as_wide_as_a_phone(desktop: BrowserContext, serving: Serving):
    page = await desktop.new_page()
    await page.goto("/mailbox/templates")
    await page.get_by_role("link", name="de", exact=True).click()
    articles = page.locator("article")
    await expect(articles).to_have_count(len(serving.service.parts.templates.types()))
    assert {await article.get_attribute("lang") for article in await articles.all()} == {"de"}
    button = page.get_by_role("button", name="As on a phone")
    await button.click()
    for _ in range(2):
        await expect(button).to_have_attribute("aria-pressed", "true")
        frame = await page.locator("#welcome iframe").bounding_box()
        assert frame
        assert frame["width"] <= PHONE["width"]
        await page.reload()
    await fits(page)


async def test_the_gallery_fits_a_phone(phone: BrowserContext, serving: Serving):
    page = await phone.new_page()
    await page.goto("/mailbox/templates?language=de")
    await expect(page.locator("#welcome h3")).to_be_visible()
    await fits(page)


async def test_a_pasted_example_of_the_documentation_sends(desktop: BrowserContext, serving: Serving):
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/docs")
        await page.get_by_label("API key").fill(serving.key)
        example = page.locator("#SendNotification [role=tabpanel]:visible pre")
        await expect(example).to_contain_text(serving.key)
        await page.reload()
        await expect(example).to_contain_text(serving.key)
        await shell(f"{await example.text_content()} --silent --show-error --fail")
        (mail,) = await serving.captured()
        assert mail.to.address == "jane@example.com"
        await page.get_by_role("tab", name="password_reset").first.click()
        await shell(f"{await example.text_content()} --silent --show-error --fail")
        assert (await serving.captured(2))[0].tags["type"] == "password_reset"


async def test_what_no_key_can_be_is_not_put_into_an_example(desktop: BrowserContext, serving: Serving):
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/docs")
        await page.get_by_label("API key").fill('x"; echo taken #')
        await expect(page.locator("#SendNotification [role=tabpanel]:visible pre")).to_contain_text("$CARILLON_KEY")


async def test_the_documentation_shows_the_readers_own_event_types(desktop: BrowserContext, serving: Serving):
    said = {"description": "<b>An order</b>", "deprecated": "order.placed", "example": {"total": 12.5}}
    described = await serving.tenant.request("PUT", "/api/v1/event-types/order.created", json=said)
    position = described.json()["position"]
    await serving.tenant.get("/api/v1/event-types", wait_for=position)
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/docs")
        types = page.locator("#types")
        await page.get_by_role("button", name="Show them").click()
        await expect(types).to_contain_text("Type an API key in above.")
        await page.get_by_label("API key").fill(serving.key)
        await page.get_by_role("button", name="Show them").click()
        for text in ("order.created", "<b>An order</b>", "order.placed", "12.5"):
            await expect(types).to_contain_text(text)


async def test_the_documentation_is_searched(desktop: BrowserContext, serving: Serving):
    page = await desktop.new_page()
    with quiet(page, serving):
        await page.goto("/docs")
        links = page.locator(".contents li:visible")
        whole = await links.count()
        await page.keyboard.press("/")
        await page.keyboard.type("cancel")
        await expect(links).to_have_count(1)
        await page.keyboard.press("Enter")
        await expect(page.locator("#CancelNotification")).to_be_in_viewport()
        await page.get_by_label("Search").fill("no such thing")
        await expect(page.get_by_text("Nothing is called that.")).to_be_visible()
        await page.get_by_label("Search").fill("")
        await expect(links).to_have_count(whole)


async def fits(page: Page) -> None:
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{wider} pixels wider than the window"
