"""The environment, read once at the start. A wrong value stops the start with one line that names the variable."""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from adapters.kafka.connection import Connection, Mechanism, Sasl, Tls
from domain.endpoint import Network

T = TypeVar("T")

EMAIL_PROVIDERS = ("capture", "resend", "smtp")

_SASL_MECHANISMS: tuple[Mechanism, ...] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_LOKI_PORT = 3100
_KAFKA_PORT = 9092
_A_BROKER = "must be the brokers to begin with, such as kafka-1:9092,kafka-2:9092"
_TLS_FROM_THE_START = 465  # RFC 8314, 7.3


class SettingError(Exception):
    """A variable that is missing or wrong."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable} {problem}")
        self.variable = variable


class Smtp(msgspec.Struct, frozen=True):
    host: str
    port: int
    user: str | None
    password: str | None
    starttls: bool | Literal["auto"]
    tls: bool


class Kafka(msgspec.Struct, frozen=True):
    """`events_topic` is where the events of notifications are published; `session` is how long a member of the group
    may say nothing before others take over its partitions."""

    connection: Connection
    group_id: str
    session: timedelta
    events_topic: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. What is None was not set; secrets are never printed."""

    host: str
    port: int
    data: Path
    database_url: str | None
    redis_url: str | None
    kafka: Kafka | None
    kafka_tenant: str | None
    mappings: Path | None
    master_key: bytes | None
    templates: Path | None
    default_language: str
    default_time_zone: str
    postal_address: str | None
    gives_way: bool
    log_level: str
    loki: str | None
    public_url: str | None
    email_provider: str | None
    email_from: str
    email_from_name: str | None
    email_reply_to: str | None
    email_concurrency: int
    email_deadline: timedelta
    lease: timedelta
    window: int
    resend_api_key: str | None
    resend_base_url: str
    resend_webhook_secrets: list[str]
    resend_per_second: float
    resend_per_day: int | None
    smtp: Smtp | None
    smtp_per_second: float | None
    smtp_per_day: int | None
    webhook_concurrency: int
    webhook_deadline: timedelta
    webhook_attempts: int | None
    webhook_allowed_subnets: list[Network]

    @property
    def address(self) -> str:
        """Where people find this service: what the world calls it, or else where it listens."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def webhook_lease(self) -> timedelta:
        """Long enough for a call by its deadline, at the least as long as any other."""
        return max(self.lease, 2.5 * self.webhook_deadline)


def load(environment: Mapping[str, str]) -> Settings:
    """Read and check the environment. Raises SettingError for the first variable that is wrong."""
    env = _Environment(environment)
    concurrency = env.get("EMAIL_CONCURRENCY", _between(1, 10_000), 5)
    settings = Settings(
        host=env.get("HOST", str, "127.0.0.1"),
        port=env.get("PORT", _between(0, 65_535), 3008),
        data=env.get("CARILLON_DATA", Path, Path(".carillon")),
        database_url=_database_url(env),
        redis_url=_redis_url(env),
        kafka=_kafka(env),
        kafka_tenant=env.maybe("KAFKA_TENANT", str),
        mappings=env.maybe("MAPPINGS_PATH", _file),
        master_key=env.maybe("CARILLON_MASTER_KEY", master_key),
        templates=env.maybe("TEMPLATES_PATH", _folder),
        default_language=env.get("DEFAULT_LANGUAGE", str, "en"),
        default_time_zone=env.get("DEFAULT_TIME_ZONE", _time_zone, "UTC"),
        postal_address=env.maybe("POSTAL_ADDRESS", str),
        gives_way=env.get("GIVES_WAY", _yes_or_no, True),
        log_level=env.get("LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "info"),
        loki=env.maybe("LOKI_HOST", _loki_address),
        public_url=env.maybe("PUBLIC_URL", _web_address),
        email_provider=env.maybe("EMAIL_PROVIDER", _one_of(*EMAIL_PROVIDERS)),
        email_from=env.maybe("EMAIL_FROM", _mail_address)
        or env.get("EMAIL_FROM_EMAIL", _mail_address, "notifications@example.com"),
        email_from_name=env.maybe("EMAIL_FROM_NAME", str),
        email_reply_to=env.maybe("EMAIL_REPLY_TO", _mail_address),
        email_concurrency=concurrency,
        email_deadline=env.get("EMAIL_DEADLINE_MS", _milliseconds, timedelta(seconds=20)),
        lease=env.get("LEASE_MS", _milliseconds, timedelta(seconds=60)),
        window=env.get("DISPATCH_WINDOW", _between(1, 100_000), 8 * concurrency),
        resend_api_key=env.maybe("RESEND_API_KEY", _word),
        resend_base_url=env.get("RESEND_BASE_URL", _web_address, "https://api.resend.com"),
        resend_webhook_secrets=env.get("RESEND_WEBHOOK_SECRET", _webhook_secrets, []),
        resend_per_second=env.get("RESEND_PER_SECOND", _positive, 2.0),
        resend_per_day=env.get("RESEND_PER_DAY", _between(0, 10**9), 100),
        smtp=_smtp(env),
        smtp_per_second=env.maybe("SMTP_PER_SECOND", _positive),
        smtp_per_day=env.maybe("SMTP_PER_DAY", _between(0, 10**9)),
        webhook_concurrency=env.get("WEBHOOK_CONCURRENCY", _between(1, 10_000), 100),
        webhook_deadline=env.get("WEBHOOK_TIMEOUT_MS", _milliseconds, timedelta(seconds=30)),
        webhook_attempts=env.maybe("WEBHOOK_MAX_RETRIES", _between(1, 100)),
        webhook_allowed_subnets=env.get("WEBHOOK_ALLOWED_SUBNETS", _networks, []),
    )
    _check_together(settings)
    return settings


def check_queue(settings: Settings) -> str:
    """The address of Redis, where alone a dispatcher and workers apart from it can meet. Raises SettingError."""
    if not settings.redis_url:
        raise SettingError("REDIS_URL", "must be set when the dispatcher and the workers are processes of their own")
    return settings.redis_url


def check_kafka(settings: Settings) -> Kafka:
    """Some roles are of no use without it. Raises SettingError."""
    if not settings.kafka:
        raise SettingError("KAFKA_BROKERS", "must be set for this role")
    return settings.kafka


def _check_together(settings: Settings) -> None:
    if settings.email_provider == "resend" and not settings.resend_api_key:
        raise SettingError("RESEND_API_KEY", "must be set when EMAIL_PROVIDER is resend")
    if settings.email_provider == "smtp" and not settings.smtp:
        raise SettingError("SMTP_HOST", "must be set when EMAIL_PROVIDER is smtp")
    if settings.email_deadline * 2 >= settings.lease:
        raise SettingError("EMAIL_DEADLINE_MS", "must be less than half of LEASE_MS")


class _Environment:
    """An empty value is the same as none."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, variable: str, read: Callable[[str], T], default: T) -> T:
        value = self.maybe(variable, read)
        return default if value is None else value

    def maybe(self, variable: str, read: Callable[[str], T]) -> T | None:
        text = self._values.get(variable, "").strip()
        if not text:
            return None
        try:
            return read(text)
        except ValueError as error:
            raise SettingError(variable, str(error)) from None


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ValueError("must be a number greater than 0")
    return number


def _milliseconds(text: str) -> timedelta:
    return timedelta(milliseconds=_between(1, 86_400_000)(text))


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return read


def _word(text: str) -> str:
    if not re.fullmatch("[!-~]+", text):
        raise ValueError("must be one word of ASCII characters")
    return text


def _web_address(text: str) -> str:
    if not _is_address(text, "http", "https") or not urlsplit(text).hostname:
        raise ValueError("must be an http or https address")
    return text.rstrip("/")


def _loki_address(text: str) -> str:
    """A host alone is taken for one of its own network, at the port Loki listens on if nobody tells it otherwise."""
    if "://" in text:
        return _web_address(text)
    try:
        has_port = urlsplit(f"//{text}").port
    except ValueError:
        has_port = None
    return _web_address(f"http://{text}" if has_port else f"http://{text}:{_LOKI_PORT}")


def _is_address(text: str, *schemes: str) -> bool:
    """Also that its port is one: others find out later, and in other words."""
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _time_zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (ValueError, OSError, KeyError):
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None


def _mail_address(text: str) -> str:
    local, at, host = text.rpartition("@")
    if not (local and at and host) or any(c.isspace() or c in "<>,;" for c in text):
        raise ValueError("must be an email address such as hello@example.com")
    return text


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise ValueError("must be a folder that exists")
    return Path(text)


def master_key(text: str) -> bytes:
    """Read the key from base64. Raises ValueError."""
    key = _from_base64(text)
    if len(key) != 32:
        raise ValueError("must be 32 random bytes in base64, such as `openssl rand -base64 32` prints")
    return key


def _networks(text: str) -> list[Network]:
    try:
        return [ip_network(each) for each in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError("must be networks such as 10.1.0.0/16, 127.0.0.1 or fd12:3456:789a::/48") from None


def _webhook_secrets(text: str) -> list[str]:
    secrets = text.replace(",", " ").split()
    if not secrets or not all(map(_is_webhook_secret, secrets)):
        raise ValueError("must be one or more secrets of whsec_ and base64, as Resend shows them")
    return secrets


def _is_webhook_secret(text: str) -> bool:
    prefix, _, secret = text.partition("_")
    return prefix == "whsec" and bool(_from_base64(secret))


def _from_base64(text: str) -> bytes:
    """Nothing where it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _database_url(env: _Environment) -> str | None:
    if url := env.maybe("DATABASE_URL", _postgres_address):
        return url
    host = env.maybe("DATABASE_HOST", str)
    if host is None:
        return None
    return make_conninfo(
        host=host,
        port=env.get("DATABASE_PORT", _between(1, 65_535), 5432),
        dbname=env.get("DATABASE_NAME", str, "carillon"),
        user=env.get("DATABASE_USER", str, "carillon"),
        password=env.maybe("DATABASE_PASSWORD", str),
    )


def _postgres_address(text: str) -> str:
    try:
        return make_conninfo(text)
    except psycopg.ProgrammingError:
        raise ValueError("must be a PostgreSQL address such as postgresql://user:password@host/name") from None


def _redis_url(env: _Environment) -> str | None:
    if url := env.maybe("REDIS_URL", _redis_address):
        return url
    host = env.maybe("REDIS_HOST", str)
    if host is None:
        return None
    password = env.maybe("REDIS_PASSWORD", str)
    login = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host}:{env.get('REDIS_PORT', _between(1, 65_535), 6379)}/0"


def _redis_address(text: str) -> str:
    if not _is_address(text, "redis", "rediss", "unix"):
        raise ValueError("must be a Redis address such as redis://host:6379/0")
    return text


def _kafka(env: _Environment) -> Kafka | None:
    brokers = env.maybe("KAFKA_BROKERS", _brokers)
    if brokers is None:
        return None
    tls = _kafka_tls(env)
    return Kafka(
        Connection(brokers, env.get("KAFKA_CLIENT_ID", _word, "carillon"), _kafka_sasl(env, bool(tls)), tls),
        group_id=env.get("KAFKA_GROUP_ID", _word, "carillon"),
        session=timedelta(milliseconds=env.get("KAFKA_SESSION_TIMEOUT_MS", _between(6_000, 1_800_000), 10_000)),
        events_topic=env.get("KAFKA_EVENTS_TOPIC", _topic, "notification-events"),
    )


def _kafka_sasl(env: _Environment, sealed: bool) -> Sasl | None:
    user, password = env.maybe("KAFKA_SASL_USERNAME", str), env.maybe("KAFKA_SASL_PASSWORD", str)
    mechanism = env.maybe("KAFKA_SASL_MECHANISM", _sasl_mechanism)
    if not (user or password or mechanism):
        return None
    if not user or not password:
        lacking = "PASSWORD" if user else "USERNAME"
        raise SettingError(f"KAFKA_SASL_{lacking}", "must be set, as the others of KAFKA_SASL are")
    if mechanism in (None, "PLAIN") and not sealed and env.maybe("KAFKA_TLS", _yes_or_no) is None:
        raise SettingError("KAFKA_TLS", "must be said, yes or no: without it everybody on the way reads the password")
    return Sasl(mechanism or "PLAIN", user, password)


def _kafka_tls(env: _Environment) -> Tls | None:
    """Said by its files alone, too; which are read here, so that a wrong one is told of at the start."""
    authorities, certificate, key = (env.maybe(f"KAFKA_TLS_{name}", _file) for name in ("CA", "CERT", "KEY"))
    wished = env.maybe("KAFKA_TLS", _yes_or_no)
    if wished is None:
        wished = bool(authorities or certificate or key)
    if not wished:
        return None
    if key and not certificate:
        raise SettingError("KAFKA_TLS_CERT", "must be set when KAFKA_TLS_KEY is")
    _check_pem("KAFKA_TLS_CA", Tls(authorities), "must be a file of certificates in PEM")
    _check_pem("KAFKA_TLS_CERT", Tls(None, certificate, key), "must be a certificate in PEM, with its unencrypted key")
    return Tls(authorities, certificate, key)


def _check_pem(variable: str, tls: Tls, problem: str) -> None:
    try:
        tls.context()
    except (OSError, ValueError):
        raise SettingError(variable, problem) from None


def _brokers(text: str) -> tuple[str, ...]:
    brokers = tuple(_broker(each) for each in text.replace(",", " ").split())
    if not brokers:
        raise ValueError(_A_BROKER)
    return brokers


def _broker(text: str) -> str:
    """With its port, also where that is Kafka's own."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        raise ValueError(_A_BROKER) from None
    if not parts.hostname or "@" in text or parts.path or parts.query or parts.fragment or port == 0:
        raise ValueError(_A_BROKER)
    return text if port else f"{text.removesuffix(':')}:{_KAFKA_PORT}"


def _topic(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", text) or text in (".", ".."):
        raise ValueError("must be the name of a topic, of letters, digits, '.', '_' and '-'")
    return text


def _sasl_mechanism(text: str) -> Mechanism:
    for mechanism in _SASL_MECHANISMS:
        if text.upper() == mechanism:
            return mechanism
    raise ValueError(f"must be one of {', '.join(_SASL_MECHANISMS)}")


def _yes_or_no(text: str) -> bool:
    return _one_of("yes", "no")(text) == "yes"


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError("must be a file that exists")
    return Path(text)


def _smtp(env: _Environment) -> Smtp | None:
    host = env.maybe("SMTP_HOST", str)
    if host is None:
        return None
    port = env.get("SMTP_PORT", _between(1, 65_535), 587)
    return Smtp(
        host,
        port,
        env.maybe("SMTP_USER", str),
        env.maybe("SMTP_PASSWORD", str),
        starttls=env.get("SMTP_STARTTLS", _starttls, True),
        tls=port == _TLS_FROM_THE_START,
    )


def _starttls(text: str) -> bool | Literal["auto"]:
    match _one_of("yes", "no", "auto")(text):
        case "auto":
            return "auto"
        case word:
            return word == "yes"
