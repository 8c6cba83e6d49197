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

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

Allows = Callable[[str], bool]
Lookup = Callable[[str, int], list[str]]

_MOST_TRIED = 8


class BlockedAddressError(OSError):
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


class GuardedResolver(AbstractResolver):
    """Asks the DNS in `threads`, which names that hang cannot take from anybody else."""

    def __init__(self, allows: Allows, lookup: Lookup, threads: ThreadPoolExecutor, within: timedelta) -> None:
        self._allows = allows
        self._lookup = lookup
        self._threads = threads
        self._within = within.total_seconds()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises BlockedAddressError if only one of the addresses is not allowed, OSError if there is none."""
        addresses = await self._addresses(host, port)
        if not all(map(self._allows, addresses)):
            raise BlockedAddressError
        if not addresses:
            raise OSError(errno.ENOENT, "the name has no address")
        return [_result(host, port, address) for address in addresses[:_MOST_TRIED]]

    async def close(self) -> None:
        """The threads are not its own."""

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(self._within):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, "the DNS did not answer in time") from None
        except UnicodeError:  # of a name with a label too long, which is the codec's to say
            raise OSError(errno.EINVAL, "the name cannot be in the DNS") from None


def _result(host: str, port: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
