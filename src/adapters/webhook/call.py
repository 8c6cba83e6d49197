"""What goes out to an endpoint, and what its answer comes to."""

import errno
import re
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta

import httpx

from adapters.http_client import Answer, Exchange, NoAnswer, NotSent, retry_after
from adapters.remarks import remark
from adapters.webhook.guard import BlockedAddressError
from adapters.webhook.signing import InvalidSecretError, signature_headers
from application.ports.webhooks import WebhookCall, WebhookRequest
from domain.endpoint import Network, header_objections, url_objection
from domain.outcomes import Accepted, Outcome, Refused, Retryable
from domain.personal import Response
from domain.vocabulary import Reason

KEPT = 4096
"""Bytes of an answer that are read, and kept."""

_BREATH = timedelta(minutes=1)
_MOST_HEADERS, _LONGEST_NAME = 50, 100
_ID = re.compile(r"[!-\-/-~]{1,256}")  # a dot would end it early in what is signed
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def prepared(request: WebhookRequest, now: datetime, in_house: Sequence[Network]) -> dict[str, str] | WebhookCall:
    """The headers to send it with; or what it comes to without a call.

    What was checked when the subscription was made is checked again: the rules may have become stricter since.
    """
    if why := url_objection(request.url, in_house):
        return WebhookCall(Retryable(Reason.ADDRESS_BLOCKED, detail=f"the URL {why}"))
    if wrong := header_objections(request.headers):
        return WebhookCall(Retryable(Reason.ENDPOINT_ERROR, detail=remark("; ".join(wrong.values()))))
    if not _ID.fullmatch(request.id):
        return WebhookCall(Refused(Reason.ENDPOINT_ERROR, "the id cannot be signed"))
    try:
        signatures = signature_headers(request.id, int(now.timestamp()), request.body, request.secrets)
    except InvalidSecretError as error:
        return WebhookCall(Refused(Reason.ENDPOINT_ERROR, str(error)))
    return {**request.headers, "content-type": "application/json", **signatures}


def judged(came: Exchange, milliseconds: float, now: datetime) -> WebhookCall:
    match came:
        case Answer() as answer:
            return WebhookCall(_outcome(answer, now), _response(answer, milliseconds))
        case NotSent(timed_out, detail, error) if not (timed_out or _is_late(error)):
            return WebhookCall(Retryable(_reason(error), detail=detail))
        case NoAnswer(timed_out, detail) if not timed_out:
            return WebhookCall(Retryable(Reason.CONNECTION_FAILED, detail=detail))
    return WebhookCall(Retryable(Reason.TIMEOUT, _BREATH, came.detail))


def _outcome(answer: Answer, now: datetime) -> Outcome:
    """By the status alone: a 2xx is one however the rest of the answer goes on."""
    detail = f"answered {answer.status}"
    match answer.status:
        case status if 200 <= status < 300:
            return Accepted(None)
        case 410:
            return Refused(Reason.ENDPOINT_GONE, detail)
        case 429 | 503:
            return Retryable(Reason.ENDPOINT_BUSY, _asked(answer, now) or _BREATH, detail)
        case status if 300 <= status < 400:
            detail += ": redirects are not followed"
    return Retryable(Reason.ENDPOINT_ERROR, _asked(answer, now), detail)


def _asked(answer: Answer, now: datetime) -> timedelta | None:
    """What `Retry-After` asks for, a minute at least."""
    wait = retry_after(answer.headers, now)
    return None if wait is None else max(wait, _BREATH)


def _is_late(error: OSError | None) -> bool:
    """The system's own timeouts, and the resolver's: they kept a place as long as any other."""
    return error is not None and error.errno == errno.ETIMEDOUT


def _reason(error: OSError | None) -> Reason:
    match error:
        case BlockedAddressError():
            return Reason.ADDRESS_BLOCKED
        case ssl.SSLError():
            return Reason.TLS_FAILED
    return Reason.CONNECTION_FAILED


def _response(answer: Answer, milliseconds: float) -> Response:
    return Response(
        status=answer.status,
        headers=_headers(answer.headers),
        body=_UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", answer.body.decode(errors="replace")),
        milliseconds=milliseconds,
    )


def _headers(headers: httpx.Headers) -> dict[str, str]:
    """The first fifty, each fit to be stored; what comes several times is one value with commas."""
    return {name[:_LONGEST_NAME]: remark(value) for name, value in list(headers.items())[:_MOST_HEADERS]}
