"""What is wrong with where a webhook shall go, in the words of the command that asks for it."""

from collections.abc import Iterator, Mapping, Sequence

from application.problems import Problem
from domain.endpoint import Network, header_objections, url_objection


def endpoint_problems(url: str, headers: Mapping[str, str], *, in_house: Sequence[Network] = ()) -> Iterator[Problem]:
    """`path` is `url` or `headers.<name>`; `in_house` are the networks that may be called beside the internet."""
    if why := url_objection(url, in_house):
        yield Problem("url", why)
    for name, objection in header_objections(headers).items():
        yield Problem(f"headers.{name}", objection)
