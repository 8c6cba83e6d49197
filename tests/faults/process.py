"""One program as a process of its own, with what it says in a file."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.waiting import until

ROOT = Path(__file__).resolve().parents[2]
BARE = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
"""All that a program gets of the environment of the tests."""

_LINES_SHOWN = 40


class Process:
    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.dismissed = False  # it was told to end
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**BARE, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def last_lines(self) -> str:
        return "\n".join(self.said.splitlines()[-_LINES_SHOWN:])

    async def says(self, pattern: str, within: float = 60.0) -> "re.Match[str]":
        """What it said that fits the pattern. Fails when it ends without having said so."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.said)
            assert match or self.alive, f"{self.name} ended:\n{self.last_lines}"
            return match

        return await until(found, f"{self.name} says {pattern}", within)

    def kill(self) -> None:
        """As by `kill -9`; gone when this returns."""
        self.dismissed = True
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        self.dismissed = True
        self._process.send_signal(signal.SIGTERM)

    async def stopped(self, within: float = 30.0) -> int:
        """The exit code, once it has ended by itself."""
        await until(lambda: not self.alive, f"{self.name} ends", within)
        return self._process.wait()
