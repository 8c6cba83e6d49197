"""From an API key to a caller."""

from collections import OrderedDict
from time import monotonic
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException

from adapters.api_keys import taken_apart
from application.caller import Caller, Scope
from application.ports.api_keys import ApiKeys
from entrypoints.http.problems import TooManyFailuresError
from entrypoints.http.request import header

_SECONDS_KEPT = 1.0
_MOST_KEPT = 10_000
_FAILURES = 10
_FAILURE_WINDOW = 60.0
_TRICKLE = 1.0
"""Seconds between two looks for ids not seen before, for an address that has failed that often."""


class _Known(msgspec.Struct):
    caller: Caller
    until: float


class _Failures(msgspec.Struct):
    count: int
    until: float


class Authentication:
    """A key found good is looked up again after a second, so that revoking it takes effect within that.

    Failures are counted for each address and id, so that nobody is locked out by what others behind the same address
    send. A text without an id never reaches the database. An address that keeps sending ids that come to nothing may
    ask for one new id a second: guessing costs the database next to nothing, and a good key waits about that long.
    """

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._next_look: OrderedDict[str, float] = OrderedDict()

    async def caller(self, request: Request) -> Caller:  # type: ignore[type-arg]
        """Who asks. Raises NotAuthorizedException without a good key and TooManyFailuresError after many wrong ones."""
        scheme, _, text = header(request, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise NotAuthorizedException("send an API key as: Authorization: Bearer <key>", headers=_CHALLENGE)
        known = self._known.get(text)
        if known and known.until > monotonic():
            return known.caller
        address = request.client.host if request.client else ""
        id, _ = taken_apart(text) or (_NO_ID, "")
        if not known:
            self._refuse_if_throttled(address, id)
        return await self._look_up(text, address, id)

    async def _look_up(self, text: str, address: str, id: str) -> Caller:
        """Ask the database; who asks with the same known key meanwhile is answered by what was known."""
        if known := self._known.get(text):
            known.until = monotonic() + _SECONDS_KEPT
        key = await self._keys.find(text)
        if key is None:
            self._known.pop(text, None)
            self._count_failure(address, id)
            raise NotAuthorizedException("this API key is not good (any more)", headers=_CHALLENGE)
        caller = Caller(key.tenant, f"key:{key.id}", key.scopes, key.owner_email)
        self._known[text] = _Known(caller, monotonic() + _SECONDS_KEPT)
        _trim(self._known)
        return caller

    def _refuse_if_throttled(self, address: str, id: str) -> None:
        if wait := self._wait_after_failures(address, id):
            raise TooManyFailuresError(max(1, round(wait)))
        if id == _NO_ID or (address, id) in self._failures or not self._wait_after_failures(address, _ANY_ID):
            return
        if self._next_look.get(address, 0.0) > monotonic():
            raise TooManyFailuresError(1)
        self._next_look[address] = monotonic() + _TRICKLE
        _trim(self._next_look)

    def _wait_after_failures(self, address: str, id: str) -> float:
        failures = self._failures.get((address, id))
        return max(0.0, failures.until - monotonic()) if failures and failures.count >= _FAILURES else 0.0

    def _count_failure(self, address: str, id: str) -> None:
        for each in (id,) if id == _NO_ID else (id, _ANY_ID):
            failures = self._failures.get((address, each))
            if failures is None or failures.until <= monotonic():
                failures = self._failures[address, each] = _Failures(0, monotonic() + _FAILURE_WINDOW)
            failures.count += 1
        _trim(self._failures)


_NO_ID, _ANY_ID = "", "*"  # neither is one that a key can have
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def demand(caller: Caller, scope: Scope) -> None:
    """Raises PermissionDeniedException unless the key was made for this."""
    if scope not in caller.scopes:
        raise PermissionDeniedException(f"this API key has not the scope {scope}")


def _trim(known: OrderedDict[Any, Any]) -> None:
    while len(known) > _MOST_KEPT:
        known.popitem(last=False)
