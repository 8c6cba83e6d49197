"""The message that goes out for a notification: the same whenever it is made again, and the digest that proves it."""

import hashlib
from datetime import UTC

import msgspec

from application.ports.email import Email
from application.ports.templates import TemplateRenderer
from domain.happening import Happening
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.personal import Letter, Payload
from domain.template import Content


async def rendered(notification: Notification, renderer: TemplateRenderer) -> Content:
    """From the text and the variables as they were accepted, at the time of acceptance. Raises RenderError."""
    assert isinstance(notification.letter, Letter)
    assert notification.template
    return await renderer.render(
        notification.type,
        notification.channel,
        notification.template,
        notification.letter.variables,
        at=notification.created_on,
        time_zone=notification.time_zone,
    )


def email(
    notification: Notification, content: Content, *, sender: Mailbox, reply_to: Mailbox | None, generation: int
) -> Email:
    letter = notification.letter
    assert isinstance(letter, Letter)
    return Email(
        sender=sender,
        to=Mailbox(letter.address, letter.name),
        reply_to=reply_to,
        subject=content.subject or "",
        html=content.html,
        text=content.text,
        headers=_way_out(letter),
        tags={
            "notification_id": str(notification.id),
            "generation": str(generation),
            "type": notification.type,
        },
    )


def _way_out(letter: Letter) -> dict[str, str]:
    """One click (RFC 8058), which is for https only; the same link leads people to a page."""
    link = letter.unsubscribe_url or ""
    if not link.startswith("https://"):
        return {}
    return {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def digest(email: Email) -> str:
    """SHA-256 of the message in JSON, in hexadecimal. What changes it makes proofs of what was sent before fail."""
    return hashlib.sha256(msgspec.json.encode(email)).hexdigest()


def webhook(happening: Happening) -> bytes:
    """The bytes that every receiver of it gets, at each attempt. `timestamp` is when it happened."""
    assert isinstance(happening.payload, Payload)
    says_organization = happening.says_organization and happening.organization is not None
    return msgspec.json.encode(
        {
            "id": happening.event_id,
            "type": happening.type,
            "timestamp": happening.occurred_at.astimezone(UTC),
            **({"organization_id": happening.organization} if says_organization else {}),
            "data": happening.payload.data,
        }
    )


def webhook_digest(url: str, body: bytes) -> str:
    """SHA-256 of where it goes and what it says, in hexadecimal; signatures are of the moment, so not of them."""
    return hashlib.sha256(url.encode() + b"\n" + body).hexdigest()
