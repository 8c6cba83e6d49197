"""How dates, numbers and lengths of time are written for one reader."""

from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import lru_cache
from typing import Literal

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, get_timezone_name
from babel.numbers import format_currency, format_decimal
from babel.units import format_unit

from adapters.templates.values import TemplateValueError


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader's locale and time zone, and the moment that the text takes for now."""

    locale: Locale
    zone: tzinfo
    now: datetime

    def date(self, value: str | datetime) -> str:
        """With the day of the week, to stand alone: Friday, March 13, 2026."""
        return _date(self.locale, self.zone, value, "full")

    def day(self, value: str | datetime) -> str:
        """Without it, to stand in a sentence: March 13, 2026. Some languages would have to decline the weekday."""
        return _date(self.locale, self.zone, value, "long")

    def time(self, value: str | datetime) -> str:
        """5:00 PM. The reader needs the zone as well."""
        return _time(self.locale, self.zone, value)

    def zone_name(self, value: str | datetime) -> str:
        """The zone's short name where this language has one (CET, MEZ), else its distance from UTC then (UTC+5:30)."""
        return _zone_name(self.locale, self.zone, value)

    def number(self, value: float) -> str:
        return _number(self.locale, value)

    def money(self, amount: float, currency: str) -> str:
        """In units of the currency, with as many decimals as it has: €1,049.50, ¥1,050."""
        return _money(self.locale, amount, currency)

    def duration(self, minutes: int) -> str:
        """In the largest unit that leaves no rest: 45 minutes, 2 hours, 90 minutes, 3 days."""
        return _duration(self.locale, minutes)

    def plural_form(self, count: float) -> str:
        return _plural_form(self.locale, count)


@lru_cache(maxsize=512)
def find_locale(name: str) -> Locale | None:
    """The locale of this name, de-AT or de_AT, if its conventions are known."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return None


# Babel takes 10 to 50 microseconds for each of these, and both parts of a mail and all mails of a batch repeat them.


@lru_cache(maxsize=2048)
def _date(locale: Locale, zone: tzinfo, value: str | datetime, length: Literal["full", "long"]) -> str:
    return format_date(_calendar_day(zone, value), length, locale=locale)


@lru_cache(maxsize=2048)
def _time(locale: Locale, zone: tzinfo, value: str | datetime) -> str:
    return format_time(_local(zone, value), "short", tzinfo=zone, locale=locale)


@lru_cache(maxsize=2048)
def _zone_name(locale: Locale, zone: tzinfo, value: str | datetime) -> str:
    local = _local(zone, value)
    name = get_timezone_name(local, "short", locale=locale)
    return name if name[:1] not in "+-" else _distance(local)


@lru_cache(maxsize=2048)
def _number(locale: Locale, value: float) -> str:
    return format_decimal(value + 0, locale=locale)  # -0.0 is equal to 0, so they share a place in the cache


@lru_cache(maxsize=2048)
def _plural_form(locale: Locale, count: float) -> str:
    return locale.plural_form(count)


@lru_cache(maxsize=2048)
def _money(locale: Locale, amount: float, currency: str) -> str:
    return format_currency(amount + 0, currency, locale=locale)


@lru_cache(maxsize=2048)
def _duration(locale: Locale, minutes: int) -> str:
    for unit, length in (("day", 1440), ("hour", 60)):
        if minutes and minutes % length == 0:
            return format_unit(minutes // length, unit, locale=locale)
    return format_unit(minutes, "minute", locale=locale)


def _calendar_day(zone: tzinfo, value: str | datetime) -> date:
    """A plain date is the same day everywhere, a moment is not."""
    if isinstance(value, str) and len(value) == len("2026-01-31"):
        return date.fromisoformat(value)
    return _local(zone, value)


def _local(zone: tzinfo, value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        raise TemplateValueError("a date and time has no offset")
    return moment.astimezone(zone)


def _distance(moment: datetime) -> str:
    offset = moment.utcoffset()
    assert offset is not None
    minutes = round(offset.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
