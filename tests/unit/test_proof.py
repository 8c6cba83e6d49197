"""What can be proved of what was sent, and what is said where it cannot. In memory."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from application import message
from application.carriers.email import EmailRules
from application.ports.email import Email
from application.ports.templates import TemplateAlteredError, TemplateMissingError
from application.problems import NotFoundError
from application.queries.proof import Proof, prove
from domain.acceptance import Acceptance
from domain.mailbox import Mailbox
from domain.notification import Notification
from domain.outcomes import Retryable
from domain.template import Content, RenderError
from domain.vocabulary import Doubt, Reason, Verdict
from tests.deliveries import MINUTE, House

MATCHES = (Verdict.MATCHES, None)


@pytest.fixture
def house() -> House:
    return House()


async def proved(house: House, it: Notification, renderer: Any = None) -> Proof:
    return await prove(it.id, "acme", events=house.events, renderer=lambda: renderer or house.words)


async def verdicts(house: House, it: Notification, renderer: Any = None) -> list[tuple[Verdict, Doubt | None]]:
    proof = await proved(house, it, renderer)
    assert proof.holds == all(call.verdict is Verdict.MATCHES for call in proof.calls)
    return [(call.verdict, call.reason_code) for call in proof.calls]


class Says:
    """A renderer that says the same whatever it is asked, or fails."""

    def __init__(self, says: Content | Exception) -> None:
        self.says = says

    async def render(self, *_: Any, **__: Any) -> Content:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def sent(house: House, **wishes: Any) -> Notification:
    it = await house.accept(**wishes)
    await house.work()
    return it


async def test_what_was_sent_is_proved_by_making_it_again(house):
    it = await sent(house)
    assert await verdicts(house, it) == [MATCHES]


async def test_every_attempt_and_every_generation_is_proved_by_itself(house):
    house.provider.says = [Retryable(Reason.PROVIDER_ERROR)] * 3
    it = await house.accept()
    for _ in range(3):
        await house.work()
        house.clock.move(5 * MINUTE)
    failed = await house.now(it)
    failed.retry(now=house.clock.now(), by="key:k1")
    await house.events.save(failed)
    await house.work(house.delivery(EmailRules(sender=Mailbox("new@acme.example"))))

    proof = await proved(house, it)

    assert [(call.call, call.attempt, call.generation) for call in proof.calls] == [
        (1, 1, 1),
        (2, 2, 1),
        (3, 3, 1),
        (4, 1, 2),
    ]
    assert proof.holds


async def test_another_text_is_not_what_was_sent(house):
    it = await sent(house)
    other = Says(Content("Reset", None, "Go elsewhere"))
    assert await verdicts(house, it, other) == [(Verdict.DIFFERS, Doubt.CONTENT_DIFFERS)]


async def test_a_recorded_intent_that_was_changed_is_not_what_was_sent(house):
    """By somebody who can write the log and has the keys too: the digest is all that tells."""
    it = await sent(house)
    place = next(i for i, stored in enumerate(house.events._log) if stored.topic == "notification.rendered")
    stored = house.events._log[place]
    state = stored.state.replace(b"hello@acme.example", b"other@acme.example")
    assert state != stored.state
    house.events._log[place] = type(stored)(stored.originator_id, stored.originator_version, stored.topic, state)
    assert await verdicts(house, it) == [(Verdict.DIFFERS, Doubt.CONTENT_DIFFERS)]


async def test_sealed_variables_that_were_changed_are_not_what_was_accepted(house):
    it = await sent(house)
    stored = house.events._log[0]
    state = msgspec.json.decode(stored.state)
    box = state["personal"]["box"]
    state["personal"]["box"] = box[:-8] + ("A" if box[-8] != "A" else "B") + box[-7:]
    tampered = msgspec.json.encode(state)
    house.events._log[0] = type(stored)(stored.originator_id, stored.originator_version, stored.topic, tampered)
    assert await verdicts(house, it) == [(Verdict.DIFFERS, Doubt.RECORD_ALTERED)]


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (TemplateMissingError(), Verdict.CANNOT_BE_TOLD, Doubt.TEMPLATE_MISSING),
        (TemplateAlteredError(), Verdict.DIFFERS, Doubt.TEMPLATE_ALTERED),
        (RenderError(), Verdict.CANNOT_BE_TOLD, Doubt.RENDER_FAILED),
    ],
)
async def test_what_cannot_be_made_again_says_why(house, error, verdict, reason):
    assert await verdicts(house, await sent(house), Says(error)) == [(verdict, reason)]


@pytest.mark.parametrize("says", [RenderError(), Content("Reset", None, "Go elsewhere")])
async def test_where_a_secret_variable_is_not_there_nothing_can_be_told(house, says):
    it = await sent(house, secrets=["link", "code"])
    assert await verdicts(house, it) == [MATCHES]
    assert await verdicts(house, it, Says(says)) == [(Verdict.CANNOT_BE_TOLD, Doubt.VARIABLE_MISSING)]


async def test_of_whom_was_erased_nothing_can_be_told(house):
    it = await sent(house)
    await house.events.forget("acme", "jane@example.com")
    assert await verdicts(house, it) == [(Verdict.CANNOT_BE_TOLD, Doubt.PERSON_ERASED)]


async def test_where_nothing_was_to_be_sent_there_is_nothing_to_prove(house):
    it = await house.accept()
    assert (await proved(house, it)).calls == []


async def test_nothing_of_what_was_said_is_in_the_answer(house):
    it = await sent(house)
    answer = msgspec.json.encode(await proved(house, it)).decode()
    rendered: Any = (await house.events.history(it.id))[1].event
    for secret in ("s3cret", "jane", "Jane", "acme.example", rendered.digest):
        assert secret not in answer


async def test_only_a_notification_of_ones_own_can_be_proved(house):
    it = await sent(house)
    acceptance = Acceptance.record("acme", "key-1", "digest", uuid4(), [], by="key:k1", now=house.clock.now())
    await house.events.save(acceptance)
    for id, tenant in ((it.id, "globex"), (uuid4(), "acme"), (acceptance.id, "acme")):
        with pytest.raises(NotFoundError):
            await prove(id, tenant, events=house.events, renderer=lambda: house.words)
    assert (await prove(it.id, events=house.events, renderer=lambda: house.words)).holds


def test_the_digest_of_a_message_stays_what_it_was():
    """Never to be changed: nothing that was sent before could be proved any more."""
    it = Email(
        sender=Mailbox("hello@acme.example", "Acme"),
        to=Mailbox("jane@example.com"),
        reply_to=None,
        subject="Grüße",
        html="<p>Hello",
        text="Hello",
        tags={"notification_id": "1", "generation": "1", "type": "welcome"},
    )
    assert message.digest(it) == "0a7ca71e12126e53fdf1ab7b1cb4ffa764ab8703f1fd6bb0120a2697a22b826b"
