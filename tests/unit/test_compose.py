"""The example of a deployment knows every setting that the README explains."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHERWISE = {"CARILLON_DATA", "DATABASE_URL", "REDIS_URL", "REDIS_PASSWORD"}
"""What the set needs no place for: its database and its Redis are its own."""


def test_every_setting_is_handed_on_to_the_containers() -> None:
    table = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    explained = {name for cell in table for name in re.findall(r"`([A-Z][A-Z_]+)`", cell)}
    handed_on = set(re.findall(r"^ +([A-Z_]+):", (ROOT / "compose.yaml").read_text(), re.MULTILINE))
    assert "RESEND_BASE_URL" in explained
    assert explained - handed_on == OTHERWISE
