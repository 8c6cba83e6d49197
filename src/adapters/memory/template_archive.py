"""Template bundles that last as long as the process."""

from collections.abc import Mapping


class MemoryTemplateArchive:
    def __init__(self) -> None:
        self._bundles: dict[str, bytes] = {}

    async def put(self, bundles: Mapping[str, bytes]) -> None:
        self._bundles = {**bundles, **self._bundles}

    async def get(self, version: str) -> bytes | None:
        return self._bundles.get(version)
