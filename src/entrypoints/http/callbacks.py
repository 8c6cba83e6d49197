"""What providers tell us."""

from litestar import Controller, Request, Response, post
from litestar.exceptions import NotFoundException

from entrypoints.http.notifications import With


class CallbacksController(Controller):
    path = "/api/v1/webhooks"
    tags = ["Provider callbacks"]  # noqa: RUF012 - the form that Litestar asks for

    @post("/resend", status_code=200, operation_id="ResendCallback", summary="Resend reports on a message")
    async def resend(self, request: Request, parts: With) -> Response[dict[str, bool]]:  # type: ignore[type-arg]
        """Signed over the raw bytes; answered once it is stored. The same event twice is taken once."""
        if parts.callbacks is None:
            raise NotFoundException("callbacks of Resend are not set up here")
        body = await request.body()
        receipt = parts.callbacks.receipt(request.headers, body, parts.clock.now())
        return Response({"new": await parts.take_receipt(receipt)})
