"""The style sheet written into each element of an HTML file that still holds its Jinja tags.

Done once, when the folder is read: rendering is then Jinja alone, and a stored bundle does not depend on the inliner.
"""

import re

from css_inline import CSSInliner, InlineError

from adapters.templates.problems import TemplateFolderError

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_MARK = re.compile(r"(?:<!--)?jinja(\d+)mark(?:-->)?")
_COMMENT_MARK = re.compile(r"<!--(jinja\d+mark)-->")
# Where a mark must stay bare: a comment does not count inside a tag, a title, a style or another comment.
_BARE = re.compile(r"<!--.*?-->|<(title|style)\b.*?</\1>|<[^>]*>|jinja\d+mark", re.DOTALL)

_GUARDED = {
    "href": re.compile(r"\{\{[^{}]*\|\s*link\s*\}\}"),
    "src": re.compile(r"\{\{[^{}]*\|\s*link\s*\}\}"),
    "style": re.compile(r"(?:[^{}]|\{\{[^{}]*\|\s*(?:fill|ink)\s*\}\})*"),
}
_ATTRIBUTE = re.compile(r"""\b([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""")
_UNQUOTED = re.compile(r"=\s*\{\{")


def inline(file: str, source: str, style_sheet: str) -> str:
    """`source` with the rules of `style_sheet` in the style attributes. Every Jinja tag stays on its line.

    Raises TemplateFolderError where a value could leave its place, and where the HTML would have to be mended: a parser
    moves what may not stand where it stands, and would move a Jinja tag with it.
    """
    _check_attributes(file, source)
    tags = _JINJA.findall(source)
    marked = _BARE.sub(_as_comment, _marked(source))
    inlined = _run(file, marked, style_sheet)
    _check_nothing_moved(file, marked, inlined)
    return _MARK.sub(lambda mark: tags[int(mark[1])], inlined)


def _marked(source: str) -> str:
    """Each tag as a word of letters and digits, with as many line ends after it as the tag has."""
    numbers = iter(range(source.count("{")))
    return _JINJA.sub(lambda _: f"jinja{next(numbers)}mark", source)


def _as_comment(match: re.Match[str]) -> str:
    return f"<!--{match[0]}-->" if match[0].startswith("jinja") else match[0]


def _run(file: str, html: str, style_sheet: str) -> str:
    inliner = CSSInliner(extra_css=style_sheet, load_remote_stylesheets=False, minify_css=True)
    try:
        if "<html" in html:
            return inliner.inline(html)
        return inliner.inline_fragment(html, style_sheet)
    except InlineError as error:
        raise TemplateFolderError(file, f"the style sheet cannot be inlined: {error}") from error


def _check_nothing_moved(file: str, before: str, after: str) -> None:
    """Attributes may change places within their element, nothing else may."""
    if _COMMENT_MARK.findall(before) != _COMMENT_MARK.findall(after):
        raise TemplateFolderError(file, "a Jinja tag stands where HTML has no place for it")
    lines, lines_after = _lines(before), _lines(after)
    for number, line in lines.items():
        if lines_after.get(number) != line:
            raise TemplateFolderError(file, f"line {line}: up to here the HTML would have to be mended")


def _lines(html: str) -> dict[str, int]:
    return {mark[1]: html.count("\n", 0, mark.start()) + 1 for mark in _MARK.finditer(html)}


def _check_attributes(file: str, source: str) -> None:
    """Escaping alone does not make a link or a style safe; the filters for them do."""
    if unquoted := _UNQUOTED.search(_JINJA_STATEMENT.sub("", source)):
        raise TemplateFolderError(file, f"an attribute's value needs quotes: {unquoted[0]}")
    for tag in _TAG.finditer(source):
        for name, double, single, _ in _ATTRIBUTE.findall(tag[0]):
            value = double or single
            guard = _GUARDED.get(name.lower())
            if "{{" in value and guard and not guard.fullmatch(value):
                raise TemplateFolderError(file, f'{name}="{value}" has a value without its filter')


_JINJA_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z](?:\{\{.*?\}\}|[^>])*>", re.DOTALL)
