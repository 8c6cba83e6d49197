"""The short form of `make faults`: whatever is killed, emptied or cut, each promise of README.md is kept.

All share one cluster, which every scenario finds whole. The figures of each are printed at the end of the run.
"""

from collections.abc import Callable

import pytest

from tests.faults.catalogue import SCENARIOS, Scenario
from tests.faults.cluster import Cluster
from tests.faults.trial import Findings

_SHORT = [each for each in SCENARIOS if each.short is not None]


@pytest.mark.parametrize("scenario", _SHORT, ids=lambda scenario: scenario.name)
async def test_what_was_promised_is_kept(
    scenario: Scenario, cluster: Cluster, figures: Callable[[str, Findings], None]
) -> None:
    findings = await scenario.play(cluster, "short", seed="1")
    figures(scenario.name, findings)
    assert not findings.broken
