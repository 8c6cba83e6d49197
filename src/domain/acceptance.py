"""A request that was accepted under an idempotency key, kept for ever as a stream of one event."""

from datetime import datetime
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import acceptance_id
from domain.vocabulary import Reason, Status


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was said of one notification when it was accepted.

    `place` is which recipient and channel of the request it is for, counted channel by channel; None where each of
    them has one.
    """

    status: Status
    reason: Reason | None
    until: datetime | None
    duplicate_of: UUID | None = None
    place: int | None = None


class Acceptance(Aggregate):
    """The log's primary key on its stream is what makes a second acceptance under the same key impossible."""

    class Accepted(Aggregate.Created):
        TOPIC = "request.accepted"

        tenant: str
        by: str
        body_digest: str
        request: UUID
        notifications: list[UUID]
        told: list[Told] | None = None

    def __init__(
        self,
        tenant: str,
        body_digest: str,
        request: UUID,
        notifications: list[UUID],
        told: list[Told] | None = None,
    ) -> None:
        self.tenant = tenant
        self.body_digest = body_digest
        self.request = request
        self.notifications = notifications
        self.told = told

    @classmethod
    def record(
        cls,
        tenant: str,
        key: str,
        body_digest: str,
        request: UUID,
        notifications: list[UUID],
        *,
        by: str,
        now: datetime,
        told: list[Told] | None = None,
    ) -> "Acceptance":
        """Remember that `request` was made under `key`; `body_digest` is a keyed digest of its body, not the body.

        Without `told` all of them were to be sent when the request said.
        """
        return cls._create(
            cls.Accepted,
            id=acceptance_id(tenant, key),
            timestamp=now,
            tenant=tenant,
            by=by,
            body_digest=body_digest,
            request=request,
            notifications=notifications,
            told=told,
        )
