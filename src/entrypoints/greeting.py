"""What a process says where it answers; `carillon run` also a key, and a first notification to copy."""

import shlex

import click
import msgspec

from application.caller import Scope
from entrypoints import deployment
from entrypoints.http.callbacks import RESEND_CALLBACK
from entrypoints.parts import Parts
from entrypoints.process import DEV

_DEVELOPER = "developer@example.com"


async def dev_key(parts: Parts) -> str:
    """The development key, kept in the data folder and made anew when the database does not know it."""
    file = parts.settings.data / "dev-key"
    everything = {scope.value for scope in Scope}
    if file.exists():
        known = await parts.api_keys.find(text := file.read_text().strip())
        if known and known.scopes >= everything:
            return text
    _, text = await parts.api_keys.create(DEV, "development key", everything, _DEVELOPER)
    file.unlink(missing_ok=True)
    return deployment.kept_secret(file, lambda: text)


def greet(address: str, key: str, parts: Parts) -> None:
    """On standard output: where it answers, the key, and a line to copy."""
    where = f"and read it at {address}/mailbox" if parts.settings.email_provider == "capture" else ""
    click.echo(f"""
Carillon answers on {address}{in_public(parts)}

  API key   {key}
            (also in {parts.settings.data.absolute() / "dev-key"})
  Data      {parts.settings.data.absolute()}

Send a first notification:

  {first_call(address, key, _first_notification(parts))}

{where}
""")


def first_call(address: str, key: str, body: str) -> str:
    """One line for a shell, whatever is quoted in the body."""
    headers = (f"Authorization: Bearer {key}", "Content-Type: application/json")
    said = [part for header in headers for part in ("-H", header)]
    return shlex.join(["curl", f"{address}/api/v1/notifications", *said, "-d", body])


def in_public(parts: Parts) -> str:
    """Where others reach it, and what a provider has to be told."""
    if not (url := parts.settings.public_url):
        return ""
    callbacks = f"\n  Callbacks {url}{RESEND_CALLBACK} (for Resend)" if parts.callbacks else ""
    return f"\n  In public {url}{callbacks}"


def _first_notification(parts: Parts) -> str:
    welcome = next(type for type in parts.templates.types() if type.name == "welcome")
    variables = {name: v.example for name, v in welcome.variables.items() if v.required}
    recipient = {"email": "jane@example.com", "name": "Jane", "locale": "en"}
    body = {"type": "welcome", "channels": ["email"], "recipients": [recipient], "variables": variables}
    return msgspec.json.encode(body).decode()
