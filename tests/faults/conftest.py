"""One cluster for all fault tests; what its processes said is shown when a test fails."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from tests.conftest import FIGURES
from tests.faults.cluster import Cluster, running
from tests.faults.trial import Findings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    async with running() as cluster:
        yield cluster


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str, Findings], None]:
    """Notes what a scenario came to, for the end of the run, which may be another process's."""

    def note(name: str, found: Findings) -> None:
        recovery = "" if found.recovery is None else f", as before after {found.recovery:.1f} s"
        tallies = "".join(f", {name} {value:g}" for name, value in found.tallies.items())
        counts = f"{found.sent} sent, {found.lost} lost, {found.repeated} repeated"
        record_property(FIGURES, f"{name}: {counts}{recovery}{tallies}")

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[misc]
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        report.sections += [(f"{each.name} said", each.last_lines) for each in cluster.processes]
    return report  # type: ignore[return-value]
