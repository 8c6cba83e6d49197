"""Webhooks are signed as Standard Webhooks says, and so that whoever reads of the plain scheme can check it too."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from adapters.webhook.signing import (
    InvalidSecretError,
    RandomWebhookSecrets,
    new_secret,
    public_key,
    signature_headers,
)
from domain.vocabulary import SecretKind

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
OTHER = new_secret(bytes(range(32)))


def test_the_signature_is_the_one_of_the_published_vector() -> None:
    assert signature_headers(ID, AT, BODY, [SECRET]) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "X-Webhook-Timestamp": "1614265330",
        "X-Webhook-Signature": "sha256=2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964",
    }


def test_the_plain_signature_is_an_hmac_of_time_dot_body_under_the_whole_secret() -> None:
    expected = hmac.new(SECRET.encode(), b"1614265330." + BODY, hashlib.sha256).hexdigest()
    assert signature_headers(ID, AT, BODY, [SECRET])["X-Webhook-Signature"] == f"sha256={expected}"


def test_while_a_secret_is_replaced_both_sign_the_new_one_first() -> None:
    headers = signature_headers(ID, AT, BODY, [OTHER, SECRET])
    alone = [signature_headers(ID, AT, BODY, [secret]) for secret in (OTHER, SECRET)]
    assert headers["webhook-signature"] == " ".join(one["webhook-signature"] for one in alone)
    assert headers["X-Webhook-Signature"] == ",".join(one["X-Webhook-Signature"] for one in alone)


def test_an_ed25519_signature_verifies_with_the_public_half() -> None:
    assert public_key(PRIVATE) == PUBLIC
    headers = signature_headers(ID, AT, BODY, [PRIVATE])
    version, _, signature = headers["webhook-signature"].partition(",")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(PUBLIC.removeprefix("whpk_")))
    key.verify(base64.b64decode(signature), f"{ID}.{AT}.".encode() + BODY)
    assert version == "v1a"


def test_a_key_that_only_one_side_has_makes_no_plain_signature() -> None:
    assert "X-Webhook-Signature" not in signature_headers(ID, AT, BODY, [PRIVATE])
    both = signature_headers(ID, AT, BODY, [PRIVATE, SECRET])
    assert both["X-Webhook-Signature"] == signature_headers(ID, AT, BODY, [SECRET])["X-Webhook-Signature"]
    assert [part[:3] for part in both["webhook-signature"].split(" ")] == ["v1a", "v1,"]


@given(st.dictionaries(st.text(), st.text()), st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=6))
def test_independent_verifiers_accept_every_body_under_every_secret_alive(
    data: dict[str, str], randomness: list[bytes]
) -> None:
    import svix  # here, for its whole API comes with it, which every process of every run would wait for

    body = json.dumps(data).encode()
    secrets = [new_secret(one) for one in randomness]
    headers = signature_headers(ID, int(datetime.now(UTC).timestamp()), body, secrets)
    for secret in secrets:
        assert standardwebhooks.Webhook(secret).verify(body, headers) == data
        svix.Webhook(secret).verify(body, headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(secret).verify(body + b" ", headers)
        with pytest.raises(svix.WebhookVerificationError):
            svix.Webhook(secret).verify(body + b" ", headers)


def test_secrets_are_made_of_32_random_bytes() -> None:
    assert base64.b64decode(OTHER.removeprefix("whsec_")) == bytes(range(32))
    pair = new_secret(bytes(range(32)), SecretKind.ASYMMETRIC)
    assert pair.startswith("whsk_")
    assert (public_key(pair) or "").startswith("whpk_")
    assert public_key(OTHER) is None
    with pytest.raises(InvalidSecretError):
        new_secret(b"short")


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_" + "A" * 88, PUBLIC,
     PRIVATE[:-4], "whsk_" + base64.b64encode(bytes(64)).decode(), "whsec_" + base64.b64encode(bytes(65)).decode()],
)  # fmt: skip
def test_what_is_no_secret_signs_nothing_and_is_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidSecretError) as raised:
        signature_headers(ID, AT, BODY, [secret])
    assert not secret[7:] or secret[7:] not in str(raised.value)


def test_without_a_secret_nothing_goes_out_unsigned() -> None:
    with pytest.raises(InvalidSecretError):
        signature_headers(ID, AT, BODY, [])


@pytest.mark.parametrize("kind", SecretKind)
def test_every_secret_that_is_made_is_another_one_and_signs(kind: SecretKind) -> None:
    made = [RandomWebhookSecrets().make(kind) for _ in range(5)]
    assert len(set(made)) == 5
    signature_headers(ID, AT, BODY, made)
    assert {bool(RandomWebhookSecrets().public(one)) for one in made} == {kind is SecretKind.ASYMMETRIC}
