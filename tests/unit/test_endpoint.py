"""Where webhooks may go, and with which headers."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.endpoint import header_objections, is_in_house, is_public, plain_objection, url_objection
from tests.hostile_addresses import BLOCKED, EVERYWHERE, NEVER, SPELLINGS_OF_LOOPBACK

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


@pytest.mark.parametrize("address", BLOCKED)
def test_an_address_of_a_private_or_special_network_is_not_public(address: str) -> None:
    assert not is_public(address)
    literal = f"[{address}]" if ":" in address else address
    assert url_objection(f"https://{literal}/hook")


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "2606:4700::1111"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)
    literal = f"[{address}]" if ":" in address else address
    assert url_objection(f"https://{literal}/hook") is None


@pytest.mark.parametrize("text", ["", "localhost", "fe80::1%eth0", "1.1.1", "::ffff:8.8.8.8.8", "127.0.0.1%lo"])
def test_what_is_no_address_of_the_internet_is_not_public(text: str) -> None:
    assert not is_public(text)


def test_only_the_networks_that_were_allowed_are_in_house() -> None:
    assert is_in_house("127.9.9.9", LOOPBACK)
    assert is_in_house("::ffff:127.0.0.1", LOOPBACK)
    assert is_in_house("::1", LOOPBACK)
    assert not is_in_house("10.0.0.1", LOOPBACK)
    assert not is_in_house("not an address", LOOPBACK)
    assert not is_in_house("127.0.0.1", [])


@pytest.mark.parametrize("address", NEVER)
def test_the_metadata_of_a_cloud_is_in_nobodys_house(address: str) -> None:
    assert not is_in_house(address, EVERYWHERE)
    assert not is_public(address)
    literal = f"[{address}]" if ":" in address else address
    for scheme in ("http", "https"):
        assert "special network" in (url_objection(f"{scheme}://{literal}:8080/latest", EVERYWHERE) or "passed")


@pytest.mark.parametrize("host", SPELLINGS_OF_LOOPBACK)
def test_no_spelling_of_loopback_passes(host: str) -> None:
    assert url_objection(f"https://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/hooks?tenant=acme&x=%20",
        "https://example.com:8443/hooks",
        "https://EXAMPLE.com./hooks",
        "https://bücher.example.com/hooks",
        "https://xn--bcher-kva.example.com/hooks",
        "https://my_hooks.example.com/",
        "https://1password.com/hooks",
        "https://example.com/" + "a" * 2000,
    ],
)
def test_urls_of_the_internet_pass(url: str) -> None:
    assert url_objection(url) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "characters"),
        ("https://example.com/" + "a" * 2048, "2048 characters"),
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("example.com/hooks", "https://"),
        ("https:///hooks", "host"),
        ("https://jane@example.com/", "user"),
        ("https://:@example.com/", "user"),
        ("https://good.example.com\\@127.0.0.1/", "backslashes"),
        ("https://example.com/a b", "white space"),
        ("https://example.com/\r\nHost: x", "control"),
        ("https://exam\tple.com/", "control"),
        ("https://example.com/\x00", "control"),
        ("https://example.com/\ud800", "control"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:22/", "port"),
        ("https://example.com:80/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "URL"),
        ("https://example.com:x/", "URL"),
        ("https://[::1/", "URL"),
        ("https://[v1.x]/", "IP address"),
        ("https://intranet/", "public DNS"),
        ("https://printer.local/", "public DNS"),
        ("https://metadata.google.internal/", "public DNS"),
        ("https://app.localhost/", "public DNS"),
        ("https://app.localhost./", "public DNS"),
        ("https://LOCALHOST/", "public DNS"),
        ("https://127%2e0.0.1/", "host"),
        ("https://-x.example.com/", "host"),
        ("https://a..example.com/", "host"),
        ("https://" + "a" * 64 + ".example.com/", "host"),
        ("https://☃\u200d.example.com/", "host"),
        ("https://0x7f000001/", "IP address"),
        ("https://a.0x7f/", "IP address"),
        ("https://1.2.3/", "IP address"),
        ("https://01.1.1.1/", "IP address"),
        ("https://[fe80::1%25eth0]/", "special network"),
    ],
)
def test_other_urls_are_refused_with_the_reason(url: str, why: str) -> None:
    assert why in (url_objection(url) or "passed")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:5000/", "http://[::1]/", "http://localhost:80/", "http://receiver:8080/", "https://10.0.0.1/"],
)
def test_with_a_network_in_house_its_addresses_and_names_pass_and_no_others(url: str) -> None:
    assert url_objection(url)
    passes = url_objection(url, LOOPBACK) is None
    assert passes == ("10.0.0.1" not in url)


def test_what_is_not_in_house_needs_https_all_the_same() -> None:
    assert "https://" in (url_objection("http://1.1.1.1/", LOOPBACK) or "")


def test_where_only_this_machine_is_in_house_nobody_subscribes_a_public_name_without_tls() -> None:
    for url in ("http://hooks.acme.example/", "http://HOOKS.acme.example.:8080/"):
        assert "only this machine" in (plain_objection(url, LOOPBACK) or "passed")
        assert plain_objection(url, [*LOOPBACK, ip_network("10.20.30.0/24")]) is None
    for url in ("https://hooks.acme.example/", "http://127.0.0.1:8000/", "http://[::1]/", "http://localhost:8000/"):
        assert plain_objection(url, LOOPBACK) is None


@given(st.text(), st.booleans())
def test_every_text_passes_or_has_a_reason(text: str, in_house: bool) -> None:
    for url in (text, f"https://{text}", f"https://example.com/{text}"):
        why = url_objection(url, LOOPBACK if in_house else ())
        assert why is None or why.startswith("must ")


# Headers


def test_headers_of_the_receivers_own_pass() -> None:
    assert header_objections({"Authorization": "Bearer abc.def", "X-Tenant": "Acme, Inc.", "X-Empty": ""}) == {}
    assert header_objections({}) == {}


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Content-Type", "Transfer-Encoding", "TE", "Trailer", "Connection", "Keep-Alive",
     "Upgrade", "Expect", "Proxy-Authorization", "User-Agent", "Cookie", "Forwarded", "X-Forwarded-For", "webhook-id",
     "Webhook-Signature", "svix-id", "X-Webhook-Signature", "X-Webhook-Timestamp", "X-Amz-Target",
     "X-aws-ec2-metadata-token", "X-Goog-User-Project", "X-Google-Metadata-Request", "X-Azure-Ref", "X-Ms-Version",
     "Metadata", "Metadata-Flavor", "Content-Encoding", "Accept-Encoding", "X-Real-IP", "True-Client-IP",
     "CF-Connecting-IP", "Via", "HTTP2-Settings", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
     "X-aliyun-ecs-metadata-token", "webhook_id", "X_Webhook_Signature", "Content_Type", "X_Forwarded-For"],
)  # fmt: skip
def test_a_header_that_frames_signs_or_vouches_is_not_the_receivers_to_choose(name: str) -> None:
    assert header_objections({name: "x"}) == {name: "is a header that cannot be chosen"}


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "Ünicode", "X\r\nY", "X" * 65, "X\x00"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert "header name" in header_objections({name: "x"})[name]


@pytest.mark.parametrize("value", ["a\r\nHost: x", "a\nb", "a\x00", "ü", " a", "a ", "a\x7f", "x" * 1025])
def test_a_value_that_would_not_stay_one_line_of_ascii_is_refused(value: str) -> None:
    assert "printable ASCII" in header_objections({"X-A": value})["X-A"]


def test_at_most_twenty_and_none_twice() -> None:
    assert header_objections({f"X-{n}": "x" for n in range(20)}) == {}
    assert list(header_objections({f"X-{n}": "x" for n in range(21)})) == ["X-20"]
    assert header_objections({"X-A": "1", "x-a": "2"}) == {"x-a": "is there twice"}
    assert header_objections({"X-A": "1", "X_A": "2"}) == {"X_A": "is there twice"}
