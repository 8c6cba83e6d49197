"""`make bench`: start everything on this machine, measure, and print each figure beside the limit it is held to."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import msgspec

from bench import accept, flow, growth, kafka, plot, records, render, views, webhooks, wishes
from bench.figures import Figure, Report, table
from bench.stage import Stage

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
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Where to draw latency against rate, as SVG.")
def main(parts: tuple[str, ...], events: int, json_file: Path | None, picture: Path | None) -> None:
    """Measure PARTS, or all of them, each on an empty database of its own."""
    report = Report()
    measures = PARTS | {"growth": partial(growth.grown, most=events)}
    for part in parts or PARTS:
        with Stage() as stage:
            report.parts[part] = measures[part](stage)
        click.echo(f"\n{part}\n{table(report.parts[part])}")
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if picture and "latency" in report.parts:
        plot.draw(report.parts["latency"], picture)


if __name__ == "__main__":
    main()
