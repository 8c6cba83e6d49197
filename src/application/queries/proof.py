"""Proving what was sent: the message is made again and compared with the digest that was recorded before the call."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application import message
from application.ports.log import AlteredError, EventStore
from application.ports.templates import TemplateAlteredError, TemplateMissingError, TemplateRenderer
from application.problems import NotFoundError
from domain.happening import Happening
from domain.notification import Notification
from domain.personal import Envelope, Letter, Payload
from domain.template import Content, RenderError
from domain.vocabulary import Doubt, Verdict

NewRenderer = Callable[[], TemplateRenderer]
"""A renderer that has rendered nothing yet, so that it takes the text from where it is kept."""


class CallProof(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded intent to call a provider: whether the message made again is the one it was recorded for."""

    call: int
    attempt: int
    generation: int
    provider: str
    rendered_at: datetime
    verdict: Verdict
    reason_code: Doubt | None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What can be proved of a notification, call by call; none where no provider was ever to be called."""

    id: UUID
    template: str | None
    template_version: str | None
    locale: str
    calls: list[CallProof]

    @property
    def holds(self) -> bool:
        """Whether every call is proved."""
        return all(call.verdict is Verdict.MATCHES for call in self.calls)


async def prove(id: UUID, tenant: str | None = None, *, events: EventStore, renderer: NewRenderer) -> Proof:
    """Make the message of each call again and compare. Nothing of what it says is in the answer.

    Raises NotFoundError where there is no such notification, or it is another tenant's; without `tenant`, everybody's.
    """
    history = [recorded.event for recorded in await events.history(id, personal=False)]
    queued: Any = history[0] if history else None
    if not isinstance(queued, Notification.Queued) or tenant not in (None, queued.tenant):
        raise NotFoundError(f"there is no notification {id}")
    remade = await _remade(id, events, renderer) if queued.template else await _retold(id, events)
    return Proof(
        id=id,
        template=queued.template.name if queued.template else None,
        template_version=queued.template.version if queued.template else None,
        locale=queued.template.locale if queued.template else queued.locale,
        calls=[_call(event, remade) for event in history if isinstance(event, Notification.Rendered)],
    )


class _Remade(msgspec.Struct, frozen=True):
    notification: Notification
    content: Content


async def _remade(id: UUID, events: EventStore, renderer: NewRenderer) -> _Remade | Doubt:
    """The notification and what it says, or why that cannot be known any more."""
    try:
        notification = await events.get(Notification, id)
    except AlteredError:
        return Doubt.RECORD_ALTERED
    if notification is None:
        raise NotFoundError(f"there is no notification {id}")
    if not isinstance(notification.letter, Letter):
        return Doubt.PERSON_ERASED
    try:
        return _Remade(notification, await message.rendered(notification, renderer()))
    except TemplateMissingError:
        return Doubt.TEMPLATE_MISSING
    except TemplateAlteredError:
        return Doubt.TEMPLATE_ALTERED
    except RenderError:
        return Doubt.VARIABLE_MISSING if _lacks_a_secret(notification) else Doubt.RENDER_FAILED


class _Retold(msgspec.Struct, frozen=True):
    """The bytes of a webhook, and by call where it went to, as far as that is known."""

    body: bytes
    urls: dict[int, str]


async def _retold(id: UUID, events: EventStore) -> _Retold | Doubt:
    try:
        told = [recorded.event for recorded in await events.history(id)]
        happening = await events.get(Happening, told[0].happening)  # type: ignore[attr-defined]
    except AlteredError:
        return Doubt.RECORD_ALTERED
    if happening is None or not isinstance(happening.payload, Payload):
        return Doubt.PERSON_ERASED
    envelopes: dict[int, Any] = {e.call: e.personal for e in told if isinstance(e, Notification.Rendered)}
    urls = {call: each.url for call, each in envelopes.items() if isinstance(each, Envelope) and each.url}
    return _Retold(message.webhook(happening), urls)


def _call(rendered: Any, remade: _Remade | _Retold | Doubt) -> CallProof:
    doubt = _doubt(rendered, remade)
    return CallProof(
        call=rendered.call,
        attempt=rendered.attempt,
        generation=rendered.generation,
        provider=rendered.provider,
        rendered_at=rendered.timestamp,
        verdict=_verdict(doubt),
        reason_code=doubt,
    )


def _doubt(rendered: Any, remade: _Remade | _Retold | Doubt) -> Doubt | None:
    if isinstance(remade, Doubt):
        return remade
    if isinstance(remade, _Retold):
        return _doubt_of_webhook(rendered, remade)
    email = message.email(
        remade.notification,
        remade.content,
        sender=rendered.sender,
        reply_to=rendered.reply_to,
        generation=rendered.generation,
    )
    if message.digest(email) == rendered.digest:
        return None
    return Doubt.VARIABLE_MISSING if _lacks_a_secret(remade.notification) else Doubt.CONTENT_DIFFERS


def _doubt_of_webhook(rendered: Any, retold: _Retold) -> Doubt | None:
    if rendered.call not in retold.urls:
        return Doubt.PERSON_ERASED
    same = message.webhook_digest(retold.urls[rendered.call], retold.body) == rendered.digest
    return None if same else Doubt.CONTENT_DIFFERS


def _verdict(doubt: Doubt | None) -> Verdict:
    match doubt:
        case None:
            return Verdict.MATCHES
        case Doubt.CONTENT_DIFFERS | Doubt.RECORD_ALTERED | Doubt.TEMPLATE_ALTERED:
            return Verdict.DIFFERS
    return Verdict.CANNOT_BE_TOLD


def _lacks_a_secret(notification: Notification) -> bool:
    assert isinstance(notification.letter, Letter)
    return not notification.letter.variables.keys() >= set(notification.secrets)
