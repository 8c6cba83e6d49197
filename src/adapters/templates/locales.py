"""Which language of a text a reader gets, and whose conventions its dates and numbers follow."""

from collections.abc import Collection, Iterator

from babel import Locale

from adapters.templates.reader import find_locale


def locale_tag(name: str) -> str | None:
    """The locale of this name, de_at, in the form that is stored and shown, de-AT; None if it is not known."""
    try:
        found = find_locale(name)
    except (TypeError, AttributeError):  # Babel's, for some of what is no name at all
        return None
    return _tag(found) if found else None


def nearest(locale: str, languages: Collection[str], default: str) -> tuple[str, str]:
    """The nearest of `languages` there is to `locale`, else the default, and the locale to write it by.

    That is the reader's, de-AT, as long as the text is in that language: dates follow the region.
    """
    language = next((name for name in _from_near_to_far(locale) if name in languages), None)
    if language is None:
        language = locale = default
    return language, next(_from_near_to_far(locale))


def _from_near_to_far(locale: str) -> Iterator[str]:
    """de-AT, then de; zh-Hant-TW, then zh-Hant, then zh."""
    given = locale.replace("-", "_")
    known = find_locale(given)
    for name in dict.fromkeys([*_shortened(str(known))] if known else []) | dict.fromkeys(_shortened(given)):
        found = find_locale(name)
        if found is not None:
            yield name.replace("_", "-") if known and name in _shortened(str(known)) else _tag(found)


def _shortened(name: str) -> list[str]:
    """zh_Hant_TW, zh_Hant, zh."""
    subtags = name.split("_")
    return ["_".join(subtags[:length]) for length in range(len(subtags), 0, -1)]


def _tag(locale: Locale) -> str:
    return str(locale).replace("_", "-")
