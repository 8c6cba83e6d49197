"""Where webhooks may go, and with which headers of the receiver's own.

Nothing here asks the DNS: a name that passes may still lead to an address that must not be called, which whoever
dials finds out with `is_public`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import idna

Network = IPv4Network | IPv6Network

LONGEST_URL = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
MOST_HEADERS = 20
LONGEST_HEADER = 1024


def is_public(address: str) -> bool:
    """Whether this is an IP address that anybody on the internet may have.

    What carries another address inside counts as that one where the machine itself would dial it (::ffff:0:0/96), and
    is not public where somebody else translates it (NAT64, 6to4, Teredo).
    """
    ip = _parsed(address)
    if ip is None or not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        return False
    return not _is_in(ip, _NOT_PUBLIC) and not _is_in(ip, _NEVER)


def is_in_house(address: str, networks: Sequence[Network]) -> bool:
    """Whether this is an IP address of one of these networks, which the operator has allowed.

    Where clouds tell secrets to whoever asks from inside is in nobody's house, however wide the networks are.
    """
    ip = _parsed(address)
    return ip is not None and _is_in(ip, networks) and not _is_in(ip, _NEVER)


def url_objection(url: str, in_house: Sequence[Network] = ()) -> str | None:
    """Why webhooks may not be sent to this URL; None: they may.

    Where receivers `in_house` are allowed, so is http, and so are names that only a network of one's own knows.
    """
    if not url or len(url) > LONGEST_URL:
        return f"must be 1 to {LONGEST_URL} characters"
    if _UNFIT_FOR_URL.search(url):
        return "must not contain white space, control characters or backslashes"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL such as https://example.com/hooks"
    return _form_objection(parts, port, bool(in_house)) or _host_objection(parts.scheme, parts.hostname or "", in_house)


def plain_objection(url: str, in_house: Sequence[Network]) -> str | None:
    """Why nobody should subscribe with this URL, which passes, for want of TLS: a public name in nobody's house.

    Where only this machine is in house, such a name does not lead there unless it was bent, and every call fails.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme != "http" or is_in_house(host, in_house) or not _is_public_name(host):
        return None
    if not all(network.is_loopback for network in in_house):
        return None
    return "must begin with https://: without TLS only this machine is called, by its address or as localhost"


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Whom a url leads to: scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def header_objections(headers: Mapping[str, str]) -> dict[str, str]:
    """Why each of these may not be sent along, by its name; empty: all may."""
    found = {name: why for name, value in headers.items() if (why := _header_objection(name, value))}
    found |= dict.fromkeys(_repeated(headers), "is there twice")
    if len(headers) > MOST_HEADERS:
        found |= dict.fromkeys(list(headers)[MOST_HEADERS:], f"is one of more than {MOST_HEADERS}")
    return found


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(address.split("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _is_in(ip: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(ip in network for network in networks if network.version == ip.version)


def _form_objection(parts: SplitResult, port: int | None, in_house: bool) -> str | None:
    if parts.scheme != "https" and not (in_house and parts.scheme == "http"):
        return "must begin with https://"
    if parts.username is not None or parts.password is not None:
        return "must not contain a user or a password: send an Authorization header instead"
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        return "must have an IP address in its usual form"
    if parts.fragment:
        return "must not have a fragment"
    if port is not None and not (port in _PORTS or port >= 1024 or (in_house and port == 80)):
        return "must have port 443 or one from 1024 to 65535"
    return None


def _host_objection(scheme: str, text: str, in_house: Sequence[Network]) -> str | None:
    host = _ascii(text)
    if host is None:
        return "must have a host that can be in the DNS"
    if ":" in host or _LOOKS_NUMERIC.search(host):
        return _address_objection(scheme, host, in_house)
    return None if in_house or _is_public_name(host) else "must have a host that the public DNS knows"


def _address_objection(scheme: str, host: str, in_house: Sequence[Network]) -> str | None:
    try:
        ip_address(host)
    except ValueError:
        return "must have an IP address in its usual form"
    if is_in_house(host, in_house):
        return None
    if not is_public(host):
        return "must not have an address of a private or special network"
    return "must begin with https://" if scheme == "http" else None


def _is_public_name(host: str) -> bool:
    return "." in host and not host.endswith(_PRIVATE_SUFFIXES)


def _ascii(host: str) -> str | None:
    """The name as the DNS has it (UTS 46, IDNA 2008), without the dot at its end."""
    if ":" in host:
        return host
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None
    name = name.lower().removesuffix(".")
    return name if len(name) <= 253 and _HOST.fullmatch(name) else None


def _header_objection(name: str, value: str) -> str | None:
    if not _HEADER_NAME.fullmatch(name):
        return "must be a header name of at most 64 characters"
    folded = _folded(name)
    if folded in _OURS or folded.startswith(_OUR_PREFIXES):
        return "is a header that cannot be chosen"
    if len(value) > LONGEST_HEADER or not _HEADER_VALUE.fullmatch(value):
        return f"must have a value of at most {LONGEST_HEADER} printable ASCII characters"
    return None


def _repeated(names: Iterable[str]) -> list[str]:
    """Those that a receiver could not tell from an earlier one."""
    seen: set[str] = set()
    repeated = []
    for name in names:
        if _folded(name) in seen:
            repeated.append(name)
        seen.add(_folded(name))
    return repeated


def _folded(name: str) -> str:
    """As CGI and WSGI know it, where `X_A` and `x-a` are both HTTP_X_A (RFC 3875, 4.1.18)."""
    return name.lower().replace("_", "-")


# Beside what ipaddress itself calls not global, which differs between versions of Python: translated and tunnelled
# addresses (RFC 6052, 8215, 3056, 4380), shared and assigned ones (RFC 6598, 6890, 7526), and those of documentation
# and experiments (RFC 9637, 9602, 6666), IPv4-compatible and site-local IPv6 (RFC 4291, 3879).
_NOT_PUBLIC = [
    ip_network(text)
    for text in (
        "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24",
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16",
        "fec0::/10",
    )
]  # fmt: skip
# The metadata of AWS, Azure, Google and Alibaba, and the wire server of Azure, whose address is public; those of IPv4
# also as a translator has them (RFC 6052), should its prefix be allowed.
_NEVER = [
    ip_network(text)
    for text in (
        "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32",
        "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128",
        "64:ff9b::a9fe:0/112", "64:ff9b::a83f:8110/128", "64:ff9b::6464:64c8/128",
    )
]  # fmt: skip
_PORTS = frozenset({443})
_PRIVATE_SUFFIXES = (".local", ".internal", ".localhost", ".localdomain", ".home.arpa", ".lan", ".onion")

_UNFIT_FOR_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_LOOKS_NUMERIC = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$")  # as browsers and libraries tell (WHATWG URL, 3.5)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110, 5.1
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")
# What frames or routes the request, what we say ourselves, what proxies say of who asks and for what, and what clouds
# take for a proof of being inside.
_OURS = frozenset({
    "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "trailer", "connection",
    "keep-alive", "upgrade", "http2-settings", "expect", "user-agent", "cookie", "accept-encoding", "forwarded", "via",
    "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-original-url", "x-rewrite-url", "x-http-method-override",
    "metadata", "metadata-flavor", "x-aliyun-ecs-metadata-token",
})  # fmt: skip
_OUR_PREFIXES = (
    "proxy-", "x-forwarded-", "webhook-", "svix-", "x-webhook-signature", "x-webhook-timestamp", "x-amz-", "x-aws-",
    "x-goog-", "x-google-", "x-azure-", "x-ms-",
)  # fmt: skip
