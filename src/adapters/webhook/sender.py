"""Webhooks over HTTP, to whoever may be called."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ssl import SSLContext
from time import perf_counter

from adapters.http_client import HttpClient, exchange, http_client
from adapters.webhook.call import KEPT, judged, prepared
from adapters.webhook.guard import Allows, GuardedResolver, Lookup, Lookups, guarded_socket, look_up
from application.ports.webhooks import WebhookCall, WebhookRequest
from domain.endpoint import Network, is_in_house, is_public

_CONNECT = timedelta(seconds=5)
_BODY = timedelta(seconds=0.5)  # the status has decided by then, and the place is wanted by others
_IDLE = timedelta(seconds=1)  # shorter than any server's: one that hangs up while we send costs an attempt


class HttpWebhookSender:
    """One POST per call: no redirect is followed, and no proxy of the environment is used.

    `in_house` are the networks beside the internet that may be called, and the only ones without TLS. An idle
    connection is used again for the same host only; its address was looked at when it was dialled.
    """

    def __init__(
        self,
        *,
        in_house: Sequence[Network] = (),
        connections: int = 10,
        deadline: timedelta = timedelta(seconds=30),
        lookup: Lookup = look_up,
        tls: SSLContext | None = None,
    ) -> None:
        self._in_house = in_house
        self._lookups = Lookups(lookup, 2 * connections, _CONNECT)
        self.deadline = deadline

        def here(address: str) -> bool:
            return is_in_house(address, in_house)

        def client(allows: Allows) -> HttpClient:
            return http_client(
                connections=connections,
                socket_factory=guarded_socket(allows),
                resolver=GuardedResolver(allows, self._lookups),
                connect_within=_CONNECT,
                idle=_IDLE,
                tls=tls,
            )

        self._plain = client(here)
        self._secure = client(lambda address: is_public(address) or here(address))

    async def send(self, request: WebhookRequest, now: datetime) -> WebhookCall:
        headers = prepared(request, now, self._in_house)
        if isinstance(headers, WebhookCall):
            return headers
        began = perf_counter()
        came = await exchange(
            self._secure if request.url.lower().startswith("https:") else self._plain,
            "POST",
            request.url,
            content=request.body,
            headers=headers,
            deadline=self.deadline,
            cap=KEPT,
            body_within=_BODY,
        )
        return judged(came, round((perf_counter() - began) * 1000, 1), now)

    async def close(self) -> None:
        await self._plain.aclose()
        await self._secure.aclose()
        self._lookups.close()
