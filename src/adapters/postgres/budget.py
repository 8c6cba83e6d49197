"""What each provider may still be asked, as one row per provider, so that it holds over all processes and restarts."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from adapters.allowance import Allowance
from adapters.postgres.database import Database

TODAY = "(clock_timestamp() AT TIME ZONE 'UTC')::date"

ACCOUNT = f"""
    SELECT provider,
           least(%(burst)s, tokens + %(rate)s * extract(epoch FROM clock_timestamp() - refilled_at)) AS tokens,
           CASE WHEN day = {TODAY} THEN day_used ELSE 0 END AS day_used
    FROM provider_budgets
    WHERE provider = %(provider)s AND coalesce(paused_until, '-infinity') <= clock_timestamp()
    FOR UPDATE
"""
"""What a provider may be asked now; none while it is paused. Locked, for whoever asks to charge it."""

_TAKE = f"""
    WITH now_left AS MATERIALIZED ({ACCOUNT}), granted AS MATERIALIZED (
        SELECT provider, tokens, day_used, greatest(0, least(
            %(wanted)s, CASE WHEN %(paced)s THEN floor(tokens) ELSE %(wanted)s END, %(per_day)s - day_used)) AS messages
        FROM now_left
    )
    UPDATE provider_budgets b
    SET tokens = g.tokens - CASE WHEN %(paced)s THEN g.messages ELSE 0 END, refilled_at = clock_timestamp(),
        day = {TODAY}, day_used = g.day_used + g.messages
    FROM granted g WHERE b.provider = g.provider
    RETURNING g.messages
"""

_NO_DAILY_LIMIT = 2**53


class Terms(msgspec.Struct, frozen=True):
    paced: bool
    rate: float
    burst: float
    per_day: int


class PostgresProviderBudget:
    """A token bucket for the second and a counter for the day."""

    def __init__(self, database: Database, allowances: Mapping[str, Allowance]) -> None:
        self._database = database
        self._allowances = allowances
        self._known: set[str] = set()

    async def take(self, provider: str, wanted: int) -> int:
        terms = msgspec.structs.asdict(await self.terms(provider))
        rows = await self._database.rows(_TAKE, {"provider": provider, "wanted": wanted, **terms}, binary=False)
        return int(rows[0][0]) if rows else 0

    async def terms(self, provider: str) -> "Terms":
        """What its account is kept by; there is one from now on."""
        await self._ensure(provider)
        allowance = self._allowances.get(provider, Allowance())
        per_day = _NO_DAILY_LIMIT if allowance.per_day is None else allowance.per_day
        return Terms(allowance.per_second is not None, float(allowance.per_second or 0), allowance.burst, per_day)

    async def give_back(self, provider: str, unused: int) -> None:
        await self._database.rows(
            "UPDATE provider_budgets SET tokens = tokens + %s, day_used = greatest(0, day_used - %s)"
            " WHERE provider = %s",
            (unused, unused, provider),
        )

    async def pause(self, provider: str, duration: timedelta, reason: str) -> None:
        await self._ensure(provider)
        await self._database.rows(
            "UPDATE provider_budgets SET paused_until = clock_timestamp() + %(duration)s, pause_reason = %(reason)s"
            " WHERE provider = %(provider)s"
            " AND coalesce(paused_until, '-infinity') < clock_timestamp() + %(duration)s",
            {"provider": provider, "duration": duration, "reason": reason},
        )

    async def paused(self) -> Mapping[str, str]:
        rows = await self._database.rows(
            "SELECT provider, pause_reason FROM provider_budgets WHERE paused_until > clock_timestamp()"
        )
        return {str(provider): str(reason) for provider, reason in rows}

    async def _ensure(self, provider: str) -> None:
        if provider not in self._known:
            burst = self._allowances.get(provider, Allowance()).burst
            await self._database.rows(
                "INSERT INTO provider_budgets (provider, tokens, refilled_at, day, day_used)"
                " VALUES (%s, %s, clock_timestamp(), (clock_timestamp() AT TIME ZONE 'UTC')::date, 0)"
                " ON CONFLICT DO NOTHING",
                (provider, burst),
            )
            self._known.add(provider)
