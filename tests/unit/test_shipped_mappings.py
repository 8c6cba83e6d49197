"""The mappings that are shipped: each event of REQUIREMENTS, as a service would tell it, becomes what it should."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.kafka.house import SHIPPED, MappingFileError, read_house
from adapters.paths import JmesPaths
from adapters.templates.types import read_types
from application.commands.send_webhook import SendWebhook
from application.commands.sending import SendNotification
from application.inbound.become import become
from application.inbound.event import InboundEvent
from application.inbound.mappings import MappingsInForce
from application.problems import InvalidCommandError
from domain.mapping import Mapping
from domain.template import check_variables, examples
from tests.fakes.chance import SetClock

PATHS = JmesPaths()
HOUSE = read_house(SHIPPED, PATHS)
TYPES = {each.name: each for each in read_types(Path(__file__).parents[2] / "templates")}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHO = {"candidate_email": "jane@example.com", "hr_email": "hr@acme.example", "email": "jane@example.com"}


def told(topic: str, type: str, data: dict[str, Any], time: datetime = NOON) -> InboundEvent:
    document = {"topic": topic, "id": "e-1", "type": type, "time": None, "tenant_id": "acme", "data": data}
    return InboundEvent(identity="id\x00\x00e-1", id="e-1", type=type, time=time, document=document)


def made(name: str, data: dict[str, Any], time: datetime = NOON) -> Any:
    mapping = HOUSE.mappings[name]
    event = told(mapping.terms.topic, mapping.terms.event, data, time)
    return become(mapping, event, "acme", PATHS.look(event.document))


def camel(data: dict[str, Any]) -> dict[str, Any]:
    words = {name: name.split("_") for name in data}
    return {first + "".join(w.capitalize() for w in rest): data[name] for name, (first, *rest) in words.items()}


EXPECTED = {
    ("user-events", "user.created"): {"welcome"},
    ("interview-events", "invitation.created"): {"interview_invitation", "interview_reminder"},
    ("interview-events", "interview.completed"): {"interview_completed", "interview.completed"},
    ("analysis-events", "analysis.completed"): {"analysis_ready", "analysis.ready"},
    ("billing-events", "subscription.created"): {"subscription_confirmed"},
    ("billing-events", "payment.failed"): {"payment_failed"},
    ("order-events", "order.created"): {"order_confirmation"},
}
"""What each event becomes: types of notifications, and, with a dot, of webhooks."""


@pytest.mark.parametrize("spelled", [dict, camel], ids=["snake_case", "camelCase"])
@pytest.mark.parametrize(("event", "becomes"), EXPECTED.items(), ids=[type for _, type in EXPECTED])
def test_each_event_becomes_what_it_should(event, becomes, spelled):
    found = set()
    for mapping in MappingsInForce(HOUSE, None, SetClock()).house_of(*event):
        says = mapping.terms.notification
        data = (
            {**WHO, **examples(TYPES[says.type]), "candidate_email": WHO["candidate_email"]} if says else {"score": 5}
        )
        command = made(mapping.name, spelled(data), datetime(2026, 3, 1, 9, tzinfo=UTC))
        found.add(command.type)
        if isinstance(command, SendWebhook):
            assert command.data == spelled(data)
        else:
            given = check_variables(TYPES[command.type], command.variables)
            wanted = {name: data[name] for name in TYPES[command.type].variables if name in data}
            assert {name: given[name] for name in says.variables if name in wanted} == {
                name: wanted[name] for name in says.variables if name in wanted
            }
            reader = "hr@acme.example" if says.recipient.email.startswith("data.hr_email") else "jane@example.com"
            assert command.recipients[0].email == reader
    assert found == becomes


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_a_candidate_is_told_of_the_one_and_not_of_the_other(status):
    other = {"approved": "rejected", "rejected": "approved"}[status]
    data = {**examples(TYPES[f"candidate_{status}"]), "status": status}
    assert made(f"candidate_{status}", data).type == f"candidate_{status}"
    assert made(f"candidate_{status}_webhook", data).type == f"candidate.{status}"
    assert made(f"candidate_{other}", data) is None
    assert made(f"candidate_{other}_webhook", data) is None
    assert made(f"candidate_{status}", {**data, "status": "screening"}) is None


def test_a_reminder_goes_a_day_before_and_never_once_it_has_begun():
    data = {**examples(TYPES["interview_reminder"]), "starts_at": "2026-03-13T10:00:00+01:00"}
    command = made("interview_reminder", data)
    assert command.scheduled_at == datetime(2026, 3, 12, 9, tzinfo=UTC)
    assert command.expires_at == datetime(2026, 3, 13, 9, tzinfo=UTC)


@pytest.mark.parametrize("starts_at", [None, "2026-03-02T11:00:00Z", "2026-03-02T12:00:00Z"])
def test_an_invitation_to_an_interview_without_a_time_or_within_a_day_has_no_reminder(starts_at):
    assert made("interview_reminder", {**examples(TYPES["interview_reminder"]), "starts_at": starts_at}) is None


@pytest.mark.parametrize("starts_at", ["soon", "2026-03-13T10:00:00", 5, ["x"]])
def test_a_time_that_is_none_is_said(starts_at):
    with pytest.raises(InvalidCommandError) as caught:
        made("interview_reminder", {**examples(TYPES["interview_reminder"]), "starts_at": starts_at})
    assert caught.value.problems[0].path == "schedule.at"


def test_nobody_to_reach_is_said_with_where_it_was_looked_for():
    with pytest.raises(InvalidCommandError) as caught:
        made("welcome", {"user_name": "Jane"})
    assert caught.value.problems[0].path == "recipient"
    assert "data.email" in caught.value.problems[0].message


def test_a_number_will_do_for_an_id_of_a_user():
    assert made("welcome", {"user_id": 42}).recipients[0].user_id == "42"


def test_what_does_not_fit_is_said_and_never_raises_anything_else():
    for data in ({"email": ["x"]}, {"email": {"a": 1}}, {"email": "x" * 400}, {"email": "a@b.example", "locale": 5.5}):
        with pytest.raises(InvalidCommandError):
            made("welcome", data)


def test_the_same_event_has_the_same_id_as_a_webhook_and_another_one_of_another_tenant():
    mapping = HOUSE.mappings["analysis_ready_webhook"]
    event = told("analysis-events", "analysis.completed", {"score": 5})
    ids = [become(mapping, event, tenant, PATHS.look(event.document)).id for tenant in ("acme", "acme", "globex")]
    assert ids[0] == ids[1] != ids[2]


def test_what_says_no_time_of_its_own_is_the_same_event_when_it_is_told_again_later():
    data = {"score": 5}
    assert made("analysis_ready_webhook", data, NOON) == made("analysis_ready_webhook", data, NOON + timedelta(hours=1))


def test_it_says_where_it_comes_from():
    command: SendNotification = made("welcome", {"email": "jane@example.com"})
    assert (command.context.source, command.context.correlation_id) == ("kafka", "e-1")
    assert command.context.metadata == {"mapping": "welcome", "mapping_version": 0, "event_type": "user.created"}


FILE = """
[topics.orders]
[mappings.paid]
topic = "orders"
event = "order.paid"
webhook = { type = "order.paid" }
"""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("[topics", "mappings.toml"),
        (FILE.replace("order.paid", "order paid"), "mappings.paid.webhook.type"),
        (FILE.replace('topic = "orders"', 'topic = "users"'), "mappings.paid.topic: is not read here"),
        (FILE + '\ncondition = "data."', "mappings.paid.condition: is no JMESPath"),
        (FILE.replace("[topics.orders]", '[topics.orders]\ntenant = "data."'), "topics.orders.tenant: is no JMESPath"),
        (FILE.replace("webhook =", "nothing ="), "unknown field"),
        (FILE.replace("webhook = { type", "enabled = true #"), "must have one of notification and webhook"),
        (FILE.replace("[mappings.paid]", "[mappings.Paid]"), "lower case"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong_with_it(wrong, said, tmp_path):
    file = tmp_path / "mappings.toml"
    file.write_text(wrong)
    with pytest.raises(MappingFileError, match=said):
        read_house(file, PATHS)


def test_a_file_of_the_operator_s_own(tmp_path):
    file = tmp_path / "mappings.toml"
    file.write_text(FILE)
    house = read_house(file, PATHS)
    assert house.topics == {"orders": "tenant_id"}
    assert house.mappings["paid"] == Mapping("paid", 0, house.mappings["paid"].terms)
