"""What one call to a provider came to. A provider's failure is a value, never an exception."""

from datetime import timedelta
from decimal import Decimal

import msgspec

from domain.vocabulary import Reason


class Accepted(msgspec.Struct, frozen=True):
    """The provider took the message and answers for it under `provider_id`."""

    provider_id: str | None
    cost: Decimal | None = None


class Throttled(msgspec.Struct, frozen=True):
    """The provider asks for patience. Nobody's attempt: the message waits and keeps all its attempts.

    `only_this` message, or all that goes to this provider.
    """

    retry_after: timedelta
    detail: str = ""
    only_this: bool = False


class Misconfigured(msgspec.Struct, frozen=True):
    """Our credentials, sender domain or account are at fault: the provider rests, the message keeps its attempts."""

    retry_after: timedelta
    detail: str = ""


class Retryable(msgspec.Struct, frozen=True):
    """It certainly did not go out this time; another attempt may succeed, not before `wait` if that is given."""

    reason: Reason
    wait: timedelta | None = None
    detail: str = ""


class Refused(msgspec.Struct, frozen=True):
    """It will never go out like this."""

    reason: Reason
    detail: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """It may or may not have gone out: bytes were sent, the answer does not say. Not again before `wait`, if given."""

    reason: Reason = Reason.OUTCOME_UNKNOWN
    detail: str = ""
    wait: timedelta | None = None


Outcome = Accepted | Throttled | Misconfigured | Retryable | Refused | Unknown
