"""What is said: texts to choose from, texts that tenants write, and what renders them."""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from application.problems import Problem
from domain.template import Content, CurrentTemplate, NotificationType, RenderError, TemplatePin
from domain.vocabulary import Channel


class CurrentTexts(Protocol):
    """Texts to choose from."""

    def current(self, tenant: str, type: str, channel: Channel, locale: str) -> CurrentTemplate:
        """The text to be used for what is accepted now, in the nearest language there is to `locale`.

        Raises UnknownTemplateError. What it answers can be rendered by `TemplateRenderer` for ever.
        """


class Templates(CurrentTexts, Protocol):
    """The house's own notification types and texts, which every tenant has."""

    def types(self) -> list[NotificationType]: ...

    def versions(self, type: str) -> Mapping[Channel, Mapping[str, str]]:
        """By channel and locale, the version that is current; empty for a type that is not there."""


Sources = Mapping[Channel, Mapping[str, str]]
"""What was written: by channel and part (subject, html, text, link)."""


class InvalidTextsError(Exception):
    """What was written cannot be a template; `problems` names every fault found, with its line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" for p in problems))
        self.problems = problems


class TemplateMaker(Protocol):
    """Makes texts that can be rendered for ever out of what a tenant wrote, which nobody trusts."""

    def locale(self, name: str) -> str | None:
        """The normal form of a locale's name, such as pt-BR; None for one whose conventions are not known."""

    def nearest(self, locale: str, languages: Collection[str], default: str) -> tuple[str, str]:
        """The nearest of `languages` to the reader's `locale`, else the default; and the locale to write it by."""

    async def make(
        self, tenant: str, declared: NotificationType, texts: Mapping[str, Sources]
    ) -> dict[str, dict[Channel, str]]:
        """Check what is written by locale, try it out with the examples, and keep it durably; answers the versions.

        However much that is, it takes a few seconds of computing time at the most. Raises RendererUnavailableError,
        and InvalidTextsError with paths such as texts.de.email.subject, where parts are called as they are rendered.
        """

    async def sources(self, version: str) -> Mapping[str, str]:
        """What was written, by part, of a version that was made."""


class RendererUnavailableError(Exception):
    """Nothing is wrong with the template: what renders it cannot be had just now."""


class TenantSlowError(RendererUnavailableError):
    """The tenant's own templates took so much computing time that they have to wait; `retry_after` is in seconds."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.retry_after = math.ceil(wait)


class TemplateMissingError(RenderError):
    """The pinned version is not kept."""


class TemplateAlteredError(RenderError):
    """What is kept as the pinned version is something else."""


class TemplateRenderer(Protocol):
    async def render(
        self,
        type: str,
        channel: Channel,
        pin: TemplatePin,
        variables: Mapping[str, Any],
        *,
        at: datetime,
        time_zone: str | None,
    ) -> Content:
        """The same bytes for the same arguments, whatever was deployed since. `at` is what the text takes for now.

        Raises RenderError, and RendererUnavailableError when it may go well later: TenantSlowError where that is the
        tenant's own doing.
        """
