"""Pages for nobody but those who sit at this machine."""

from ipaddress import ip_address
from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler

Connection = ASGIConnection[Any, Any, Any, Any]

_RELAYED = ("forwarded", "via", "x-real-ip")


def only_loopback(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard: for anybody else there is nothing here.

    The client's address alone would let in a proxy on this machine, and a page of the web whose name was made to point
    here (DNS rebinding): so nothing may have been relayed, and the Host must be a name of this machine.
    """
    hosts = connection.headers.getall("host", [])
    relayed = any(name in _RELAYED or name.startswith("x-forwarded-") for name in connection.headers)
    at_home = connection.client is not None and _is_loopback(connection.client.host)
    if relayed or not at_home or len(hosts) != 1 or not _is_loopback(_without_port(hosts[0])):
        raise NotFoundException("Not Found")


def only_same_origin(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard for what changes something: a page of the web may not make a visitor's browser do it."""
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != connection.headers["host"]:
        raise PermissionDeniedException("this can only be asked by our own page")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
