"""How every client here gets to the brokers."""

import ssl
from pathlib import Path
from typing import Any, Literal

import msgspec

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_REQUEST_SECONDS = 10
"""A broker that says nothing for so long is away."""


class Sasl(msgspec.Struct, frozen=True):
    """Who we are to the brokers."""

    mechanism: Mechanism
    user: str
    password: str


class Tls(msgspec.Struct, frozen=True):
    """Whom to believe, instead of the authorities this machine knows, and our own certificate, in files of PEM."""

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises OSError, of which ssl.SSLError is one, for a file that cannot be read or does not fit."""
        context = ssl.create_default_context(cafile=self.authorities)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key, password="")  # asks nobody at a terminal
        return context


class Connection(msgspec.Struct, frozen=True):
    """Where the brokers are, and what it takes to be let in."""

    brokers: tuple[str, ...]
    client_id: str
    sasl: Sasl | None = None
    tls: Tls | None = None

    def arguments(self) -> dict[str, Any]:
        """Those of aiokafka's clients: producer, consumer and admin client alike."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": self.client_id,
            "request_timeout_ms": _REQUEST_SECONDS * 1000,
            "security_protocol": f"SASL_{self._transport}" if self.sasl else self._transport,
        }
        if self.tls:
            arguments["ssl_context"] = self.tls.context()
        if self.sasl:
            arguments["sasl_mechanism"] = self.sasl.mechanism
            arguments["sasl_plain_username"] = self.sasl.user
            arguments["sasl_plain_password"] = self.sasl.password
        return arguments

    @property
    def _transport(self) -> str:
        return "SSL" if self.tls else "PLAINTEXT"


class BrokersAwayError(Exception):
    """The message says whether they do not answer, or refuse us."""
