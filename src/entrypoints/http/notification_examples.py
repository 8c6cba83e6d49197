"""Bodies to paste for the calls about notifications, made from the notification types, and what a proof looks like."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.template import NotificationType
from entrypoints.http.webhook_examples import EVENT

PROOF: Mapping[str, Any] = {
    "id": "0198c5a0-0000-7000-8000-000000000000",
    "template": "welcome",
    "template_version": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "locale": "en",
    "calls": [
        {
            "call": 1,
            "attempt": 1,
            "generation": 1,
            "provider": "resend",
            "rendered_at": "2035-01-08T09:00:00.123456Z",
            "verdict": "matches",
            "reason_code": None,
        }
    ],
}
"""What `ProveNotification` answers."""

_JANE = {"email": "jane@example.com", "name": "Jane", "locale": "en"}


def first_of(types: Sequence[NotificationType]) -> NotificationType:
    """Which of them to begin with."""
    return next((type for type in types if type.name == "welcome"), types[0])


def send_example(types: Sequence[NotificationType]) -> dict[str, Any]:
    """The body of a first send."""
    return _send(first_of(types))


def notification_examples(types: Sequence[NotificationType]) -> dict[str, dict[str, Any]]:
    """By operation, of one type or more. Of two recipients the second reads German."""
    sends = {type.name: {"summary": type.description, "value": _send(type)} for type in types}
    first = first_of(types)
    sends = {first.name: sends.pop(first.name), **sends}
    sends["many"] = {
        "summary": "Two recipients, later, with where it comes from.",
        "value": {
            **_send(first),
            "recipients": [_JANE, {"email": "max@example.com", "name": "Max", "locale": "de"}],
            "scheduled_at": "2035-01-08T09:00:00+01:00",
            "expires_at": "2035-01-09T09:00:00+01:00",
            "context": {"source": "shop", "correlation_id": "order-1042", "metadata": {"order": 1042}},
        },
    }
    one = {name: value for name, value in _send(first).items() if name not in ("recipients", "channels")}
    unknown = "0198c5a0-0000-7000-8000-000000000000"
    internal = {
        "send": {"summary": "Without `command` it is a send.", "value": _send(first)},
        "SendWebhook": {
            "summary": "Say what happened to those who subscribed to it.",
            "value": {"command": "SendWebhook", **EVENT},
        },
        "SendEmail": {
            "summary": "One email to one recipient.",
            "value": {"command": "SendEmail", **one, "recipient": _JANE},
        },
        "RetryNotification": {
            "summary": "Send once more what failed.",
            "value": {"command": "RetryNotification", "id": unknown},
        },
        "CancelNotification": {
            "summary": "Cancel before it is sent.",
            "value": {"command": "CancelNotification", "id": unknown},
        },
    }
    return {"SendNotification": sends, "InternalSend": internal}


def _send(type: NotificationType) -> dict[str, Any]:
    variables = {name: variable.example for name, variable in type.variables.items() if variable.required}
    return {"type": type.name, "channels": ["email"], "recipients": [_JANE], "variables": variables}
