"""Who carries what, how much of it and how often it is tried: what the settings say of senders."""

from datetime import timedelta

from adapters.allowance import Allowance
from adapters.email.capture import CapturedMails, CaptureEmailSender
from adapters.email.resend import ResendEmailSender
from adapters.email.smtp import SmtpEmailSender
from adapters.http_client import http_client
from adapters.memory.rate_limiter import MemoryRateLimiter
from adapters.redis_rate_limiter import RedisRateLimiter
from adapters.webhook.sender import HttpWebhookSender
from application.carriers.carrier import WorkRules
from application.carriers.email import EmailRules
from application.ports.email import EmailSender
from application.ports.rate_limiter import RateLimiter
from domain.mailbox import Mailbox
from domain.retry import STANDARD_WEBHOOKS, Retries, exponential
from entrypoints.logs import Lines
from entrypoints.settings import SettingError, Settings


def email_sender(settings: Settings, mails: CapturedMails) -> EmailSender:
    match settings.email_provider:
        case "resend":
            assert settings.resend_api_key
            return ResendEmailSender(
                settings.resend_api_key,
                settings.resend_base_url,
                client=http_client(connections=settings.email_concurrency),
                deadline=settings.email_deadline,
            )
        case "smtp":
            assert settings.smtp
            smtp = settings.smtp
            return SmtpEmailSender(
                smtp.host,
                smtp.port,
                smtp.user,
                smtp.password,
                starttls=smtp.starttls,
                tls=smtp.tls,
                connections=settings.email_concurrency,
                deadline=settings.email_deadline,
            )
        case "capture":
            return CaptureEmailSender(mails)
    raise SettingError("EMAIL_PROVIDER", "must be set: resend or smtp (capture keeps all mail in a local mailbox)")


def rate_limiter(settings: Settings) -> RateLimiter:
    """Several processes count together where they have something in common."""
    if settings.redis_url is None:
        return MemoryRateLimiter()
    return RedisRateLimiter(settings.redis_url, Lines("limits").uncounted)


def webhook_sender(settings: Settings, connections: int, deadline: timedelta) -> HttpWebhookSender:
    return HttpWebhookSender(in_house=settings.webhook_allowed_subnets, connections=connections, deadline=deadline)


def allowances(settings: Settings) -> dict[str, Allowance]:
    return {
        "resend": Allowance(settings.resend_per_second, settings.resend_per_day),
        "smtp": Allowance(settings.smtp_per_second, settings.smtp_per_day),
    }


def email_rules(settings: Settings) -> EmailRules:
    return EmailRules(
        sender=Mailbox(settings.email_from, settings.email_from_name),
        reply_to=Mailbox(settings.email_reply_to) if settings.email_reply_to else None,
        concurrency=settings.email_concurrency,
        lease=settings.lease,
        deadline=settings.email_deadline,
        postal_address=settings.postal_address,
    )


def webhook_rules(settings: Settings) -> WorkRules:
    return WorkRules(
        concurrency=settings.webhook_concurrency, lease=settings.webhook_lease, deadline=settings.webhook_deadline
    )


def webhook_retries(settings: Settings) -> Retries:
    if settings.webhook_attempts is None:
        return STANDARD_WEBHOOKS
    return exponential(settings.webhook_attempts, timedelta(seconds=30))
