"""Bodies to paste for the calls about readers, all of one user of Acme's."""

from typing import Any

CSV = (
    "channel,address,ground,category,until\n"
    "email,jane@example.com,unsubscribe,promotion,\n"
    "email,max@example.com,manual,,\n"
)
USER = "user-123"


def reader_examples() -> dict[str, Any]:
    """By operation."""
    return {
        "UpdatePreferences": _one(
            "In German, by night nothing, no advertising, no SMS, and news of interviews once a day.",
            {
                "language": "de",
                "time_zone": "Europe/Berlin",
                "quiet_hours": {"starts": "22:00", "ends": "07:00"},
                "channels": {"sms": False},
                "categories": {"promotion": {"enabled": False}, "order": {"channels": {"push": False}}},
                "types": {
                    "interview_completed": {"frequency": "daily"},
                    "interview_reminder": {"frequency": "immediate"},
                },
            },
        ),
        "ChangePreferences": {
            "one": {
                "summary": "No more reminders.",
                "value": {"types": {"interview_reminder": {"enabled": False}}},
            },
            "seldom": {
                "summary": "What it is about orders goes out in one message a week.",
                "value": {"categories": {"order": {"frequency": "weekly"}}},
            },
            "back": {"summary": "Quiet hours are not wished any more.", "value": {"quiet_hours": None}},
        },
        "Unsubscribe": {
            "category": {
                "summary": "A user, of one category.",
                "value": {"user_id": USER, "category": "promotion"},
            },
            "address": {"summary": "An address, of all.", "value": {"address": "jane@example.com"}},
        },
        "Subscribe": _one(
            "An address, with the consent it was given with.",
            {
                "user_id": USER,
                "channel": "email",
                "address": "jane@example.com",
                "consent": {"source": "signup", "text": "Yes, Acme may write to me.", "ip": "192.0.2.7"},
            },
        ),
        "ChooseRateLimits": {
            "calm": {
                "summary": "Nobody gets more than five mails an hour, and not the same within ten minutes.",
                "value": {
                    "channels": {
                        "email": {"tenant": {"per_minute": 600, "burst": 20}, "user": {"per_hour": 5, "per_day": 20}}
                    },
                    "over": {"order": "defer", "promotion": "suppress"},
                    "duplicate_window_seconds": 600,
                },
            },
            "none": {"summary": "Nothing is limited.", "value": {}},
        },
        "Suppress": _one("By hand.", {"channel": "email", "address": "max@example.com"}),
        "Allow": _one("Off the list.", {"channel": "email", "address": "max@example.com"}),
    }


def _one(summary: str, value: Any) -> dict[str, Any]:
    return {"example": {"summary": summary, "value": value}}
