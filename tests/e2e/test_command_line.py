"""`carillon` as people run it: a process of its own, on the database it brings along."""

import gc
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from click.testing import CliRunner, Result

from adapters.embedded_postgres import EmbeddedPostgres
from entrypoints import cli, logs
from entrypoints.read_models import PROJECTIONS
from tests.application import welcome

CARILLON = Path(sys.executable).with_name("carillon")
KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "CARILLON_DATA": str(data), "PORT": "0", "LOG_LEVEL": "warning", **more}


def carillon(data: Path, *arguments: str, given: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [CARILLON, *arguments],
        env=environment(data, **more),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def done(finished: "subprocess.CompletedProcess[str]") -> str:
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


class Running:
    """A `carillon run` that has greeted."""

    def __init__(self, data: Path, **more: str) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [CARILLON, "run"],
            env=environment(data, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.greeting = self._read_greeting()
        self.address = re.findall(r"answers on (http://\S+)", self.greeting)[0]
        self.key = re.findall(r"API key\s+(ck_\w+)", self.greeting)[0]
        self.http = httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {self.key}"}, timeout=30, trust_env=False
        )

    @property
    def curl(self) -> str:
        """The command that the greeting offers, in one line."""
        return re.findall(r"^  (curl .*}')$", self.greeting, re.MULTILINE)[0]

    def stop(self, how: signal.Signals = signal.SIGINT) -> float:
        """The seconds from Ctrl-C, or another signal, to the end."""
        self.http.close()
        began = time.monotonic()
        self.process.send_signal(how)
        self.logged = self.process.communicate(timeout=30)[1]
        return time.monotonic() - began

    def _read_greeting(self) -> str:
        assert self.process.stdout
        text, give_up = "", time.monotonic() + 60
        while not text.endswith("\n\n") or "read it at" not in text:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, give_up - time.monotonic()))
            said = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not said:
                self.process.kill()
                pytest.fail(f"no greeting, but: {text}{self.process.communicate()[1]}")
            text += said.decode()
        return text


@contextmanager
def data_folder() -> Iterator[Path]:
    """Not in pytest's own folder, which is closed to other users: PostgreSQL never runs as root."""
    with tempfile.TemporaryDirectory(prefix="carillon-cli-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with data_folder() as data:
        running = Running(data, PUBLIC_URL="https://notify.example.com/", RESEND_WEBHOOK_SECRET=f"whsec_{KEY}")
        try:
            yield running
        finally:
            running.stop()


def until(answer: Callable[[], Any], within: float = 20.0) -> Any:
    give_up = time.monotonic() + within
    while not (found := answer()):
        assert time.monotonic() < give_up, f"not true within {within:.1f} s"
        time.sleep(0.02)
    return found


def servers_of(data: Path) -> list[int]:
    """The processes of PostgreSQL that work on this folder."""
    folder = str(data.resolve())
    with_folder = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()) and "postgres" in str(process.info["cmdline"]):
            with_folder.append(process.info["pid"])
    return with_folder


# run


def test_the_line_that_run_offers_can_be_run_as_it_is(service: Running) -> None:
    answer = subprocess.run(["/bin/sh", "-c", service.curl], capture_output=True, text=True, timeout=30, check=True)
    (one,) = json.loads(answer.stdout)["notifications"]
    assert one["recipient"]["email"] == "jane@example.com"
    until(lambda: _status(service, one["id"]) == "sent")


def test_the_greeting_names_the_data_folder_wherever_it_is_read(service: Running) -> None:
    assert f"Data      {service.data.absolute()}\n" in service.greeting
    assert f"(also in {service.data.absolute() / 'dev-key'})" in service.greeting


def test_the_greeting_names_the_public_address_and_the_one_for_callbacks(service: Running) -> None:
    assert "  In public https://notify.example.com\n" in service.greeting
    assert "  Callbacks https://notify.example.com/api/v1/webhooks/resend (for Resend)\n" in service.greeting
    assert f"curl {service.address}/" in service.greeting


def test_the_description_is_of_the_public_address(service: Running) -> None:
    description = service.http.get("/openapi/openapi.json").json()
    assert description["servers"] == [{"url": "https://notify.example.com"}]
    page = service.http.get("/docs").text
    assert "https://notify.example.com/api/v1/notifications" in page
    assert service.address not in page


def test_every_line_of_a_request_carries_its_id_and_tenant() -> None:
    with data_folder() as data:
        running = Running(data, LOG_LEVEL="info")
        body = welcome("jane@example.com")
        try:
            first = running.http.post("/api/v1/notifications", json=body, headers={"X-Request-Id": "order-1042"})
            other = running.http.post("/api/v1/notifications", json=body, headers={"X-Request-Id": "not fit"})
            id = first.json()["notifications"][0]["id"]
            running.http.post(f"/api/v1/notifications/{id}/cancel")
            stranger = running.http.get("/api/v1/notifications", headers={"Authorization": "Bearer none"})
        finally:
            running.stop()
    lines = [json.loads(line) for line in running.logged.splitlines()]
    sent, again, cancelled = (line for line in lines if line["event"] == "command")
    assert first.headers["X-Request-Id"] == sent["request_id"] == "order-1042"
    assert (sent["tenant"], sent["request"], sent["notifications"]) == ("dev", first.json()["id"], 1)
    assert re.fullmatch(r"[0-9a-f]{32}", other.headers["X-Request-Id"])
    assert again["request_id"] == other.headers["X-Request-Id"]
    assert cancelled["notification"] == id
    assert stranger.status_code == 401
    assert stranger.headers["X-Request-Id"]
    assert "jane" not in running.logged


def _status(service: Running, id: str) -> str | None:
    answer = service.http.get(f"/api/v1/notifications/{id}")
    return answer.json()["status"] if answer.status_code == 200 else None


def test_the_development_key_is_kept_for_its_owner_only(service: Running) -> None:
    file = service.data / "dev-key"
    assert file.read_text().strip() == service.key
    assert (service.data / "dev-key").stat().st_mode & 0o777 == 0o600
    assert (service.data / "master-key").stat().st_mode & 0o777 == 0o600
    assert "also in" in service.greeting
    assert str(file) in service.greeting


def test_a_second_run_finds_what_the_first_one_left_and_ctrl_c_stops_everything() -> None:
    with data_folder() as data:
        first = Running(data)
        sent = first.http.post("/api/v1/notifications", json=welcome("jane@example.com")).json()
        id = sent["notifications"][0]["id"]
        until(lambda: _status(first, id) == "sent")
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        sent = first.http.post("/api/v1/notifications", json=welcome("jane@example.com", scheduled_at=soon)).json()
        waiting = sent["notifications"][0]["id"]
        assert servers_of(data)
        assert first.stop() < 5
        assert first.process.returncode == 0
        assert servers_of(data) == []

        second = Running(data)
        assert second.key == first.key
        assert _status(second, id) == "sent"
        until(lambda: _status(second, waiting) == "sent")
        assert second.stop(signal.SIGTERM) < 5
        assert servers_of(data) == []


def test_a_killed_database_comes_back_while_the_service_runs() -> None:
    with data_folder() as data:
        running = Running(data)
        try:
            assert _sends(running)
            os.kill(int((data / "postgres" / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            until(lambda: _sends(running), within=10)
            answer = running.http.post("/api/v1/notifications", json=welcome("jane@example.com"))
            until(lambda: _status(running, answer.json()["notifications"][0]["id"]) == "sent")
        finally:
            running.stop()
        assert running.logged.count("embedded database had ended and was started again") == 1
        assert servers_of(data) == []


def _sends(running: Running) -> bool:
    return running.http.post("/api/v1/notifications", json=welcome("jane@example.com")).status_code == 202


def test_a_taken_port_is_one_clear_line() -> None:
    with data_folder() as data, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finished = carillon(data, "run", PORT=str(taken.getsockname()[1]))
        assert finished.returncode == 1
        assert finished.stderr == "Error: PORT is taken by another program\n"
        assert "API key" not in finished.stdout
        assert servers_of(data) == []


# keys


def test_a_key_may_have_an_owner_to_whom_tests_are_sent(service: Running) -> None:
    key = done(
        carillon(
            service.data, "keys", "create", "--tenant", "acme", "--scope", "send", "--owner-email", "J@Acme.Example"
        )
    ).strip()
    answer = httpx.post(
        f"{service.address}/api/v1/templates/welcome/test", headers={"Authorization": f"Bearer {key}"}, json={}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["notifications"][0]["recipient"]["email"] == "J@acme.example"
    wrong = carillon(service.data, "keys", "create", "--tenant", "acme", "--owner-email", "nobody")
    assert wrong.returncode == 2
    assert "--owner-email" in wrong.stderr


def test_keys_are_made_listed_and_revoked_while_the_service_runs(service: Running) -> None:
    text = done(
        carillon(service.data, "keys", "create", "--tenant", "acme", "--name", "shop", "--scope", "read")
    ).strip()
    id = text.split("_")[1]
    assert re.fullmatch(r"ck_[0-9a-z]{12}_[0-9a-f]{64}", text)
    headers = {"Authorization": f"Bearer {text}"}
    assert service.http.get("/api/v1/notifications", headers=headers).status_code == 200
    assert service.http.post("/api/v1/notifications", headers=headers, json=welcome("a@b.de")).status_code == 403

    listed = done(carillon(service.data, "keys", "list"))
    (line,) = [line for line in listed.splitlines() if line.startswith(id)]
    assert line.split() == [id, "acme", "read", "live", "shop"]
    assert text not in listed
    assert text.split("_")[2] not in listed

    done(carillon(service.data, "keys", "revoke", id))
    until(lambda: service.http.get("/api/v1/notifications", headers=headers).status_code == 401, within=1.5)
    assert "revoked" in done(carillon(service.data, "keys", "list"))
    again = carillon(service.data, "keys", "revoke", id)
    assert (again.returncode, again.stderr) == (1, f"Error: there is no live key {id}\n")


# send, tail, rebuild, verify


def test_send_takes_standard_input_and_the_running_service_sends_it(service: Running) -> None:
    body = json.dumps(welcome("by-hand@example.com"))
    finished = carillon(service.data, "send", given=body, LOG_LEVEL="info")
    answer = json.loads(done(finished))
    until(lambda: _status(service, answer["notifications"][0]["id"]) == "sent")
    line = json.loads(finished.stderr)
    assert (line["event"], line["tenant"], line["by"], line["request"]) == ("command", "dev", "cli", answer["id"])


def test_what_a_command_logs_goes_to_loki_too(service: Running) -> None:
    with taking_pushes() as (host, pushed):
        finished = carillon(
            service.data, "send", given=json.dumps(welcome("by-hand@example.com")), LOG_LEVEL="info", LOKI_HOST=host
        )
    answer = json.loads(done(finished))
    ((stream,),) = [json.loads(body)["streams"] for body in pushed]
    assert stream["stream"] == {"service_name": "carillon", "role": "send", "instance": socket.gethostname()}
    ((_, line),) = stream["values"]
    assert json.loads(line) == json.loads(finished.stderr)
    assert json.loads(line)["request"] == answer["id"]


@contextmanager
def taking_pushes() -> Iterator[tuple[str, list[bytes]]]:
    pushed: list[bytes] = []

    class Loki(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pushed.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Loki) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", pushed
        server.shutdown()
        thread.join()


def test_send_takes_a_file_and_another_tenant(service: Running, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text(json.dumps(welcome("by-hand@example.com")))
    answer = json.loads(done(carillon(service.data, "send", "--tenant", "acme", str(file))))
    assert _status(service, answer["notifications"][0]["id"]) is None  # the development key is another tenant's


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "Input data was truncated"),
        ("", "Input data was truncated"),
        ('{"type": "welcome"}', "missing required field `recipients`"),
        (json.dumps(welcome("nonsense")), "recipients[0].email"),
        (json.dumps(welcome("a@example.com", variables={})), "variables.user_name: is missing"),
        ('{"variables":' + "[" * 100_000, "Expected `object`"),
        (json.dumps(welcome("a@example.com")).replace("Anna", "A\\u0000"), "NUL"),
        (json.dumps(welcome("a@example.com")).replace('"Anna"', "[" * 100_000 + "]" * 100_000), "nested too deeply"),
    ],
)
def test_send_says_in_one_line_what_is_wrong(migrated_url: str, body: str, said: str) -> None:
    finished = invoked("send", given=body, DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY)
    assert finished.exit_code == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("Error: ")
    assert finished.stderr.count("\n") == 1
    assert said in finished.stderr


def test_tail_prints_the_log_without_personal_data(service: Running) -> None:
    before = done(carillon(service.data, "send", given=json.dumps(welcome("secret-reader@example.com"))))
    sent = json.loads(before)
    until(lambda: _status(service, sent["notifications"][0]["id"]) == "sent")

    text = done(carillon(service.data, "tail", "--after", str(sent["position"] - 1), "--once"))

    lines = [json.loads(line) for line in text.splitlines()]
    mine = [line["event"]["event"] for line in lines if line["stream"] == sent["notifications"][0]["id"]]
    assert mine == ["notification.queued", "notification.rendered", "notification.sent"]
    assert lines[0]["event"]["position"] == sent["position"]
    assert "secret-reader" not in text
    assert "Anna" not in text


REBUILDABLE = [*(projection.name for projection in PROJECTIONS), "schedule"]


@pytest.mark.parametrize("name", REBUILDABLE)
def test_each_read_model_can_be_rebuilt_by_its_name(migrated_url: str, name: str) -> None:
    settings = {"DATABASE_URL": migrated_url, "CARILLON_MASTER_KEY": KEY}
    assert invoked("send", given=json.dumps(welcome("jane@example.com")), **settings).exit_code == 0
    said = invoked("rebuild", name, **settings)
    assert said.exit_code == 0
    assert said.stdout.startswith("schedule holds 1 rows" if name == "schedule" else f"{name} stands at 1, made in")


def test_all_can_be_rebuilt_while_the_service_runs(service: Running) -> None:
    said = done(carillon(service.data, "rebuild"))
    assert re.findall(r"^(\w+) (?:stands at|holds) \d+", said, re.MULTILINE) == REBUILDABLE
    answer = service.http.post("/api/v1/notifications", json=welcome("jane@example.com")).json()
    until(lambda: _status(service, answer["notifications"][0]["id"]) == "sent")


def test_an_unknown_read_model_is_named_together_with_the_known(migrated_url: str) -> None:
    finished = invoked("rebuild", "nonsense", DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY)
    assert finished.exit_code == 2
    assert "notifications" in finished.stderr


def test_verify_finds_and_shows_the_row_that_was_changed_by_hand(service: Running) -> None:
    sent = service.http.post("/api/v1/notifications", json=welcome("jane@example.com")).json()
    id = sent["notifications"][0]["id"]
    until(lambda: _status(service, id) == "sent")
    assert "notifications: equal to the log" in done(carillon(service.data, "verify"))

    with EmbeddedPostgres(service.data) as server, psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("UPDATE view_notifications.rows SET status = 'delivered' WHERE id = %s", (id,))
    finished = carillon(service.data, "verify")

    assert finished.returncode == 1
    assert "notifications: 1 rows differ" in finished.stdout
    (row,) = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    assert id in row["key"]
    assert (row["live"]["status"], row["expected"]["status"]) == ("delivered", "sent")
    done(carillon(service.data, "rebuild", "notifications"))
    done(carillon(service.data, "verify"))


# chain, prove


def sent_and_chained(service: Running) -> tuple[str, int]:
    """A notification that was sent, and where its last event stands."""
    answer = service.http.post("/api/v1/notifications", json=welcome("jane@example.com")).json()
    id = answer["notifications"][0]["id"]
    until(lambda: _status(service, id) == "sent")
    until(lambda: "carillon_chain_lag_events 0.0" in service.http.get("/metrics").text)
    return id, service.http.get(f"/api/v1/notifications/{id}/events").json()[-1]["position"]


def on_the_database(service: Running, statement: str, *values: Any) -> None:
    with EmbeddedPostgres(service.data) as server, psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute(statement, values)


def test_verify_says_whose_chain_is_broken_and_where() -> None:
    with data_folder() as data:
        service = Running(data)
        try:
            id, last = sent_and_chained(service)
            kept = data / "heads"
            kept.write_text(done(carillon(data, "chain")))
            assert re.fullmatch(rf"dev:{last}:[0-9a-f]{{64}}\n", kept.read_text())
            assert "chain: the log is what was chained" in done(carillon(data, "verify"))
            _, later = sent_and_chained(service)
            done(carillon(data, "verify", "chain", "--heads", str(kept)))

            on_the_database(service, "DELETE FROM stored_events WHERE notification_id = %s", last)
            finished = carillon(data, "verify", "--heads", str(kept))
        finally:
            service.stop()
    assert finished.returncode == 1
    assert "chain: broken" in finished.stdout
    assert "read models were not compared" in finished.stdout
    found = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    (altered,) = [each for each in found if each["fault"] == "altered"]
    assert altered["tenant"] == "dev"
    assert altered["after"] < last <= altered["until"] <= later
    assert [each["until"] for each in found if each["fault"] == "other_head"] == [last]
    assert id not in finished.stdout


def test_the_chain_is_never_made_again(migrated_url: str) -> None:
    finished = invoked("rebuild", "chain", DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY)
    assert finished.exit_code == 2
    assert "evidence" in finished.stderr


def test_a_file_without_a_head_compares_nothing_and_is_refused(migrated_url: str) -> None:
    arguments = ("verify", "chain", "--heads", "-")
    finished = invoked(*arguments, given="\n", DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY)
    assert finished.exit_code == 2
    assert "holds no head to compare with" in finished.stderr


@pytest.mark.parametrize("line", ["nonsense", "acme:1:abcd", f"acme:x:{'0' * 64}", f"acme:1:{'z' * 64}"])
def test_heads_that_are_none_are_named(migrated_url: str, line: str) -> None:
    arguments = ("verify", "chain", "--heads", "-")
    finished = invoked(*arguments, given=f"{line}\n", DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY)
    assert finished.exit_code == 2
    assert "tenant:position:hash" in finished.stderr


def test_a_head_that_a_shorter_log_cannot_have_had_is_found(migrated_url: str) -> None:
    settings = {"DATABASE_URL": migrated_url, "CARILLON_MASTER_KEY": KEY}
    finished = invoked("verify", "chain", "--heads", "-", given=f"a:b:7:{'0' * 64}\n", **settings)
    assert finished.exit_code == 1
    assert '{"tenant":"a:b","after":0,"until":7,"fault":"other_head"}' in finished.stdout


@pytest.mark.parametrize("arguments", [("verify", "nonsense"), ("verify", "notifications", "--heads", "-")])
def test_verify_names_what_it_does_not_know(migrated_url: str, arguments: tuple[str, ...]) -> None:
    settings = {"DATABASE_URL": migrated_url, "CARILLON_MASTER_KEY": KEY}
    assert invoked(*arguments, given=f"acme:1:{'0' * 64}\n", **settings).exit_code == 2


def test_prove_says_for_each_call_whether_it_matches(service: Running) -> None:
    id, _ = sent_and_chained(service)
    (call,) = json.loads(done(carillon(service.data, "prove", id)))["calls"]
    assert call["verdict"] == "matches"
    on_the_database(service, "UPDATE template_bundles SET bundle = bundle || '\\x20'")
    try:
        finished = carillon(service.data, "prove", id)
    finally:
        on_the_database(service, "UPDATE template_bundles SET bundle = substr(bundle, 1, length(bundle) - 1)")
    assert finished.returncode == 1
    assert json.loads(finished.stdout)["calls"][0]["reason_code"] == "template_altered"


def test_prove_of_what_is_not_there_is_one_line(migrated_url: str) -> None:
    id = "01890a5d-ac96-774b-bcce-b302099a8057"
    finished = invoked("prove", id, DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY)
    assert (finished.exit_code, finished.stderr) == (1, f"Error: there is no notification {id}\n")


# What can be wrong with the set-up


def invoked(*arguments: str, given: str = "", **settings: str) -> Result:
    """In this process, which is quicker and must not stay set up like one that is the service's own."""
    unset = dict.fromkeys(_SETTABLE, "")
    with pytest.MonkeyPatch.context() as patch, as_tuned_before():
        patch.setattr(logs, "configure", lambda *_, **__: None)
        return CliRunner().invoke(cli.main, [*arguments], input=given, env={**unset, **settings})


@contextmanager
def as_tuned_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)


@pytest.fixture
def migrated_url(conninfo: str) -> str:
    assert invoked("migrate", DATABASE_URL=conninfo).exit_code == 0
    return conninfo


_SETTABLE = (
    *("HOST", "PORT", "DATABASE_URL", "DATABASE_HOST", "DATABASE_PORT", "REDIS_URL", "REDIS_HOST", "REDIS_PORT"),
    *("CARILLON_MASTER_KEY", "TEMPLATES_PATH", "DEFAULT_LANGUAGE", "PUBLIC_URL", "LOG_LEVEL", "LOKI_HOST"),
    *("EMAIL_PROVIDER", "GIVES_WAY"),
    *("EMAIL_FROM", "EMAIL_REPLY_TO", "EMAIL_CONCURRENCY", "EMAIL_DEADLINE_MS", "LEASE_MS", "RESEND_API_KEY"),
    *("RESEND_BASE_URL", "RESEND_WEBHOOK_SECRET", "RESEND_PER_SECOND", "SMTP_HOST", "SMTP_PORT", "SMTP_STARTTLS"),
)

WRONG = [
    ("PORT", {"PORT": "80a"}),
    ("PORT", {"PORT": "65536"}),
    ("PORT", {"PORT": "-1"}),
    ("DATABASE_URL", {"DATABASE_URL": "nonsense"}),
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://127.0.0.1:1/none?connect_timeout=2"}),
    ("DATABASE_PORT", {"DATABASE_HOST": "localhost", "DATABASE_PORT": "x"}),
    ("REDIS_URL", {"REDIS_URL": "http://localhost"}),
    ("REDIS_PORT", {"REDIS_HOST": "localhost", "REDIS_PORT": "0"}),
    ("CARILLON_MASTER_KEY", {"CARILLON_MASTER_KEY": "c2hvcnQ="}),
    ("CARILLON_MASTER_KEY", {"CARILLON_MASTER_KEY": "§"}),
    ("RESEND_API_KEY", {"RESEND_API_KEY": "re_\u00e9"}),
    ("TEMPLATES_PATH", {"TEMPLATES_PATH": "no/such/folder"}),
    ("GIVES_WAY", {"GIVES_WAY": "maybe"}),
    ("LOG_LEVEL", {"LOG_LEVEL": "loud"}),
    ("LOKI_HOST", {"LOKI_HOST": "ftp://loki"}),
    ("LOKI_HOST", {"LOKI_HOST": "loki:99999"}),
    ("PUBLIC_URL", {"PUBLIC_URL": "notify.example.com"}),
    ("EMAIL_PROVIDER", {"EMAIL_PROVIDER": "pigeon"}),
    ("EMAIL_FROM", {"EMAIL_FROM": "nobody"}),
    ("EMAIL_REPLY_TO", {"EMAIL_REPLY_TO": "a@b.de, c@d.de"}),
    ("EMAIL_CONCURRENCY", {"EMAIL_CONCURRENCY": "0"}),
    ("EMAIL_DEADLINE_MS", {"EMAIL_DEADLINE_MS": "30000", "LEASE_MS": "60000"}),
    ("LEASE_MS", {"LEASE_MS": "1.5"}),
    ("RESEND_API_KEY", {"EMAIL_PROVIDER": "resend"}),
    ("RESEND_BASE_URL", {"RESEND_BASE_URL": "ftp://example.com"}),
    ("RESEND_WEBHOOK_SECRET", {"RESEND_WEBHOOK_SECRET": "secret"}),
    ("RESEND_WEBHOOK_SECRET", {"RESEND_WEBHOOK_SECRET": "whsec_!!!"}),
    ("RESEND_PER_SECOND", {"RESEND_PER_SECOND": "0"}),
    ("RESEND_PER_SECOND", {"RESEND_PER_SECOND": "nan"}),
    ("SMTP_HOST", {"EMAIL_PROVIDER": "smtp"}),
    ("SMTP_PORT", {"SMTP_HOST": "localhost", "SMTP_PORT": "smtp"}),
    ("SMTP_STARTTLS", {"SMTP_HOST": "localhost", "SMTP_STARTTLS": "maybe"}),
]


@pytest.mark.parametrize(("variable", "given"), WRONG)
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(variable: str, given: dict[str, str]) -> None:
    with data_folder() as data:
        finished = invoked("keys", "list", CARILLON_DATA=str(data), **given)
        assert finished.exit_code == 1
        assert finished.stdout == ""
        assert finished.stderr.startswith(f"Error: {variable} ")
        assert finished.stderr.count("\n") == 1
        assert list(data.iterdir()) == []


def test_a_wrong_secret_is_not_repeated() -> None:
    for variable in ("CARILLON_MASTER_KEY", "RESEND_WEBHOOK_SECRET"):
        assert "hunter2" not in invoked("keys", "list", **{variable: "hunter2"}).output
    url = "postgresql://carillon:hunter2@127.0.0.1:1/none?connect_timeout=2"
    assert "hunter2" not in invoked("keys", "list", DATABASE_URL=url).output


@pytest.mark.parametrize("role", ["api", "dispatcher", "worker", "deliverer", "projector"])
def test_no_role_but_run_starts_without_a_provider(migrated_url: str, role: str) -> None:
    redis = "redis://localhost:1/0"
    finished = invoked(role, DATABASE_URL=migrated_url, CARILLON_MASTER_KEY=KEY, REDIS_URL=redis)
    assert finished.exit_code == 1
    assert finished.stderr.startswith("Error: EMAIL_PROVIDER must be set")
    assert finished.stderr.count("\n") == 1


def test_a_role_on_a_database_that_is_not_migrated_says_what_to_do(postgres: str) -> None:
    finished = invoked("api", DATABASE_URL=postgres, EMAIL_PROVIDER="capture")
    assert finished.exit_code == 1
    assert "carillon migrate" in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_a_role_of_its_own_needs_the_master_key(migrated_url: str) -> None:
    with data_folder() as data:
        finished = invoked("api", CARILLON_DATA=str(data), DATABASE_URL=migrated_url, EMAIL_PROVIDER="capture")
    assert finished.exit_code == 1
    assert finished.stderr.startswith("Error: CARILLON_MASTER_KEY must be set")


@contextmanager
def role_of_its_own(kind: str, database: str, **more: str) -> Iterator[psutil.Process]:
    """One that has connected to what it works on."""
    given = {"DATABASE_URL": database, "CARILLON_MASTER_KEY": KEY, "EMAIL_PROVIDER": "capture", **more}
    with data_folder() as data, subprocess.Popen([CARILLON, kind], env=environment(data, **given)) as process:
        try:
            with psycopg.connect(database, autocommit=True) as connection:
                until = time.monotonic() + 30
                while not connection.execute(_AT_WORK).rowcount:
                    assert process.poll() is None
                    assert time.monotonic() < until, "it does not begin"
                    time.sleep(0.02)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


_AT_WORK = """
    SELECT FROM pg_stat_activity
    WHERE application_name LIKE 'carillon %' AND application_name <> 'carillon append' AND datname = current_database()
"""


def nicer(by: int) -> int:
    return min(19, psutil.Process().nice() + by)


@pytest.mark.parametrize(("kind", "niceness"), [("deliverer", 2), ("projector", 10)])
def test_who_is_waited_for_less_gives_way_to_the_api(migrated_url: str, kind: str, niceness: int) -> None:
    with role_of_its_own(kind, migrated_url) as role:
        assert role.nice() == nicer(niceness)
    with role_of_its_own(kind, migrated_url, GIVES_WAY="no") as role:
        assert role.nice() == nicer(0)


def test_who_may_have_to_start_the_embedded_server_gives_way_to_nobody(service: Running) -> None:
    assert psutil.Process(service.process.pid).nice() == nicer(0)
    given = environment(service.data, EMAIL_PROVIDER="capture", LOG_LEVEL="info")
    with subprocess.Popen([CARILLON, "deliverer"], env=given, stderr=subprocess.PIPE, text=True) as role:
        try:
            assert role.stderr
            assert any("worker started" in line for line in role.stderr)
            assert psutil.Process(role.pid).nice() == nicer(0)
        finally:
            role.terminate()
