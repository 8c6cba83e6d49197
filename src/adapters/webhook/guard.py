"""Nobody makes us call what only we can reach: the address is looked at twice, when it is found and when it is dialled.

The first look refuses a name of which any address is wrong, so that none is tried. The second is the one that counts:
it is where the socket is made, for every connection, with the very address the socket is for, whatever was written
in the URL and whatever the DNS said before.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.remarks import ToldError

Allows = Callable[[str], bool]
Lookup = Callable[[str, int], list[str]]

_MOST_TRIED = 8
_MOST_KNOWN = 10_000


class BlockedAddressError(ToldError):
    """Nothing was dialled. The message does not tell the address, which may be nobody's business."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "leads to an address of a private or special network")


def guarded_socket(allows: Allows) -> aiohttp.SocketFactoryType:
    """Makes sockets for those addresses only that are allowed; raises BlockedAddressError for others."""

    def make(address_info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if family not in (socket.AF_INET, socket.AF_INET6) or not allows(str(address[0])):
            raise BlockedAddressError
        return socket.socket(family, kind, protocol)

    return make


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name that this machine could dial; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Lookups:
    """Asks the DNS in threads, each of which is lost until the system gives up, long after we did.

    So each name is asked for once at a time, by all who want it, and those that were found last time have threads that
    no other name can take.
    """

    def __init__(self, lookup: Lookup, threads: int, within: timedelta) -> None:
        self._lookup = lookup
        self._within = within.total_seconds()
        self._known_threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-dns")
        self._other_threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-dns-new")
        self._known: set[str] = set()
        self._under_way: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """All of them; raises OSError, with ETIMEDOUT after `within`."""
        try:
            async with asyncio.timeout(self._within):
                return await asyncio.shield(self._under_way.get(host) or self._begun(host, port))
        except TimeoutError:
            self._known.discard(host)
            raise ToldError(errno.ETIMEDOUT, "the DNS did not answer in time") from None
        except UnicodeError:  # of a name with a label too long, which is the codec's to say
            raise ToldError(errno.EINVAL, "the name cannot be in the DNS") from None

    def close(self) -> None:
        for threads in (self._known_threads, self._other_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _begun(self, host: str, port: int) -> "asyncio.Future[list[str]]":
        threads = self._known_threads if host in self._known else self._other_threads
        found = asyncio.get_running_loop().run_in_executor(threads, self._lookup, host, port)
        self._under_way[host] = found
        found.add_done_callback(partial(self._ended, host))
        return found

    def _ended(self, host: str, found: "asyncio.Future[list[str]]") -> None:
        del self._under_way[host]
        if found.cancelled() or found.exception():
            self._known.discard(host)
        elif len(self._known) < _MOST_KNOWN:
            self._known.add(host)
        else:
            self._known = {host}


class GuardedResolver(AbstractResolver):
    """Finds only addresses that are allowed."""

    def __init__(self, allows: Allows, lookups: Lookups) -> None:
        self._allows = allows
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises BlockedAddressError if only one of the addresses is not allowed, OSError if there is none."""
        addresses = await self._lookups.addresses(host, port)
        if not all(map(self._allows, addresses)):
            raise BlockedAddressError
        if not addresses:
            raise ToldError(errno.ENOENT, "the name has no address")
        return [_result(host, port, address) for address in addresses[:_MOST_TRIED]]

    async def close(self) -> None:
        """The lookups are not its own."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
