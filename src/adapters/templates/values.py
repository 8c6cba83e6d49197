"""What a value must be before it may stand in a text: one line, a link, a colour."""

import re
from typing import Any

from domain.template import is_color, is_web_address


class TemplateValueError(ValueError):
    """A value that a text refuses. The message never repeats the value."""


def link(value: object) -> str:
    """An http or https address, and nothing else: no script, no data, no file."""
    if not isinstance(value, str) or not is_web_address(value):
        raise TemplateValueError("a link is not an http or https address")
    return value


def fill(color: object) -> str:
    """The tenant's colour, or the house's where none is given."""
    if not color:
        return HOUSE_COLOR
    if not isinstance(color, str) or not is_color(color):
        raise TemplateValueError("a colour is not one such as #0a7cff")
    return color


def ink(color: object) -> str:
    """Black or white, whichever stands out more on this colour (WCAG 2.2, contrast ratio)."""
    light = _luminance(fill(color))
    return "#ffffff" if 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 else "#000000"


def on_one_line(value: Any) -> Any:
    """The value with every string in it on one line: a name cannot start a new paragraph, or turn the writing round."""
    match value:
        case str() if value.isprintable():  # most are, and this is quicker to ask
            return value
        case str():
            return _LINE_BREAKING.sub(" ", _INVISIBLE.sub("", value)).strip() if _SUSPECT.search(value) else value
        case list():
            return [on_one_line(item) for item in value]
        case dict():
            return {key: on_one_line(item) for key, item in value.items()}
        case _:
            return value


def plain_text(text: str, width: int = 76) -> str:
    """As a text part is sent: no empty lines in a row, and lines longer than `width` broken at spaces.

    What has no space, such as a link, stays whole.
    """
    text = "\n".join([_wrapped(line, width) if len(line) > width else line for line in text.strip().split("\n")])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text + "\n"


HOUSE_COLOR = "#2f55d4"

_LINE_BREAKING = re.compile("[\\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_INVISIBLE = re.compile("[\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SUSPECT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    red, green, blue = (_linear(int(digits[at : at + 2], 16) / 255) for at in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _wrapped(line: str, width: int) -> str:
    lines, start = [], 0
    while len(line) - start > width:
        space = line.rfind(" ", start, start + width + 1)
        end = space if space > start else line.find(" ", start + width)
        if end < 0:
            break
        lines.append(line[start:end])
        start = end + 1
    return "\n".join([*lines, line[start:]])
