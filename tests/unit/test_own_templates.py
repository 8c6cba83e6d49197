"""Which text a tenant's own template has at the moment that it is asked for."""

from datetime import timedelta
from typing import Any

import pytest

from adapters.event_mapper import EventMapper
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from adapters.templates.locales import locale_tag, nearest
from application.own_templates import InactiveTemplateError, OwnTemplates
from domain.own_template import Template
from domain.template import UnknownTemplateError
from domain.vocabulary import Channel
from tests.examples import NOON, own_template
from tests.fakes.chance import SetClock


class CountedStore(MemoryEventStore):
    """Counts how often a whole stream is read."""

    reads = 0

    async def get(self, kind: Any, id: Any) -> Any:
        self.reads += 1
        return await super().get(kind, id)


@pytest.fixture
def store() -> CountedStore:
    keys = PersonKeys(bytes(32))
    return CountedStore(MemoryDueWork(SetClock()), MemoryWakeups(), EventMapper(keys), keys)


@pytest.fixture
def own(store: CountedStore) -> OwnTemplates:
    return OwnTemplates(store, nearest, most=2)


async def hash_of(own: OwnTemplates, locale: str = "en", *, tenant: str = "acme") -> tuple[str, str]:
    texts = await own.active(tenant, "spring-sale")
    pin = texts.current(tenant, "spring-sale", Channel.EMAIL, locale).pin
    return pin.version, pin.locale


async def test_a_template_that_is_not_there_or_has_no_active_version(own, store):
    with pytest.raises(UnknownTemplateError, match="there is no template"):
        await hash_of(own)
    await store.save(own_template())
    with pytest.raises(InactiveTemplateError, match="no version of the template 'spring-sale' is active"):
        await hash_of(own)


async def test_every_change_counts_at_once_and_is_read_once(own, store):
    template = own_template()
    template.activate(1, now=NOON, by="key:k1")
    await store.save(template)
    assert [await hash_of(own) for _ in range(3)] == [("hash-en", "en")] * 3
    assert store.reads == 1
    template.localize(1, "de", {Channel.EMAIL: "hash-de"}, now=NOON, by="key:k1")
    await store.save(template)
    assert await hash_of(own, "de") == ("hash-en", "en")
    template.activate(2, now=NOON + timedelta(days=1), by="key:k1")
    await store.save(template)
    assert [await hash_of(own, "de-AT") for _ in range(3)] == [("hash-de", "de-AT")] * 3
    assert store.reads == 3
    template.roll_back(now=NOON, by="key:k1")
    await store.save(template)
    assert await hash_of(own, "de") == ("hash-en", "en")


async def test_it_is_its_tenants_alone(own, store):
    template = own_template()
    template.activate(1, now=NOON, by="key:k1")
    await store.save(template)
    assert await hash_of(own)
    with pytest.raises(UnknownTemplateError):
        await hash_of(own, tenant="other")


async def test_what_is_remembered_has_an_end(own, store):
    for tenant in ("a", "b", "c"):
        template = Template.create(tenant, "spring-sale", now=NOON, by="key:k1")
        template.add_version(own_template().newest.declared, "en", {"en": {Channel.EMAIL: tenant}}, now=NOON, by="x")
        template.activate(1, now=NOON, by="key:k1")
        await store.save(template)
    for _ in range(2):
        assert [(await hash_of(own, tenant=tenant))[0] for tenant in ("a", "b", "c")] == ["a", "b", "c"]
    assert len(own._known) == 2


async def test_a_channel_that_the_version_does_not_speak_by(own, store):
    template = own_template()
    template.activate(1, now=NOON, by="key:k1")
    await store.save(template)
    texts = await own.active("acme", "spring-sale")
    with pytest.raises(UnknownTemplateError, match="for the channel sms"):
        texts.current("acme", "spring-sale", Channel.SMS, "en")


@pytest.mark.parametrize(
    ("name", "tag"),
    [("de", "de"), ("pt_br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW"), ("DE-at", "de-AT"), ("zz", None), ("", None)],
)
def test_locales_have_one_form(name, tag):
    assert locale_tag(name) == tag


@pytest.mark.parametrize("name", ["x" * 100, "de\n", "../de", "de-", "-", "1", "de_AT@euro", "\0"])
def test_what_is_no_locale_is_none(name):
    locale_tag(name)  # whatever it answers, it does not fail


@pytest.mark.parametrize(
    ("wanted", "languages", "chosen"),
    [
        ("de-AT", {"de", "en"}, ("de", "de-AT")),
        ("zh-TW", {"zh-Hant", "zh", "en"}, ("zh-Hant", "zh-Hant-TW")),
        ("sr-RS", {"sr-Cyrl", "en"}, ("sr-Cyrl", "sr-Cyrl-RS")),
        ("de-AT", {"de-AT", "de", "en"}, ("de-AT", "de-AT")),
        ("fr", {"de", "en"}, ("en", "en")),
        ("pt-BR", {"pt-BR", "en"}, ("pt-BR", "pt-BR")),
        ("pt-PT", {"pt-BR", "en"}, ("en", "en")),
        ("nonsense", {"de", "en"}, ("en", "en")),
    ],
)
def test_the_nearest_language_is_taken(wanted, languages, chosen):
    assert nearest(wanted, languages, "en") == chosen
