"""`make faults`: break everything that can be broken while messages are on their way, and print what became of them."""

import asyncio
import inspect
import os
import platform
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.faults.catalogue import SCENARIOS, Form, Scenario
from tests.faults.cluster import Cluster, running
from tests.faults.trial import LIVE_AGAIN_WITHIN, Findings


class Row(msgspec.Struct, kw_only=True):
    """One scenario of a report. Without findings it did not come to an end; `broken` says why."""

    scenario: str
    seconds: float
    findings: Findings | None
    broken: list[str]

    @property
    def is_control(self) -> bool:
        return self.scenario.startswith("control-")


class Report(msgspec.Struct, kw_only=True):
    date: datetime
    form: Form
    seed: str
    machine: str
    seconds: float
    totals: dict[str, float]
    rows: list[Row]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seed", default="1", show_default=True, help="Decides when and whom the faults hit, and what is sent.")
@click.option("--long", "form", flag_value="long", help="At least 100 kills, and 5 of what else counts.")
@click.option("--short", "form", flag_value="short", help="What the tests run.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there as well.")
@click.option("--list", "only_list", is_flag=True, help="Name the scenarios and say what each is.")
def main(names: tuple[str, ...], seed: str, form: Form | None, file: Path | None, only_list: bool) -> None:
    """Run the scenarios NAMES, or all. Exit status 1 when a promise was not kept."""
    chosen = _chosen(names, form or "usual")
    if only_list:
        for each in chosen:
            click.echo(f"{each.name:32}{inspect.cleandoc(each.run.__doc__ or '').splitlines()[0]}")
        return
    began = time.monotonic()
    try:
        rows = asyncio.run(_play(chosen, form or "usual", seed))
    except asyncio.CancelledError:
        raise click.Abort from None
    report = Report(
        date=datetime.now(UTC),
        form=form or "usual",
        seed=seed,
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        seconds=round(time.monotonic() - began, 1),
        totals=_totals(rows),
        rows=rows,
    )
    _print(report)
    if file:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    sys.exit(any(row.broken for row in rows))


def _chosen(names: tuple[str, ...], form: Form) -> list[Scenario]:
    known = {each.name: each for each in SCENARIOS}
    if unknown := set(names) - known.keys():
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}", param_hint="NAMES")
    return [each for each in SCENARIOS if (not names or each.name in names) and each.sizes(form) is not None]


async def _play(scenarios: list[Scenario], form: Form, seed: str) -> list[Row]:
    """One after the other, on one cluster as long as it is good."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows = []
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # nothing is left running
    async with AsyncExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        task = bar.add_task("", total=len(scenarios))
        clusters = await stack.enter_async_context(_Clusters())
        for scenario in scenarios:

            def tell(what: str, of: Scenario = scenario) -> None:
                bar.update(task, description=f"{of.name}: {what}")

            tell("starts")
            row = await _played(scenario, form, seed, tell, await clusters.whole())
            if row.broken or scenario.spoils:
                await clusters.give_up()
            rows.append(row)
            bar.console.print(_line(row), highlight=False)
            bar.advance(task)
    return rows


class _Clusters:
    """One cluster after the other: a new one when the last was given up."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._cluster: Cluster | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.give_up()

    async def whole(self) -> Cluster:
        self._cluster = self._cluster or await self._stack.enter_async_context(running())
        return self._cluster

    async def give_up(self) -> None:
        self._cluster = None
        await self._stack.aclose()


async def _played(scenario: Scenario, form: Form, seed: str, tell: Callable[[str], None], cluster: Cluster) -> Row:
    began = time.monotonic()
    findings, broken = None, list[str]()
    try:
        findings = await scenario.play(cluster, form, seed, tell)
        broken = findings.broken
    except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios have their turn
        broken = [f"did not come to an end: {line}" for line in _reasons(error)]
    if broken:
        _show_logs(cluster)
    return Row(scenario=scenario.name, seconds=round(time.monotonic() - began, 1), findings=findings, broken=broken)


def _reasons(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [reason for each in error.exceptions for reason in _reasons(each)]
    return [f"{type(error).__name__} {error}"]


def _show_logs(cluster: Cluster) -> None:
    for process in cluster.processes:
        click.echo(f"--- {process.name} said\n{process.last_lines}", err=True)


def _line(row: Row) -> str:
    found = row.findings
    told = f"{found.sent} sent, {found.lost} lost, {found.repeated} repeated" if found else "no findings"
    return f"{row.scenario}: {told}, {row.seconds:.0f} s" + "".join(f"\n  BROKEN: {each}" for each in row.broken)


def _totals(rows: list[Row]) -> dict[str, float]:
    """Over all but the controls, which lose and repeat on purpose."""
    totals: Counter[str] = Counter()
    for found in (row.findings for row in rows if row.findings and not row.is_control):
        totals.update({name: getattr(found, name) for name in ("sent", "lost", "repeated", "may_repeat", "given_up")})
        totals.update({name: getattr(found, name) for name in ("reordered", "misdirected")})
        for name in ("kills", "postgres_restarts", "redis_emptied"):
            totals[name] += found.tallies.get(name, 0)
    return dict(totals)


def _print(report: Report) -> None:
    counts = ("sent", "lost", "repeated", "given up", "reordered", "wrong tenant")
    table = Table("scenario", *counts, "live again s", "recovery s", "")
    for column in table.columns[1:-1]:
        column.justify = "right"
    for row in report.rows:
        table.add_row(row.scenario, *_cells(row.findings), "BROKEN" if row.broken else "kept")
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    totals = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in report.totals.items())
    console.print(f"without the controls: {totals}", highlight=False)
    console.print(f"{report.form} form, seed {report.seed}, {report.seconds:.0f} s, {report.machine}", highlight=False)
    for row in report.rows:
        for broken in row.broken:
            console.print(f"BROKEN {row.scenario}: {broken}", highlight=False)


def _cells(found: Findings | None) -> list[str]:
    if found is None:
        return ["?"] * 8
    repeated = f"{found.repeated} of {found.may_repeat}" if found.may_repeat else str(found.repeated)
    counts = (found.given_up, found.reordered, found.misdirected)
    times = (_time(found.live, LIVE_AGAIN_WITHIN), _time(found.recovery, found.within))
    return [str(found.sent), str(found.lost), repeated, *map(str, counts), *times]


def _time(seconds: float | None, within: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f}" if within is None else f"{seconds:.1f} of {within:g}"


if __name__ == "__main__":
    main()
