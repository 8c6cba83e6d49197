"""The closed lists of words that callers, events and read models share."""

from datetime import timedelta
from enum import StrEnum


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    IN_APP = "in_app"
    WEBHOOK = "webhook"


class Priority(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def head_start(self) -> timedelta:
        """How much longer a message of this priority may be kept waiting than a critical one due at the same moment.

        Work is ordered by due time plus this, so every priority ages: a low one due twenty minutes ago goes
        before a critical one due now, and nothing is starved.
        """
        return _HEAD_STARTS[self]


_HEAD_STARTS = {
    Priority.CRITICAL: timedelta(0),
    Priority.HIGH: timedelta(minutes=1),
    Priority.MEDIUM: timedelta(minutes=5),
    Priority.LOW: timedelta(minutes=20),
}


class Purpose(StrEnum):
    """What the law asks by: marketing needs consent, a way out and a postal address; transactional does not."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


class Frequency(StrEnum):
    """How often a reader wants to hear of something; all but immediately it is gathered into a digest."""

    IMMEDIATE = "immediate"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


class Over(StrEnum):
    """What becomes of a message that is one too many: it waits for its turn, or is not sent."""

    DEFER = "defer"
    SUPPRESS = "suppress"


class LimitScope(StrEnum):
    """Whose messages a limit counts together."""

    USER = "user"
    TENANT = "tenant"


class Ground(StrEnum):
    """Why an address stands on the suppression list. Callers see them, so none is ever renamed."""

    HARD_BOUNCE = "hard_bounce"
    """There is no such mailbox."""

    SOFT_BOUNCES = "soft_bounces"
    """It could not be reached so often that it is left alone for a while."""

    COMPLAINT = "complaint"
    """The reader called a message spam."""

    UNSUBSCRIBE = "unsubscribe"
    """The reader wants no more of it: of one category, or of anything that may be switched off."""

    STOP = "stop"
    """The reader answered STOP."""

    MANUAL = "manual"
    """Somebody put it there by hand."""

    INVALID = "invalid"
    """A provider says that this is no address."""


class SecretKind(StrEnum):
    """How webhooks are signed: with a secret that both sides have (v1), or with a key pair (v1a, ed25519)."""

    SYMMETRIC = "symmetric"
    ASYMMETRIC = "asymmetric"


class Status(StrEnum):
    PENDING = "pending"
    DEFERRED = "deferred"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Verdict(StrEnum):
    """Whether what was sent can be proved."""

    MATCHES = "matches"
    DIFFERS = "differs"
    CANNOT_BE_TOLD = "cannot_be_told"


class Doubt(StrEnum):
    """Why a proof did not match. Callers see them, so none is ever renamed."""

    CONTENT_DIFFERS = "content_differs"
    """Made again it is another message: its digest is not the one recorded before it was sent."""

    RECORD_ALTERED = "record_altered"
    """The sealed data in the log are not as they were stored."""

    TEMPLATE_ALTERED = "template_altered"
    """What is kept as the pinned template is another one."""

    TEMPLATE_MISSING = "template_missing"
    """The pinned template is not kept any more."""

    PERSON_ERASED = "person_erased"
    """The recipient's data were erased, and with them what the message said."""

    VARIABLE_MISSING = "variable_missing"
    """A secret variable is not there, and without it the message is another one."""

    RENDER_FAILED = "render_failed"
    """The message cannot be made any more."""


class Reason(StrEnum):
    """Why something did not simply go out. Every one of them can be seen by the caller, so none is ever renamed."""

    SCHEDULED = "scheduled"
    NOT_BEGUN = "not_begun"
    PROVIDER_THROTTLED = "provider_throttled"
    PROVIDER_MISCONFIGURED = "provider_misconfigured"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_REFUSED = "provider_refused"
    PROVIDER_REJECTED_LATER = "provider_rejected_later"
    INVALID_RECIPIENT = "invalid_recipient"
    TIMEOUT = "timeout"
    CONNECTION_FAILED = "connection_failed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    RENDER_FAILED = "render_failed"
    PERSON_ERASED = "person_erased"
    HARD_BOUNCE = "hard_bounce"
    SOFT_BOUNCE = "soft_bounce"
    EXPIRED = "expired"
    CANCELLED_BY_CALLER = "cancelled_by_caller"
    RETRIED_BY_CALLER = "retried_by_caller"
    LOCAL_TIME = "local_time"
    QUIET_HOURS = "quiet_hours"
    DIGEST = "digest"
    DISSOLVED = "dissolved"
    TYPE_OFF = "type_off"
    CATEGORY_OFF = "category_off"
    CHANNEL_OFF = "channel_off"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    STOPPED = "stopped"
    BLOCKED = "blocked"
    IMPRINT_MISSING = "imprint_missing"
    RATE_LIMITED = "rate_limited"
    DUPLICATE_CONTENT = "duplicate_content"
    ENDPOINT_ERROR = "endpoint_error"
    ENDPOINT_BUSY = "endpoint_busy"
    ENDPOINT_GONE = "endpoint_gone"
    ADDRESS_BLOCKED = "address_blocked"
    TLS_FAILED = "tls_failed"
    SUBSCRIPTION_DELETED = "subscription_deleted"
