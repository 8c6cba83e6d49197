"""The service does what its OpenAPI description says, with whatever schemathesis makes of that description."""

import asyncio
import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from entrypoints.http import notifications
from tests.application import Service, Tenant, listening

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATIONS = {
    *("SendNotification", "ListNotifications", "GetNotification", "GetDeliveryStatus", "GetAuditTrail"),
    *(
        "ProveNotification",
        "CancelNotification",
        "RetryNotification",
        "InternalSend",
        "ResendCallback",
        "Live",
        "Ready",
        "Metrics",
    ),
    *("ListTemplates", "GetTemplate", "CreateTemplate", "AddTemplateVersion", "GetTemplateVersion"),
    *("GetUserPreferences", "UpdatePreferences", "ChangePreferences", "Unsubscribe", "Subscribe", "RemoveContact"),
    *("ExplainNotification", "GetRateLimits", "ChooseRateLimits"),
    *("ListSuppressions", "Suppress", "Allow", "ExportSuppressions", "ImportSuppressions"),
    *("ListWebhooks", "CreateWebhook", "GetWebhook", "UpdateWebhook", "DeleteWebhook", "RotateWebhookSecret"),
    *("PauseWebhook", "ResumeWebhook", "TestWebhook", "ReplayWebhook", "ListDeliveries", "ReadFeed", "SendWebhook"),
    *("ListEventTypes", "GetEventType", "DescribeEventType", "RemoveEventType"),
    *("LocalizeTemplate", "ActivateTemplate", "RollBackTemplate", "PreviewTemplate", "TestTemplate"),
}


CONFORMANCE = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


def described(service: Service) -> dict[str, Any]:
    schema: dict[str, Any] = service.app.openapi_schema.to_schema()
    return schema


async def test_every_operation_is_described(service: Service) -> None:
    paths = described(service)["paths"].values()
    assert {each["operationId"] for path in paths for each in path.values()} >= OPERATIONS


# The service beside it draws random numbers, which hypothesis takes for its own strategies doing so.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("mode", list(GenerationMode))
async def test_every_answer_is_one_that_is_described(
    service: Service, tenant: Tenant, mode: GenerationMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "PATIENCE", 0.01)
    schema = schemathesis.openapi.from_dict(described(service))
    operations = [result.ok() for result in schema.get_all_operations()]
    async with listening(service.parts) as address:
        for operation in operations:
            if operation.definition.raw["operationId"] in OPERATIONS:
                await asyncio.to_thread(explore, operation, mode, address, tenant.key)


def explore(operation: Any, mode: GenerationMode, address: str, key: str) -> None:
    statuses: Counter[int] = Counter()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def conforms(case: Any) -> None:
        response = case.call(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        statuses[response.status_code] += 1
        waiting = response.status_code == 503 and response.json()["code"] == "not_caught_up"
        checks = [*CONFORMANCE, *([] if waiting else [not_a_server_error])]
        # In an address 1.0 is an integer, and null is none.
        lenient = any(re.fullmatch(r"\d+\.0|null", str(value)) for value in (case.query or {}).values())
        # What has no value, such as an empty list, does not come into the address.
        sent = parse_qs(urlsplit(str(response.request.url)).query, keep_blank_values=True)
        lenient |= not (case.query or {}).keys() <= sent.keys()
        if mode is GenerationMode.NEGATIVE and response.status_code != 413 and not lenient:  # 413 is a refusal, too
            checks.append(negative_data_rejection)
        case.validate_response(response, checks=checks)

    try:
        conforms()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # an operation that takes nothing cannot be given anything wrong
        return
    assert statuses
