"""The Jinja that templates of tenants run in, what they may say, and what may come of it."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import msgspec
from jinja2 import Environment, TemplateSyntaxError, nodes, select_autoescape
from jinja2.meta import find_referenced_templates, find_undeclared_variables
from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters.templates.bundle import Bundle
from adapters.templates.environment import Phrasebook, Sources, make_environment
from adapters.templates.reader import Reader
from adapters.templates.values import TemplateValueError
from domain.template import Content, RenderError, is_web_address

MOST_OUTPUT = 1024 * 1024
"""Bytes of all parts of one message together."""

# Of the names that our own templates read beside their variables, these two are plain values.
_GIVEN = frozenset({"now", "language"})
# `t` says our own sentences, a message must come out the same whenever it is rendered, and values are always escaped.
_NOT_FOR_TENANTS = frozenset({"t", "random", "safe"})


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one part of a template; `part` is None where it cannot be told which."""

    part: str | None
    message: str


class UntrustedEnvironment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not isinstance(obj, Reader | Phrasebook) and super().is_safe_attribute(obj, attr, value)


def untrusted_environment(sources: Mapping[str, str]) -> Environment:
    """As for our own files, but for the sandbox: no names beside the variables, and nothing to refer to."""
    ours = make_environment({})
    environment = UntrustedEnvironment(
        loader=Sources(sources),
        undefined=ours.undefined,
        autoescape=select_autoescape(["html"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    environment.globals = {}
    environment.filters = {name: filter for name, filter in ours.filters.items() if name not in _NOT_FOR_TENANTS}
    return environment


def faults(bundle: Bundle, secrets: frozenset[str] = frozenset()) -> list[Fault]:
    """What can be known to be wrong with it without running it. A subject is shown in lists, so it tells no secret."""
    environment = untrusted_environment({})
    known = _GIVEN.union(bundle.variables)
    found: list[Fault] = []
    for part, file in bundle.parts.items():
        try:
            hidden = secrets if part == "subject" else frozenset()
            messages = _faults(bundle.sources[file], file, environment, known, hidden)
            found += [Fault(part, message) for message in messages]
        except (RecursionError, MemoryError, OverflowError):
            found.append(Fault(part, "is too deeply nested, or too large, to be read"))
    return found


def check_output(bundle: Bundle, content: Content) -> None:
    """Raises RenderError when it is too much, or the HTML holds what has no place in a mail."""
    texts = (content.subject, content.html, content.text, content.link)
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts if text) > MOST_OUTPUT:
        raise RenderError(f"{bundle.name}: comes to more than {MOST_OUTPUT // 1024} KiB")
    if content.html is not None:
        _Html(bundle.parts["html"]).check(content.html)


def _faults(
    source: str, file: str, environment: Environment, known: frozenset[str], secrets: frozenset[str]
) -> Iterator[str]:
    try:
        tree = environment.parse(source, name=file)
        environment.compile(environment.parse(source, name=file), name=file)
    except TemplateSyntaxError as error:
        yield f"line {error.lineno}: {error.message}"
        return
    if any(True for _ in find_referenced_templates(tree)):
        yield "refers to another file: a template stands alone"
    if modifier := tree.find(nodes.EvalContextModifier):
        yield f"line {modifier.lineno}: escaping cannot be turned off"
    reads = find_undeclared_variables(tree)
    for name in sorted(reads - known):
        yield f"line {_line(tree, name)}: {name} is not a variable of this template"
    for name in sorted(reads & secrets):
        yield f"line {_line(tree, name)}: {name} is secret and must not stand in a subject"


def _line(tree: nodes.Template, name: str) -> int:
    return min((each.lineno for each in tree.find_all(nodes.Name) if each.name == name), default=1)


def _shown(value: Any) -> Any:
    """Only what can be written out the same on every machine is: no list, no object."""
    if isinstance(value, str | int | float | Undefined):
        return value
    raise TemplateValueError("only words and numbers can be shown")


# What leads somewhere or fetches something, in any element.
_ADDRESSES = frozenset(
    {
        "href",
        "src",
        "action",
        "formaction",
        "background",
        "poster",
        "srcset",
        "data",
        "cite",
        "ping",
        "xlink:href",
        "lowsrc",
        "dynsrc",
        "longdesc",
        "codebase",
        "classid",
        "manifest",
        "profile",
        "usemap",
    }
)
_ACTIVE = frozenset({"script", "iframe", "frame", "object", "embed", "applet", "base", "form"})
# What stands in these is text to some programs and elements to others; the last two have rules of their own.
_READ_OTHERWISE = frozenset(
    {"textarea", "xmp", "noembed", "noframes", "noscript", "plaintext", "template", "svg", "math"}
)
_AMBIGUOUS = re.compile(r"<!\[(?!endif\]|if )|<title[^>]*>[^<]*<(?!/title\s*>)", re.IGNORECASE)
_OTHER_END = re.compile(r"--!>|--\s+>")
_STYLE_ADDRESS = re.compile(r"url\s*\(([^)]*)\)?", re.IGNORECASE)


def _comments_are_plain(html: str) -> bool:
    """Whether every comment ends where its first `-->` is, to every program."""
    at = html.find("<!--")
    while at >= 0:
        begin, end = at + 4, html.find("-->", at + 4)
        if end < 0 or html.startswith((">", "->"), begin) or _OTHER_END.search(html, begin, end + 3):
            return False
        at = html.find("<!--", end + 3)
    return True


class _Html(HTMLParser):
    """Looks for what no mail needs and no mail program should be trusted with."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def check(self, html: str) -> None:
        """Also refuses what programs do not all read alike, for it could be something else to the reader's."""
        if _AMBIGUOUS.search(html) or not _comments_are_plain(html):
            self._refuse("holds a comment or a declaration that programs read differently")
        try:
            self.feed(html)
            self.close()
        except AssertionError:
            self._refuse("is not HTML")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self._check_style(data)

    def _check_style(self, style: str) -> None:
        """Style may fetch and lead nowhere else than links may, and says so in plain letters."""
        if "\\" in style or "@import" in style.lower() or "expression" in style.lower():
            self._refuse("holds style with an escape, an import or an expression")
        for address in _STYLE_ADDRESS.findall(style):
            if not is_web_address(address.strip(" \t\n\"'")):
                self._refuse("an address in the style is not an http or https address")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _ACTIVE | _READ_OTHERWISE:
            self._refuse(f"holds the element {tag}")
        for name, value in attrs:
            if name.startswith("on"):
                self._refuse(f"holds the attribute {name}")
            if name in _ADDRESSES and not is_web_address((value or "").strip()):
                self._refuse(f"a link is not an http or https address, in {tag} {name}")
            if name == "style":
                self._check_style(value or "")
            if name == "http-equiv" and (value or "").strip().lower() == "refresh":
                self._refuse("leads elsewhere by itself")

    def handle_comment(self, data: str) -> None:
        """Some mail programs read what stands in a conditional comment."""
        if data.lstrip().startswith("[if"):
            _Html(self._file).check(data.partition(">")[2].rpartition("<!")[0])

    def _refuse(self, reason: str) -> None:
        raise RenderError(f"{self._file} line {self.getpos()[0]}: {reason}")
