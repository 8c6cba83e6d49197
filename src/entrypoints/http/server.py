"""The HTTP server of a process."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from entrypoints.http.app import create_app
from entrypoints.http.one_write import OneWriteProtocol
from entrypoints.parts import Parts
from entrypoints.settings import SettingError


class HttpServer(uvicorn.Server):
    """Leaves the signals to the process; `started` is set once it listens."""

    def __init__(self, parts: Parts) -> None:
        settings = parts.settings
        self._streams = parts.mail_watch
        config = uvicorn.Config(
            create_app(parts),
            http=OneWriteProtocol,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises SettingError when it may not listen there, where uvicorn would end the process."""
        await super().serve(sockets or [_listening(self.config.host, self.config.port)])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams first: they would go on for as long as somebody looks."""
        self._streams.close()
        await super().shutdown(sockets)

    @property
    def address(self) -> str:
        """Where it answers, once started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"


@asynccontextmanager
async def serving(server: HttpServer) -> AsyncIterator[None]:
    """Serve for as long as the block lasts; requests that have begun are answered first."""
    task = asyncio.create_task(server.serve())
    while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers no event for it
        await asyncio.sleep(0.01)
    if task.done():
        await task
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except PermissionError:
        raise SettingError("PORT", "may not be used by this user") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingError("PORT", "is taken by another program") from None
        raise SettingError("HOST", "is not an address of this machine") from None
