"""What is SMTP's own, beyond the contract of every sender."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.email.smtp import SmtpEmailSender
from domain.mailbox import Mailbox
from domain.outcomes import Accepted, Misconfigured, Refused, Retryable
from domain.vocabulary import Reason
from tests.contract.email_rigs import EMAIL
from tests.fakes.smtp import PASSWORD, USER, At, FakeSmtp

NOW = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
KEY = "0198f3a0-0000-7000-8000-000000000001/1"


@asynccontextmanager
async def sender_to(
    smtp: FakeSmtp, user: str | None = None, password: str | None = None, **options: Any
) -> AsyncIterator[SmtpEmailSender]:
    options = {"starttls": False, "now": lambda: NOW} | options
    sender = SmtpEmailSender("127.0.0.1", smtp.port, user, password, **options)
    try:
        yield sender
    finally:
        await sender.close()


@pytest.fixture
async def smtp() -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp() as server:
        yield server


async def test_the_message_id_is_the_providers_id(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        outcome = await sender.send(EMAIL, KEY)
    assert outcome == Accepted(smtp.mails[0].message["Message-ID"])


async def test_the_same_attempt_is_the_same_bytes(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        for _ in range(2):
            await sender.send(EMAIL, KEY)
    assert smtp.mails[0].content == smtp.mails[1].content


async def test_the_envelope_holds_exactly_the_one_recipient(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        await sender.send(EMAIL, KEY)
    assert (smtp.mails[0].sender, smtp.mails[0].recipients) == (EMAIL.sender.address, [EMAIL.to.address])


async def test_a_connection_is_used_again_also_after_a_refusal(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        await sender.send(EMAIL, "1")
        smtp.script(At("RCPT", "550 5.1.1 No such user"), At("TEXT", "451 4.3.0 Try later"))
        assert isinstance(await sender.send(EMAIL, "2"), Refused)
        assert isinstance(await sender.send(EMAIL, "3"), Retryable)
        assert isinstance(await sender.send(EMAIL, "4"), Accepted)
    assert smtp.connections == 1
    assert len(smtp.mails) == 2


async def test_a_server_that_hung_up_meanwhile_is_called_again(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        await sender.send(EMAIL, "1")
        smtp.hang_up()
        assert isinstance(await sender.send(EMAIL, "2"), Accepted)
    assert smtp.connections == 2
    assert len(smtp.mails) == 2


async def test_no_more_connections_than_allowed_are_opened(smtp: FakeSmtp):
    async with sender_to(smtp, connections=3) as sender:
        await asyncio.gather(*(sender.send(EMAIL, str(number)) for number in range(30)))
    assert smtp.connections == 3
    assert len(smtp.mails) == 30


async def test_who_we_are_is_said_where_it_is_asked(smtp: FakeSmtp):
    async with sender_to(smtp, USER, PASSWORD) as sender:
        assert isinstance(await sender.send(EMAIL, KEY), Accepted)


async def test_a_wrong_password_is_our_fault_and_never_told(smtp: FakeSmtp):
    async with sender_to(smtp, USER, "wrong-secret") as sender:
        outcome = await sender.send(EMAIL, KEY)
    assert isinstance(outcome, Misconfigured)
    assert "5.7.8" in outcome.detail
    assert "secret" not in outcome.detail


async def test_an_address_beyond_ascii_goes_where_it_is_understood():
    email = msgspec.structs.replace(EMAIL, to=Mailbox("ödön@post.example", "Ödön"))
    async with FakeSmtp(utf8=True) as smtp, sender_to(smtp) as sender:
        assert isinstance(await sender.send(email, KEY), Accepted)
        assert smtp.mails[0].recipients == ["ödön@post.example"]
    async with FakeSmtp(utf8=False) as smtp, sender_to(smtp) as sender:
        outcome = await sender.send(email, KEY)
        assert isinstance(outcome, Refused)
        assert isinstance(await sender.send(EMAIL, KEY), Accepted)


@pytest.mark.parametrize(
    ("domain", "ascii"), [("straße.example", "xn--strae-oqa.example"), ("Ü.example", "xn--tda.example")]
)
async def test_a_domain_beyond_ascii_goes_by_its_name_in_the_dns(smtp: FakeSmtp, domain: str, ascii: str):
    async with sender_to(smtp) as sender:
        await sender.send(msgspec.structs.replace(EMAIL, to=Mailbox(f"odon@{domain}")), KEY)
    assert smtp.mails[0].recipients == [f"odon@{ascii}"]


async def test_a_domain_that_cannot_be_in_the_dns_is_refused(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        outcome = await sender.send(msgspec.structs.replace(EMAIL, to=Mailbox("odon@☃️\u200b.example")), KEY)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.INVALID_RECIPIENT


async def test_a_senders_domain_that_cannot_be_in_the_dns_is_not_the_recipients_fault(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        outcome = await sender.send(msgspec.structs.replace(EMAIL, sender=Mailbox("news@☃️\u200b.example")), KEY)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.PROVIDER_REFUSED


async def test_after_closing_no_connection_is_kept(smtp: FakeSmtp):
    async with sender_to(smtp) as sender:
        sending = asyncio.create_task(sender.send(EMAIL, KEY))
        await asyncio.sleep(0)
        await sender.close()
        assert isinstance(await sending, Accepted)
    await asyncio.wait_for(smtp.all_have_left(), 10)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carillon test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize("starttls", [True, "auto"])
async def test_a_connection_is_encrypted_where_that_is_offered(server_side, trusting, starttls):
    async with FakeSmtp(tls=server_side) as smtp:
        async with sender_to(smtp, USER, PASSWORD, starttls=starttls, tls_context=trusting) as sender:
            assert isinstance(await sender.send(EMAIL, KEY), Accepted)
        assert smtp.encrypted == 1


async def test_what_must_be_encrypted_is_not_sent_where_that_is_not_offered(smtp: FakeSmtp):
    async with sender_to(smtp, starttls=True) as sender:
        outcome = await sender.send(EMAIL, KEY)
    assert isinstance(outcome, Misconfigured)
    assert "STARTTLS" in outcome.detail
    assert smtp.mails == []


async def test_what_may_be_encrypted_is_sent_where_that_is_not_offered(smtp: FakeSmtp):
    async with sender_to(smtp, starttls="auto") as sender:
        assert isinstance(await sender.send(EMAIL, KEY), Accepted)


async def test_nothing_is_sent_to_a_server_whose_certificate_is_not_trusted(server_side):
    async with FakeSmtp(tls=server_side) as smtp:
        async with sender_to(smtp, starttls=True) as sender:
            outcome = await sender.send(EMAIL, KEY)
        assert isinstance(outcome, Retryable)
        assert outcome.reason is Reason.CONNECTION_FAILED
        assert smtp.mails == []
