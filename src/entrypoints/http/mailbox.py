"""The capture mailbox as a page: what would have gone out, to look at while it comes in."""

import shlex
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect, ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from adapters.email.capture import CapturedMail, CapturedMails
from adapters.postgres.mail_watch import PostgresMailWatch
from application.ports.log import StoreUnavailableError
from entrypoints.http.loopback import only_loopback, only_same_origin
from entrypoints.http.notification_examples import send_example
from entrypoints.http.page import environment, page
from entrypoints.http.request import OPEN, JsonRequest

PAGE = 50
_POLL_SECONDS = 2.0

# A mail is somebody else's document: it may show pictures and be styled, and nothing more, wherever it is opened.
MAIL_POLICY = (
    "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline'; font-src http: https: data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox"
)
MAIL_HEADERS = {
    "Content-Security-Policy": MAIL_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Asked = Request[Any, Any, Any]
After = Annotated[int, QueryParameter(ge=0)]
Before = Annotated[int | None, QueryParameter(ge=1, required=False)]


class View(StrEnum):
    HTML = "html"
    TEXT = "text"
    HEADERS = "headers"


class MailboxController(Controller):
    path = "/mailbox"
    guards = [only_loopback]  # noqa: RUF012 - the form that Litestar asks for
    include_in_schema = False
    opt = OPEN

    @get("/")
    async def newest(self, request: JsonRequest, before: Before = None) -> Response[str]:
        """The list, and beside it the first mail of it."""
        return await _mailbox(request, before, None, View.HTML)

    @get("/{id:int}")
    async def one(
        self,
        id: FromPath[int],
        request: JsonRequest,
        before: Before = None,
        view: FromQuery[View] = View.HTML,
    ) -> Response[str]:
        return await _mailbox(request, before, await _mail(request.parts.mails, id), view)

    @get("/{id:int}/html")
    async def html(self, id: FromPath[int], request: JsonRequest) -> Response[str]:
        mail = await _mail(request.parts.mails, id)
        if mail.html is None:
            raise NotFoundException(f"mail {id} has no HTML")
        return Response(mail.html, media_type="text/html", headers=MAIL_HEADERS)

    @get("/events")
    async def events(self, request: JsonRequest, after: After = 0) -> ServerSentEvent:
        """Each mail that comes in after this one, as a row of the list."""
        last = request.headers.get("last-event-id", "")
        return ServerSentEvent(
            _news(request.parts.mails, request.parts.mail_watch, int(last) if last.isdecimal() else after)
        )

    @post("/clear", guards=[only_same_origin], status_code=303, operation_id="ClearMailbox")
    async def clear(self, request: JsonRequest) -> Redirect:
        await request.parts.mails.clear()
        return Redirect("/mailbox", status_code=303)


async def _mail(mails: CapturedMails, id: int) -> CapturedMail:
    mail = await mails.get(id)
    if mail is None:
        raise NotFoundException(f"there is no mail {id}")
    return mail


async def _mailbox(
    request: JsonRequest,
    before: int | None,
    chosen: CapturedMail | None,
    view: View,
) -> Response[str]:
    mails = await request.parts.mails.latest(PAGE + 1, before)
    mail = chosen or (mails[0] if mails else None)
    if mail and view is View.HTML and mail.html is None:
        view = View.TEXT
    return page(
        "mailbox.html",
        mails=mails[:PAGE],
        more=len(mails) > PAGE,
        before=before,
        newest=mails[0].id if mails and before is None else 0,
        mail=mail,
        chosen=chosen,
        view=view,
        curl=_curl(request) if mail is None else "",
    )


async def _news(mails: CapturedMails, watch: PostgresMailWatch, seen: int) -> AsyncIterator[ServerSentEventMessage]:
    """What changes from `seen` on. The bell says when to look; the clock does too, in case a notice is lost."""
    row = environment.get_template("row.html")
    empty = not seen
    yield ServerSentEventMessage(data=None, comment="watching", retry=1000)
    async with watch.watching() as bell:
        while not watch.closed:
            await bell.wait(_POLL_SECONDS)
            try:
                fresh = await _since(mails, seen)
            except StoreUnavailableError:
                continue
            if fresh is None and not empty:
                yield ServerSentEventMessage(event="cleared", data="")
            empty = fresh is None
            if fresh and len(fresh) == PAGE:
                yield ServerSentEventMessage(event="many", data="", id=fresh[-1].id)
            else:
                for mail in fresh or []:
                    html = row.render(mail=mail, before=None, current=False, fresh=True)
                    yield ServerSentEventMessage(event="mail", data=html, id=mail.id)
            seen = fresh[-1].id if fresh else seen


async def _since(mails: CapturedMails, seen: int) -> list[CapturedMail] | None:
    """Those that came in later, oldest first and no more than a page; None when there is no mail at all."""
    newest = await mails.latest(1)
    if not newest:
        return None
    if newest[0].id <= seen:
        return []
    return [mail for mail in reversed(await mails.latest(PAGE)) if mail.id > seen]


def _short_time(at: datetime) -> str:
    """By the clock of this machine, which is the reader's too."""
    here = at.astimezone()
    return f"{here:%H:%M}" if here.date() == datetime.now(here.tzinfo).date() else f"{here.day} {here:%b}"


def _long_time(at: datetime) -> str:
    here = at.astimezone()
    return f"{here.day} {here:%B %Y, %H:%M:%S}"


def _preview(text: str) -> str:
    return " ".join(text[:500].split())[:120]


environment.filters |= {"short_time": _short_time, "long_time": _long_time, "preview": _preview}


def _curl(request: JsonRequest) -> str:
    """A first send, to paste. The key is read where it is kept: it is no part of any page."""
    file = request.parts.settings.data / "dev-key"
    key = f"$(cat {shlex.quote(str(file.absolute()))})" if file.exists() else "$CARILLON_KEY"
    body = msgspec.json.format(msgspec.json.encode(send_example(request.parts.templates.types()))).decode()
    return (
        f"curl {request.base_url}api/v1/notifications \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )
