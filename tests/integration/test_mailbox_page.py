"""The capture mailbox, as a browser on this machine sees it, and as nobody else does."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio

from adapters.postgres.mail_watch import LISTENER, PostgresMailWatch
from entrypoints.http import mailbox
from tests.application import listening, running, until
from tests.databases import new_database
from tests.serving import Serving, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEMPLATES = ("/mailbox/templates", "/mailbox/templates/welcome/email/de/html")
PLACES = ("/mailbox", "/mailbox/1", "/mailbox/1/html", "/mailbox/events", *TEMPLATES)


@pytest.fixture(scope="module")
def database_of_module(postgres: str, migrated: str) -> Iterator[str]:
    with new_database(postgres, like=migrated) as conninfo:
        yield conninfo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_one(database_of_module: str) -> AsyncIterator[Serving]:
    async with running_service(database_of_module) as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="module")
async def serving(running_one: Serving) -> Serving:
    await running_one.service.parts.mails.clear()
    return running_one


@pytest_asyncio.fixture(loop_scope="module")
async def browser(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=serving.address, timeout=20) as client:
        yield client


async def asked(serving: Serving, path: str, client: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """The answer to somebody at this address."""
    transport = httpx.ASGITransport(serving.service.app, client=(client, 50_000))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:3008") as http:
        return await http.get(path, headers=named)


@asynccontextmanager
async def watched(address: str, **params: Any) -> AsyncIterator[AsyncIterator[tuple[str, str, str]]]:
    """The events of the mailbox from now on: event, id, data."""
    async with (
        httpx.AsyncClient(base_url=address, timeout=20) as client,
        client.stream("GET", "/mailbox/events", params=params) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield _events(stream.aiter_lines())


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, str, str]]:
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        elif "event" in fields:
            yield fields["event"], fields.get("id", ""), fields.get("data", "")
            fields = {}
        else:
            fields = {}


async def next_of(events: AsyncIterator[tuple[str, str, str]]) -> tuple[str, str, str]:
    async with asyncio.timeout(20):
        return await anext(events)


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3008", "127.0.0.1:3008", "[::1]:3008", "127.0.0.2"])
async def test_who_sits_at_this_machine_sees_it(serving, client, host):
    assert (await asked(serving, "/mailbox", client, host=host)).status_code == 200


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("10.0.0.7", {}),
        ("192.168.1.2", {}),
        ("::ffff:10.0.0.7", {}),
        ("fe80::1", {}),
        ("testclient", {}),
        ("127.0.0.1", {"host": "evil.example.com"}),
        ("127.0.0.1", {"host": "evil.example.com:3008"}),
        ("127.0.0.1", {"host": "127.0.0.1.evil.example.com"}),
        ("127.0.0.1", {"host": "localhost.evil.example.com"}),
        ("127.0.0.1", {"host": "localhost@evil.example.com"}),
        ("127.0.0.1", {"host": "10.0.0.1"}),
        ("127.0.0.1", {"host": "0.0.0.0:3008"}),
        ("127.0.0.1", {"host": ""}),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}),
        ("127.0.0.1", {"X_Forwarded_For": ""}),
        ("127.0.0.1", {"X_Forwarded_Host": "localhost"}),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"X_Real_IP": "127.0.0.1"}),
        ("127.0.0.1", {"Via": "1.1 proxy"}),
    ],
)
async def test_for_anybody_else_there_is_nothing(serving, path, client, headers):
    await serving.capture()
    answer = await asked(serving, path, client, **headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


async def test_the_gallery_shows_mail_under_the_policy_of_mail(serving, browser):
    page = await browser.get("/mailbox/templates")
    frames = re.findall(r'<iframe sandbox="" [^>]*src="([^"]+)"', page.text)
    assert len(frames) == page.text.count("<iframe")
    languages = serving.service.parts.templates.versions("welcome")["email"]
    assert {f"/mailbox/templates/welcome/email/{language}/html" for language in languages} <= set(frames)
    for frame in frames:
        answer = await browser.get(frame)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == mailbox.MAIL_POLICY
    for path in ("nothing/email/en", "welcome/fax/en", "welcome/email/xx"):
        assert (await browser.get(f"/mailbox/templates/{path}/html")).status_code == 404


async def test_two_hosts_are_one_too_many(serving):
    async with asyncio.timeout(20):
        host, port = serving.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /mailbox HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n")
        assert (await reader.readline()).split()[1] in (b"400", b"404")
        writer.close()
        await writer.wait_closed()


async def test_without_the_capture_provider_there_is_no_mailbox(conninfo):
    smtp = {"EMAIL_PROVIDER": "smtp", "SMTP_HOST": "127.0.0.1", "SMTP_STARTTLS": "no"}
    async with running_service(conninfo, **smtp) as other, httpx.AsyncClient(base_url=other.address) as client:
        for path in (*PLACES, "/mailbox/clear"):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/docs")).status_code == 200


async def test_the_pages_load_nothing_from_elsewhere_and_run_no_script_but_ours(serving, browser):
    for path in ("/mailbox", f"/mailbox/{await serving.capture()}", "/docs"):
        answer = await browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
            assert address.startswith(("/", "#")), address
        assert "<script>" not in answer.text
        assert " style=" not in answer.text


async def test_a_mail_is_inert_wherever_it_is_opened(serving, browser):
    id = await serving.capture(html="<p>Hello</p><script>parent.hacked = 1</script><img src=x onerror=hacked()>")
    page = (await browser.get(f"/mailbox/{id}")).text
    assert 'sandbox=""' in page
    assert "hacked" not in page
    frame = await browser.get(f"/mailbox/{id}/html")
    assert "<script>parent.hacked" in frame.text, "the mail is shown as it is"
    policy = [directive.strip() for directive in frame.headers["content-security-policy"].split(";")]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert not any(directive.startswith("script-src") for directive in policy)
    assert "img-src http: https: data:" in policy
    assert "frame-ancestors 'self'" in policy
    assert frame.headers["referrer-policy"] == "no-referrer"


async def test_what_a_mail_says_is_text_in_the_page(serving, browser):
    id = await serving.capture(subject="<b>bold</b>", text="<script>alert(1)</script> https://example.com/?a=1&b=2")
    for view in ("html", "text", "headers"):
        page = (await browser.get(f"/mailbox/{id}", params={"view": view})).text
        assert "<b>bold</b>" not in page
        assert "&lt;b&gt;bold&lt;/b&gt;" in page
        assert "<script>alert" not in page
    text = (await browser.get(f"/mailbox/{id}?view=text")).text
    assert 'href="https://example.com/?a=1&amp;b=2"' in text
    assert 'rel="noopener noreferrer"' in text


async def test_the_headers_view_shows_headers_and_tags(serving, browser):
    page = (await browser.get(f"/mailbox/{await serving.capture()}?view=headers")).text
    for shown in ("List-Unsubscribe", "&lt;https://example.com/leave&gt;", "jane@example.com", "type <b>welcome</b>"):
        assert shown in page


async def test_a_mail_without_html_is_shown_as_text(serving, browser):
    id = await serving.capture(html=None, text="only words")
    page = (await browser.get(f"/mailbox/{id}")).text
    assert "<iframe" not in page
    assert '<pre class="text">only words</pre>' in page
    assert (await browser.get(f"/mailbox/{id}/html")).status_code == 404


@pytest.mark.parametrize("path", ["/mailbox/0", f"/mailbox/{2**80}", "/mailbox/abc", "/mailbox/1/nothing"])
async def test_a_mail_that_is_not_there_is_a_problem(browser, path):
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_empty_mailbox_shows_how_to_send(serving, browser):
    page = (await browser.get("/mailbox")).text
    assert "No mail yet" in page
    assert f"curl {serving.address}/api/v1/notifications" in page
    assert serving.key not in page


async def test_many_mails_come_in_pages(serving, browser, monkeypatch):
    monkeypatch.setattr(mailbox, "PAGE", 3)
    ids = [await serving.capture(f"Mail number {i}") for i in range(7)]
    seen: list[int] = []
    path = "/mailbox"
    for _ in range(3):
        page = (await browser.get(path)).text
        here = [id for id in reversed(ids) if f'id="mail-{id}"' in page]
        seen += here
        path = f"/mailbox?before={here[-1]}"
        assert (f'href="{path}">Older mails' in page) == (here[-1] != ids[0])
    assert seen == ids[::-1]
    assert "Nothing older" in (await browser.get(path)).text


async def test_clear_forgets_all(serving, browser):
    id = await serving.capture()
    answer = await browser.post("/mailbox/clear", headers={"Origin": serving.address})
    assert (answer.status_code, answer.headers["location"]) == (303, "/mailbox")
    assert (await browser.get(f"/mailbox/{id}")).status_code == 404


@pytest.mark.parametrize("origin", ["http://evil.example.com", "null", "http://localhost:1", "https://127.0.0.1"])
async def test_no_page_of_the_web_clears_it(serving, browser, origin):
    id = await serving.capture()
    assert (await browser.post("/mailbox/clear", headers={"Origin": origin})).status_code == 403
    assert (await browser.get("/mailbox/clear")).status_code in (404, 405)
    assert (await browser.get(f"/mailbox/{id}")).status_code == 200


async def test_who_watches_is_told_of_a_mail_as_it_comes_in(serving, monkeypatch):
    monkeypatch.setattr(mailbox, "_POLL_SECONDS", 60.0)
    before = await serving.capture("Before")
    async with watched(serving.address, after=before) as events:
        await until(lambda: _listeners(serving))
        begun = time.monotonic()
        sent = await serving.tenant.send("jane@example.com")
        event, id, row = await next_of(events)
        assert time.monotonic() - begun < 5, "by the notice, not by the clock"
        assert event == "mail"
        assert int(id) > before
        assert f'href="/mailbox/{id}"' in row
        assert "Welcome to Tallyho" in row
        mail = await serving.service.parts.mails.get(int(id))
        assert mail
        assert mail.tags["notification_id"] == sent["notifications"][0]["id"]


async def test_who_comes_back_is_told_what_was_missed(serving):
    first, second, third = [await serving.capture(f"Mail {i}") for i in range(3)]
    async with watched(serving.address, after=first) as events:
        assert [(await next_of(events))[1] for _ in range(2)] == [str(second), str(third)]


async def test_who_missed_more_than_a_page_is_told_to_load_it_anew(serving, monkeypatch):
    monkeypatch.setattr(mailbox, "PAGE", 3)
    ids = [await serving.capture() for _ in range(5)]
    async with watched(serving.address, after=ids[0] - 1) as events:
        assert (await next_of(events))[:2] == ("many", str(ids[-1]))


async def test_who_watches_is_told_when_it_was_cleared(serving):
    id = await serving.capture()
    async with watched(serving.address, after=id) as events:
        await serving.service.parts.mails.clear()
        assert (await next_of(events))[0] == "cleared"


async def test_a_lost_notice_is_found_by_the_clock(serving, monkeypatch):
    monkeypatch.setattr(PostgresMailWatch, "_ring", lambda _: None)
    async with watched(serving.address) as events:
        id = await serving.capture()
        assert (await next_of(events))[:2] == ("mail", str(id))


async def test_one_connection_listens_while_anybody_watches_and_is_made_again_when_it_breaks(serving, monkeypatch):
    monkeypatch.setattr(mailbox, "_POLL_SECONDS", 60.0)
    watching = [watched(serving.address) for _ in range(3)]
    streams = [await each.__aenter__() for each in watching]
    (first,) = await until(lambda: _listeners(serving))
    await serving.service.parts.database.rows("SELECT pg_terminate_backend(%s)", (first,))

    async def another() -> bool:
        return await _listeners(serving) not in ([], [first])

    await until(another)
    assert len(await _listeners(serving)) == 1
    id = await serving.capture()
    assert {(await next_of(stream))[1] for stream in streams} == {str(id)}
    for each in watching:
        await each.__aexit__(None, None, None)

    async def gone() -> bool:
        return not await _listeners(serving)

    await until(gone)


async def test_a_stop_does_not_wait_for_who_watches(conninfo):
    async with running(conninfo) as service:
        async with listening(service.parts) as address:
            watching = watched(address)
            await watching.__aenter__()
            begun = time.monotonic()
        assert time.monotonic() - begun < 3
        await watching.__aexit__(None, None, None)


async def _listeners(serving: Serving) -> list[int]:
    """Asked beside the pool, whose connections may be gone in a test that breaks them."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
    async with await psycopg.AsyncConnection.connect(serving.service.parts.conninfo) as connection:
        return [pid for (pid,) in await (await connection.execute(query, (LISTENER,))).fetchall()]
