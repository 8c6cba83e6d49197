"""Random bytes for keys, nonces and ids."""

import os

_AT_ONCE = 4096


class RandomBytes:
    """The system's own, fetched in larger pieces: asking it for each few bytes costs more than all else about an id.

    No byte is handed out twice. For one thread; a forked child must make its own.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self._used = 0

    def take(self, count: int) -> bytes:
        start = self._used
        if start + count > len(self._bytes):
            self._bytes, start = os.urandom(_AT_ONCE), 0
        self._used = start + count
        return self._bytes[start : self._used]
