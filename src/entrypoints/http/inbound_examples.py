"""Bodies to paste for the calls about Kafka."""

from typing import Any

_SHIPPED: dict[str, Any] = {
    "topic": "order-events",
    "event": "order.shipped",
    "condition": "data.channel == 'web'",
    "notification": {
        "type": "order_shipped",
        "recipient": {"email": "data.customer.email", "name": "data.customer.name", "locale": "data.locale"},
        "variables": {
            "customer_name": "join(' ', [data.customer.first_name, data.customer.last_name])",
            "order_number": "to_string(data.order.id)",
            "items": "data.order.lines[?quantity > `0`].{name: title, quantity: quantity}",
        },
        "priority": "medium",
    },
}

_WEBHOOK: dict[str, Any] = {
    "topic": "order-events",
    "event": "order.shipped",
    "webhook": {"type": "order.shipped", "data": "data.order", "organization": "data.organization_id"},
}

_RECORD: dict[str, Any] = {
    "topic": "user-events",
    "value": {
        "id": "4711",
        "type": "user.created",
        "time": "2035-01-08T09:00:00Z",
        "tenant_id": "acme",
        "data": {"email": "jane@example.com", "userName": "Jane", "productName": "Acme", "locale": "de"},
    },
}


def inbound_examples() -> dict[str, Any]:
    """By operation."""
    return {
        "WriteMapping": {
            "notification": {"summary": "A reader is told.", "value": _SHIPPED},
            "webhook": {"summary": "Those who subscribed are told.", "value": _WEBHOOK},
        },
        "TryMapping": {
            "in_force": {"summary": "By the mappings in force.", "value": _RECORD},
            "draft": {
                "summary": "By one that is not written yet.",
                "value": {
                    "topic": "order-events",
                    "value": {"type": "order.shipped", "data": {"order": {"id": 1042}, "organization_id": "acme"}},
                    "mapping": _WEBHOOK,
                },
            },
        },
        "ReplayParked": {
            "reason": {"summary": "What was set aside for one reason.", "value": {"reason": "unknown_tenant"}},
            "all": {"summary": "The oldest hundred.", "value": {}},
        },
    }


def inbound_path_example(operation: str, parameter: str) -> Any:
    """What stands in the address of the examples; None for what only the reader knows."""
    if parameter != "name":
        return None
    return "welcome" if operation == "GetMapping" else "order_shipped"
