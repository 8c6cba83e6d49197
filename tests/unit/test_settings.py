"""What the environment may say, and what is said when it is wrong."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from adapters.callbacks.resend import ResendCallbacks
from entrypoints.settings import SettingError, check_queue, load

ROOT = Path(__file__).parents[2]
NOT_OURS = {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"}

WRONG = {
    "RESEND_API_KEY": ["re_1 re_2", "re_ü", "re_\x07"],
    "RESEND_BASE_URL": ["api.resend.com", "ftp://api.resend.com", "https://", "https://[", "https://resend:99999"],
    "RESEND_WEBHOOK_SECRET": ["whsec_", "whsec_secret!", "whsec_ü", "c2VjcmV0", "whsec_c2VjcmV0, whsec_a", ","],
    "CARILLON_MASTER_KEY": ["short", "c2hvcnQ=", "ü" * 44],
    "REDIS_URL": ["localhost", "http://localhost", "redis://localhost:port"],
    "SMTP_STARTTLS": ["maybe", "1"],
    "SMTP_PORT": ["0", "65536", "smtp"],
}


class Asked(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, **values: str) -> None:
        self._values = values
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_line_that_names_the_variable(variable, value):
    with pytest.raises(SettingError) as caught:
        load({"SMTP_HOST": "localhost", variable: value})
    assert str(caught.value).startswith(f"{variable} must be ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", ["CARILLON_MASTER_KEY", "RESEND_API_KEY", "RESEND_WEBHOOK_SECRET", "DATABASE_URL"])
def test_a_wrong_secret_is_not_repeated(variable):
    with pytest.raises(SettingError) as caught:
        load({variable: "hunter2 hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_webhook_secrets_are_good_for_what_checks_them():
    settings = load({"RESEND_WEBHOOK_SECRET": "whsec_c2VjcmV0, whsec_b3RoZXI="})
    assert settings.resend_webhook_secrets == ["whsec_c2VjcmV0", "whsec_b3RoZXI="]
    ResendCallbacks(settings.resend_webhook_secrets)


@pytest.mark.parametrize(
    ("given", "starttls", "tls"),
    [
        ({}, True, False),
        ({"SMTP_STARTTLS": "yes"}, True, False),
        ({"SMTP_STARTTLS": "no"}, False, False),
        ({"SMTP_STARTTLS": "AUTO"}, "auto", False),
        ({"SMTP_PORT": "465"}, True, True),
    ],
)
def test_how_a_connection_to_the_smtp_server_is_encrypted(given, starttls, tls):
    smtp = load({"SMTP_HOST": "localhost", **given}).smtp
    assert smtp
    assert (smtp.starttls, smtp.tls) == (starttls, tls)


def test_a_redis_password_may_have_any_characters():
    settings = load({"REDIS_HOST": "redis", "REDIS_PASSWORD": "p@ss/w:rd#"})
    assert settings.redis_url == "redis://:p%40ss%2Fw%3Ard%23@redis:6379/0"


def test_a_dispatcher_apart_from_its_workers_needs_redis():
    check_queue(load({"REDIS_HOST": "redis"}))
    with pytest.raises(SettingError, match="REDIS_URL must be set when the dispatcher and the workers"):
        check_queue(load({}))


# Those who speak of the environment elsewhere


def test_every_variable_that_is_read_is_described_and_no_other():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Configuration")[2].partition("\n## ")[0]
    described = {name for line in table.splitlines() for name in re.findall(r"`([A-Z][A-Z_]+)`", line)}
    assert described == read()


def test_every_variable_that_is_handed_on_to_the_containers_is_read():
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"^ {4,6}([A-Z_]+):", compose, re.MULTILINE)) - NOT_OURS <= read()


def read() -> set[str]:
    """All that is asked for; some of it only where something else is set."""
    environment = Asked(DATABASE_HOST="postgres", REDIS_HOST="redis", SMTP_HOST="smtp")
    load(environment)
    return environment.names
