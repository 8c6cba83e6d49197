"""From an API key to a caller."""

from collections import OrderedDict
from time import monotonic

import msgspec
from litestar import Request
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException

from application.caller import Caller, Scope
from application.ports import ApiKeys
from entrypoints.http.problems import TooManyFailuresError
from entrypoints.http.request import header

_SECONDS_KEPT = 1.0
_MOST_KEPT = 10_000
_FAILURES = 10
_FAILURE_WINDOW = 60.0


class _Known(msgspec.Struct):
    caller: Caller
    until: float


class _Failures(msgspec.Struct):
    count: int
    until: float


class Authentication:
    """A key found good is looked up again after a second, so that revoking it takes effect within that.

    An address that keeps sending wrong keys is told to wait, without a look at the database; a key that was good
    before is always looked up, so nobody is locked out by others behind the same address.
    """

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    async def caller(self, request: Request) -> Caller:  # type: ignore[type-arg]
        """Who asks. Raises NotAuthorizedException without a good key and TooManyFailuresError after many wrong ones."""
        scheme, _, text = header(request, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise NotAuthorizedException("send an API key as: Authorization: Bearer <key>", headers=_CHALLENGE)
        known = self._known.get(text)
        if known and known.until > monotonic():
            return known.caller
        address = request.client.host if request.client else ""
        if not known:
            self._refuse_if_throttled(address)
        return await self._look_up(text, address)

    async def _look_up(self, text: str, address: str) -> Caller:
        """Ask the database; who asks with the same known key meanwhile is answered by what was known."""
        if known := self._known.get(text):
            known.until = monotonic() + _SECONDS_KEPT
        key = await self._keys.find(text)
        if key is None:
            self._known.pop(text, None)
            self._count_failure(address)
            raise NotAuthorizedException("this API key is not good (any more)", headers=_CHALLENGE)
        caller = Caller(key.tenant, f"key:{key.id}", key.scopes)
        self._known[text] = _Known(caller, monotonic() + _SECONDS_KEPT)
        _trim(self._known)
        return caller

    def _refuse_if_throttled(self, address: str) -> None:
        failures = self._failures.get(address)
        if failures and failures.count >= _FAILURES and failures.until > monotonic():
            raise TooManyFailuresError(max(1, round(failures.until - monotonic())))

    def _count_failure(self, address: str) -> None:
        failures = self._failures.get(address)
        if failures is None or failures.until <= monotonic():
            failures = self._failures[address] = _Failures(0, monotonic() + _FAILURE_WINDOW)
        failures.count += 1
        _trim(self._failures)


_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def demand(caller: Caller, scope: Scope) -> None:
    """Raises PermissionDeniedException unless the key was made for this."""
    if scope not in caller.scopes:
        raise PermissionDeniedException(f"this API key has not the scope {scope}")


def _trim(known: OrderedDict[str, _Known] | OrderedDict[str, _Failures]) -> None:
    while len(known) > _MOST_KEPT:
        known.popitem(last=False)
