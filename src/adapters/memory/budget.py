"""What each provider may still be asked by this process."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import floor

import msgspec

from adapters.allowance import Allowance
from application.ports.time_and_chance import Clock


class _Account(msgspec.Struct):
    tokens: float
    refilled_at: datetime
    used_today: int = 0
    paused_until: datetime | None = None
    pause_reason: str = ""


class MemoryProviderBudget:
    """A token bucket for the second and a counter for the day."""

    def __init__(self, clock: Clock, allowances: Mapping[str, Allowance]) -> None:
        self._clock = clock
        self._allowances = allowances
        self._accounts: dict[str, _Account] = {}

    async def take(self, provider: str, wanted: int) -> int:
        allowance = self._allowances.get(provider, Allowance())
        account = self._account(provider)
        if self._is_paused(account):
            return 0
        self._refill(account, allowance)
        granted = wanted
        if allowance.per_second is not None:
            granted = min(granted, floor(account.tokens))
        if allowance.per_day is not None:
            granted = min(granted, allowance.per_day - account.used_today)
        granted = max(0, granted)
        account.tokens -= granted
        account.used_today += granted
        return granted

    async def give_back(self, provider: str, unused: int) -> None:
        account = self._account(provider)
        account.tokens += unused
        account.used_today = max(0, account.used_today - unused)

    async def pause(self, provider: str, duration: timedelta, reason: str) -> None:
        account, until = self._account(provider), self._clock.now() + duration
        if account.paused_until is None or account.paused_until < until:
            account.paused_until, account.pause_reason = until, reason

    async def paused(self) -> Mapping[str, str]:
        return {name: each.pause_reason for name, each in self._accounts.items() if self._is_paused(each)}

    def _account(self, provider: str) -> _Account:
        burst = self._allowances.get(provider, Allowance()).burst
        return self._accounts.setdefault(provider, _Account(burst, self._clock.now()))

    def _is_paused(self, account: _Account) -> bool:
        return account.paused_until is not None and account.paused_until > self._clock.now()

    def _refill(self, account: _Account, allowance: Allowance) -> None:
        now = self._clock.now()
        if now.date() != account.refilled_at.date():
            account.used_today = 0
        earned = (allowance.per_second or 0) * (now - account.refilled_at).total_seconds()
        account.tokens = min(allowance.burst, account.tokens + earned)
        account.refilled_at = now
