"""What is wrong with the templates folder. Found at start, never at send time."""

from pathlib import Path


class TemplateFolderError(Exception):
    """Says which file and why."""

    def __init__(self, file: str | Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = str(file)
        self.reason = reason
