"""What a role may need, and what is made of it for each that delivers."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from adapters.callbacks.resend import ResendCallbacks
from adapters.email.capture import CapturedMails
from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.arrivals import Arrivals
from adapters.postgres.budget import PostgresProviderBudget
from adapters.postgres.chain import PostgresChain
from adapters.postgres.clock import PostgresClock
from adapters.postgres.database import Database
from adapters.postgres.due_work import PostgresDueWork
from adapters.postgres.event_store import PostgresEventStore
from adapters.postgres.mail_watch import PostgresMailWatch
from adapters.postgres.offers import PostgresOffers
from adapters.postgres.readers import PostgresNotificationReader, PostgresPlace, PostgresSubscriptionReader
from adapters.postgres.troubles import PostgresTroubles
from adapters.postgres.views import PostgresView
from adapters.postgres.wakeup import PostgresWakeups
from adapters.system import SystemDice
from adapters.templates.files import FileTemplates
from adapters.templates.renderer import JinjaRenderer
from application.caller import Caller
from application.carriers.email import EmailCarrier
from application.carriers.webhook import WebhookCarrier
from application.commands.limits import LimitsAnswer
from application.commands.manage import CancelAnswer, CancelNotification, RetryAnswer, RetryNotification
from application.commands.publishing import ChoosePublishing, PublishingAnswer, PublishingChoice
from application.commands.send import SendAnswer
from application.limiting import Limiting
from application.ports.due_work import DeliveryQueue
from application.ports.email import EmailSender
from application.ports.publishing import EventTopic
from application.ports.webhooks import WebhookSender
from application.processes.deliver import Delivery
from application.processes.dispatch import Dispatcher, DispatchRules
from application.processes.gather import Gathering
from application.processes.health import HealthCheck
from application.processes.publish import Publisher
from application.projections.projection import Projection
from application.queries.explain import Explanation
from application.queries.limits import RateLimits
from application.queries.proof import Proof
from application.readers import AddressDigest, ReaderLinks, Readers
from domain.mailbox import Mailbox
from domain.receipts import ProviderReceipt
from domain.vocabulary import Channel
from entrypoints.inbound_uses import InboundUses
from entrypoints.logs import Lines
from entrypoints.reader_uses import ReaderUses
from entrypoints.senders import email_rules, webhook_retries, webhook_rules
from entrypoints.settings import Settings
from entrypoints.template_uses import TemplateUses
from entrypoints.webhook_uses import WebhookUses


@dataclass(frozen=True)
class Parts:
    """Everything a role may need, ready to use."""

    settings: Settings
    conninfo: str
    database: Database
    store: PostgresEventStore
    chain: PostgresChain
    templates: FileTemplates
    renderer: JinjaRenderer
    email_sender: EmailSender
    webhook_sender: WebhookSender
    due: PostgresDueWork
    offers: PostgresOffers
    arrivals: Arrivals
    budget: PostgresProviderBudget
    limiting: Limiting
    api_keys: PostgresApiKeys
    reader: PostgresNotificationReader
    mails: CapturedMails
    mail_watch: PostgresMailWatch
    callbacks: ResendCallbacks | None
    wakeups: PostgresWakeups
    work: PostgresWakeups
    troubles: PostgresTroubles
    published: PostgresPlace
    clock: PostgresClock
    dice: SystemDice
    template_uses: TemplateUses
    readers: Readers
    reader_uses: ReaderUses
    reader_links: ReaderLinks
    address_digest: AddressDigest
    webhook_uses: WebhookUses
    inbound: InboundUses
    subscriptions: PostgresSubscriptionReader
    send: Callable[..., Coroutine[Any, Any, SendAnswer]]
    cancel: Callable[[CancelNotification, Caller], Coroutine[Any, Any, CancelAnswer]]
    retry: Callable[[RetryNotification, Caller], Coroutine[Any, Any, RetryAnswer]]
    prove: Callable[..., Coroutine[Any, Any, Proof]]
    explain: Callable[..., Coroutine[Any, Any, Explanation]]
    limits: Callable[[Caller], Coroutine[Any, Any, RateLimits]]
    choose_limits: Callable[..., Coroutine[Any, Any, LimitsAnswer]]
    publishing: Callable[[Caller], Coroutine[Any, Any, PublishingChoice]]
    choose_publishing: Callable[[ChoosePublishing, Caller], Coroutine[Any, Any, PublishingAnswer]]
    take_receipt: Callable[[ProviderReceipt], Coroutine[Any, Any, bool]]
    fingerprint: Callable[[bytes], str]

    def view(self, projection: Projection[Any], *, shadow: bool = False) -> PostgresView[Any]:
        return PostgresView(self.database, projection, shadow=shadow)

    def delivery(self, name: str) -> Delivery:
        log, rules = Lines("worker"), email_rules(self.settings)
        webhooks = WebhookCarrier(
            events=self.store,
            due=self.due,
            sender=self.webhook_sender,
            rules=webhook_rules(self.settings),
            retries=webhook_retries(self.settings),
            clock=self.clock,
            log=log,
        )
        return Delivery(
            events=self.store,
            read=self.arrivals.read,
            due=self.due,
            carriers={
                Channel.EMAIL: EmailCarrier(self.renderer, self.email_sender, rules),
                Channel.WEBHOOK: webhooks,
            },
            budget=self.budget,
            clock=self.clock,
            dice=self.dice,
            readers=self.readers,
            gathering=self.gathering(rules.sender, log, name),
            limiting=self.limiting,
            default_time_zone=self.settings.default_time_zone,
            log=log,
            name=name,
        )

    def gathering(self, sender: Mailbox, log: Lines, name: str) -> Gathering:
        return Gathering(
            events=self.store,
            due=self.due,
            readers=self.readers,
            links=self.reader_links,
            templates=self.templates,
            renderer=self.renderer,
            clock=self.clock,
            dice=self.dice,
            log=log,
            sender_name=sender.name or sender.address,
            postal_address=self.settings.postal_address,
            default_time_zone=self.settings.default_time_zone,
            name=name,
        )

    def health_check(self) -> HealthCheck:
        link = f"{self.settings.address}/docs"
        return HealthCheck(self.subscriptions, self.store, self.store, self.send, self.clock, Lines("health"), link)

    def publisher(self, topic: EventTopic) -> Publisher:
        return Publisher(self.store, self.store, topic, self.published, self.troubles, Lines("publisher"))

    def dispatcher(self, queue: DeliveryQueue) -> Dispatcher:
        """Webhooks need no preparing, so that no more of them are leased than may be called at a time.

        Their lanes have terms, and what is leased by an offer has none.
        """
        settings = self.settings
        mail = DispatchRules(
            self.email_sender.provider, settings.lease, settings.window, batch=_batch(settings.window), offers=True
        )
        webhooks = DispatchRules(
            WebhookCarrier.provider,
            settings.webhook_lease,
            settings.webhook_concurrency,
            batch=_batch(settings.webhook_concurrency),
        )
        return Dispatcher(self.due, self.offers, queue, self.budget, {Channel.EMAIL: mail, Channel.WEBHOOK: webhooks})


def _batch(window: int) -> int:
    return min(100, max(1, window // 4))
