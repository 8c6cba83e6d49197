"""The environment, read once at the start. A wrong value stops the start with one line that names the variable."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import msgspec
from psycopg.conninfo import make_conninfo

from adapters.kafka.connection import Connection, Sasl, Tls
from domain.endpoint import Network
from entrypoints import values

T = TypeVar("T")

EMAIL_PROVIDERS = ("capture", "resend", "smtp")

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
    concurrency = env.get("EMAIL_CONCURRENCY", values.between(1, 10_000), 5)
    settings = Settings(
        host=env.get("HOST", str, "127.0.0.1"),
        port=env.get("PORT", values.between(0, 65_535), 3008),
        data=env.get("CARILLON_DATA", Path, Path(".carillon")),
        database_url=_database_url(env),
        redis_url=_redis_url(env),
        kafka=_kafka(env),
        kafka_tenant=env.maybe("KAFKA_TENANT", str),
        mappings=env.maybe("MAPPINGS_PATH", values.file),
        master_key=env.maybe("CARILLON_MASTER_KEY", values.master_key),
        templates=env.maybe("TEMPLATES_PATH", values.folder),
        default_language=env.get("DEFAULT_LANGUAGE", str, "en"),
        default_time_zone=env.get("DEFAULT_TIME_ZONE", values.time_zone, "UTC"),
        postal_address=env.maybe("POSTAL_ADDRESS", str),
        gives_way=env.get("GIVES_WAY", values.yes_or_no, True),
        log_level=env.get("LOG_LEVEL", values.one_of("debug", "info", "warning", "error"), "info"),
        loki=env.maybe("LOKI_HOST", values.loki_address),
        public_url=env.maybe("PUBLIC_URL", values.web_address),
        email_provider=env.maybe("EMAIL_PROVIDER", values.one_of(*EMAIL_PROVIDERS)),
        email_from=env.maybe("EMAIL_FROM", values.mail_address)
        or env.get("EMAIL_FROM_EMAIL", values.mail_address, "notifications@example.com"),
        email_from_name=env.maybe("EMAIL_FROM_NAME", str),
        email_reply_to=env.maybe("EMAIL_REPLY_TO", values.mail_address),
        email_concurrency=concurrency,
        email_deadline=env.get("EMAIL_DEADLINE_MS", values.milliseconds, timedelta(seconds=20)),
        lease=env.get("LEASE_MS", values.milliseconds, timedelta(seconds=60)),
        window=env.get("DISPATCH_WINDOW", values.between(1, 100_000), 8 * concurrency),
        resend_api_key=env.maybe("RESEND_API_KEY", values.word),
        resend_base_url=env.get("RESEND_BASE_URL", values.web_address, "https://api.resend.com"),
        resend_webhook_secrets=env.get("RESEND_WEBHOOK_SECRET", values.webhook_secrets, []),
        resend_per_second=env.get("RESEND_PER_SECOND", values.positive, 2.0),
        resend_per_day=env.get("RESEND_PER_DAY", values.between(0, 10**9), 100),
        smtp=_smtp(env),
        smtp_per_second=env.maybe("SMTP_PER_SECOND", values.positive),
        smtp_per_day=env.maybe("SMTP_PER_DAY", values.between(0, 10**9)),
        webhook_concurrency=env.get("WEBHOOK_CONCURRENCY", values.between(1, 10_000), 100),
        webhook_deadline=env.get("WEBHOOK_TIMEOUT_MS", values.milliseconds, timedelta(seconds=30)),
        webhook_attempts=env.maybe("WEBHOOK_MAX_RETRIES", values.between(1, 100)),
        webhook_allowed_subnets=env.get("WEBHOOK_ALLOWED_SUBNETS", values.networks, []),
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

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get(self, variable: str, read: Callable[[str], T], default: T) -> T:
        value = self.maybe(variable, read)
        return default if value is None else value

    def maybe(self, variable: str, read: Callable[[str], T]) -> T | None:
        text = self._variables.get(variable, "").strip()
        if not text:
            return None
        try:
            return read(text)
        except ValueError as error:
            raise SettingError(variable, str(error)) from None


def _database_url(env: _Environment) -> str | None:
    if url := env.maybe("DATABASE_URL", values.postgres_address):
        return url
    host = env.maybe("DATABASE_HOST", str)
    if host is None:
        return None
    return make_conninfo(
        host=host,
        port=env.get("DATABASE_PORT", values.between(1, 65_535), 5432),
        dbname=env.get("DATABASE_NAME", str, "carillon"),
        user=env.get("DATABASE_USER", str, "carillon"),
        password=env.maybe("DATABASE_PASSWORD", str),
    )


def _redis_url(env: _Environment) -> str | None:
    if url := env.maybe("REDIS_URL", values.redis_address):
        return url
    host = env.maybe("REDIS_HOST", str)
    if host is None:
        return None
    password = env.maybe("REDIS_PASSWORD", str)
    login = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host}:{env.get('REDIS_PORT', values.between(1, 65_535), 6379)}/0"


def _kafka(env: _Environment) -> Kafka | None:
    brokers = env.maybe("KAFKA_BROKERS", values.brokers)
    if brokers is None:
        return None
    tls = _kafka_tls(env)
    return Kafka(
        Connection(brokers, env.get("KAFKA_CLIENT_ID", values.word, "carillon"), _kafka_sasl(env, bool(tls)), tls),
        group_id=env.get("KAFKA_GROUP_ID", values.word, "carillon"),
        session=timedelta(milliseconds=env.get("KAFKA_SESSION_TIMEOUT_MS", values.between(6_000, 1_800_000), 10_000)),
        events_topic=env.get("KAFKA_EVENTS_TOPIC", values.topic, "notification-events"),
    )


def _kafka_sasl(env: _Environment, sealed: bool) -> Sasl | None:
    user, password = env.maybe("KAFKA_SASL_USERNAME", str), env.maybe("KAFKA_SASL_PASSWORD", str)
    mechanism = env.maybe("KAFKA_SASL_MECHANISM", values.sasl_mechanism)
    if not (user or password or mechanism):
        return None
    if not user or not password:
        lacking = "PASSWORD" if user else "USERNAME"
        raise SettingError(f"KAFKA_SASL_{lacking}", "must be set, as the others of KAFKA_SASL are")
    if mechanism in (None, "PLAIN") and not sealed and env.maybe("KAFKA_TLS", values.yes_or_no) is None:
        raise SettingError("KAFKA_TLS", "must be said, yes or no: without it everybody on the way reads the password")
    return Sasl(mechanism or "PLAIN", user, password)


def _kafka_tls(env: _Environment) -> Tls | None:
    """Said by its files alone, too; which are read here, so that a wrong one is told of at the start."""
    authorities, certificate, key = (env.maybe(f"KAFKA_TLS_{name}", values.file) for name in ("CA", "CERT", "KEY"))
    wished = env.maybe("KAFKA_TLS", values.yes_or_no)
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


def _smtp(env: _Environment) -> Smtp | None:
    host = env.maybe("SMTP_HOST", str)
    if host is None:
        return None
    port = env.get("SMTP_PORT", values.between(1, 65_535), 587)
    return Smtp(
        host,
        port,
        env.maybe("SMTP_USER", str),
        env.maybe("SMTP_PASSWORD", str),
        starttls=env.get("SMTP_STARTTLS", values.starttls, True),
        tls=port == _TLS_FROM_THE_START,
    )
