"""Templates as callers see them: the house's to look at, their own to write."""

import asyncio
from typing import Any

import httpx
import jsonschema
import pytest

from application.caller import Scope
from application.commands.templates import change
from domain import own_template
from tests.application import OWNER, Service, Tenant, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/templates"
SALE: dict[str, Any] = {
    "name": "spring-sale",
    "category": "promotion",
    "purpose": "marketing",
    "priority": "low",
    "description": "Tells of the sale.",
    "variables": {
        "first_name": {"type": "string", "example": "Anna", "description": "Who reads it."},
        "code": {"type": "string", "example": "SPRING-26", "required": False, "secret": True},
        "items": {
            "type": "list",
            "example": [{"name": "Tulip", "price": 3}],
            "fields": {
                "name": {"type": "string", "example": "Tulip"},
                "price": {"type": "number", "example": 3},
            },
        },
        "shop_url": {"type": "url", "example": "https://acme.example.com"},
    },
    "default_locale": "en",
    "texts": {
        "en": {
            "email": {
                "subject": "{{ first_name }}, it is spring",
                "html": '<p>Hello {{ first_name }}</p><p><a href="{{ shop_url }}">Shop</a></p>',
                "text": "{{ first_name }}\n{% for item in items %}\n* {{ item.name }}\n{% endfor %}\nAt {{ shop_url }}",
            },
            "sms": {"text": "Hello {{ first_name }}, it is spring: {{ shop_url }}"},
        }
    },
}
GIVEN = {"first_name": "Max", "items": [], "shop_url": "https://acme.example.com/spring"}
GERMAN = {
    "email": {"subject": "{{ first_name }}, es ist Frühling", "text": "Hallo {{ first_name }}"},
    "sms": {"text": "Hallo {{ first_name }}"},
}


def sale(**changes: Any) -> dict[str, Any]:
    return SALE | changes


def version(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in sale(**changes).items() if name != "name"}


def said(text: str, **more: Any) -> dict[str, Any]:
    """A version that says only this, in English."""
    return version(texts={"en": {"email": {"subject": "Hi", "text": text, **more}}})


def problems(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid"
    return {each["path"]: each["message"] for each in answer.json()["errors"]}


def _deep(levels: int) -> list[Any]:
    return [_deep(levels - 1)] if levels else []


async def put(tenant: Tenant, path: str, body: Any, **params: Any) -> httpx.Response:
    return await tenant.request("PUT", path, json=body, params=params)


async def created(tenant: Tenant, *, active: bool = True, **changes: Any) -> Any:
    answer = await tenant.post(API, sale(**changes))
    assert answer.status_code == 201, answer.text
    if active:
        assert (await tenant.post(f"{API}/{answer.json()['name']}/activate", {"version": 1})).status_code == 200
    return answer.json()


async def sent(tenant: Tenant, *, locale: str = "en", type: str = "spring-sale", **wishes: Any) -> httpx.Response:
    recipients = [{"email": "max@example.com", "locale": locale}]
    return await tenant.post(
        "/api/v1/notifications", {"type": type, "recipients": recipients, "variables": GIVEN} | wishes
    )


# The house's


async def test_the_templates_of_the_house_are_listed_with_the_schema_of_their_variables(tenant: Tenant) -> None:
    page = (await tenant.get(API)).json()
    assert page["next_cursor"] is None
    names = [each["name"] for each in page["templates"]]
    assert names == sorted(names)
    assert {"welcome", "password_reset", "interview_invitation"} <= set(names)
    for each in page["templates"]:
        assert each["origin"] == "house"
        assert "email" in each["channels"]
        assert {"en", "de"} <= set(each["locales"])
        assert each["category"]
        assert each["priority"] in ("critical", "high", "medium", "low")
        schema = each["variables"]
        jsonschema.Draft202012Validator.check_schema(schema)
        examples = {name: v["examples"][0] for name, v in schema["properties"].items() if "examples" in v}
        jsonschema.validate(examples, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**examples, "not_there": 1}, schema)


async def test_a_template_of_the_house_has_what_was_deployed_as_its_version(service: Service, tenant: Tenant) -> None:
    found = (await tenant.get(f"{API}/password_reset")).json()
    assert (found["category"], found["priority"], found["origin"]) == ("security", "critical", "house")
    (deployed,) = found["versions"]
    assert (deployed["version"], deployed["active"]) == (None, True)
    pin = service.parts.templates.current("x", "password_reset", "email", "de").pin  # type: ignore[arg-type]
    assert deployed["texts"]["de"]["email"] == pin.version
    assert any(each.get("writeOnly") for each in found["variables"]["properties"].values())


async def test_a_send_names_every_variable_that_is_missing_unknown_or_mistyped(tenant: Tenant) -> None:
    answer = await sent(tenant, type="welcome", variables={"user_name": 1, "action_url": "x", "nmae": ""})
    assert set(problems(answer)) == {f"variables.{n}" for n in ("user_name", "action_url", "nmae", "product_name")}


async def test_a_template_of_the_house_is_previewed_with_its_examples_in_any_language(tenant: Tenant) -> None:
    for locale, written_by in (("en", "en"), ("de-AT", "de-AT"), ("xx", "en")):
        answer = await tenant.post(f"{API}/interview_invitation/preview", {"locale": locale})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["version"], found["locale"]) == (None, written_by)
        assert found["content"]["channel"] == "email"
        assert "<html" in found["content"]["html"]


async def test_a_preview_takes_variables_and_names_what_is_wrong_with_them(tenant: Tenant) -> None:
    given = {"user_name": "Ada", "product_name": "Acme", "action_url": "https://acme.example.com"}
    answer = await tenant.post(f"{API}/welcome/preview", {"variables": given})
    assert "Ada" in answer.json()["content"]["text"]
    answer = await tenant.post(f"{API}/welcome/preview", {"variables": {"product_name": 1}, "locale": "?"})
    assert {"locale", "variables.product_name", "variables.user_name"} <= set(problems(answer))
    assert set(problems(await tenant.post(f"{API}/welcome/preview", {"channel": "sms"}))) == {"channel"}
    assert set(problems(await tenant.post(f"{API}/welcome/preview", {"variables": {"x": _deep(600)}}))) == {"variables"}


@pytest.mark.parametrize("call", ["", "/preview", "/test", "/versions/1"])
@pytest.mark.parametrize("name", ["no_such_type", "not-mine", "a" * 300, "a%00b", "ä"])
async def test_what_is_not_there_is_404(tenant: Tenant, name: str, call: str) -> None:
    method, body = ("POST", {}) if call in ("/preview", "/test") else ("GET", None)
    answer = await tenant.request(method, f"{API}/{name}{call}", **({"json": body} if body is not None else {}))
    assert answer.status_code == 404


async def test_a_template_of_the_house_cannot_be_changed(tenant: Tenant) -> None:
    for answer in (
        await tenant.post(f"{API}/welcome/versions", version()),
        await tenant.post(f"{API}/welcome/activate", {"version": 1}),
        await tenant.post(f"{API}/welcome/rollback"),
        await put(tenant, f"{API}/welcome/localizations/de", GERMAN),
        await tenant.get(f"{API}/welcome/versions/1"),
        await tenant.post(f"{API}/welcome/preview", {"version": 1}),
        await tenant.post(f"{API}/welcome/test", {"version": 1}),
    ):
        assert answer.status_code == 404, answer.text


# A life of one's own


async def test_a_template_is_created_localised_activated_sent_and_rolled_back(service: Service, tenant: Tenant) -> None:
    answer = await created(tenant, active=False)
    assert {n: answer[n] for n in ("name", "version", "active_version")} == {
        "name": "spring-sale",
        "version": 1,
        "active_version": None,
    }
    assert problems(await sent(tenant)) == {"type": "no version of the template 'spring-sale' is active"}
    assert (await tenant.post(f"{API}/spring-sale/activate", {"version": 1})).json()["active_version"] == 1
    first = (await sent(tenant, locale="de")).json()["notifications"][0]["id"]
    assert (await service.mail(first)).subject == "Max, it is spring"

    localised = await put(tenant, f"{API}/spring-sale/localizations/de", GERMAN)
    assert (localised.status_code, localised.json()["version"], localised.json()["active_version"]) == (200, 2, 1)
    assert (await tenant.post(f"{API}/spring-sale/activate", {"version": 2})).json()["active_version"] == 2
    second = (await sent(tenant, locale="de-AT")).json()["notifications"][0]["id"]
    assert (await service.mail(second)).subject == "Max, es ist Frühling"

    rolled = await tenant.post(f"{API}/spring-sale/rollback")
    assert (rolled.status_code, rolled.json()["version"], rolled.json()["active_version"]) == (200, 1, 1)
    third = (await sent(tenant, locale="de")).json()["notifications"][0]["id"]
    assert (await service.mail(third)).subject == "Max, it is spring"
    again = await tenant.post(f"{API}/spring-sale/rollback")
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_roll_back")

    detail = (await tenant.get(f"{API}/spring-sale")).json()
    assert [(each["version"], each["active"]) for each in detail["versions"]] == [(2, False), (1, True)]
    shown = await tenant.detail_when(second, status="sent")
    assert shown["template_version"] == detail["versions"][0]["texts"]["de"]["email"]
    assert (shown["template"], shown["category"], shown["purpose"], shown["locale"]) == (
        "spring-sale",
        "promotion",
        "marketing",
        "de-AT",
    )


async def test_what_was_accepted_keeps_its_text(service: Service, tenant: Tenant) -> None:
    await created(tenant)
    later = await sent(tenant, scheduled_at="2035-01-08T09:00:00Z")
    at_once = await sent(tenant)
    await tenant.post(f"{API}/spring-sale/versions", said("Another text"))
    await tenant.post(f"{API}/spring-sale/activate", {"version": 2})
    versions = (await tenant.get(f"{API}/spring-sale")).json()["versions"]
    for answer in (later, at_once):
        detail = await tenant.detail(answer.json()["notifications"][0]["id"], wait_for=answer.json()["position"])
        assert detail["template_version"] == versions[1]["texts"]["en"]["email"]
    new = (await sent(tenant)).json()["notifications"][0]["id"]
    assert (await service.mail(new)).text.strip() == "Another text"


async def test_what_was_sent_can_be_proved_when_other_versions_have_come(service: Service, tenant: Tenant) -> None:
    await created(tenant)
    id = (await sent(tenant)).json()["notifications"][0]["id"]
    await service.mail(id)
    await tenant.post(f"{API}/spring-sale/versions", said("Another text"))
    await tenant.post(f"{API}/spring-sale/activate", {"version": 2})
    proof = (await tenant.get(f"/api/v1/notifications/{id}/proof")).json()
    assert [call["verdict"] for call in proof["calls"]] == ["matches"]


async def test_an_activation_counts_at_once_however_many_accept(service: Service, tenant: Tenant) -> None:
    """Twelve times over: each message is accepted with the version whose activation was answered last."""
    await created(tenant)
    for number in range(2, 14):
        await tenant.post(f"{API}/spring-sale/versions", said(f"This is {number}"))
        assert (await tenant.post(f"{API}/spring-sale/activate", {"version": number})).status_code == 200
        answers = await asyncio.gather(*(sent(tenant) for _ in range(4)))
        for answer in answers:
            mail = await service.mail(answer.json()["notifications"][0]["id"])
            assert mail.text.strip() == f"This is {number}"


async def test_a_version_is_shown_as_it_was_written(tenant: Tenant) -> None:
    push = {"title": "{{ first_name }}", "body": "Spring", "link": "{{ shop_url }}"}
    texts = {"en": {**SALE["texts"]["en"], "push": push, "in_app": push}}
    await created(tenant, texts=texts)
    found = (await tenant.get(f"{API}/spring-sale/versions/1")).json()
    assert found["texts"] == texts
    assert found["variables"]["first_name"]["example"] == "Anna"
    assert (await tenant.get(f"{API}/spring-sale/versions/2")).status_code == 404


async def test_versions_are_paged(tenant: Tenant) -> None:
    await created(tenant, active=False)
    for number in range(2, 6):
        await tenant.post(f"{API}/spring-sale/versions", said(f"This is {number}"))
    pages, cursor = [], None
    while not pages or cursor:
        answer = await tenant.get(f"{API}/spring-sale", limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append([each["version"] for each in answer.json()["versions"]])
        assert answer.json()["newest_version"] == 5
        cursor = answer.json()["next_cursor"]
    assert pages == [[5, 4], [3, 2], [1]]
    assert (await tenant.get(f"{API}/spring-sale", cursor=1)).json()["versions"] == []
    assert len((await tenant.get(f"{API}/spring-sale", cursor=99)).json()["versions"]) == 5
    for wrong in ({"cursor": 0}, {"cursor": "x"}, {"limit": 101}):
        assert set(problems(await tenant.get(f"{API}/spring-sale", **wrong))) == set(wrong)
    assert (await tenant.get(f"{API}/welcome")).json()["next_cursor"] is None


async def test_there_is_an_end_to_the_templates_of_a_tenant(
    service: Service, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "MOST_TEMPLATES", 2)
    answers = [await created(tenant, name=f"sale-{number}", active=False) for number in range(2)]
    await tenant.get(API, wait_for=answers[-1]["position"])
    full = await tenant.post(API, SALE)
    assert (full.status_code, full.json()["code"]) == (409, "too_many_templates")
    assert full.json()["detail"] == "you have 2 templates"
    assert (await (await service.tenant()).post(API, SALE)).status_code == 201


async def test_there_is_an_end_to_activations(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_template, "MOST_ACTIVATIONS", 1)
    await created(tenant)
    await tenant.post(f"{API}/spring-sale/versions", said("Another text"))
    refused = await tenant.post(f"{API}/spring-sale/activate", {"version": 2})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_activations")


async def test_own_templates_are_listed_among_the_others(tenant: Tenant) -> None:
    answers = [await created(tenant, name=f"sale-{number}", active=False) for number in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, "wait_for": answers[-1]["position"], **({"cursor": cursor} if cursor else {})}
        page = (await tenant.get(API, **params)).json()
        assert len(page["templates"]) <= 2
        seen += [each["name"] for each in page["templates"]]
        if not (cursor := page["next_cursor"]):
            break
    assert seen == sorted(seen)
    assert {"welcome", *(f"sale-{number}" for number in range(5))} <= set(seen)
    assert len(seen) == len(set(seen))
    page = (await tenant.get(API, limit=200)).json()["templates"]
    own = next(each for each in page if each["name"] == "sale-0")
    assert (own["origin"], own["newest_version"], own["active_version"]) == ("tenant", 1, None)
    assert own["channels"] == ["email", "sms"]
    jsonschema.Draft202012Validator.check_schema(own["variables"])
    given = {"first_name": "A", "items": [{"name": "x", "price": 1}], "shop_url": "https://a.example", "code": None}
    jsonschema.validate(given, own["variables"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**given, "items": [{"name": "x"}]}, own["variables"])


async def test_a_send_with_an_own_template_is_checked_like_any_other(tenant: Tenant) -> None:
    await created(tenant)
    wrong = {"first_name": 1, "items": [{"name": "x"}], "extra": True}
    assert problems(await sent(tenant, variables=wrong)) == {
        "variables.first_name": "must be a string",
        "variables.items[0].price": "is missing",
        "variables.extra": "is not a variable of this template",
        "variables.shop_url": "is missing",
    }


async def test_a_render_that_fails_is_the_message_own_failure_and_can_be_sent_again(
    service: Service, tenant: Tenant
) -> None:
    bomb_if_items = "{% for a in items * 99999 %}{% for b in items * 99999 %}{% endfor %}{% endfor %}"
    variables = {**SALE["variables"], "items": {"type": "list"} | {"required": False}}
    await created(tenant, **{**said(f"Hello{{% if items %}}{bomb_if_items}{{% endif %}}"), "variables": variables})
    bomb = (await sent(tenant, variables={**GIVEN, "items": [1]})).json()["notifications"][0]["id"]
    fine = (await sent(tenant)).json()["notifications"][0]["id"]
    failed = await tenant.detail_when(bomb, status="failed")
    assert failed["reason_code"] == "render_failed"
    assert "computing time" in failed["error_message"]
    assert (await service.mail(fine)).text.strip() == "Hello"


# Previews by channel


async def test_each_channel_is_previewed_in_its_own_form(tenant: Tenant) -> None:
    push = {"title": "For {{ first_name }}", "body": "Spring & more", "link": "{{ shop_url }}"}
    texts = {"en": {**SALE["texts"]["en"], "push": push, "in_app": {"title": "T", "body": "B"}}}
    await created(tenant, texts=texts, active=False)
    shown = {}
    for channel in ("email", "sms", "push", "in_app"):
        answer = await tenant.post(f"{API}/spring-sale/preview", {"channel": channel})
        assert answer.status_code == 200, answer.text
        shown[channel] = answer.json()["content"]
    assert shown["email"]["html"].startswith("<p>Hello Anna</p>")
    assert shown["sms"] == {
        "channel": "sms",
        "text": "Hello Anna, it is spring: https://acme.example.com",
        "size": {"encoding": "GSM-7", "units": 50, "segments": 1},
    }
    assert shown["push"] == {
        "channel": "push",
        "title": "For Anna",
        "body": "Spring & more",
        "link": "https://acme.example.com",
    }
    assert shown["in_app"] == {"channel": "in_app", "title": "T", "body": "B", "link": None}


async def test_a_preview_that_cannot_be_rendered_says_why(tenant: Tenant) -> None:
    html = '<a href="{{ first_name }}">x</a>{% if not code %}{{ code }}{% endif %}'
    variables = {**SALE["variables"], "first_name": {"type": "string", "example": "https://acme.example.com"}}
    body = {**said("x", html=html.partition("{%")[0]), "name": "spring-sale", "variables": variables}
    assert (await tenant.post(API, body)).status_code == 201
    answer = await tenant.post(f"{API}/spring-sale/preview", {"variables": {**GIVEN, "first_name": "javascript:x"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_renderable")
    assert answer.json()["detail"] == "html.html line 1: a link is not an http or https address, in a href"


async def test_a_text_that_was_stopped_twice_waits_for_a_minute(tenant: Tenant) -> None:
    bomb = "{% for a in items * 99999 %}{% for b in items * 99999 %}{% endfor %}{% endfor %}"
    variables = {"items": {"type": "list", "required": False}}
    await created(tenant, active=False, **{**said(f"{{% if items %}}{bomb}{{% endif %}}"), "variables": variables})
    answers = [await tenant.post(f"{API}/spring-sale/preview", {"variables": {"items": [1]}}) for _ in range(3)]
    codes = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert codes == [(422, "not_renderable")] * 2 + [(429, "templates_too_slow")]
    assert "was stopped 2 times within a minute" in answers[-1].json()["detail"]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


async def test_of_many_languages_none_is_tried_out_after_one_that_was_stopped(tenant: Tenant) -> None:
    bomb = {"sms": {"text": "{% for a in 'x' * 99999 %}{% for b in 'x' * 99999 %}{% endfor %}{% endfor %}"}}
    texts = {"en": {"sms": {"text": "Hello"}}, **dict.fromkeys(("de", "pt_br", "fr", "it", "ru"), bomb)}
    found = problems(await tenant.post(API, sale(texts=texts)))
    assert list(found) == ["texts.de.sms"]
    assert found["texts.de.sms"].startswith("with the examples: template ")
    assert found["texts.de.sms"].endswith(": takes more than 0.5 s of computing time")


# Tests that are sent


async def test_a_test_goes_to_the_owner_of_the_key(service: Service, tenant: Tenant) -> None:
    await created(tenant, active=False)
    answer = await tenant.post(f"{API}/spring-sale/test", {"locale": "de"})
    assert answer.status_code == 202, answer.text
    mail = await service.mail(answer.json()["notifications"][0]["id"])
    assert mail.to.address == OWNER
    assert mail.subject == "Anna, it is spring"
    house = await tenant.post(f"{API}/welcome/test", {"locale": "de"})
    assert (await service.mail(house.json()["notifications"][0]["id"])).to.address == OWNER


async def test_any_version_may_be_tested(service: Service, tenant: Tenant) -> None:
    await created(tenant)
    await tenant.post(f"{API}/spring-sale/versions", said("The next one"))
    answer = await tenant.post(f"{API}/spring-sale/test", {"version": 2, "variables": GIVEN})
    assert (await service.mail(answer.json()["notifications"][0]["id"])).text.strip() == "The next one"
    assert (await tenant.post(f"{API}/spring-sale/test", {"version": 3})).status_code == 404


async def test_a_key_without_an_owners_address_cannot_send_tests(service: Service, tenant: Tenant) -> None:
    _, key = await service.parts.api_keys.create(tenant.name, "", [scope.value for scope in Scope])
    answer = await Tenant(tenant.name, key, service.http).post(f"{API}/welcome/test", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_owner_address")


async def test_a_channel_that_nothing_can_be_sent_by_is_not_tested_and_what_can_be_done_is_said(tenant: Tenant) -> None:
    await created(tenant)
    for channel in ("sms", "push", "in_app", "webhook"):
        found = problems(await tenant.post(f"{API}/spring-sale/test", {"channel": channel}))
        assert list(found) == ["channel"]
        assert found["channel"].startswith("must be email: a test goes to the address of the key's owner")
        assert f"is shown by POST {API}/spring-sale/preview" in found["channel"]
    assert (await tenant.post(f"{API}/spring-sale/preview", {"channel": "sms"})).status_code == 200


async def test_a_test_of_a_text_that_is_not_there_names_what_the_caller_wrote(tenant: Tenant) -> None:
    await created(tenant, texts={"en": {"sms": {"text": "Hello"}}})
    found = problems(await tenant.post(f"{API}/spring-sale/test", {}))
    assert found == {"channel": "there is no template 'spring-sale' for the channel email"}
    wrong = {"locale": "?", "variables": {"user_name": 1}}
    assert {"locale", "variables.user_name"} <= set(problems(await tenant.post(f"{API}/welcome/test", wrong)))


# What is refused


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"name": "welcome"}, "name", "must be words"),
        ({"name": "sale"}, "name", "must be words"),
        ({"name": "Spring-Sale"}, "name", "must be words"),
        ({"variables": {"x": {"type": "money"}}}, "variables[...].type", "Invalid enum value 'money'"),
        (
            {"variables": {"x": {"type": "string", "requird": True}}},
            "variables[...].requird",
            "Object contains unknown",
        ),
        ({"variables": {"X": {"type": "string", "example": "x"}}}, "variables.X", "must be lower case"),
        ({"variables": {"now": {"type": "string", "example": "x"}}}, "variables.now", "is a name that every"),
        ({"variables": {"x": {"type": "string"}}}, "variables.x.example", "is needed"),
        ({"variables": {"x": {"type": "url", "example": "x"}}}, "variables.x.example", "must be an http"),
        (
            {"variables": {"x": {"type": "list", "example": [{}], "fields": {"a": {"type": "string"}}}}},
            "variables.x[0].a.example",
            "is missing",
        ),
        (
            {"variables": {"x": {"type": "list", "example": _deep(40)}}},
            "variables",
            "must not be nested deeper than 32",
        ),
        ({"variables": {"x": {"type": "list", "example": _deep(600)}}}, "variables", "must not be nested deeper than"),
        ({"default_locale": "de"}, "default_locale", "is none of those"),
        ({"default_locale": "tlh-Klingon"}, "default_locale", "must be a locale"),
        ({"texts": {}}, "texts", "Expected `object` of length >= 1"),
        ({"texts": {"en": {}}}, "texts.en", "says nothing"),
        ({"texts": {"zz": SALE["texts"]["en"]}}, "texts.zz", "must be a locale"),
        ({"texts": {"en": {"email": {"subject": "x"}}}}, "texts[...].email.text", "Object missing required"),
        ({"texts": {"en": {"fax": {"text": "x"}}}}, "texts[...].fax", "Object contains unknown"),
        ({"texts": {"en": {"sms": {"text": "x" * 5001}}}}, "texts[...].sms.text", "Expected `str` of length <= 5000"),
        ({"texts": {"en": {"sms": {"text": "a\n{% if %}"}}}}, "texts.en.sms.text", "line 2: Expected an expression"),
        ({"texts": {"en": {"sms": {"text": "{{ nmae }}"}}}}, "texts.en.sms.text", "line 1: nmae is not a variable"),
        ({"texts": {"en": {"push": {"title": "x", "body": "{{ y }}"}}}}, "texts.en.push.body", "line 1: y is not"),
        (
            {"texts": {"en": {"sms": {"text": "{{ code }}"}}}},
            "texts.en.sms",
            "without the optional variables: text.txt",
        ),
        ({"texts": {"en": {"sms": {"text": "{{ items.x.y }}"}}}}, "texts.en.sms", "with the examples: text.txt line 1"),
        (
            {"texts": {"en": {"email": {"subject": "{{ code }}", "text": "x"}}}},
            "texts.en.email.subject",
            "line 1: code is secret",
        ),
        (
            {"texts": {"en": {"email": {"subject": "x", "text": "x", "html": "<a href='x'>x</a>"}}}},
            "texts.en.email",
            "with the examples: html.html line 1: a link is not",
        ),
        ({"texts": {"en": {"sms": {"text": "{{ (9**9)**(9**9) }}"}}}}, "texts.en.sms", "takes more than 0.5 s"),
        (
            {"texts": {"en": {"sms": {"text": "x"}}, "de": GERMAN}},
            "texts.de.email",
            "is not there in the default locale en",
        ),
        ({"texts": {"pt-BR": SALE["texts"]["en"], "pt_br": SALE["texts"]["en"]}}, "texts.pt_br", "is there twice"),
    ],
)
async def test_a_bad_template_is_refused_with_the_place_and_the_reason(
    tenant: Tenant, change: dict[str, Any], path: str, message: str
) -> None:
    found = problems(await tenant.post(API, sale(**change)))
    assert path in found
    assert found[path].startswith(message)
    assert (await tenant.get(f"{API}/{sale(**change)['name']}")).status_code in (200, 404)
    assert (await tenant.post(f"{API}/spring-sale/rollback")).status_code == 404


async def test_every_fault_of_every_language_is_named(tenant: Tenant) -> None:
    texts = {
        "en": {"email": {"subject": "{{ a }}", "text": "{% if %}"}, "sms": {"text": "{{ b }}"}},
        "de": {"sms": {"text": "{{ c }}"}},
    }
    found = problems(await tenant.post(API, sale(texts=texts)))
    assert set(found) == {"texts.en.email.subject", "texts.en.email.text", "texts.en.sms.text", "texts.de.sms.text"}


async def test_too_large_is_refused(tenant: Tenant) -> None:
    large = {"en": {"email": {"subject": "x", "text": "x", "html": "x" * 200_001}}}
    assert set(problems(await tenant.post(API, sale(texts=large)))) == {"texts[...].email.html"}
    assert (await tenant.post(API, sale(description="x" * 1024 * 1024))).status_code == 413


async def test_a_localization_is_checked_as_a_template_is(tenant: Tenant) -> None:
    await created(tenant)
    path = f"{API}/spring-sale/localizations"
    assert set(problems(await put(tenant, f"{path}/zz", GERMAN))) == {"locale"}
    assert set(problems(await put(tenant, f"{path}/de", {}))) == {""}
    assert set(problems(await put(tenant, f"{path}/de", {"sms": {"text": "{{ x }}"}}))) == {"sms.text"}
    push = {"push": {"title": "x", "body": "x"}}
    assert set(problems(await put(tenant, f"{path}/de", push))) == {"push"}
    assert (await put(tenant, f"{path}/de", GERMAN)).status_code == 200
    assert set(problems(await put(tenant, f"{path}/en", {"sms": {"text": "x"}}))) == {"email"}
    assert (await put(tenant, f"{path}/de", GERMAN, base=7)).status_code == 404


async def test_the_default_locale_may_be_said_anew_and_by_more_channels(tenant: Tenant) -> None:
    await created(tenant)
    more = {**SALE["texts"]["en"], "in_app": {"title": "x", "body": "x"}}
    answer = await put(tenant, f"{API}/spring-sale/localizations/en", more)
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    again = await put(tenant, f"{API}/spring-sale/localizations/en", more)
    assert again.json()["version"] == 2


async def test_a_name_is_given_once_and_by_each_tenant_for_itself(service: Service, tenant: Tenant) -> None:
    answers = await asyncio.gather(*(tenant.post(API, SALE) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"name_taken"}
    assert (await (await service.tenant()).post(API, SALE)).status_code == 201


# Whose it is


async def test_what_another_tenant_owns_is_not_there(service: Service, tenant: Tenant) -> None:
    position = (await created(tenant))["position"]
    other = await service.tenant()
    for answer in (
        await other.get(f"{API}/spring-sale"),
        await other.get(f"{API}/spring-sale/versions/1"),
        await other.post(f"{API}/spring-sale/versions", version()),
        await other.post(f"{API}/spring-sale/activate", {"version": 1}),
        await other.post(f"{API}/spring-sale/rollback"),
        await other.post(f"{API}/spring-sale/preview", {}),
        await other.post(f"{API}/spring-sale/test", {}),
        await put(other, f"{API}/spring-sale/localizations/de", GERMAN),
    ):
        assert answer.status_code == 404, answer.text
        assert tenant.name not in answer.text
    page = (await other.get(API, limit=200, wait_for=position)).json()
    assert "spring-sale" not in {each["name"] for each in page["templates"]}
    assert problems(await sent(other)) == {"type": "there is no template 'spring-sale' for the channel email"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "", Scope.READ),
        ("GET", "/welcome", Scope.READ),
        ("GET", "/spring-sale/versions/1", Scope.READ),
        ("POST", "/welcome/preview", Scope.READ),
        ("POST", "/welcome/test", Scope.SEND),
        ("POST", "", Scope.TEMPLATES),
        ("POST", "/spring-sale/versions", Scope.TEMPLATES),
        ("PUT", "/spring-sale/localizations/de", Scope.TEMPLATES),
        ("POST", "/spring-sale/activate", Scope.TEMPLATES),
        ("POST", "/spring-sale/rollback", Scope.TEMPLATES),
    ],
)
async def test_each_call_asks_for_its_scope(service: Service, method: str, path: str, scope: Scope) -> None:
    bodies: dict[str, Any] = {
        "": SALE,
        "/spring-sale/versions": version(),
        "/spring-sale/localizations/de": GERMAN,
        "/spring-sale/activate": {"version": 1},
    }
    body = {} if method == "GET" or path.endswith("rollback") else {"json": bodies.get(path, {})}
    tenant = await service.tenant(*(each for each in Scope if each is not scope))
    assert (await tenant.request(method, API + path, **body)).status_code == 403
    tenant = await service.tenant(scope)
    assert (await tenant.request(method, API + path, **body)).status_code != 403


async def test_the_log_says_what_was_done_and_who_did_it(service: Service, tenant: Tenant) -> None:
    position = (await created(tenant))["position"]

    async def recorded() -> Any:
        return await service.parts.store.read(position - 2, 10, ["template.created", "template.activated"])

    events: Any = [each.event for each in await until(recorded) if each.event.tenant == tenant.name]
    assert [type(event).__name__ for event in events] == ["Created", "Activated"]
    assert all(event.by.startswith("key:") for event in events)
    assert await service.differences() == []
