"""The schema of what other systems are told, as it is published.

`python -m tests.announcements` writes it anew, after a field was added. What others may rely on is never removed.
"""

from pathlib import Path
from typing import Any

import msgspec

from application.announced import CloudEvent

FILE = Path(__file__).parents[1] / "docs" / "notification-events.schema.json"
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **msgspec.json.schema(CloudEvent),
}


if __name__ == "__main__":
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(SCHEMA)) + b"\n")
