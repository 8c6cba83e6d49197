"""The mailbox of captured mails: the same in memory and in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.email.capture import CapturedMails, CaptureEmailSender
from adapters.memory.captured_mails import MemoryCapturedMails
from adapters.postgres.captured_mails import CAPTURED_MAILS_CHANNEL, PostgresCapturedMails
from application.ports.email import Email
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Retryable
from domain.vocabulary import Reason
from tests.contract.email_rigs import EMAIL


class MemoryContract:
    @pytest.fixture
    def mails(self) -> CapturedMails:
        return MemoryCapturedMails()


class PostgresContract:
    @pytest.fixture
    def mails(self, pool: AsyncConnectionPool) -> CapturedMails:
        return PostgresCapturedMails(pool)


class CapturedMailsContract:
    async def test_what_was_added_is_kept_as_it_was(self, mails: CapturedMails):
        id = await mails.add("key", EMAIL)
        mail = await mails.get(id)
        assert mail is not None
        assert mail.id == id
        assert abs(datetime.now(UTC) - mail.captured_at) < timedelta(minutes=1)
        for field in msgspec.structs.fields(Email):
            assert getattr(mail, field.name) == getattr(EMAIL, field.name)

    async def test_little_is_kept_as_little(self, mails: CapturedMails):
        email = Email(sender=Mailbox("a@x.example"), to=Mailbox("b@y.example"), subject="", html=None, text="\x00 \n")
        mail = await mails.get(await mails.add(None, email))
        assert mail is not None
        assert (mail.html, mail.text, mail.reply_to, mail.headers, mail.tags) == (None, "\x00 \n", None, {}, {})

    async def test_the_same_key_keeps_the_first_only(self, mails: CapturedMails):
        first = await mails.add("key", EMAIL)
        assert await mails.add("key", msgspec.structs.replace(EMAIL, subject="Another")) == first
        assert [mail.subject for mail in await mails.latest(10)] == [EMAIL.subject]

    async def test_the_same_key_many_times_at_once_keeps_one(self, mails: CapturedMails):
        ids = await asyncio.gather(*(mails.add("key", EMAIL) for _ in range(20)))
        assert len(set(ids)) == 1
        assert len(await mails.latest(30)) == 1

    async def test_without_a_key_each_is_kept(self, mails: CapturedMails):
        assert await mails.add(None, EMAIL) != await mails.add(None, EMAIL)

    async def test_the_latest_come_first_page_by_page(self, mails: CapturedMails):
        ids = [await mails.add(str(number), EMAIL) for number in range(5)]
        assert [mail.id for mail in await mails.latest(2)] == [ids[4], ids[3]]
        assert [mail.id for mail in await mails.latest(2, before=ids[3])] == [ids[2], ids[1]]
        assert [mail.id for mail in await mails.latest(2, before=ids[0])] == []

    async def test_what_is_not_there_is_none(self, mails: CapturedMails):
        assert await mails.get(4711) is None

    async def test_all_are_forgotten_with_their_keys(self, mails: CapturedMails):
        id = await mails.add("key", EMAIL)
        await mails.clear()
        assert await mails.latest(10) == []
        assert await mails.get(id) is None
        assert await mails.add("key", EMAIL) > id

    async def test_the_sender_fills_it(self, mails: CapturedMails):
        outcome = await CaptureEmailSender(mails).send(EMAIL, "key")
        (mail,) = await mails.latest(10)
        assert outcome == Accepted(str(mail.id))


class TestMemoryCapturedMails(MemoryContract, CapturedMailsContract):
    pass


class TestPostgresCapturedMails(PostgresContract, CapturedMailsContract):
    @pytest.fixture
    async def listener(self, conninfo: str) -> AsyncIterator[psycopg.AsyncConnection]:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CAPTURED_MAILS_CHANNEL}")
            yield connection

    async def test_whoever_listens_is_told_the_id(self, mails: CapturedMails, listener: psycopg.AsyncConnection):
        id = await mails.add("key", EMAIL)
        notices = [notice.payload async for notice in listener.notifies(timeout=10, stop_after=1)]
        assert notices == [str(id)]

    async def test_a_store_that_is_away_is_no_fault_of_the_message(self, pool: AsyncConnectionPool):
        await pool.close()
        outcome = await CaptureEmailSender(PostgresCapturedMails(pool)).send(EMAIL, "key")
        assert isinstance(outcome, Retryable)
        assert outcome.reason is Reason.PROVIDER_UNAVAILABLE
