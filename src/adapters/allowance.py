"""How much a provider may be asked."""

import msgspec


class Allowance(msgspec.Struct, frozen=True):
    """A provider's limits; None means none. The day is the UTC day."""

    per_second: float | None = None
    per_day: int | None = None

    @property
    def burst(self) -> float:
        """How many may go at once: a tenth of a second's worth, so that no second sees many more than its share."""
        return max(1.0, (self.per_second or 0) / 10)
