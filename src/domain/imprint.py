"""What advertising has to show its reader (CAN-SPAM, 15 U.S.C. 7704(a)(5)): where its sender is, and the way out."""

from collections.abc import Iterable
from html import unescape

from domain.template import Content


def shows_imprint(content: Content, addresses: Iterable[str], links: Iterable[str]) -> bool:
    """Whether each part that a reader may see has one of these postal addresses and one of these links."""
    parts = [content.text, *([unescape(content.html)] if content.html else [])]
    seen = [_plain(part) for part in parts]
    return all(any(_plain(each) in part for each in wanted if each) for wanted in (addresses, links) for part in seen)


def _plain(text: str) -> str:
    return " ".join(text.split())
