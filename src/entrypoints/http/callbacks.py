"""What providers tell us."""

from litestar import Controller, Response, post
from litestar.exceptions import NotFoundException

from entrypoints.http.request import OPEN, JsonRequest

_PATH = "/api/v1/webhooks"
RESEND_CALLBACK = f"{_PATH}/resend"


class CallbacksController(Controller):
    path = _PATH
    tags = ["Provider callbacks"]  # noqa: RUF012 - the form that Litestar asks for
    opt = OPEN

    @post("/resend", status_code=200, operation_id="ResendCallback", summary="Resend reports on a message")
    async def resend(self, request: JsonRequest) -> Response[dict[str, bool]]:
        """Signed over the raw bytes; answered once it is stored. The same event twice is taken once."""
        if request.parts.callbacks is None:
            raise NotFoundException("callbacks of Resend are not set up here")
        body = await request.body()
        receipt = request.parts.callbacks.receipt(request.headers, body, request.parts.clock.now())
        return Response({"new": await request.parts.take_receipt(receipt)})
