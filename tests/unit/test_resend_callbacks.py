"""Resend's callbacks: who may say something, and what it means."""

import base64
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from adapters.callbacks.resend import InvalidSignatureError, MalformedCallbackError, ResendCallbacks
from domain.receipts import ProviderReceipt, ReceiptKind

SPEC = json.loads((Path(__file__).parents[1] / "specs" / "resend_emails.json").read_text())
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret of last year").decode()
NOTIFICATION = UUID("0198f3a0-0000-7000-8000-000000000001")
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
CALLBACKS = ResendCallbacks([SECRET])


def event(type: str = "email.delivered", /, **data: Any) -> dict[str, Any]:
    return {
        "type": type,
        "created_at": "2026-03-01T11:59:30.123Z",
        "data": {
            "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
            "created_at": "2026-03-01 11:58:00.894719+00",
            "from": "Carillon <news@carillon.example>",
            "to": ["odon@post.example"],
            "subject": "Hello",
            "tags": {"notification_id": str(NOTIFICATION)},
            **data,
        },
    }


def sign(body: bytes, id: str = ID, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    """As https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md has it."""
    timestamp = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")
    signature = "v1," + base64.b64encode(digest).decode()
    return {"svix-id": id, "svix-timestamp": timestamp, "svix-signature": signature}


def receipt(what: Any, callbacks: ResendCallbacks = CALLBACKS) -> ProviderReceipt:
    body = what if isinstance(what, bytes) else json.dumps(what).encode()
    return callbacks.receipt(sign(body), body, NOW)


def refused(
    headers: Mapping[str, str], body: bytes, callbacks: ResendCallbacks = CALLBACKS, now: datetime = NOW
) -> bool:
    with pytest.raises(InvalidSignatureError) as raised:
        callbacks.receipt(headers, body, now)
    return str(raised.value) == "the signature does not fit"


# Who may say something


def test_the_vector_of_the_standard_is_accepted():
    """From the libraries of Standard Webhooks and Svix, which all carry it."""
    headers = {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    said = CALLBACKS.receipt(headers, b'{"test": 2432232314}', datetime.fromtimestamp(1614265330, UTC))
    assert (said.kind, said.event_id) == (ReceiptKind.OTHER, ID)


IDS = st.text("abcXYZ019_", min_size=1, max_size=40)


@patient
@given(st.binary(min_size=1, max_size=64), IDS, st.text())
def test_what_the_reference_library_signs_is_accepted_and_the_other_way_round(key: bytes, id: str, subject: str):
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps(event(subject=subject))
    now = datetime.now(UTC)
    theirs = {"svix-id": id, "svix-timestamp": str(int(now.timestamp()))}
    theirs["svix-signature"] = Webhook(secret).sign(id, now, body)
    assert ResendCallbacks([secret]).receipt(theirs, body.encode(), now).event_id == id
    ours = sign(body.encode(), id, now, secret)
    Webhook(secret).verify(body, {name.replace("svix", "webhook"): value for name, value in ours.items()})


def test_names_of_headers_are_the_same_in_any_case():
    body = json.dumps(event()).encode()
    headers = {name.title(): value for name, value in sign(body).items()}
    assert CALLBACKS.receipt(headers, body, NOW).kind is ReceiptKind.DELIVERED


BODY = json.dumps(event()).encode()
SIGNED = sign(BODY)
SIGNATURE = SIGNED["svix-signature"]
TAMPERED = {
    "another body": (SIGNED, BODY.replace(b"delivered", b"complained")),
    "a byte more": (SIGNED, BODY + b" "),
    "the same JSON written differently": (SIGNED, json.dumps(event(), indent=1).encode()),
    "no body": (SIGNED, b""),
    "another id": (SIGNED | {"svix-id": "msg_other"}, BODY),
    "a later time": (SIGNED | {"svix-timestamp": str(int(NOW.timestamp()) + 1)}, BODY),
    "another secret": (sign(BODY, secret=OLD_SECRET), BODY),
    "no headers": ({}, BODY),
    "no signature": (SIGNED | {"svix-signature": ""}, BODY),
    "no version": (SIGNED | {"svix-signature": SIGNATURE.removeprefix("v1,")}, BODY),
    "another version": (SIGNED | {"svix-signature": SIGNATURE.replace("v1,", "v1a,")}, BODY),
    "a signature cut short": (SIGNED | {"svix-signature": SIGNATURE[:-1]}, BODY),
    "half of the signature": (SIGNED | {"svix-signature": "v1," + SIGNATURE[20:]}, BODY),
    "an empty signature": (SIGNED | {"svix-signature": "v1,"}, BODY),
    "signatures glued by a comma": (SIGNED | {"svix-signature": "v1,AAAA," + SIGNATURE}, BODY),
    "the dot moved": (
        SIGNED | {"svix-id": f"{ID}.{SIGNED['svix-timestamp']}"},
        BODY.removeprefix(b"{"),
    ),
    "no id": (sign(BODY, id=""), BODY),
    "an id of control characters": (sign(BODY, id="msg\n1"), BODY),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_whatever_was_tampered_with_is_refused_in_the_same_words(name: str):
    assert refused(*TAMPERED[name])


@pytest.mark.parametrize(
    "time", ["", "now", "-1", "+1772366400", " 1772366400", "1772366400.0", "1e9", "٣", "9" * 11, "9" * 400, "0x10"]
)
def test_a_time_that_is_none_is_refused(time: str):
    headers = sign(BODY) | {"svix-timestamp": time}
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{ID}.{time}.".encode() + BODY, "sha256")
    assert refused(headers | {"svix-signature": "v1," + base64.b64encode(digest).decode()}, BODY)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_callback_is_good_for_five_minutes_either_way(seconds: int):
    assert CALLBACKS.receipt(SIGNED, BODY, NOW + timedelta(seconds=seconds)).event_id == ID


@pytest.mark.parametrize("seconds", [-86400, -301, 301, 86400])
def test_a_callback_of_another_time_is_refused(seconds: int):
    assert refused(SIGNED, BODY, now=NOW + timedelta(seconds=seconds))


def test_a_wider_window_can_be_asked_for():
    callbacks = ResendCallbacks([SECRET], tolerance=timedelta(hours=1))
    assert callbacks.receipt(SIGNED, BODY, NOW + timedelta(minutes=59)).event_id == ID


def test_while_secrets_are_exchanged_either_is_good():
    both = ResendCallbacks([OLD_SECRET, SECRET])
    for secret in (OLD_SECRET, SECRET):
        assert both.receipt(sign(BODY, secret=secret), BODY, NOW).event_id == ID
    assert refused(sign(BODY, secret=OLD_SECRET), BODY, ResendCallbacks([SECRET]))


def test_one_good_signature_among_several_is_enough():
    others = "v1,AAAA v1a,BBBB " + sign(BODY, secret=OLD_SECRET)["svix-signature"]
    headers = SIGNED | {"svix-signature": f"{others} {SIGNATURE} v2,CCCC"}
    assert CALLBACKS.receipt(headers, BODY, NOW).event_id == ID


def test_without_secrets_nobody_is_believed():
    assert refused(SIGNED, BODY, ResendCallbacks([]))


@pytest.mark.parametrize("secret", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_no base64!", "whsec_ü"])
def test_a_secret_that_is_none_is_refused_at_the_start_and_never_told(secret: str):
    with pytest.raises(ValueError, match="signing secret") as raised:
        ResendCallbacks([secret])
    assert not secret.removeprefix("whsec_") or secret not in str(raised.value)


# What it means


BOUNCE = {"diagnosticCode": ["smtp; 550 5.1.1 user unknown"], "message": "The mailbox is gone.", "subType": "General"}
SUPPRESSED = {"diagnosticCode": [], "message": "Bounced before.", "reason": "previous_bounce", "type": "Suppressed"}
CLICK = {"ipAddress": "192.0.2.1", "link": "https://x.example", "timestamp": "2026-03-01T11:59:30Z", "userAgent": "M"}
MEANINGS = [
    (event("email.scheduled"), ReceiptKind.OTHER, ""),
    (event("email.sent"), ReceiptKind.SENT, ""),
    (event("email.delivery_delayed"), ReceiptKind.DELAYED, ""),
    (event("email.delivered"), ReceiptKind.DELIVERED, ""),
    (event("email.opened"), ReceiptKind.OPENED, ""),
    (event("email.clicked", click=CLICK), ReceiptKind.CLICKED, ""),
    (event("email.complained"), ReceiptKind.COMPLAINED, ""),
    (event("email.bounced", bounce={**BOUNCE, "type": "Permanent"}), ReceiptKind.BOUNCED, "The mailbox is gone."),
    (event("email.bounced", bounce={**BOUNCE, "type": "Transient"}), ReceiptKind.SOFT_BOUNCED, "The mailbox is gone."),
    (
        event("email.bounced", bounce={**BOUNCE, "type": "Undetermined"}),
        ReceiptKind.SOFT_BOUNCED,
        "The mailbox is gone.",
    ),
    (event("email.suppressed", suppressed=SUPPRESSED), ReceiptKind.REJECTED, "Bounced before."),
    (event("email.failed", failed={"reason": "reached_daily_quota"}), ReceiptKind.REJECTED, "reached_daily_quota"),
]


@pytest.mark.parametrize(("said", "kind", "detail"), MEANINGS, ids=lambda value: str(value)[:40])
def test_each_event_of_resend_has_its_meaning(said: dict[str, Any], kind: ReceiptKind, detail: str):
    schema = {"$ref": f"#/$defs/{SPEC['events'][said['type']]}", "$defs": SPEC["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(said)
    assert receipt(said) == ProviderReceipt(
        provider="resend",
        event_id=ID,
        kind=kind,
        said=said["type"],
        provider_id="56761188-7520-42d8-8898-ff6fc54ce618",
        notification=NOTIFICATION,
        occurred_at=datetime(2026, 3, 1, 11, 59, 30, 123000, tzinfo=UTC),
        detail=detail,
    )


def test_every_email_event_that_resend_describes_was_thought_of():
    assert {name for name in SPEC["events"] if name.startswith("email.")} == {
        "email.received",  # mail to us
        *(said["type"] for said, _, _ in MEANINGS),
    }


@pytest.mark.parametrize(
    "type", ["email.received", "contact.created", "domain.updated", "email.teleported", "", None, 7, [], {}]
)
def test_what_is_not_known_is_kept_as_other(type: Any):
    said = receipt({"type": type, "created_at": "2026-03-01T11:59:30Z", "data": {"id": "x"}})
    assert (said.kind, said.said) == (ReceiptKind.OTHER, type if isinstance(type, str) else "")
    assert (said.provider_id, said.notification) == (None, None)


@pytest.mark.parametrize(
    ("tags", "notification"),
    [
        ({"notification_id": str(NOTIFICATION)}, NOTIFICATION),
        ([{"name": "type", "value": "x"}, {"name": "notification_id", "value": str(NOTIFICATION)}], NOTIFICATION),
        ({"notification_id": "not an id"}, None),
        ({"notification_id": 7}, None),
        ({"notification_id": None}, None),
        ({}, None),
        ([], None),
        (None, None),
        ("notification_id", None),
        ([None, 7, "x", [], {"name": []}, {"value": "x"}], None),
    ],
)
def test_our_id_comes_back_in_the_tags_or_not_at_all(tags: Any, notification: UUID | None):
    assert receipt(event(tags=tags)).notification == notification


@pytest.mark.parametrize(
    ("tag", "generation"), [("1", 1), ("12", 12), ("0", None), ("", None), ("x", None), ("1" * 30, None), (2, None)]
)
def test_so_does_its_generation(tag: Any, generation: int | None):
    assert receipt(event(tags={"generation": tag})).generation == generation
    assert receipt(event(tags=[{"name": "generation", "value": tag}])).generation == generation


@pytest.mark.parametrize(
    ("created_at", "occurred_at"),
    [
        ("2026-03-01T11:00:00.000Z", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("2026-03-01 11:00:00.894719+00", datetime(2026, 3, 1, 11, 0, 0, 894719, tzinfo=UTC)),
        ("2026-03-01T12:00:00+01:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("2026-03-01T11:00:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:59", NOW),
        ("yesterday", NOW),
        (1772362800, NOW),
        (None, NOW),
    ],
)
def test_an_event_happened_when_it_says_or_else_when_it_was_sent(created_at: Any, occurred_at: datetime):
    said = receipt(event() | {"created_at": created_at}).occurred_at
    assert said == occurred_at
    assert said.tzinfo is UTC


def test_what_is_said_is_cut_and_fit_to_be_stored():
    said = receipt(event("email.bounced", email_id="a\x00b", bounce={"message": "no\x00\n" + "x" * 1000}))
    assert said.detail == "no " + "x" * 297
    assert said.provider_id == "a b"


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"\xff\xfe", b'"\xff"', b"[" * 100_000, b'{"a":1}x', b"NaN"])
def test_what_is_rightly_signed_and_no_json_is_malformed(body: bytes):
    with pytest.raises(MalformedCallbackError, match="not JSON"):
        receipt(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["type", "data", "tags"]), inner),
    max_leaves=10,
)
HEADERS = st.dictionaries(
    st.text() | st.sampled_from(["svix-id", "svix-timestamp", "svix-signature", "Svix-Id"]),
    st.text() | st.sampled_from([ID, SIGNED["svix-timestamp"], SIGNATURE, "v1,\ud800", "v1," * 1000]),
)


@patient
@given(JSON)
def test_any_json_that_is_rightly_signed_is_a_receipt(what: Any):
    assert receipt(what).event_id == ID


@patient
@given(st.sampled_from(MEANINGS), st.sampled_from(["bounce", "suppressed", "failed", "tags", "email_id"]), JSON)
def test_any_value_in_any_place_is_a_receipt(meaning: Any, place: str, value: Any):
    said = meaning[0]
    assert receipt(said | {"data": said["data"] | {place: value}}).said == said["type"]
    assert receipt(said | {"data": value}).said == said["type"]
    assert receipt(said | {"created_at": value}).said == said["type"]


@patient
@given(st.binary())
def test_any_bytes_that_are_rightly_signed_are_a_receipt_or_malformed(body: bytes):
    with suppress(MalformedCallbackError):
        assert receipt(body).event_id == ID


@patient
@given(HEADERS, st.binary() | st.just(BODY))
def test_no_headers_raise_anything_else(headers: dict[str, str], body: bytes):
    try:
        CALLBACKS.receipt(headers, body, NOW)
    except InvalidSignatureError:
        return
    assert headers.items() >= SIGNED.items() or {name.lower() for name in headers} >= SIGNED.keys()
