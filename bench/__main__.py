"""`make bench`: start everything on this machine, measure, and print each figure beside the limit it is held to."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import msgspec

from bench import accept, flow, growth, kafka, plot, records, render, views, webhooks, wishes
from bench.figures import Figure, Report
from bench.stage import Stage
from bench.tables import markdown, table

PARTS: dict[str, Callable[[Stage], list[Figure]]] = {
    "render": render.renders,
    "accept": accept.accepts,
    "wishes": wishes.wishes,
    "latency": flow.latencies,
    "sustained": flow.sustained,
    "apart": flow.apart,
    "webhooks": webhooks.told,
    "records": records.taken_in,
    "published": kafka.published,
    "rebuild": views.rebuilds,
    "growth": growth.grown,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--events", default=1_000_000, show_default=True, help="How far the part growth fills the log.")
@click.option(
    "--runs", default=1, show_default=True, type=click.IntRange(min=1), help="Figures become medians of these."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
@click.option("--markdown", "document", type=click.Path(path_type=Path), help="Where to write the tables as Markdown.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Where to draw latency against rate, as SVG.")
def main(
    parts: tuple[str, ...], events: int, runs: int, json_file: Path | None, document: Path | None, picture: Path | None
) -> None:
    """Measure PARTS, or all of them, each on an empty database of its own."""
    report = Report()
    measures = PARTS | {"growth": partial(growth.grown, most=events)}
    for turn in range(1, runs + 1):
        report.runs.append(run := {})
        for part in parts or PARTS:
            with Stage() as stage:
                run[part] = measures[part](stage)
                ((report.postgresql,),) = stage.rows("SHOW server_version")
            click.echo(f"\n{part}{f', run {turn} of {runs}' if runs > 1 else ''}\n{table(run[part])}")
    if runs > 1:
        for part, figures in report.parts.items():
            click.echo(f"\n{part}, medians of {runs} runs\n{table(figures)}")
    if json_file:
        told = {**msgspec.to_builtins(report), "parts": report.parts}
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    if document:
        document.write_text(markdown(report))
    if picture and "latency" in report.parts:
        plot.draw(report.parts["latency"], picture)


if __name__ == "__main__":
    main()
