"""What accepting is held against: the same server and framework, with less and less of the endpoint left.

`/bare` answers at once; `/decoded` reads the body first; `/api/v1/notifications` is the endpoint itself - key, body,
answer and log line - doing nothing in between. Prints its address.
"""

import asyncio
import os
from dataclasses import replace
from typing import Any
from uuid import UUID

import uvicorn
import uvloop
from litestar import Litestar, post
from litestar.params import JSONBody

from application.commands.send import AcceptedNotification, SendAnswer
from application.commands.sending import SendNotification
from domain.vocabulary import Channel, Status
from entrypoints import deployment, logs, settings
from entrypoints.bootstrap import opened
from entrypoints.http.app import create_app
from entrypoints.http.request import JsonRequest
from entrypoints.process import tune

_ID = UUID(int=0)


@post("/bare", status_code=202)
async def bare() -> dict[str, bool]:
    return {"done": False}


@post("/decoded", status_code=202)
async def decoded(data: JSONBody[SendNotification]) -> dict[str, bool]:
    return {"done": False}


async def nothing(command: SendNotification, *_: Any) -> SendAnswer:
    recipient = command.recipients[0]
    return SendAnswer(_ID, 0, [AcceptedNotification(_ID, Channel.EMAIL, recipient, Status.PENDING)])


async def serve(conninfo: str, master_key: bytes) -> None:
    tune()
    plain = Litestar([bare, decoded], request_class=JsonRequest, openapi_config=None, logging_config=None)
    async with opened(settings.load(os.environ), conninfo, master_key) as parts:
        endpoint = create_app(replace(parts, send=nothing))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (plain if scope["path"] in ("/bare", "/decoded") else endpoint)(scope, receive, send)

        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event for it
            await asyncio.sleep(0.01)
        print(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
        await task


def main() -> None:
    logs.configure("error")
    with deployment.prepared(settings.load(os.environ), everything=False) as (conninfo, master_key):
        uvloop.run(serve(conninfo, master_key))


if __name__ == "__main__":
    main()
