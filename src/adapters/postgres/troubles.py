"""What keeps parts from their work, as one row for each part that says so."""

from collections.abc import Mapping

from adapters.postgres.database import Database

CREATE_TROUBLES = "CREATE TABLE troubles (part text PRIMARY KEY, problem text NOT NULL, told_at timestamptz NOT NULL)"


class PostgresTroubles:
    """Implements the port Troubles for all processes together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tell(self, part: str, problem: str) -> None:
        await self._database.rows(
            "INSERT INTO troubles (part, problem, told_at) VALUES (%s, %s, clock_timestamp())"
            " ON CONFLICT (part) DO UPDATE SET problem = excluded.problem, told_at = excluded.told_at",
            (part, problem),
        )

    async def over(self, part: str) -> None:
        """Those of parts that are long gone are thrown away on the way."""
        await self._database.rows(
            "DELETE FROM troubles WHERE part = %s OR told_at < clock_timestamp() - interval '1 day'", (part,)
        )

    async def known(self) -> Mapping[str, str]:
        rows = await self._database.rows(
            "SELECT part, problem FROM troubles WHERE told_at > clock_timestamp() - interval '1 minute' ORDER BY part"
        )
        return {str(part): str(problem) for part, problem in rows}
