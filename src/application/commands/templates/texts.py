"""What is written of a template: what it says of itself, and its texts by locale, channel and part."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.template import Variable, VariableType
from domain.vocabulary import Channel, Priority, Purpose

MOST_LOCALES = 50
MOST_VARIABLES = 100

Page = Annotated[str, Meta(min_length=1, max_length=200_000)]
Text = Annotated[str, Meta(min_length=1, max_length=50_000)]
Line = Annotated[str, Meta(min_length=1, max_length=1_000)]
Short = Annotated[str, Meta(min_length=1, max_length=5_000)]


class EmailText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`text` is read where HTML is not shown; without `html` the mail is plain."""

    subject: Line
    html: Page | None = None
    text: Text


class SmsText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Short


class PushText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`link` is where a tap leads."""

    title: Line
    body: Short
    link: Short | None = None


class InAppText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`link` is where a click leads."""

    title: Line
    body: Short
    link: Short | None = None


class ChannelTexts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said in one language, in Jinja, by channel; at least by one."""

    email: EmailText | UnsetType = UNSET
    sms: SmsText | UnsetType = UNSET
    push: PushText | UnsetType = UNSET
    in_app: InAppText | UnsetType = UNSET

    def sources(self) -> dict[Channel, dict[str, str]]:
        """By channel and part; a title is the subject, and a body the text."""
        written = {channel: getattr(self, channel.value, UNSET) for channel in Channel}
        return {channel: _by_part(texts) for channel, texts in written.items() if texts is not UNSET}


PARTS = {"title": "subject", "body": "text"}
"""How the title and the body of a push or an inbox message are called where they are rendered."""


def _by_part(texts: msgspec.Struct) -> dict[str, str]:
    return {PARTS.get(name, name): source for name, source in msgspec.structs.asdict(texts).items() if source}


class DeclaredVariable(Variable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable that the texts may use: what is sent has to have those that are `required`, and no other.

    A required one needs an example. A `secret` one (a link, a code) is never shown by the API.
    """

    type: VariableType
    fields: dict[str, "DeclaredVariable"] = msgspec.field(default_factory=dict)  # type: ignore[assignment]


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    category: Annotated[str, Meta(min_length=1, max_length=100, description="What readers choose by")]
    purpose: Annotated[Purpose, Meta(description="What the law asks by")] = Purpose.TRANSACTIONAL
    priority: Priority = Priority.MEDIUM
    description: Annotated[str, Meta(max_length=1_000)] = ""
    variables: Annotated[dict[str, DeclaredVariable], Meta(max_length=MOST_VARIABLES)] = {}
    default_locale: Annotated[str, Meta(max_length=35, description="For readers of no other language")] = "en"
    texts: Annotated[
        dict[str, ChannelTexts],
        Meta(min_length=1, max_length=MOST_LOCALES, description="By locale, such as de or pt-BR"),
    ]


class CreateTemplate(Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template of your own, with its first version."""

    name: Annotated[str, Meta(max_length=100, description="Words joined by hyphens, at least two")]


class AddTemplateVersion(Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a new version says; nothing is taken over from the one before."""
