"""How the text of a variable becomes a value: each of these raises ValueError, whose text says what it must be."""

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psycopg
from psycopg.conninfo import make_conninfo

from adapters.kafka.connection import Mechanism
from domain.endpoint import Network

_SASL_MECHANISMS: tuple[Mechanism, ...] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_LOKI_PORT = 3100
_KAFKA_PORT = 9092
_A_BROKER = "must be the brokers to begin with, such as kafka-1:9092,kafka-2:9092"


def between(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ValueError("must be a number greater than 0")
    return number


def milliseconds(text: str) -> timedelta:
    return timedelta(milliseconds=between(1, 86_400_000)(text))


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return read


def word(text: str) -> str:
    if not re.fullmatch("[!-~]+", text):
        raise ValueError("must be one word of ASCII characters")
    return text


def web_address(text: str) -> str:
    if not _is_address(text, "http", "https") or not urlsplit(text).hostname:
        raise ValueError("must be an http or https address")
    return text.rstrip("/")


def loki_address(text: str) -> str:
    """A host alone is taken for one of its own network, at the port Loki listens on if nobody tells it otherwise."""
    if "://" in text:
        return web_address(text)
    try:
        has_port = urlsplit(f"//{text}").port
    except ValueError:
        has_port = None
    return web_address(f"http://{text}" if has_port else f"http://{text}:{_LOKI_PORT}")


def _is_address(text: str, *schemes: str) -> bool:
    """Also that its port is one: others find out later, and in other words."""
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def time_zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (ValueError, OSError, KeyError):
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None


def mail_address(text: str) -> str:
    local, at, host = text.rpartition("@")
    if not (local and at and host) or any(c.isspace() or c in "<>,;" for c in text):
        raise ValueError("must be an email address such as hello@example.com")
    return text


def folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise ValueError("must be a folder that exists")
    return Path(text)


def master_key(text: str) -> bytes:
    """Read the key from base64. Raises ValueError."""
    key = _from_base64(text)
    if len(key) != 32:
        raise ValueError("must be 32 random bytes in base64, such as `openssl rand -base64 32` prints")
    return key


def networks(text: str) -> list[Network]:
    try:
        return [ip_network(each) for each in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError("must be networks such as 10.1.0.0/16, 127.0.0.1 or fd12:3456:789a::/48") from None


def webhook_secrets(text: str) -> list[str]:
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


def postgres_address(text: str) -> str:
    try:
        return make_conninfo(text)
    except psycopg.ProgrammingError:
        raise ValueError("must be a PostgreSQL address such as postgresql://user:password@host/name") from None


def redis_address(text: str) -> str:
    if not _is_address(text, "redis", "rediss", "unix"):
        raise ValueError("must be a Redis address such as redis://host:6379/0")
    return text


def brokers(text: str) -> tuple[str, ...]:
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


def topic(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", text) or text in (".", ".."):
        raise ValueError("must be the name of a topic, of letters, digits, '.', '_' and '-'")
    return text


def sasl_mechanism(text: str) -> Mechanism:
    for mechanism in _SASL_MECHANISMS:
        if text.upper() == mechanism:
            return mechanism
    raise ValueError(f"must be one of {', '.join(_SASL_MECHANISMS)}")


def yes_or_no(text: str) -> bool:
    return one_of("yes", "no")(text) == "yes"


def file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError("must be a file that exists")
    return Path(text)


def starttls(text: str) -> bool | Literal["auto"]:
    said = one_of("yes", "no", "auto")(text)
    return "auto" if said == "auto" else said == "yes"
