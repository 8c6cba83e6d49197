"""A template that a tenant owns: its versions, which never change, and which of them is active."""

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import template_id
from domain.template import NotificationType
from domain.vocabulary import Channel

MOST_VERSIONS = 1_000
MOST_ACTIVATIONS = 2_000
"""Ever, of one template. There are fewer ways back than there were activations, so a way back is always there."""
MOST_TEMPLATES = 1_000
"""Of one tenant."""

_OWN_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")

Texts = Mapping[str, Mapping[Channel, str]]
"""By locale and channel: the hash of the bundle that holds the text."""


class NoSuchVersionError(Exception):
    """The template has no version with this number."""


class TooManyVersionsError(Exception):
    """There is room for so many and no more."""


class TooManyActivationsError(Exception):
    """It was activated so often that its stream would get too long to be read."""


class TooManyTemplatesError(Exception):
    """A tenant has room for so many and no more."""


class NothingToRollBackError(Exception):
    """No version was active before the one that is."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a template: what it says of itself, and its texts."""

    number: int
    declared: NotificationType
    default_locale: str
    texts: Texts
    created_at: datetime
    by: str

    def languages(self, channel: Channel) -> dict[str, str]:
        """By locale, the text for this channel."""
        return {locale: texts[channel] for locale, texts in self.texts.items() if channel in texts}


def is_own_name(name: str) -> bool:
    """Whether a template of this name is a tenant's own: those have a hyphen, and the house's never do.

    So no deploy can ever take a name that a tenant uses, and which of both is meant is known without a look.
    """
    return "-" in name


def may_be_own_name(name: str) -> bool:
    """Lower case words and figures joined by hyphens, at least two of them."""
    return len(name) <= 100 and _OWN_NAME.fullmatch(name) is not None


class Template(Aggregate):
    """Its stream is named by tenant and name, so there is one of each. It holds hashes; the archive holds the texts."""

    class Event(Aggregate.Event):
        tenant: str
        name: str
        by: str

    class Created(Event, Aggregate.Created):
        TOPIC = "template.created"

    class VersionAdded(Event):
        TOPIC = "template.version_added"

        number: int
        declared: NotificationType
        default_locale: str
        texts: dict[str, dict[Channel, str]]

        def apply(self, template: "Template") -> None:
            template.versions[self.number] = Version(
                number=self.number,
                declared=self.declared,
                default_locale=self.default_locale,
                texts=self.texts,
                created_at=self.timestamp,
                by=self.by,
            )

    class Localized(Event):
        """A version like `base` but for the texts in this locale."""

        TOPIC = "template.localized"

        number: int
        base: int
        locale: str
        texts: dict[Channel, str]

        def apply(self, template: "Template") -> None:
            base = template.versions[self.base]
            template.versions[self.number] = msgspec.structs.replace(
                base,
                number=self.number,
                texts={**base.texts, self.locale: self.texts},
                created_at=self.timestamp,
                by=self.by,
            )

    class Activated(Event):
        TOPIC = "template.activated"

        number: int

        def apply(self, template: "Template") -> None:
            template.activations.append(self.number)
            template.activated += 1

    class RolledBack(Event):
        """The version that was active before, `number`, is so again."""

        TOPIC = "template.rolled_back"

        number: int

        def apply(self, template: "Template") -> None:
            template.activations.pop()

    def __init__(self, tenant: str, name: str) -> None:
        self.tenant = tenant
        self.name = name
        self.versions: dict[int, Version] = {}
        self.activations: list[int] = []
        self.activated = 0

    @classmethod
    def create(cls, tenant: str, name: str, *, now: datetime, by: str) -> "Template":
        """One that has no version yet."""
        return cls._create(cls.Created, id=template_id(tenant, name), timestamp=now, tenant=tenant, name=name, by=by)

    @property
    def newest(self) -> Version:
        return self.versions[len(self.versions)]

    @property
    def active(self) -> Version | None:
        """What new messages are accepted with; None before the first was activated."""
        return self.versions[self.activations[-1]] if self.activations else None

    def numbered(self, number: int) -> Version:
        """Raises NoSuchVersionError."""
        if number not in self.versions:
            raise NoSuchVersionError(f"{self.name} has no version {number}")
        return self.versions[number]

    def add_version(
        self,
        declared: NotificationType,
        default_locale: str,
        texts: dict[str, dict[Channel, str]],
        *,
        now: datetime,
        by: str,
    ) -> Version:
        """The new version, not active yet. Raises TooManyVersionsError."""
        self._trigger(
            self.VersionAdded,
            now,
            by,
            number=self._next_number(),
            declared=declared,
            default_locale=default_locale,
            texts=texts,
        )
        return self.newest

    def localize(self, base: int, locale: str, texts: dict[Channel, str], *, now: datetime, by: str) -> Version:
        """The version with these texts: a new one, or `base` where it says the same already.

        Raises NoSuchVersionError and TooManyVersionsError.
        """
        if self.numbered(base).texts.get(locale) == texts:
            return self.numbered(base)
        self._trigger(self.Localized, now, by, number=self._next_number(), base=base, locale=locale, texts=texts)
        return self.newest

    def activate(self, number: int, *, now: datetime, by: str) -> None:
        """Nothing happens if it is active already. Raises NoSuchVersionError and TooManyActivationsError."""
        if self.numbered(number) is not self.active:
            if self.activated >= MOST_ACTIVATIONS:
                raise TooManyActivationsError(f"{self.name} was activated {MOST_ACTIVATIONS} times: create another")
            self._trigger(self.Activated, now, by, number=number)

    def roll_back(self, *, now: datetime, by: str) -> None:
        """Raises NothingToRollBackError."""
        if len(self.activations) < 2:
            raise NothingToRollBackError(f"no version of {self.name} was active before")
        self._trigger(self.RolledBack, now, by, number=self.activations[-2])

    def _next_number(self) -> int:
        if len(self.versions) >= MOST_VERSIONS:
            raise TooManyVersionsError(f"{self.name} has {MOST_VERSIONS} versions")
        return len(self.versions) + 1

    def _trigger(self, event: type[Event], now: datetime, by: str, **said: object) -> None:
        self.trigger_event(event, timestamp=now, tenant=self.tenant, name=self.name, by=by, **said)
