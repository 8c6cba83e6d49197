"""How a reader leaves: by the header of a mail, by the link in it, on the page."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from application.readers import Who
from domain.vocabulary import Channel
from tests.application import Service, Tenant, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC_URL = "https://mail.acme.example.com"
POSTAL_ADDRESS = "Acme Ltd, 1 Main Street, Springfield"
OFFER: dict[str, Any] = {
    "type": "promotion_reminder",
    "variables": {
        "customer_name": "Jane",
        "shop_name": "Acme",
        "offer": "20 % off",
        "ends_at": "2035-01-01T00:00:00Z",
        "offer_url": "https://acme.example.com/offer",
        "discount_code": "SPRING",
    },
}
ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(database_of_module: str) -> AsyncIterator[Service]:
    async with running(database_of_module, PUBLIC_URL=PUBLIC_URL, POSTAL_ADDRESS=POSTAL_ADDRESS) as service:
        yield service


async def offered(tenant: Tenant, address: str = "jane@example.com", user: str | None = None, **more: Any) -> Any:
    """What is told of an offer when it is accepted."""
    recipient = {"email": address, **({"user_id": user} if user else {})}
    answer = await tenant.send(recipients=[recipient], **(OFFER | more))
    return answer["notifications"][0]


async def link(service: Service, tenant: Tenant, **wishes: Any) -> str:
    """The path of the link in an offer that was sent."""
    mail = await service.mail((await offered(tenant, **wishes))["id"])
    (found,) = re.findall(re.escape(PUBLIC_URL) + r"(/u/[\w-]+)", mail.text)
    return str(found)


def path_of(service: Service, tenant: Tenant, page: str, user: str | None = None) -> str:
    """That of a page, for Jane at her address."""
    who = Who(tenant.name, Channel.EMAIL, "jane@example.com", user)
    url = service.parts.reader_links.unsubscribe(who, "promotion")
    assert url
    return url.removeprefix(PUBLIC_URL).replace("/u/", f"/{page}/")


async def test_an_offer_says_how_to_leave_in_its_header_and_its_text(service: Service, tenant: Tenant):
    mail = await service.mail((await offered(tenant))["id"])
    url = mail.headers["List-Unsubscribe"].removeprefix("<").removesuffix(">")
    assert re.fullmatch(re.escape(PUBLIC_URL) + r"/u/[\w-]+", url)
    assert mail.headers == {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": ONE_CLICK}
    assert url in mail.text
    assert url in (mail.html or "")
    assert POSTAL_ADDRESS in mail.text


async def test_what_nobody_can_leave_has_no_such_header(service: Service, tenant: Tenant):
    id, _ = await tenant.send_one()
    assert (await service.mail(id)).headers == {}


async def test_the_link_tells_nothing_of_its_reader_and_is_not_shown_to_the_sender(service: Service, tenant: Tenant):
    told = await offered(tenant, user="user-1")
    path = path_of(service, tenant, "u", "user-1")
    assert "user-1" not in path
    history = await tenant.get(f"/api/v1/notifications/{told['id']}/events")
    assert path.removeprefix("/u/") not in history.text


async def test_what_was_sent_with_a_link_can_be_proved(service: Service, tenant: Tenant):
    told = await offered(tenant)
    await tenant.detail_when(told["id"], status="sent")
    proof = (await tenant.get(f"/api/v1/notifications/{told['id']}/proof")).json()
    assert [call["verdict"] for call in proof["calls"]] == ["matches"]


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (ONE_CLICK, FORM),
        ('--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
         {"Content-Type": "multipart/form-data; boundary=x"}),
        ("", {}),
        (ONE_CLICK, {**FORM, "Cookie": "session=somebody-else", "Origin": "null"}),
    ],
    ids=["form", "multipart", "nothing", "cookies"],
)  # fmt: skip
async def test_one_click_is_enough(service: Service, tenant: Tenant, content: str, headers: dict[str, str]):
    path = await link(service, tenant)
    answer = await service.http.post(path, content=content, headers=headers)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    told = await offered(tenant)
    assert (told["status"], told["reason_code"]) == ("suppressed", "unsubscribed")
    other, _ = await tenant.send_one()
    await service.mail(other)


async def test_a_known_user_has_left_at_every_address(service: Service, tenant: Tenant):
    await service.http.post(await link(service, tenant, user="user-1"))
    told = await offered(tenant, "other@example.com", user="user-1")
    assert (told["status"], told["reason_code"]) == ("suppressed", "category_off")
    assert (await offered(tenant, user="user-2"))["reason_code"] == "unsubscribed", "the address has left, too"


async def test_to_look_changes_nothing(service: Service, tenant: Tenant):
    path = await link(service, tenant)
    await service.idle()
    events = await service.events()
    for page in (path, path.replace("/u/", "/p/")):
        answer = await service.http.get(page)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert (await service.http.head(page)).status_code in (200, 405)
    await service.idle()
    assert await service.events() == events
    assert (await offered(tenant))["status"] == "pending"


async def test_to_leave_twice_is_to_leave_once(service: Service, tenant: Tenant):
    path = await link(service, tenant)
    await service.idle()
    await service.http.post(path)
    events = await service.events()
    assert (await service.http.post(path)).status_code == 200
    assert await service.events() == events


async def test_a_link_that_was_not_made_here_leads_nowhere(service: Service, tenant: Tenant):
    path = await link(service, tenant)
    token = path.removeprefix("/u/")
    forged = [token[:-4] + "AAAA", token[:20], "x", "A" * 9_000, token + "AAAA", "%C3%BC"]
    for each in forged:
        for page in ("u", "p"):
            assert (await service.http.get(f"/{page}/{each}")).status_code == 404
            assert (await service.http.post(f"/{page}/{each}")).status_code == 404
    assert (await offered(tenant))["status"] == "pending"


async def test_a_link_that_was_cut_off_says_so_to_its_reader(service: Service, tenant: Tenant):
    cut = (await link(service, tenant))[:-9]
    for lang, title in (("", "Dieser Link funktioniert nicht"), ("?lang=es", "Este enlace no funciona")):
        answer = await service.http.get(cut + lang, headers={"Accept-Language": "de-AT,en;q=0.5"})
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert title in answer.text


async def test_readers_choose_among_what_is_said_to_readers(service: Service, tenant: Tenant):
    text = (await service.http.get(path_of(service, tenant, "p", "user-1"))).text
    assert 'value="order"' in text
    for category in ("security", "webhook"):
        assert f'value="{category}"' not in text


async def test_the_page_speaks_the_readers_language(service: Service, tenant: Tenant):
    path = path_of(service, tenant, "p", "user-1")
    for accepted, title in (
        ("de-AT,de;q=0.9", "Ihre Nachrichten"),
        ("fr, es;q=0.5", "Sus mensajes"),
        ("zh", "Your messages"),
    ):
        assert title in (await service.http.get(path, headers={"Accept-Language": accepted})).text
    await tenant.request("PATCH", "/api/v1/preferences", params={"user_id": "user-1"}, json={"language": "ru"})
    assert "Ваши сообщения" in (await service.http.get(path, headers={"Accept-Language": "de"})).text
    assert "Ihre Nachrichten" in (await service.http.get(f"{path}?lang=de")).text
    assert "j•••@example.com" in (await service.http.get(path)).text


async def test_what_is_saved_on_the_page_is_what_is_wished(service: Service, tenant: Tenant):
    path = path_of(service, tenant, "p", "user-1")
    form = {
        "known": ["promotion", "order", "billing"],
        "on": ["order"],
        "language": "de",
        "zone": "Europe/Berlin",
        "starts": "22:00",
        "ends": "07:30",
    }
    assert (await service.http.post(path, data=form)).status_code == 200
    found = (await tenant.get("/api/v1/preferences", user_id="user-1")).json()
    assert {name: each["channels"]["email"] for name, each in found["categories"].items()} == {
        "promotion": False,
        "billing": False,
    }
    assert (found["language"], found["time_zone"]) == ("de", "Europe/Berlin")
    assert found["quiet_hours"] == {"starts": "22:00", "ends": "07:30"}
    assert (await offered(tenant, user="user-1"))["status"] == "suppressed"
    await service.http.post(path, data=form | {"on": ["order", "promotion"], "starts": "", "ends": ""})
    assert (await offered(tenant, user="user-1"))["status"] == "pending"


async def test_everything_is_left_and_taken_up_again(service: Service, tenant: Tenant):
    for user in (None, "user-1"):
        path = path_of(service, tenant, "p", user)
        assert (await service.http.post(path, data={"none": "yes"})).status_code == 200
        told = (await tenant.send("jane@example.com"))["notifications"][0]
        assert (told["status"], told["reason_code"]) == ("suppressed", "unsubscribed")
        assert "checked" not in (await service.http.get(path)).text
        await service.http.post(path, data={"known": ["promotion", "registration"], "on": ["registration"]})
        told = (await tenant.send("jane@example.com"))["notifications"][0]
        assert told["status"] == "pending"
        assert (await offered(tenant, user=user))["status"] == "suppressed"
        await service.http.post(path, data={"known": ["promotion"], "on": ["promotion"]})


@pytest.mark.parametrize("content", [b"\xff", b"known=%FF", b"&".join([b"known=x"] * 2_000), b"starts=99:99&zone=../x"])
async def test_a_form_that_is_none_does_no_harm(service: Service, tenant: Tenant, content: bytes):
    answer = await service.http.post(path_of(service, tenant, "p", "user-1"), content=content, headers=FORM)
    assert answer.status_code in (200, 400)


async def test_advertising_that_shows_no_imprint_is_not_sent(service: Service, tenant: Tenant):
    template = {
        "name": "spring-sale",
        "category": "promotion",
        "purpose": "marketing",
        "variables": {"unsubscribe_url": {"type": "url", "example": "https://acme.example.com/leave"}},
        "texts": {"en": {"email": {"subject": "Sale", "text": "Come! {{ unsubscribe_url }}"}}},
    }
    assert (await tenant.post("/api/v1/templates", template)).status_code == 201
    assert (await tenant.post("/api/v1/templates/spring-sale/activate", {"version": 1})).status_code == 200
    told = await offered(tenant, type="spring-sale", variables={})
    detail = await tenant.detail_when(told["id"], status="failed")
    assert detail["reason_code"] == "imprint_missing"


async def test_the_senders_own_link_and_address_are_shown_where_they_are_given(service: Service, tenant: Tenant):
    own = {"unsubscribeUrl": "https://acme.example.com/leave?x=1&y=2", "postal_address": "Elsewhere 7, Shelbyville"}
    told = await offered(tenant, variables={**OFFER["variables"], **own})
    mail = await service.mail(told["id"])
    assert own["unsubscribeUrl"] in mail.text
    assert own["postal_address"] in mail.text
    assert mail.headers["List-Unsubscribe"].startswith(f"<{PUBLIC_URL}/u/")
