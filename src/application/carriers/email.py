"""Email: rendered here, carried by a provider."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial

from application import message
from application.carriers.carrier import Parcel, UnsendableError, WorkRules
from application.ports.email import EmailSender
from application.ports.templates import TemplateRenderer
from domain.imprint import shows_imprint
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.personal import Envelope, Letter
from domain.retry import RetryPolicy
from domain.template import Content, RenderError
from domain.vocabulary import Purpose, Reason

_PREVIEW = 140
_MASK = "•••"


class EmailRules(WorkRules, frozen=True, kw_only=True):
    """How email is worked, and whom it comes from. `postal_address` is demanded of advertising, if there is one."""

    sender: Mailbox
    reply_to: Mailbox | None = None
    retry: RetryPolicy = RetryPolicy()
    postal_address: str | None = None


class EmailCarrier:
    """Needs nothing for a lot, so it is its own load."""

    def __init__(self, renderer: TemplateRenderer, sender: EmailSender, rules: EmailRules) -> None:
        self._renderer = renderer
        self._sender = sender
        self.rules: WorkRules = rules
        self._rules = rules

    @property
    def provider(self) -> str:
        return self._sender.provider

    @property
    def key_lifetime(self) -> timedelta | None:
        return self._sender.key_lifetime

    async def load(self, notifications: Collection[Notification]) -> "EmailCarrier":
        return self

    def retries(self, notification: Notification) -> RetryPolicy:
        return self._rules.retry

    async def prepare(self, notification: Notification) -> Parcel:
        """All attempts of a generation come from whom the first one came from."""
        content = await made(notification, self._renderer, self._rules.postal_address)
        email = message.email(
            notification,
            content,
            sender=notification.sender or self._rules.sender,
            reply_to=notification.reply_to if notification.sender else self._rules.reply_to,
            generation=notification.generation,
        )
        return Parcel(
            message.digest(email),
            envelope(notification, content),
            email.sender,
            email.reply_to,
            partial(self._sender.send, email, notification.idempotency_key),
        )


async def made(notification: Notification, renderer: TemplateRenderer, postal_address: str | None) -> Content:
    """What it says, which is fit to go out: advertising shows `postal_address`, or its sender's, if there is one.

    Raises UnsendableError, and RendererUnavailableError.
    """
    if not isinstance(notification.letter, Letter):
        raise UnsendableError(Reason.PERSON_ERASED)
    try:
        content = await message.rendered(notification, renderer)
    except RenderError as error:
        raise UnsendableError(Reason.RENDER_FAILED, str(error)) from None
    if postal_address and not _shows_imprint(notification, content, postal_address):
        raise UnsendableError(Reason.IMPRINT_MISSING)
    return content


def _shows_imprint(notification: Notification, content: Content, postal_address: str) -> bool:
    letter = notification.letter
    assert isinstance(letter, Letter)
    if notification.purpose is not Purpose.MARKETING:
        return True
    links = [letter.unsubscribe_url or "", str(letter.variables.get("unsubscribe_url") or "")]
    return shows_imprint(content, [postal_address, str(letter.variables.get("postal_address") or "")], links)


def envelope(notification: Notification, content: Content) -> Envelope:
    """What is kept and shown of a message that was made."""
    assert isinstance(notification.letter, Letter)
    variables = notification.letter.variables
    secrets = [str(variables[name]) for name in notification.secrets if variables.get(name)]
    preview = _masked(" ".join(content.text.split()), secrets)[:_PREVIEW]
    subject = None if content.subject is None else _masked(content.subject, secrets)
    return Envelope(person=notification.person, subject=subject, preview=preview)


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text
