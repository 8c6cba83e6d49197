"""What goes to standard error: one JSON object a line, whoever logs, and nobody's data."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from structlog.contextvars import bound_contextvars

from application.ports.log import StoreUnavailableError
from domain.notification_events import Attempt
from domain.outcomes import Accepted, Retryable
from domain.personal import Response
from domain.vocabulary import Channel, Reason
from entrypoints import logs
from entrypoints.logs import Lines
from tests.examples import NOON, notification

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Everything logged so far, line by line."""
    text, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # pytest's own would be closed by what takes their place
    monkeypatch.setattr(sys, "stderr", text)
    logs.configure("info")
    yield lambda: [json.loads(line) for line in text.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("written")  # which puts everything back
@pytest.mark.parametrize("on_a_terminal", [False, True])
def test_each_line_is_handed_on_as_json_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, on_a_terminal: bool
) -> None:
    taken, text = list[str](), io.StringIO()
    monkeypatch.setattr(text, "isatty", lambda: on_a_terminal)
    monkeypatch.setattr(sys, "stderr", text)
    logging.getLogger().handlers = []
    logs.configure("info", also=taken.append)
    structlog.get_logger("x").info("told", figure=1)
    structlog.get_logger("x").debug("not told")
    logging.getLogger("asyncio").error("of a library")
    (first, second) = map(json.loads, taken)
    assert (first["event"], first["figure"], first["level"]) == ("told", 1, "info")
    assert (second["event"], second["logger"]) == ("of a library", "asyncio")
    lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert (lines == taken) is not on_a_terminal


def failed(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as raised:  # noqa: BLE001 - whichever was asked for
        return raised


def test_what_a_library_logs_is_a_line_like_any_other(written: Written) -> None:
    with bound_contextvars(request_id="r-1"):
        logging.getLogger("uvicorn.error").warning("no answer from %r", "pool-1")
    (line,) = written()
    assert (line["event"], line["level"], line["logger"]) == ("no answer from 'pool-1'", "warning", "uvicorn.error")
    assert line["request_id"] == "r-1"
    assert "timestamp" in line


def test_the_traceback_of_a_library_stays_on_its_line(written: Written) -> None:
    logging.getLogger("asyncio").error("never retrieved", exc_info=failed(ValueError("of no use")))
    (line,) = written()
    assert line["exception"].endswith("ValueError: of no use")
    assert "Traceback" in line["exception"]


@pytest.mark.parametrize("cause", [None, psycopg.errors.UniqueViolation("Key (address)=(jane@example.com) exists")])
def test_of_an_error_of_postgresql_only_types_and_frames_are_told(written: Written, cause: Exception | None) -> None:
    words = "Key (address)=(jane@example.com) already exists"
    error: Exception = StoreUnavailableError(words) if cause else psycopg.errors.UniqueViolation(words)
    structlog.get_logger("http").error("unexpected error", exc_info=failed(error, cause))
    logging.getLogger("asyncio").error("never retrieved", exc_info=failed(error, cause))
    for line in written():
        assert "jane" not in json.dumps(line)
        assert "psycopg.errors.UniqueViolation" in line["exception"]
        assert "in failed" in line["exception"]


def test_a_member_of_a_group_is_not_quoted_either(written: Written) -> None:
    group = ExceptionGroup("several", [psycopg.errors.CheckViolation("Failing row contains (jane@example.com)")])
    structlog.get_logger("http").error("unexpected error", exc_info=failed(group))
    (line,) = written()
    assert "jane" not in line["exception"]
    assert "CheckViolation" in line["exception"]


def test_an_attempt_of_a_webhook_says_whose_it_was_and_what_was_answered(written: Written) -> None:
    attempt, told = (
        Attempt(1, 1, "webhook", NOON, None, None),
        {"channel": Channel.WEBHOOK, "subscription": UUID(int=7)},
    )
    refused, answered = Retryable(Reason.ENDPOINT_ERROR), Response(status=503, body="secret", milliseconds=2.0)
    lines = Lines("worker")
    lines.attempt(notification(UUID(int=1), **told), attempt, refused, answered, 3.0)
    lines.attempt(notification(UUID(int=1), **told), attempt, Retryable(Reason.TIMEOUT), None, 3.0)
    lines.attempt(notification(UUID(int=1)), attempt, Accepted("m-1"), None, 3.0)
    first, second, mail = written()
    assert (first["subscription"], first["response_status"]) == (str(UUID(int=7)), 503)
    assert (second["subscription"], second["response_status"]) == (str(UUID(int=7)), None)
    assert not {"subscription", "response_status"} & mail.keys()
    assert "secret" not in json.dumps(first)


def test_a_projected_batch_leaves_a_line_if_it_changed_rows(written: Written) -> None:
    lines = Lines("projector")
    lines.projected("attempts", events=7, rows=0, position=7, milliseconds=1.0)
    lines.projected("attempts", events=2, rows=1, position=9, milliseconds=1.0)
    assert [(line["event"], line["rows"], line["position"]) for line in written()] == [("projected", 1, 9)]


def test_what_a_read_model_is_stuck_at_is_told_without_what_it_is_about(written: Written) -> None:
    lines = Lines("projector")
    for error in (ValueError("jane@example.com"), StoreUnavailableError("LockNotAvailable"), StoreUnavailableError()):
        lines.stuck("attempts", 7, error)
    assert [line["error"] for line in written()] == [
        "ValueError",
        "StoreUnavailableError (LockNotAvailable)",
        "StoreUnavailableError",
    ]


def test_what_the_client_of_kafka_says_again_and_again_is_told_once_a_minute(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(logs, "monotonic", lambda: now[0])
    for after in (0, 0.1, 59.8, 0.2):
        now[0] += after
        logging.getLogger("aiokafka.client").error("Unable connect to %s", "kafka-1:9092")
        logging.getLogger("aiokafka").error("Unable connect to %s", f"kafka-{now[0]}")
        logging.getLogger("asyncio").error("of another library")
    said = [line["event"] for line in written()]
    assert said.count("Unable connect to kafka-1:9092") == 2
    assert said.count("of another library") == 4
    assert len(said) == 2 + 4 + 4
