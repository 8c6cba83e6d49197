"""Bodies to paste for the calls about webhooks. What is told there is for nobody who subscribed there."""

from typing import Any

EVENT: dict[str, Any] = {
    "type": "order.created",
    "data": {"order": {"id": "A-1042", "total": 59.9, "currency": "EUR"}},
    "organization_id": "acme",
    "id": "order-A-1042-created",
}

_WEBHOOK: dict[str, Any] = {
    "name": "Results of interviews",
    "url": "https://hooks.acme.example/carillon",
    "event_types": ["interview.*", "analysis.ready"],
    "organization_id": "acme",
    "filters": [{"path": "interview.position", "any_of": ["engineer", "designer"]}],
    "headers": {"Authorization": "Bearer of-your-choice"},
    "concurrency": 5,
    "per_second": 20,
    "owner_email": "jane@example.com",
}

_EVENT_TYPE: dict[str, Any] = {
    "description": "A customer has placed an order and it was paid for.",
    "schema": {
        "type": "object",
        "properties": {
            "order": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "total": {"type": "number", "minimum": 0},
                    "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                },
                "required": ["id", "total", "currency"],
            }
        },
        "required": ["order"],
    },
    "example": EVENT["data"],
    "checked": True,
}


def webhook_examples() -> dict[str, Any]:
    """By operation."""
    return {
        "CreateWebhook": {
            "smallest": {
                "summary": "What is needed at least.",
                "value": {"name": "Interviews", "url": "https://hooks.acme.example/in", "event_types": ["interview.*"]},
            },
            "full": {"summary": "Some of it, of one organisation, at its own pace.", "value": _WEBHOOK},
        },
        "UpdateWebhook": _one("All of it again, as it is to be from now on.", _WEBHOOK),
        "RotateWebhookSecret": {
            "day": {"summary": "The old secret signs for another day.", "value": {}},
            "now": {"summary": "The old one is not used any more.", "value": {"grace_seconds": 0}},
        },
        "ReplayWebhook": {
            "count": {"summary": "How many would it be?", "value": {"after": 0, "dry_run": True}},
            "failed": {
                "summary": "What was given up since a moment.",
                "value": {"failed_since": "2035-01-08T09:00:00Z"},
            },
        },
        "SendWebhook": _one("Sent again with the same id it is the same event.", EVENT),
        "DescribeEventType": _one("With a schema that is checked.", _EVENT_TYPE),
    }


def webhook_path_example(operation: str, parameter: str) -> Any:
    """What stands in the address of the examples."""
    return "order.created" if parameter == "name" else None


def _one(summary: str, value: Any) -> dict[str, Any]:
    return {"example": {"summary": summary, "value": value}}
