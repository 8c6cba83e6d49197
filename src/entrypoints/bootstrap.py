"""Putting the adapters together: the one place that knows which port is played by what."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from taskiq import AsyncBroker

from adapters.address_digest import address_digests
from adapters.allowance import Allowance
from adapters.callbacks.resend import ResendCallbacks
from adapters.email.capture import CapturedMails, CaptureEmailSender
from adapters.email.resend import ResendEmailSender
from adapters.email.smtp import SmtpEmailSender
from adapters.event_mapper import EventMapper
from adapters.http_client import http_client
from adapters.kafka.event_topic import KafkaEventTopic
from adapters.person_keys import PersonKeys
from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.budget import PostgresProviderBudget
from adapters.postgres.captured_mails import PostgresCapturedMails
from adapters.postgres.chain import PostgresChain
from adapters.postgres.clock import PostgresClock
from adapters.postgres.database import Database, open_pool
from adapters.postgres.due_work import PostgresDueWork
from adapters.postgres.event_store import PostgresEventStore
from adapters.postgres.mail_watch import PostgresMailWatch
from adapters.postgres.readers import (
    PostgresEventTypeReader,
    PostgresHappeningReader,
    PostgresNotificationReader,
    PostgresPlace,
    PostgresSubscriptionReader,
    PostgresSuppressionReader,
    PostgresTemplateReader,
)
from adapters.postgres.recorder import LogRecorder, open_datastore
from adapters.postgres.template_archive import PostgresTemplateArchive
from adapters.postgres.troubles import PostgresTroubles
from adapters.postgres.views import PostgresView
from adapters.postgres.wakeup import PostgresWakeups
from adapters.reader_tokens import ReaderTokens
from adapters.sandboxed_schemas import SandboxedSchemas
from adapters.stopping import stopped
from adapters.system import SystemDice
from adapters.taskiq_queue import TaskiqDeliveryQueue, memory_broker, redis_broker
from adapters.templates.files import FileTemplates
from adapters.templates.maker import JinjaTemplateMaker
from adapters.templates.renderer import JinjaRenderer
from adapters.templates.sandbox import Sandbox
from adapters.webhook.sender import HttpWebhookSender
from adapters.webhook.signing import RandomWebhookSecrets
from application.caller import Caller
from application.carriers.carrier import WorkRules
from application.carriers.email import EmailCarrier, EmailRules
from application.carriers.webhook import WebhookCarrier
from application.commands.manage import CancelAnswer, CancelNotification, RetryAnswer, RetryNotification, cancel, retry
from application.commands.publishing import (
    ChoosePublishing,
    PublishingAnswer,
    PublishingChoice,
    choose_publishing,
    chosen_publishing,
)
from application.commands.send import SendAnswer, send
from application.commands.take_receipt import take_receipt
from application.commands.try_webhook import MOST_TRIALS
from application.own_templates import OwnTemplates
from application.ports import EmailSender, EventTopic, WebhookSender
from application.processes.deliver import Delivery
from application.processes.dispatch import Dispatcher, DispatchRules
from application.processes.health import HealthCheck
from application.processes.publish import Publisher
from application.projections.attempts import Attempts
from application.projections.event_types import EventTypesDescribed
from application.projections.happenings import Happenings
from application.projections.metrics import Metrics, Totals
from application.projections.notifications import Notifications
from application.projections.parked import KafkaParked
from application.projections.projection import Projection
from application.projections.receipts import Receipts
from application.projections.subscriptions import WebhookSubscriptions
from application.projections.suppressions import Suppressions
from application.projections.templates import OwnedTemplates
from application.queries.explain import Explanation, explain
from application.queries.proof import Proof, prove
from application.readers import AddressDigest, ReaderLinks, Readers
from application.subscriptions import SubscriptionDirectory
from domain.mailbox import Mailbox
from domain.receipts import ProviderReceipt
from domain.retry import STANDARD_WEBHOOKS, Retries, exponential
from domain.vocabulary import Channel
from entrypoints.inbound_uses import InboundUses, inbound_uses
from entrypoints.logs import Lines
from entrypoints.reader_uses import ReaderUses, reader_uses
from entrypoints.settings import SettingError, Settings, check_kafka
from entrypoints.template_uses import TemplateUses, template_uses
from entrypoints.webhook_uses import WebhookReaders, WebhookUses, webhook_uses

_CALM = 0.05

PROJECTIONS: tuple[Projection[Any], ...] = (
    Notifications(),
    Attempts(),
    Metrics(),
    Totals(),
    Receipts(),
    OwnedTemplates(),
    WebhookSubscriptions(),
    Suppressions(),
    Happenings(),
    EventTypesDescribed(),
    KafkaParked(),
)

_TRIAL_SECONDS = timedelta(seconds=10)
"""Somebody waits for the answer."""


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
    budget: PostgresProviderBudget
    api_keys: PostgresApiKeys
    reader: PostgresNotificationReader
    mails: CapturedMails
    mail_watch: PostgresMailWatch
    callbacks: ResendCallbacks | None
    wakeups: PostgresWakeups
    troubles: PostgresTroubles
    published: PostgresPlace
    brokers: Mapping[Channel, AsyncBroker]
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
    publishing: Callable[[Caller], Coroutine[Any, Any, PublishingChoice]]
    choose_publishing: Callable[[ChoosePublishing, Caller], Coroutine[Any, Any, PublishingAnswer]]
    take_receipt: Callable[[ProviderReceipt], Coroutine[Any, Any, bool]]
    fingerprint: Callable[[bytes], str]

    def view(self, projection: Projection[Any], *, shadow: bool = False) -> PostgresView[Any]:
        return PostgresView(self.database, projection, shadow=shadow)

    def delivery(self, name: str) -> Delivery:
        log = Lines("worker")
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
            due=self.due,
            carriers={
                Channel.EMAIL: EmailCarrier(self.renderer, self.email_sender, email_rules(self.settings)),
                Channel.WEBHOOK: webhooks,
            },
            budget=self.budget,
            clock=self.clock,
            dice=self.dice,
            readers=self.readers,
            default_time_zone=self.settings.default_time_zone,
            log=log,
            name=name,
        )

    def health_check(self) -> HealthCheck:
        link = f"{self.settings.address}/docs"
        return HealthCheck(self.subscriptions, self.store, self.store, self.send, self.clock, Lines("health"), link)

    def event_topic(self) -> KafkaEventTopic:
        """Raises SettingError where there is no Kafka."""
        kafka = check_kafka(self.settings)
        return KafkaEventTopic(kafka.connection, kafka.events_topic)

    def publisher(self, topic: EventTopic) -> Publisher:
        return Publisher(self.store, self.store, topic, self.published, self.troubles, Lines("publisher"))

    def dispatcher(self, on_loss: Callable[[Exception], None]) -> Dispatcher:
        """Webhooks need no preparing, so that no more of them are leased than may be called at a time."""
        settings = self.settings
        mail = DispatchRules(self.email_sender.provider, settings.lease, settings.window, batch=_batch(settings.window))
        webhooks = DispatchRules(
            WebhookCarrier.provider,
            settings.webhook_lease,
            settings.webhook_concurrency,
            batch=_batch(settings.webhook_concurrency),
            calm=_CALM,
        )
        queue = TaskiqDeliveryQueue(self.brokers, on_loss)
        return Dispatcher(self.due, queue, self.budget, {Channel.EMAIL: mail, Channel.WEBHOOK: webhooks})


@asynccontextmanager
async def opened(settings: Settings, conninfo: str, master_key: bytes) -> AsyncIterator[Parts]:
    """All parts on one database, closed in the order that loses nothing."""
    async with AsyncExitStack() as stack:
        database = Database(await stack.enter_async_context(open_pool(conninfo, most=10)))
        keys = PersonKeys(master_key)
        datastore = open_datastore(conninfo)
        stack.callback(datastore.close)
        store = PostgresEventStore(database, LogRecorder(datastore).append, EventMapper(keys), keys)
        stack.push_async_callback(store.close)
        templates = FileTemplates(templates_folder(settings), settings.default_language)
        archive = PostgresTemplateArchive(database)
        await archive.put(templates.bundles)
        sandbox = Sandbox()
        stack.push_async_callback(sandbox.close)
        renderer = JinjaRenderer(archive, templates.bundles, sandbox=sandbox)
        maker = JinjaTemplateMaker(archive, sandbox)
        mails = PostgresCapturedMails(database.pool)
        sender = email_sender(settings, mails)
        stack.push_async_callback(sender.close)
        hooks = webhook_sender(settings, settings.webhook_concurrency, settings.webhook_deadline)
        stack.push_async_callback(hooks.close)
        trials = webhook_sender(settings, MOST_TRIALS, min(settings.webhook_deadline, _TRIAL_SECONDS))
        stack.push_async_callback(trials.close)
        wakeups = PostgresWakeups(conninfo)
        stack.push_async_callback(wakeups.close)
        clock, dice = PostgresClock(database), SystemDice()
        await clock.start()
        stack.push_async_callback(clock.close)
        digest = address_digests(master_key)
        readers, links = Readers(store, digest), ReaderTokens(master_key, settings.public_url)
        await stack.enter_async_context(_beside(readers.follow(store)))
        reader, happenings = PostgresNotificationReader(database), PostgresHappeningReader(database)
        subscriptions = PostgresSubscriptionReader(database)
        send_it = partial(
            send,
            events=store,
            templates=templates,
            own=OwnTemplates(store, maker.nearest).active,
            readers=readers,
            links=links,
            persons=store,
            clock=clock,
            dice=dice,
            default_language=settings.default_language,
            default_time_zone=settings.default_time_zone,
            postal_address=settings.postal_address,
        )
        fingerprint = partial(_fingerprint, hmac.digest(master_key, b"carillon request bodies", "sha256"))
        webhooks_in_use = webhook_uses(
            store,
            store,
            RandomWebhookSecrets(),
            SubscriptionDirectory(store, subscriptions),
            trials,
            WebhookReaders(subscriptions, reader, happenings, happenings, PostgresEventTypeReader(database)),
            SandboxedSchemas(sandbox),
            clock,
            dice,
            settings.webhook_allowed_subnets,
        )
        api_keys = PostgresApiKeys(database)
        inbound = inbound_uses(
            settings, database, store, store, api_keys, clock, send_it, webhooks_in_use.send, fingerprint
        )
        if inbound.group:
            stack.push_async_callback(inbound.group.close)
        yield Parts(
            settings=settings,
            conninfo=conninfo,
            database=database,
            store=store,
            chain=PostgresChain(database),
            templates=templates,
            renderer=renderer,
            email_sender=sender,
            webhook_sender=hooks,
            due=PostgresDueWork(database),
            budget=PostgresProviderBudget(database, allowances(settings)),
            api_keys=api_keys,
            reader=reader,
            mails=mails,
            mail_watch=PostgresMailWatch(conninfo),
            callbacks=ResendCallbacks(settings.resend_webhook_secrets) if settings.resend_webhook_secrets else None,
            wakeups=wakeups,
            troubles=PostgresTroubles(database),
            published=PostgresPlace(database, "publisher"),
            brokers={
                channel: redis_broker(settings.redis_url, channel) if settings.redis_url else memory_broker()
                for channel in (Channel.EMAIL, Channel.WEBHOOK)
            },
            clock=clock,
            dice=dice,
            template_uses=template_uses(
                store,
                templates,
                maker,
                renderer,
                PostgresTemplateReader(database),
                clock,
                send_it,
                settings.default_language,
            ),
            readers=readers,
            reader_uses=reader_uses(store, readers, PostgresSuppressionReader(database), digest, clock, dice),
            reader_links=links,
            address_digest=digest,
            webhook_uses=webhooks_in_use,
            inbound=inbound,
            subscriptions=subscriptions,
            send=send_it,
            cancel=partial(cancel, events=store, clock=clock),
            retry=partial(retry, events=store, clock=clock),
            prove=partial(prove, events=store, renderer=partial(JinjaRenderer, archive, {}, sandbox=sandbox)),
            explain=partial(
                explain, events=store, digest=digest, clock=clock, default_time_zone=settings.default_time_zone
            ),
            publishing=partial(chosen_publishing, events=store),
            choose_publishing=partial(choose_publishing, events=store, clock=clock),
            take_receipt=partial(take_receipt, events=store, clock=clock),
            fingerprint=fingerprint,
        )


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run this for as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await stopped(task)


async def create_views(database: Database) -> None:
    """The read models' tables, where they are not there yet or are those of another version."""
    for projection in PROJECTIONS:
        await PostgresView(database, projection).create()


async def missing_views(database: Database) -> list[str]:
    """The read models whose tables are not there yet or are those of another version."""
    views = [PostgresView(database, projection) for projection in PROJECTIONS]
    return [view.schema for view in views if not await view.is_up_to_date()]


def _batch(window: int) -> int:
    return min(100, max(1, window // 4))


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


def templates_folder(settings: Settings) -> Path:
    """The folder that was set, else the one installed beside the packages, else the checkout's."""
    if settings.templates:
        return settings.templates
    packages = Path(__file__).resolve().parent.parent
    for folder in (packages / "carillon" / "_templates", packages.parent / "templates"):
        if folder.is_dir():
            return folder
    raise SettingError("TEMPLATES_PATH", "must name the folder of templates: none was found beside the packages")


def _fingerprint(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, hashlib.sha256).hex()
