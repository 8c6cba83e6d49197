"""What breaks a chain and what does not, and how the follower goes about it. In memory."""

from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.event_mapper import tenant_of
from adapters.memory.chain import MemoryChain
from application.processes.chain import BATCH, Chainer, RewoundError, inspect
from domain.chain import Break, Entry, Fault, Head, Inspection, Link, begun, extended, links_of

replace = msgspec.structs.replace


def entry(position: int, tenant: str = "acme", **facts: object) -> Entry:
    usual = {"stream": UUID(int=position), "version": 1, "topic": "notification.queued", "state": b"%d" % position}
    return Entry(tenant=tenant, position=position, **(usual | facts))  # type: ignore[arg-type]


def log(tenants: Sequence[str] = ("acme", "globex", "acme", "", "acme", "globex", "acme", "acme")) -> list[Entry]:
    return [entry(position, tenant) for position, tenant in enumerate(tenants, 1)]


def chained(entries: Sequence[Entry], batch: int = 4) -> list[Link]:
    links: list[Link] = []
    for start in range(0, len(entries), batch):
        links += links_of(entries[start : start + batch], {link.tenant: link for link in links})
    return sorted(links, key=lambda link: link.last)


def found(entries: Sequence[Entry], links: Sequence[Link], *heads: Head) -> list[Break]:
    inspection = Inspection(heads)
    inspection.take(entries, links)
    return inspection.found()


def broken(entries: Sequence[Entry], links: Sequence[Link]) -> list[tuple[str, int, int]]:
    return [(each.tenant, each.after, each.until) for each in found(entries, links)]


def without(entries: list[Entry], *positions: int) -> list[Entry]:
    return [each for each in entries if each.position not in positions]


def changed(position: int, **facts: object) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [replace(e, **facts) if e.position == position else e for e in entries]  # type: ignore[arg-type]


def swapped(entries: list[Entry]) -> list[Entry]:
    """The two events at 3 and 5 in each other's places."""
    third, fifth = entries[2], entries[4]
    places = {3: replace(fifth, position=3), 5: replace(third, position=5)}
    return [places.get(each.position, each) for each in entries]


FIRST, SECOND = ("acme", 0, 3), ("acme", 3, 8)

TAMPERED = {
    "state": (changed(3, state=b"{}"), [FIRST]),
    "topic": (changed(3, topic="notification.sent"), [FIRST]),
    "version": (changed(3, version=2), [FIRST]),
    "stream": (changed(3, stream=UUID(int=9)), [FIRST]),
    "given to another tenant": (changed(3, tenant="globex"), [FIRST, ("globex", 2, 6)]),
    "taken away in between": (lambda log: without(log, 1), [FIRST]),
    "taken away at the end of a link": (lambda log: without(log, 3), [FIRST]),
    "taken away at the end of the chain": (lambda log: without(log, 8), [SECOND]),
    "all of a link taken away": (lambda log: without(log, 5, 7, 8), [SECOND]),
    "put in the place of another tenant's": (changed(6, tenant="acme"), [SECOND, ("globex", 2, 6)]),
    "changed places": (swapped, [FIRST, SECOND]),
    "changed in two places": (lambda log: changed(8, state=b"")(changed(1, state=b"")(log)), [FIRST, SECOND]),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_is_done_to_an_event_breaks_the_chain_there_and_nowhere_else(name):
    tamper, expected = TAMPERED[name]
    whole = log()
    assert sorted(broken(tamper(list(whole)), chained(whole))) == sorted(expected)


def test_an_event_that_was_slipped_in_is_found():
    whole = [entry(position) for position in (10, 20, 30, 40)]
    assert broken([*whole[:1], entry(15), *whole[1:]], chained(whole, 2)) == [("acme", 0, 20)]


def test_a_log_as_it_was_chained_is_whole_however_it_is_read():
    whole = log()
    links = chained(whole)
    assert broken(whole, links) == []
    bit_by_bit = Inspection()
    for each in whole:
        bit_by_bit.take([each], [link for link in links if link.last == each.position])
    assert bit_by_bit.found() == []


@pytest.mark.parametrize("facts", [{"hash": bytes(32)}, {"events": 1}, {"first": 2}, {"last": 4}, {"tenant": "globex"}])
def test_a_link_that_was_changed_is_found(facts):
    whole = log()
    links = chained(whole)
    tampered = [replace(link, **facts) if link.tenant == "acme" and link.last == 3 else link for link in links]
    assert [each.tenant for each in found(whole, tampered)].count("acme") >= 1


def test_a_link_that_was_taken_away_is_found():
    whole = log()
    links = chained(whole)
    assert broken(whole, [link for link in links if link.last != 3]) == [("acme", 0, 8)]
    assert found(whole, [link for link in links if link.last != 8]) == [Break("acme", 3, 8, Fault.UNCHAINED)]


def test_a_link_without_events_is_found():
    whole = log()
    forged = Link("initech", 4, 4, 1, begun("initech"))
    assert broken(whole, sorted([*chained(whole), forged], key=lambda link: link.last)) == [("initech", 0, 4)]


def test_links_of_one_tenant_do_not_fit_another_with_the_same_events():
    assert begun("acme") != begun("globex")


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_hash_does_not_depend_on_how_the_events_were_batched(one, other):
    ends = [{link.tenant: link.hash for link in chained(log(), size)} for size in (one, other)]
    assert ends[0] == ends[1]


def test_no_two_events_are_hashed_from_the_same_bytes():
    apart = [entry(1, topic="a", state=b"bc"), entry(1, topic="ab", state=b"c"), entry(1, topic="abc", state=b"")]
    assert len({extended(begun("acme"), each) for each in apart}) == 3


def test_the_hash_is_the_one_that_heads_kept_elsewhere_were_made_by():
    """Never to be changed: it would make every head that anybody has kept worthless."""
    end = extended(extended(begun("acme"), entry(1)), entry(2))
    assert end.hex() == "f571d7b58ec864cd47f3ca806d98d9a6159ea0e75e2aed69723a08409d56cc0d"


# A chain that was made anew


def head(links: Sequence[Link], tenant: str, last: int) -> Head:
    (link,) = [link for link in links if (link.tenant, link.last) == (tenant, last)]
    return Head(tenant, last, link.hash)


def test_a_chain_made_anew_is_only_seen_by_a_head_that_was_kept_elsewhere():
    whole = log()
    kept = head(chained(whole), "acme", 3)
    forged = changed(1, state=b"{}")(whole)
    assert found(forged, chained(forged)) == []
    assert found(forged, chained(forged), kept) == [Break("acme", 0, 3, Fault.OTHER_HEAD)]
    assert found(whole, chained(whole), kept) == []


def test_a_chain_that_was_cut_off_with_its_events_is_seen_by_a_head_that_was_kept_elsewhere():
    whole = log()
    kept = head(chained(whole), "acme", 8)
    cut = whole[:4]
    assert found(cut, chained(cut)) == []
    assert found(cut, chained(cut), kept) == [Break("acme", 0, 8, Fault.OTHER_HEAD)]


def test_a_head_is_compared_with_the_events_alone_whatever_the_links_say():
    whole = log()
    kept = head(chained(whole), "acme", 8)
    forged = changed(1, state=b"{}")(whole)
    assert Break("acme", 0, 8, Fault.OTHER_HEAD) in found(forged, chained(whole), kept)


def test_two_heads_for_one_place_cannot_both_be_right():
    whole = log()
    kept = head(chained(whole), "acme", 8)
    assert found(whole, chained(whole), kept, kept) == []
    assert found(whole, chained(whole), kept, replace(kept, hash=bytes(32)))


# The follower


class Entries:
    def __init__(self, entries: Sequence[Entry]) -> None:
        self.all = list(entries)

    async def entries(self, after: int, limit: int) -> list[Entry]:
        return [each for each in self.all if each.position > after][:limit]


async def caught_up(entries: Entries, chain: MemoryChain) -> None:
    chainer = Chainer(entries, chain)
    while await chainer.turn():
        pass


def silent(done: int, total: int) -> None: ...


async def test_every_event_is_chained_once_over_any_number_of_batches_and_starts():
    entries, chain = Entries([]), MemoryChain()
    for size in (3, BATCH + 2, 1):
        last = len(entries.all)
        entries.all += [replace(e, stream=uuid4()) for e in map(entry, range(last + 1, last + size + 1))]
        await caught_up(entries, chain)
    links = await chain.links(0, BATCH * 2)
    assert [(link.first, link.last, link.events) for link in links] == [
        (1, 3, 3),
        (4, BATCH + 3, BATCH),
        (BATCH + 4, BATCH + 5, 2),
        (BATCH + 6, BATCH + 6, 1),
    ]
    assert await inspect(entries, chain, silent) == []


async def test_what_comes_after_the_end_of_the_chain_is_not_held_against_it():
    entries, chain = Entries(log()), MemoryChain()
    await caught_up(entries, chain)
    entries.all.append(entry(9))
    assert await inspect(entries, chain, silent) == []


@pytest.mark.parametrize(("position", "after", "until"), [(0, 0, 8), (7, 7, 8), (9, 8, 9), (100, 8, 100)])
async def test_a_chain_that_somebody_moved_is_broken_and_what_was_chained_is_inspected_all_the_same(
    position, after, until
):
    entries, chain = Entries(log()), MemoryChain()
    await caught_up(entries, chain)
    chain._position = position
    assert await inspect(entries, chain, silent) == [Break(None, after, until, Fault.MOVED)]
    entries.all = changed(3, state=b"{}")(entries.all)
    assert [each.tenant for each in await inspect(entries, chain, silent)] == ["acme", None]


async def test_what_somebody_has_passed_over_is_found_also_when_the_chain_went_on_behind_it():
    entries, chain = Entries(log()), MemoryChain()
    await caught_up(entries, chain)
    entries.all += [entry(9), entry(10, "globex"), entry(11)]
    chain._position = 10
    await caught_up(entries, chain)
    assert [(each.tenant, each.fault) for each in await inspect(entries, chain, silent)] == [
        ("acme", Fault.ALTERED),
        ("globex", Fault.UNCHAINED),
    ]


async def test_a_chain_that_grows_while_it_is_inspected_is_not_taken_for_moved():
    entries, chain = Entries(log()), MemoryChain()
    chainer, position = Chainer(entries, chain), chain.position
    await chainer.turn()

    async def after_some_more() -> int:
        entries.all.append(entry(9))
        await chainer.turn()
        return await position()

    chain.position = after_some_more
    assert await inspect(entries, chain, silent) == []


async def test_a_chain_without_links_that_claims_to_have_come_far_is_broken():
    chain = MemoryChain()
    chain._position = 5
    assert await inspect(Entries([]), chain, silent) == [Break(None, 0, 5, Fault.MOVED)]


async def test_what_was_chained_is_not_chained_again_when_somebody_moves_the_chain_back():
    entries, chain = Entries(log()), MemoryChain()
    await caught_up(entries, chain)
    chain._position = 4
    with pytest.raises(RewoundError):
        await Chainer(entries, chain).turn()
    assert len(await chain.links(0, 100)) == 3


async def test_a_gap_at_the_end_of_what_is_chained_is_found():
    entries, chain = Entries(log()), MemoryChain()
    await caught_up(entries, chain)
    entries.all = []
    assert {each.tenant for each in await inspect(entries, chain, silent)} == {"acme", "globex", ""}


# Whose an event is


@pytest.mark.parametrize(
    "state",
    [b"", b"{", b"[]", b"\xff", b'{"by":"k1"}', b'{"tenant":1}', b'{"tenant":"\xff"}', b'{"tenant":"\\ud800"}',
     b'{"x":' + b"[" * 100_000],
)  # fmt: skip
def test_what_names_no_tenant_is_nobodys(state):
    assert tenant_of(state) == ""


def test_a_tenant_is_read_from_the_bytes_themselves():
    assert tenant_of('{"by":"k1","tenant":"Åcme:1","channel":"email"}'.encode()) == "Åcme:1"
