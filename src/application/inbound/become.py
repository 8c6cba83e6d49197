"""What one mapping makes of one event: a command, as if its service had sent it."""

from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from application.commands.send_webhook import SendWebhook
from application.commands.sending import SendNotification
from application.inbound.event import InboundEvent, Look
from application.problems import InvalidCommandError, Problem
from domain.ids import told_id
from domain.mapping import Mapping, NotificationTerms, Schedule, WebhookTerms

Command = SendNotification | SendWebhook
C = TypeVar("C", SendNotification, SendWebhook)

_LONGEST_LABEL = 200


def become(mapping: Mapping, event: InboundEvent, tenant: str, look: Look) -> Command | None:
    """None where the condition does not hold, or what was to be said in good time is late by the event's own clock.

    Raises InvalidCommandError naming what is missing, and CostlyPathError.
    """
    terms = mapping.terms
    if terms.condition is not None and look.find(terms.condition) in (None, False, "", [], {}):
        return None
    if terms.webhook:
        return _told(terms.webhook, mapping, event, tenant, look)
    assert terms.notification
    return _said(terms.notification, mapping, event, look)


def key_of(mapping: Mapping, event: InboundEvent) -> str:
    """Under which it is accepted once, for ever. A key that comes by HTTP cannot hold a NUL."""
    return f"kafka\x00{mapping.name}\x00{event.identity}"


def _told(terms: WebhookTerms, mapping: Mapping, event: InboundEvent, tenant: str, look: Look) -> SendWebhook:
    return _command(
        SendWebhook,
        type=terms.type,
        data=look.find(terms.data),
        organization_id=text_of(look.find(terms.organization)) if terms.organization else None,
        id=f"evt_{told_id(tenant, mapping.name, event.identity).hex}",
        occurred_at=event.time if event.document["time"] is not None else None,
    )


def _said(terms: NotificationTerms, mapping: Mapping, event: InboundEvent, look: Look) -> SendNotification | None:
    times = _times(terms.schedule, event, look) if terms.schedule else {}
    if times is None:
        return None
    recipient = {
        name: text_of(look.find(path))
        for name, path in msgspec.structs.asdict(terms.recipient).items()
        if path is not None
    }
    if recipient.get("email") is None and recipient.get("user_id") is None:
        raise InvalidCommandError([Problem("recipient", f"is not at {_places(terms)}")])
    found = {name: look.find(path) for name, path in terms.variables.items()}
    return _command(
        SendNotification,
        type=terms.type,
        recipients=[recipient],
        variables={name: value for name, value in found.items() if value is not None},
        priority=terms.priority,
        context={
            "source": "kafka",
            "correlation_id": _label(event.id),
            "metadata": {"mapping": mapping.name, "mapping_version": mapping.version, "event_type": event.type},
        },
        **times,
    )


def _times(schedule: Schedule, event: InboundEvent, look: Look) -> dict[str, datetime] | None:
    """None where that moment was past when it happened. Late deliveries of the event itself change nothing."""
    said = look.find(schedule.at)
    if said is None:
        return None
    try:
        until = msgspec.convert(said, datetime, strict=True)
        at = until - timedelta(hours=schedule.hours_before)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidCommandError([Problem("schedule.at", f"is no moment with an offset at {schedule.at}")]) from None
    if until.tzinfo is None:
        raise InvalidCommandError([Problem("schedule.at", f"is no moment with an offset at {schedule.at}")])
    if at <= event.time:
        return None
    return {"scheduled_at": at} if not schedule.hours_before else {"scheduled_at": at, "expires_at": until}


def _command(kind: type[C], **values: Any) -> C:
    """Checked as a request is."""
    try:
        return msgspec.convert({name: value for name, value in values.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        raise InvalidCommandError([Problem("", str(error))]) from None


def text_of(found: Any) -> Any:
    """A whole number as text: some services know their users by numbers."""
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else found


def _label(text: str | None) -> str | None:
    return text if text and len(text) <= _LONGEST_LABEL else None


def _places(terms: NotificationTerms) -> str:
    return " or ".join(path for path in (terms.recipient.email, terms.recipient.user_id) if path)
