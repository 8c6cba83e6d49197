"""Somebody's wish to be told by webhook what happens, and how their endpoint is getting on."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.endpoint import origin
from domain.filters import Filter
from domain.health import Health, Notice, Verdict, judged
from domain.personal import Endpoint, Erased, SigningSecret
from domain.retry import RetrySchedule

MOST_OLD_SECRETS = 5
SLOWEST = 1 / 86_400
"""Calls a second: one a day. What was stored before there was a bound is read as this."""


class SubscriptionState(StrEnum):
    """`paused` by its owner, `disabled` by us: in both what happens is held, not dropped."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    DELETED = "deleted"


class DisabledFor(StrEnum):
    """`gone`: the endpoint said so (HTTP 410). `failing`: it has failed for too long."""

    GONE = "gone"
    FAILING = "failing"


class SubscriptionDeletedError(Exception):
    """Nothing can be done with it any more."""


class TooManySecretsError(Exception):
    """So many older secrets still have to run out."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is for and at what pace; nothing secret.

    `organization` None: those of all. `per_second` None: as fast as may be. `retries` None: as the house does it.
    """

    name: str
    organization: str | None
    event_types: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    concurrency: int = 5
    per_second: float | None = None
    retries: tuple[int, ...] | None = None

    @property
    def schedule(self) -> RetrySchedule | None:
        """Their own, in seconds between attempts."""
        return RetrySchedule(tuple(timedelta(seconds=each) for each in self.retries)) if self.retries else None


class WebhookSubscription(Aggregate):
    """Its methods decide and may refuse; an event's `apply` only assigns."""

    class Event(Aggregate.Event):
        tenant: str
        by: str

    class Created(Event, Aggregate.Created):
        TOPIC = "webhook.created"

        terms: Terms
        personal: Endpoint | Erased

    class Updated(Event):
        TOPIC = "webhook.updated"

        terms: Terms
        personal: Endpoint | Erased
        moved: bool | None = None
        """Whether its url is another one than before."""

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.terms, subscription.endpoint = self.terms, self.personal
            if self.moved:
                subscription.warned = msgspec.structs.replace(subscription.warned, share=0)

    class SecretRotated(Event):
        """Requests are signed with the new secret from now on, and until `until` with the one before it as well."""

        TOPIC = "webhook.secret_rotated"

        until: datetime
        personal: Endpoint | Erased

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.endpoint = self.personal

    class Paused(Event):
        TOPIC = "webhook.paused"

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.state = SubscriptionState.PAUSED

    class Resumed(Event):
        TOPIC = "webhook.resumed"

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.state, subscription.disabled_for = SubscriptionState.ACTIVE, None
            subscription.warned = msgspec.structs.replace(subscription.warned, share=0)

    class Warned(Event):
        """It has failed without a success for `share` percent of the time after which it is disabled."""

        TOPIC = "webhook.warned"

        share: int
        failing_since: datetime
        failures: int

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.warned = Notice(self.share, self.timestamp)

    class Recovered(Event):
        TOPIC = "webhook.recovered"

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.warned = msgspec.structs.replace(subscription.warned, share=0)

    class Disabled(Event):
        TOPIC = "webhook.disabled"

        reason: DisabledFor
        failing_since: datetime | None
        failures: int

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.state, subscription.disabled_for = SubscriptionState.DISABLED, self.reason

    class Deleted(Event):
        TOPIC = "webhook.deleted"

        def apply(self, subscription: "WebhookSubscription") -> None:
            subscription.state = SubscriptionState.DELETED

    def __init__(self, tenant: str, terms: Terms, personal: Endpoint | Erased) -> None:
        self.tenant = tenant
        self.terms = terms
        self.endpoint = personal
        self.state = SubscriptionState.ACTIVE
        self.disabled_for: DisabledFor | None = None
        self.warned = Notice()

    @classmethod
    def create(
        cls, id: UUID, tenant: str, terms: Terms, endpoint: Endpoint, *, now: datetime, by: str
    ) -> "WebhookSubscription":
        return cls._create(cls.Created, id=id, timestamp=now, tenant=tenant, by=by, terms=terms, personal=endpoint)

    @property
    def is_held(self) -> bool:
        """Whether what is due for it waits until it is resumed."""
        return self.state in (SubscriptionState.PAUSED, SubscriptionState.DISABLED)

    @property
    def is_deleted(self) -> bool:
        return self.state is SubscriptionState.DELETED

    # What its owner asks

    def update(
        self,
        terms: Terms,
        *,
        person: UUID,
        url: str,
        headers: dict[str, str] | None,
        owner_email: str | None,
        now: datetime,
        by: str,
    ) -> None:
        """Nothing of the old terms is left; the secrets stay, and the headers where they are None.

        Another url begins with a clean record, and with another host nothing is taken over that the last one knew.
        """
        known = self._alive()
        if headers is None:
            headers = known.headers if origin(url) == origin(known.url) else {}
        endpoint = Endpoint(person=person, url=url, headers=headers, secrets=known.secrets, owner_email=owner_email)
        if terms != self.terms or endpoint != msgspec.structs.replace(known, person=person):
            self._trigger(self.Updated, now, by, terms=terms, personal=endpoint, moved=url != known.url)

    def rotate(self, secret: str, grace: timedelta, *, person: UUID, now: datetime, by: str) -> None:
        """Sign with `secret` from now on, and for `grace` with the current one as well.

        Raises TooManySecretsError while so many older ones still run.
        """
        known = self._alive()
        until = now + grace
        old = [_ending(each, until) for each in known.secrets]
        running = [each for each in old if each.until and now < each.until]
        if len(running) > MOST_OLD_SECRETS:
            raise TooManySecretsError(f"{MOST_OLD_SECRETS} older secrets are still in use")
        endpoint = msgspec.structs.replace(known, person=person, secrets=(SigningSecret(secret), *running))
        self._trigger(self.SecretRotated, now, by, until=until, personal=endpoint)

    def pause(self, *, now: datetime, by: str) -> None:
        """Hold what happens from now on; nothing changes for one that is held already."""
        self._alive()
        if self.state is SubscriptionState.ACTIVE:
            self._trigger(self.Paused, now, by)

    def resume(self, *, now: datetime, by: str) -> None:
        """Deliver what was held, with a clean record."""
        self._alive()
        if self.is_held:
            self._trigger(self.Resumed, now, by)

    def delete(self, *, now: datetime, by: str) -> None:
        if not self.is_deleted:
            self._trigger(self.Deleted, now, by)

    # What follows from how its endpoint is getting on

    def judge(self, health: Health, *, now: datetime, by: str) -> Verdict | None:
        """Warn, disable or take back the warning, if that is due; answers which."""
        if self.state is not SubscriptionState.ACTIVE:
            return None
        verdict = judged(health, self.warned, now)
        facts = {"failing_since": health.failing_since, "failures": health.failures}
        match verdict:
            case Verdict.GONE:
                self._trigger(self.Disabled, now, by, reason=DisabledFor.GONE, **facts)
            case Verdict.FAILING:
                self._trigger(self.Disabled, now, by, reason=DisabledFor.FAILING, **facts)
            case Verdict.WARN_AT_ONCE | Verdict.WARN_HALF | Verdict.WARN_LATE:
                self._trigger(self.Warned, now, by, share=verdict.share, **facts)
            case Verdict.RECOVERED:
                self._trigger(self.Recovered, now, by)
        return verdict

    def _alive(self) -> Endpoint:
        if self.is_deleted or not isinstance(self.endpoint, Endpoint):
            raise SubscriptionDeletedError(f"the subscription {self.id} was deleted")
        return self.endpoint

    def _trigger(self, event: type[Event], now: datetime, by: str, **said: Any) -> None:
        self.trigger_event(event, timestamp=now, tenant=self.tenant, by=by, **said)


def _ending(secret: SigningSecret, until: datetime) -> SigningSecret:
    return msgspec.structs.replace(secret, until=min(secret.until or until, until))
