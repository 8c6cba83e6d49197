"""Pages for those who get the messages: leaving with one click, and choosing. The link says who asks."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import available_timezones

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery

from application.caller import Caller
from application.commands.choose import BY, SOURCE, Chosen
from application.commands.preferences import Unsubscribe
from application.faults import is_time_zone
from application.processes.gather import DIGEST
from application.readers import Who
from domain.decision import SECURITY
from domain.preferences import MOST_CHOICES
from domain.vocabulary import Frequency
from domain.wall_clock import QuietHours
from entrypoints.http.page import page
from entrypoints.http.request import OPEN, JsonRequest, MalformedBodyError, header

_DEFAULT = "en"
_TO_TENANTS = "webhook"
_LONGEST_NAME = 100


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    language: str
    title: str
    intro: str
    always: str
    often: str
    often_hint: str
    language_label: str
    language_none: str
    zone_label: str
    zone_none: str
    quiet_label: str
    quiet_hint: str
    save: str
    saved: str
    none_title: str
    none: str
    leave_title: str
    leave: str
    leave_button: str
    lost_title: str
    lost: str
    left_title: str
    left: str
    choose: str
    to: str
    categories: dict[str, str]
    frequencies: dict[Frequency, str]
    from_: str = msgspec.field(name="from")


_WORDS = msgspec.toml.decode(
    Path(__file__).with_name("pages").joinpath("reader.toml").read_bytes(), type=dict[str, _Words]
)
LANGUAGES = {code: words.language for code, words in _WORDS.items()}


def _lost(request: Request[Any, Any, Any], _: NotFoundException) -> Response[str]:
    """For people, whose mail program has cut a link."""
    code = _spoken([request.query_params.get("lang"), *_accepted(request)])
    return _page("lost.html", code, status=404, heading=_WORDS[code].lost_title)


class ReadersController(Controller):
    include_in_schema = False
    opt = OPEN
    exception_handlers = {NotFoundException: _lost}  # noqa: RUF012 - the form that Litestar asks for

    @get("/u/{token:str}")
    async def ask(
        self, token: FromPath[str], request: JsonRequest, lang: FromQuery[str | None] = None
    ) -> Response[str]:
        """Changes nothing: programs that look for danger open every link of a mail."""
        who, category = _read(request, token)
        return await _leave_page(request, token, who, category, lang, left=False)

    @post("/u/{token:str}", status_code=200)
    async def leave(
        self, token: FromPath[str], request: JsonRequest, lang: FromQuery[str | None] = None
    ) -> Response[str]:
        """One click (RFC 8058): whatever the body says, without cookies, and answered without a redirect."""
        who, category = _read(request, token)
        command = Unsubscribe(user_id=who.user, address=who.address, channel=who.channel, category=category)
        await request.parts.reader_uses.unsubscribe(command, Caller(who.tenant, BY), SOURCE)
        return await _leave_page(request, token, who, category, lang, left=True)

    @get("/p/{token:str}")
    async def page(
        self, token: FromPath[str], request: JsonRequest, lang: FromQuery[str | None] = None
    ) -> Response[str]:
        who, category = _read(request, token)
        return await _choose_page(request, token, who, category, lang, saved=False)

    @post("/p/{token:str}", status_code=200)
    async def save(
        self, token: FromPath[str], request: JsonRequest, lang: FromQuery[str | None] = None
    ) -> Response[str]:
        who, category = _read(request, token)
        form = _form(await request.body())
        if "none" in form:
            command = Unsubscribe(user_id=who.user, address=who.address, channel=who.channel)
            await request.parts.reader_uses.unsubscribe(command, Caller(who.tenant, BY), SOURCE)
        else:
            await request.parts.reader_uses.choose(_chosen(form), who)
        return await _choose_page(request, token, who, category, lang, saved=True)


def _read(request: JsonRequest, token: str) -> tuple[Who, str]:
    found = request.parts.reader_links.read(token)
    if found is None:
        raise NotFoundException("Not Found")
    return found


async def _leave_page(
    request: JsonRequest, token: str, who: Who, category: str, lang: str | None, *, left: bool
) -> Response[str]:
    code = await _language(request, who, category, lang)
    words = _WORDS[code]
    said = words.left if left else words.leave
    return _page(
        "leave.html",
        code,
        heading=words.left_title if left else words.leave_title,
        token=token,
        left=left,
        said=said.format(category=words.categories.get(category, category), address=_shortened(who.address)),
    )


async def _choose_page(
    request: JsonRequest, token: str, who: Who, category: str, lang: str | None, *, saved: bool
) -> Response[str]:
    code = await _language(request, who, category, lang)
    chosen = await request.parts.reader_uses.chosen(who, _categories(request, category))
    return _page(
        "choose.html",
        code,
        heading=_WORDS[code].title,
        token=token,
        saved=saved,
        user=who.user,
        chosen=chosen,
        intro=_WORDS[code].intro.format(address=_shortened(who.address)),
        zones=_zones(),
    )


def _page(template: str, code: str, *, status: int = 200, **values: Any) -> Response[str]:
    words = msgspec.structs.asdict(_WORDS[code]) | {"code": code, "from": _WORDS[code].from_}
    answer = page(template, words=words, languages=LANGUAGES, **values)
    answer.status_code = status
    return answer


async def _language(request: JsonRequest, who: Who, category: str, asked: str | None) -> str:
    """The one asked for, else the one that the reader chose, else one that the browser knows."""
    known = (await request.parts.reader_uses.chosen(who, [category])).language
    return _spoken([asked, known, *_accepted(request)])


def _accepted(request: Request[Any, Any, Any]) -> list[str]:
    return [each.partition(";")[0].strip() for each in header(request, b"accept-language").split(",")]


def _spoken(wanted: Iterable[str | None]) -> str:
    for each in wanted:
        code = (each or "").replace("_", "-").partition("-")[0].lower()
        if code in _WORDS:
            return code
    return _DEFAULT


def _categories(request: JsonRequest, category: str) -> set[str]:
    """That of the mail that the link stood in and those of the house's types, but for what nobody can switch off, what
    is told to tenants, and digests, which are of other categories."""
    house = {type_.category for type_ in request.parts.templates.types()}
    return {category, *house - {_TO_TENANTS, DIGEST}} - {SECURITY}


@lru_cache(maxsize=1)
def _zones() -> list[str]:
    return sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))


def _form(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=4 * MOST_CHOICES, errors="strict")
    except ValueError:
        raise MalformedBodyError("the body is not a form") from None


def _chosen(form: dict[str, list[str]]) -> Chosen:
    """Of what the page showed; what cannot be is taken for nothing."""
    on = set(form.get("on", []))
    known = [name for name in form.get("known", []) if 0 < len(name) <= _LONGEST_NAME and "\0" not in name]
    zone = _one(form, "zone")
    return Chosen(
        categories={name: name in on for name in known[:MOST_CHOICES]},
        frequencies={name: often for name in known[:MOST_CHOICES] if (often := _often(form, name))},
        language=code if (code := _one(form, "language")) in LANGUAGES else None,
        time_zone=zone if zone and is_time_zone(zone) else None,
        quiet_hours=_quiet_hours(_one(form, "starts"), _one(form, "ends")),
    )


def _often(form: dict[str, list[str]], category: str) -> Frequency | None:
    try:
        return Frequency(_one(form, f"often:{category}"))
    except ValueError:
        return None


def _quiet_hours(starts: str, ends: str) -> QuietHours | None:
    try:
        return msgspec.convert({"starts": f"{starts[:5]}:00", "ends": f"{ends[:5]}:00"}, QuietHours)
    except msgspec.ValidationError:
        return None


def _one(form: dict[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0]


def _shortened(address: str) -> str:
    """Enough for its reader to know it by, and no more for whoever got hold of the link."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}•••{at}{domain}" if at else f"•••{address[-3:]}"
