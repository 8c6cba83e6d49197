"""Putting the adapters together: the one place that knows which port is played by what."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from adapters.address_digest import address_digests
from adapters.callbacks.resend import ResendCallbacks
from adapters.event_mapper import EventMapper
from adapters.person_keys import PersonKeys
from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.arrivals import Arrivals
from adapters.postgres.budget import PostgresProviderBudget
from adapters.postgres.captured_mails import PostgresCapturedMails
from adapters.postgres.chain import PostgresChain
from adapters.postgres.clock import PostgresClock
from adapters.postgres.database import Database, open_pool
from adapters.postgres.due_work import PostgresDueWork
from adapters.postgres.event_store import PostgresEventStore
from adapters.postgres.log_writer import LogWriter, open_append_pool
from adapters.postgres.mail_watch import PostgresMailWatch
from adapters.postgres.offers import PostgresOffers
from adapters.postgres.readers import (
    PostgresEventTypeReader,
    PostgresHappeningReader,
    PostgresNotificationReader,
    PostgresPlace,
    PostgresSubscriptionReader,
    PostgresSuppressionReader,
    PostgresTemplateReader,
)
from adapters.postgres.template_archive import PostgresTemplateArchive
from adapters.postgres.troubles import PostgresTroubles
from adapters.postgres.wakeup import WORK, PostgresWakeups
from adapters.reader_tokens import ReaderTokens
from adapters.sandboxed_schemas import SandboxedSchemas
from adapters.stopping import stopped
from adapters.system import SystemDice
from adapters.templates.files import FileTemplates
from adapters.templates.maker import JinjaTemplateMaker
from adapters.templates.renderer import JinjaRenderer
from adapters.templates.sandbox import Sandbox
from adapters.webhook.signing import RandomWebhookSecrets
from application.commands.limits import choose_limits
from application.commands.manage import cancel, retry
from application.commands.publishing import choose_publishing, chosen_publishing
from application.commands.send import send
from application.commands.take_receipt import take_receipt
from application.commands.try_webhook import MOST_TRIALS
from application.limiting import Limiting
from application.own_templates import OwnTemplates
from application.queries.explain import explain
from application.queries.limits import get_limits
from application.queries.proof import prove
from application.readers import HeardOf, Readers
from application.subscriptions import SubscriptionDirectory
from entrypoints.inbound_uses import inbound_uses
from entrypoints.parts import Parts
from entrypoints.reader_uses import reader_uses
from entrypoints.senders import allowances, email_sender, rate_limiter, webhook_sender
from entrypoints.settings import SettingError, Settings
from entrypoints.template_uses import template_uses
from entrypoints.webhook_uses import WebhookReaders, webhook_uses

_TRIAL_SECONDS = timedelta(seconds=10)
"""Somebody waits for the answer."""


@asynccontextmanager
async def opened(settings: Settings, conninfo: str, master_key: bytes) -> AsyncIterator[Parts]:
    """All parts on one database, closed in the order that loses nothing."""
    async with AsyncExitStack() as stack:
        database = Database(await stack.enter_async_context(open_pool(conninfo, most=10)))
        keys = PersonKeys(master_key)
        writer = LogWriter(await stack.enter_async_context(open_append_pool(conninfo)))
        store = PostgresEventStore(database, writer.append, EventMapper(keys), keys)
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
        budget = PostgresProviderBudget(database, allowances(settings))
        arrivals = Arrivals(store)
        offers = PostgresOffers(database, budget, arrivals.put)
        wakeups, work = PostgresWakeups(conninfo), PostgresWakeups(conninfo, WORK, offers)
        stack.push_async_callback(wakeups.close)
        stack.push_async_callback(work.close)
        clock, dice = PostgresClock(database), SystemDice()
        await clock.start()
        stack.push_async_callback(clock.close)
        digest = address_digests(master_key)
        readers, links = Readers(store, digest), ReaderTokens(master_key, settings.public_url)
        await stack.enter_async_context(_beside(readers.follow(store)))
        limiter = rate_limiter(settings)
        stack.push_async_callback(limiter.close)
        contents = partial(_fingerprint, hmac.digest(master_key, b"carillon contents", "sha256"))
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
            fingerprint=contents,
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
            due=PostgresDueWork(database, budget),
            offers=offers,
            arrivals=arrivals,
            budget=budget,
            limiting=Limiting(readers, limiter, contents),
            api_keys=api_keys,
            reader=reader,
            mails=mails,
            mail_watch=PostgresMailWatch(conninfo),
            callbacks=ResendCallbacks(settings.resend_webhook_secrets) if settings.resend_webhook_secrets else None,
            wakeups=wakeups,
            work=work,
            troubles=PostgresTroubles(database),
            published=PostgresPlace(database, "publisher"),
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
            limits=partial(get_limits, events=store),
            choose_limits=partial(choose_limits, events=HeardOf(store, readers), clock=clock),
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
