"""The links of this process."""

from collections.abc import Collection, Sequence

from application.ports.log import ConflictError
from domain.chain import Link


class MemoryChain:
    def __init__(self) -> None:
        self._links: list[Link] = []
        self._position = 0

    async def position(self) -> int:
        return self._position

    async def heads(self, tenants: Collection[str] | None = None) -> list[Link]:
        last = {link.tenant: link for link in self._links}
        return [last[tenant] for tenant in sorted(last) if tenants is None or tenant in tenants]

    async def links(self, after: int, until: int) -> list[Link]:
        return [link for link in self._links if after < link.last <= until]

    async def extend(self, links: Sequence[Link], position: int, *, after: int) -> None:
        if self._position != after:
            raise ConflictError(f"the chain does not stand at {after}")
        if {(link.tenant, link.last) for link in self._links} & {(link.tenant, link.last) for link in links}:
            raise ConflictError("a link that is there already")
        self._links = sorted([*self._links, *links], key=lambda link: (link.last, link.tenant))
        self._position = position
