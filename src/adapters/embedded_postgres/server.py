"""One cluster and the server process on it."""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from adapters.embedded_postgres.locks import open_file, try_lock
from adapters.embedded_postgres.programs import MAJOR, EmbeddedPostgresUnavailableError, find_programs

_DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",  # compiling costs more than any of our short statements
    "random_page_cost": "1.1",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",  # reuse segments instead of making new ones under load
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "client_connection_check_interval": "1s",  # the query of a killed client ends, and with it the wait for it
    "autovacuum_naptime": "10s",  # a queue's rows die young
    "autovacuum_vacuum_cost_delay": "10ms",  # whoever waits for an answer has the same few cores
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "log",  # an ERROR is its caller's to report, and its text may hold personal data
    "log_error_verbosity": "terse",
}
_FIXED = {"listen_addresses": "", "port": "5432", "unix_socket_permissions": "0700", "fsync": "on"}
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 100  # bytes; the system's limit is 107 on Linux and 103 on macOS
_LONGEST_LOG = 10_000_000  # bytes, at a start

_ANSWER_WITHIN = 60.0  # seconds; recovery may have to read a whole max_wal_size
_STOP_WITHIN = 4.0
_QUIT_WITHIN = 10.0  # the postmaster itself kills what is left after 5
_REFUSALS = 5  # launches that end by themselves, after which another one is no use


class Server:
    """One cluster and its server process. All but `conninfo` and `prepare` is for one caller at a time."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self._home = home
        self._data = home / "data"
        self._log = home / "postgres.log"
        self._sockets = _socket_folder(home)
        sockets = '"{}"'.format(str(self._sockets).replace('"', '""'))
        self._settings = {**_DEFAULTS, **settings, **_FIXED, "unix_socket_directories": sockets}

    def conninfo(self, *, user: str, database: str) -> str:
        return make_conninfo(host=str(self._sockets), port=5432, user=user, dbname=database)

    def prepare(self) -> None:
        """Make the folder and, as root, see to it that somebody PostgreSQL agrees to run as can work there."""
        programs = find_programs()
        self._home.mkdir(parents=True, exist_ok=True)
        owner = self._home.stat().st_uid
        if os.geteuid() == 0:
            if owner == 0:
                nobody = pwd.getpwnam("nobody")
                owner = nobody.pw_uid
                os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
            for folder in (*self._home.parents, programs, *programs.parents):
                _make_passable(folder, owner)
        elif owner != os.geteuid():
            raise EmbeddedPostgresUnavailableError(
                f"{self._home} belongs to user id {owner}, but this process runs as {os.geteuid()}: "
                "use the same user each time, or another data folder"
            )
        self._home.chmod(0o700)

    def ensure_running(self) -> None:
        self._refuse_other_version()
        self._make_socket_folder()
        with self._await_answer() as connection:
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = 'carillon'").rowcount:
                connection.execute("CREATE ROLE carillon LOGIN CREATEDB")
            if not connection.execute("SELECT FROM pg_database WHERE datname = 'carillon'").rowcount:
                connection.execute("CREATE DATABASE carillon OWNER carillon")

    def revived(self) -> bool:
        """True when nothing of it lived any more and it answers again."""
        if not self._gone(within=0):
            return False
        self.ensure_running()
        return True

    def shut_down(self, how: signal.Signals) -> None:
        """Stop whatever lives of the server and wait until all of it is gone."""
        for request, patience in ((how, _STOP_WITHIN), (signal.SIGQUIT, _QUIT_WITHIN)):
            if not self._gone(within=0):
                self._signal(request)
            if self._gone(within=patience):
                break
        else:
            raise EmbeddedPostgresUnavailableError(f"PostgreSQL in {self._home} does not stop; see {self._log}")
        if self._sockets != self._home:
            with suppress(OSError):
                self._sockets.rmdir()

    def _await_answer(self) -> psycopg.Connection[Any]:
        """Connect; launch the server once nothing is left in its place, which takes a killed one up to a second."""
        until, refusals, process = time.monotonic() + _ANSWER_WITHIN, 0, None
        while (connection := self._connect()) is None:
            if process is not None and (code := process.poll()) is not None:
                refusals += code > 0  # below zero it did not refuse but was killed
                process = None
            if refusals == _REFUSALS or time.monotonic() > until:
                raise EmbeddedPostgresUnavailableError(
                    f"PostgreSQL does not start in {self._home}, or what a killed one left there does not end; "
                    f"its log ends:\n{_last_lines(self._log)}"
                )
            if process is None and (lock := self._lock()) is not None:
                process = self._launch(lock)
            time.sleep(0.1 if refusals else 0.01)
        return connection

    def _connect(self) -> psycopg.Connection[Any] | None:
        if self._pid_file()[7:8] == ["ready"]:  # to ask any earlier only fills the log
            conninfo = self.conninfo(user="postgres", database="postgres")
            with suppress(psycopg.OperationalError):
                return psycopg.connect(conninfo, autocommit=True, connect_timeout=5)
        return None

    def _launch(self, lock: int) -> subprocess.Popen[bytes]:
        """Start the server, to which the lock passes; without a cluster, make that first."""
        log = open_file(self._log)
        try:
            if os.fstat(log).st_size > _LONGEST_LOG:
                os.truncate(log, 0)
            if not self._data.exists():
                self._initialise(lock, log)
            # The lock proves these stale. PostgreSQL goes by the process ids in them, which others may have by now.
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            (self._sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)
            settings = [f"--{name}={value}" for name, value in self._settings.items()]
            process = self._spawn("postgres", "-D", str(self._data), *settings, lock=lock, log=log)
        finally:
            os.close(log)
            os.close(lock)
        threading.Thread(target=process.wait, name="embedded-postgres-reaper", daemon=True).start()
        return process

    def _initialise(self, lock: int, log: int) -> None:
        """Make the cluster beside its place and rename it, so that what is in its place is always whole."""
        unfinished = self._home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        with self._spawn("initdb", "-D", str(unfinished), *options, lock=lock, log=log) as process:
            if (code := process.wait()) != 0:
                raise EmbeddedPostgresUnavailableError(
                    f"initdb failed in {self._home} with exit code {code}; it said:\n{_last_lines(self._log)}"
                )
        unfinished.rename(self._data)

    def _spawn(self, program: str, *arguments: str, lock: int, log: int) -> subprocess.Popen[bytes]:
        """Run a program out of reach of the terminal's Ctrl-C, without our secrets, and as the owner if we are root."""
        owner, root = self._home.stat(), os.geteuid() == 0
        return subprocess.Popen(
            [find_programs() / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            user=owner.st_uid if root else None,
            group=owner.st_gid if root else None,
            extra_groups=[] if root else None,
        )

    def _lock(self) -> int | None:
        """Take the lock that the server holds while any process of it lives: a descriptor to close, or None."""
        lock = open_file(self._home / "server.lock")
        if try_lock(lock):
            return lock
        os.close(lock)
        return None

    def _gone(self, *, within: float) -> bool:
        until = time.monotonic() + within
        while (lock := self._lock()) is None:
            if time.monotonic() >= until:
                return False
            time.sleep(0.005)
        os.close(lock)
        return True

    def _signal(self, request: signal.Signals) -> None:
        for pid in self._pid_file()[:1]:
            with suppress(ProcessLookupError):
                os.kill(int(pid), request)

    def _pid_file(self) -> list[str]:
        """Read what the postmaster says of itself: first its process id, eighth whether it is `ready`."""
        with suppress(FileNotFoundError):
            return [line.strip() for line in (self._data / "postmaster.pid").read_text().splitlines()]
        return []

    def _refuse_other_version(self) -> None:
        with suppress(FileNotFoundError):
            made_by = (self._data / "PG_VERSION").read_text().strip()
            if made_by != str(MAJOR):
                raise EmbeddedPostgresUnavailableError(
                    f"{self._data} was made by PostgreSQL {made_by}, which PostgreSQL {MAJOR} cannot read: "
                    f"dump it with {made_by} and restore it into a new data folder"
                )

    def _make_socket_folder(self) -> None:
        """Make the folder under the temp folder, where anybody may have been before us, or check that it is ours."""
        if self._sockets == self._home:
            return
        with suppress(FileExistsError):
            self._sockets.mkdir(0o700)
        owner, found = self._home.stat(), self._sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in {owner.st_uid, os.geteuid()}:
            raise EmbeddedPostgresUnavailableError(f"{self._sockets} is not a private folder of the server: remove it")
        if os.geteuid() == 0:
            os.chown(self._sockets, owner.st_uid, owner.st_gid)


def _socket_folder(home: Path) -> Path:
    """Choose the home, unless the path is too long for a socket or has the comma at which libpq splits hosts."""
    path = os.fsencode(home / _SOCKET)
    if len(path) <= _LONGEST_SOCKET and b"," not in path:
        return home
    return Path(tempfile.gettempdir()) / f"carillon-{hashlib.sha256(path).hexdigest()[:16]}"


def _make_passable(folder: Path, user: int) -> None:
    found = folder.stat()
    if found.st_uid != user and not found.st_mode & stat.S_IXOTH:
        folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
