"""The accept endpoint doing nothing: the same server, framework, request class and body. Prints its address."""

import asyncio

import uvicorn
import uvloop
from litestar import Litestar, post
from litestar.params import JSONBody

from application.commands.send import SendNotification
from entrypoints.http.request import JsonRequest


@post("/bare", status_code=202)
async def bare() -> dict[str, bool]:
    return {"done": False}


@post("/decoded", status_code=202)
async def decoded(data: JSONBody[SendNotification]) -> dict[str, bool]:
    return {"done": False}


async def serve() -> None:
    app = Litestar([bare, decoded], request_class=JsonRequest, openapi_config=None, logging_config=None)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print("http://127.0.0.1:{}".format(server.servers[0].sockets[0].getsockname()[1]), flush=True)
    await task


if __name__ == "__main__":
    uvloop.run(serve())
