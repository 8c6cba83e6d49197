"""The environment as it is read: defaults, every wrong value by its name, and nothing secret in what is said."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from adapters.kafka.connection import Connection
from entrypoints.settings import SettingError, Settings, check_kafka, check_queue, load

KEY = base64.b64encode(bytes(range(32))).decode()
KAFKA = {"KAFKA_BROKERS": "kafka:9092"}
LOGIN = {"KAFKA_SASL_USERNAME": "carillon", "KAFKA_SASL_PASSWORD": "hunter2"}
SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()


def refusal(**environment: str) -> SettingError:
    with pytest.raises(SettingError) as raised:
        load(environment)
    return raised.value


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("loki", "http://loki:3100"),
        ("loki:3200", "http://loki:3200"),
        ("http://loki", "http://loki"),
        ("https://logs.example.com/", "https://logs.example.com"),
        ("[::1]", "http://[::1]:3100"),
    ],
)
def test_loki_is_a_host_or_an_address(text: str, address: str) -> None:
    assert load({"LOKI_HOST": text}).loki == address


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({"PORT": "8123"}, "http://127.0.0.1:8123"),
        ({"PUBLIC_URL": "https://notify.acme.example"}, "https://notify.acme.example"),
    ],
)
def test_people_are_sent_to_where_the_world_reaches_it(environment: dict[str, str], address: str) -> None:
    assert load(environment).address == address


def test_nothing_has_to_be_set() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 3008, Path(".carillon"))
    assert settings.database_url is None
    assert settings.redis_url is None
    assert settings.kafka is None
    assert settings.email_provider is None
    assert settings.default_language == "en"
    assert (settings.email_concurrency, settings.window) == (5, 40)
    assert (settings.resend_per_second, settings.resend_per_day) == (2.0, 100)
    assert settings.resend_base_url == "https://api.resend.com"
    assert settings.email_deadline * 2 < settings.lease


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65_535),
        ("PORT", " 80 ", "port", 80),
        ("CARILLON_DATA", "data", "data", Path("data")),
        ("DEFAULT_LANGUAGE", "de", "default_language", "de"),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("EMAIL_PROVIDER", "Capture", "email_provider", "capture"),
        ("EMAIL_FROM", "hello@example.org", "email_from", "hello@example.org"),
        ("EMAIL_FROM_EMAIL", "hello@example.org", "email_from", "hello@example.org"),
        ("EMAIL_FROM_NAME", "Carillon", "email_from_name", "Carillon"),
        ("EMAIL_REPLY_TO", "help@example.org", "email_reply_to", "help@example.org"),
        ("EMAIL_CONCURRENCY", "50", "email_concurrency", 50),
        ("EMAIL_CONCURRENCY", "50", "window", 400),
        ("DISPATCH_WINDOW", "7", "window", 7),
        ("EMAIL_DEADLINE_MS", "1500", "email_deadline", timedelta(seconds=1.5)),
        ("LEASE_MS", "90000", "lease", timedelta(seconds=90)),
        ("RESEND_API_KEY", "re_123", "resend_api_key", "re_123"),
        ("RESEND_BASE_URL", "http://localhost:9/", "resend_base_url", "http://localhost:9"),
        ("RESEND_WEBHOOK_SECRET", f"{SECRET}, {SECRET}", "resend_webhook_secrets", [SECRET, SECRET]),
        ("RESEND_PER_SECOND", "0.5", "resend_per_second", 0.5),
        ("RESEND_PER_DAY", "0", "resend_per_day", 0),
        ("SMTP_PER_SECOND", "10", "smtp_per_second", 10.0),
        ("SMTP_PER_DAY", "1000", "smtp_per_day", 1_000),
        ("CARILLON_MASTER_KEY", KEY, "master_key", bytes(range(32))),
        ("REDIS_URL", "rediss://:secret@cache:6380/1", "redis_url", "rediss://:secret@cache:6380/1"),
        ("REDIS_URL", "unix:///run/redis.sock", "redis_url", "unix:///run/redis.sock"),
    ],
)
def test_each_variable_is_read(variable: str, text: str, field: str, value: Any) -> None:
    assert getattr(load({variable: text}), field) == value


@pytest.mark.parametrize("empty", ["", "   "])
def test_an_empty_value_is_none(empty: str) -> None:
    assert load(dict.fromkeys(("PORT", "EMAIL_PROVIDER", "DATABASE_URL", "SMTP_HOST", "LOG_LEVEL"), empty)) == load({})


def test_the_older_name_of_the_sender_gives_way_to_the_newer() -> None:
    both = {"EMAIL_FROM": "new@example.org", "EMAIL_FROM_EMAIL": "old@example.org"}
    assert load(both).email_from == "new@example.org"


@pytest.mark.parametrize(
    ("variable", "texts"),
    {
        "PORT": ["-1", "65536", "80a", "8 0", "٣", "1e3", "0x50", "80.0"],
        "DATABASE_URL": ["nonsense", "http://localhost"],
        "REDIS_URL": ["localhost", "http://localhost", "redis://host:port"],
        "CARILLON_MASTER_KEY": ["short", "c2hvcnQ=", KEY[:-4], KEY + "AAAA", "ключ"],
        "TEMPLATES_PATH": ["no/such/folder"],
        "LOG_LEVEL": ["loud", "0"],
        "EMAIL_PROVIDER": ["pigeon", "resend,smtp"],
        "EMAIL_FROM": ["nobody", "@example.org", "a@", "A <a@b.de>", "a@b.de, c@d.de"],
        "EMAIL_FROM_EMAIL": ["nobody"],
        "EMAIL_REPLY_TO": ["a b@c.de"],
        "EMAIL_CONCURRENCY": ["0", "10001", "many"],
        "DISPATCH_WINDOW": ["0"],
        "EMAIL_DEADLINE_MS": ["0", "1.5", "86400001"],
        "LEASE_MS": ["0", "-5"],
        "RESEND_API_KEY": ["two words", "re_é"],
        "RESEND_BASE_URL": ["api.resend.com", "ftp://x", "https://", "https://host:port"],
        "RESEND_WEBHOOK_SECRET": ["secret", "whsec_", "whsec_!!!", f"{SECRET},oops", ","],
        "RESEND_PER_SECOND": ["0", "-1", "nan", "inf", "fast"],
        "RESEND_PER_DAY": ["-1", "1.5"],
        "SMTP_PER_SECOND": ["0"],
        "SMTP_PER_DAY": ["lots"],
        "KAFKA_BROKERS": [
            ",",
            "kafka:port",
            "kafka:0",
            "kafka:65536",
            "http://kafka:9092",
            "me@kafka",
            ":9092",
            "a b/c",
        ],
    }.items(),
)
def test_a_wrong_value_is_refused_by_its_name(variable: str, texts: list[str]) -> None:
    for text in texts:
        error = refusal(**{variable: text})
        assert error.variable == variable, text
        assert str(error).startswith(f"{variable} must be "), text
        assert "\n" not in str(error)


def test_what_is_secret_is_never_repeated() -> None:
    for variable in ("CARILLON_MASTER_KEY", "RESEND_WEBHOOK_SECRET", "DATABASE_URL", "REDIS_URL"):
        assert "hunter2" not in str(refusal(**{variable: "hunter2 hunter2"}))


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"EMAIL_PROVIDER": "resend"}, "RESEND_API_KEY"),
        ({"EMAIL_PROVIDER": "smtp"}, "SMTP_HOST"),
        ({"EMAIL_DEADLINE_MS": "30000"}, "EMAIL_DEADLINE_MS"),
        ({"EMAIL_DEADLINE_MS": "600", "LEASE_MS": "1200"}, "EMAIL_DEADLINE_MS"),
        ({"SMTP_HOST": "localhost", "SMTP_PORT": "0"}, "SMTP_PORT"),
        ({"SMTP_HOST": "localhost", "SMTP_STARTTLS": "maybe"}, "SMTP_STARTTLS"),
        ({"DATABASE_HOST": "localhost", "DATABASE_PORT": "x"}, "DATABASE_PORT"),
        ({"REDIS_HOST": "localhost", "REDIS_PORT": "x"}, "REDIS_PORT"),
        ({**KAFKA, "KAFKA_CLIENT_ID": "two words"}, "KAFKA_CLIENT_ID"),
        ({**KAFKA, "KAFKA_GROUP_ID": "é"}, "KAFKA_GROUP_ID"),
        ({**KAFKA, "KAFKA_SESSION_TIMEOUT_MS": "5999"}, "KAFKA_SESSION_TIMEOUT_MS"),
        ({**KAFKA, "KAFKA_EVENTS_TOPIC": "a topic"}, "KAFKA_EVENTS_TOPIC"),
        ({**KAFKA, "KAFKA_EVENTS_TOPIC": ".."}, "KAFKA_EVENTS_TOPIC"),
        ({**KAFKA, "KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM"),
        ({**KAFKA, "KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_USERNAME"),
        ({**KAFKA, "KAFKA_SASL_USERNAME": "carillon"}, "KAFKA_SASL_PASSWORD"),
        ({**KAFKA, **LOGIN}, "KAFKA_TLS"),
        ({**KAFKA, "KAFKA_TLS": "maybe"}, "KAFKA_TLS"),
        ({**KAFKA, "KAFKA_TLS_CA": "no/such/file"}, "KAFKA_TLS_CA"),
        ({**KAFKA, "KAFKA_TLS_CA": __file__}, "KAFKA_TLS_CA"),
        ({**KAFKA, "KAFKA_TLS_CERT": __file__}, "KAFKA_TLS_CERT"),
        ({**KAFKA, "KAFKA_TLS_KEY": __file__}, "KAFKA_TLS_CERT"),
    ],
)
def test_what_does_not_go_together_is_refused(environment: dict[str, str], variable: str) -> None:
    assert refusal(**environment).variable == variable


def test_a_database_can_be_named_by_its_parts() -> None:
    parts = {"HOST": "db", "PORT": "6432", "NAME": "mail", "USER": "me", "PASSWORD": "it's 'quoted' \\ and spaced"}
    settings = load({f"DATABASE_{name}": value for name, value in parts.items()})
    assert settings.database_url
    assert conninfo_to_dict(settings.database_url) == {
        "host": "db",
        "port": "6432",
        "dbname": "mail",
        "user": "me",
        "password": parts["PASSWORD"],
    }


def test_a_database_by_its_host_alone_has_our_names() -> None:
    url = load({"DATABASE_HOST": "db"}).database_url
    assert url
    assert conninfo_to_dict(url) == {"host": "db", "port": "5432", "dbname": "carillon", "user": "carillon"}


def test_the_address_of_the_database_goes_before_its_parts() -> None:
    url = load({"DATABASE_URL": "postgresql://one/x", "DATABASE_HOST": "two"}).database_url
    assert url
    assert conninfo_to_dict(url)["host"] == "one"


def test_redis_can_be_named_by_its_parts() -> None:
    assert load({"REDIS_HOST": "cache"}).redis_url == "redis://cache:6379/0"
    given = {"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_PASSWORD": "p@ss/word"}
    assert load(given).redis_url == "redis://:p%40ss%2Fword@cache:6380/0"


@pytest.mark.parametrize(
    ("port", "starttls", "expected"),
    [(None, None, (587, True, False)), ("465", None, (465, True, True)), ("25", "no", (25, False, False))],
)
def test_smtp_is_sealed_unless_it_is_told_not_to_be(
    port: str | None, starttls: str | None, expected: tuple[int, bool, bool]
) -> None:
    given = {"SMTP_HOST": "mail", "SMTP_PORT": port or "", "SMTP_STARTTLS": starttls or ""}
    smtp = load(given).smtp
    assert smtp
    assert (smtp.port, smtp.starttls, smtp.tls) == expected


@pytest.mark.parametrize(
    ("text", "brokers"),
    [
        ("kafka", ("kafka:9092",)),
        ("kafka-1:9093, kafka-2", ("kafka-1:9093", "kafka-2:9092")),
        ("10.0.0.7 [::1]:9094", ("10.0.0.7:9092", "[::1]:9094")),
    ],
)
def test_kafka_is_where_its_brokers_are(text: str, brokers: tuple[str, ...]) -> None:
    kafka = load({"KAFKA_BROKERS": text}).kafka
    assert kafka
    assert kafka.connection == Connection(brokers, "carillon")
    assert (kafka.group_id, kafka.events_topic) == ("carillon", "notification-events")
    assert kafka.connection.arguments()["security_protocol"] == "PLAINTEXT"


def test_a_password_for_kafka_goes_sealed_unless_it_is_told_not_to() -> None:
    sealed, bare, scram = (
        load({**KAFKA, **LOGIN, **how}).kafka
        for how in ({"KAFKA_TLS": "yes"}, {"KAFKA_TLS": "no"}, {"KAFKA_SASL_MECHANISM": "scram-sha-512"})
    )
    assert sealed
    assert bare
    assert scram
    arguments = sealed.connection.arguments()
    assert (arguments["security_protocol"], arguments["sasl_mechanism"]) == ("SASL_SSL", "PLAIN")
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("carillon", "hunter2")
    assert arguments["ssl_context"].check_hostname
    assert bare.connection.arguments()["security_protocol"] == "SASL_PLAINTEXT"
    assert scram.connection.arguments()["sasl_mechanism"] == "SCRAM-SHA-512"


def test_some_roles_are_of_no_use_without_kafka() -> None:
    with pytest.raises(SettingError, match=r"^KAFKA_BROKERS must be set"):
        check_kafka(load({}))
    assert check_kafka(load(KAFKA)).group_id == "carillon"


def test_processes_of_their_own_need_a_queue_between_them() -> None:
    with pytest.raises(SettingError, match=r"^REDIS_URL must be set"):
        check_queue(load({}))
    check_queue(load({"REDIS_HOST": "cache"}))


@given(st.sampled_from(sorted(set(Settings.__struct_fields__))), st.text(max_size=30))
def test_whatever_is_set_is_read_or_refused_by_name(field: str, text: str) -> None:
    variable = field.upper()
    try:
        load({variable: text})
    except SettingError as error:
        refused = error.variable
    else:
        refused = None
    assert refused in (None, variable)
