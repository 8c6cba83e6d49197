"""Pages for people: Jinja2 templates and the few files that they fetch, all of it served from here."""

import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from entrypoints.http.request import OPEN

_FOLDER = Path(__file__).with_name("pages")
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ASSETS = {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir()) if file.suffix in _KINDS}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    # Not no-referrer: under that, browsers would send our own forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

environment = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
environment.globals["version"] = hashlib.sha256(b"".join(_ASSETS.values())).hexdigest()[:12]


def page(template: str, **values: Any) -> Response[str]:
    """A whole page, under a policy that lets it load nothing from elsewhere and run no script but ours."""
    content = environment.get_template(template).render(values)
    return Response(content, media_type="text/html", headers=_HEADERS)


@get("/assets/{name:str}", include_in_schema=False, opt=OPEN)
async def asset(name: FromPath[str]) -> Response[bytes]:
    """Style, script or picture. The pages ask for it with its version, so a browser may keep it."""
    if name not in _ASSETS:
        raise NotFoundException("Not Found")
    headers = {"Cache-Control": "max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(_ASSETS[name], media_type=_KINDS[Path(name).suffix], headers=headers)
