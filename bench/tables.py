"""How figures are told to people: in a terminal, in a document."""

from collections.abc import Sequence

from bench.figures import Figure, Report, by_rate


def table(figures: Sequence[Figure]) -> str:
    """For a terminal."""
    width = max(len(figure.name) for figure in figures)
    return "\n".join(
        f"  {figure.name:<{width}}  {_number(figure.value):>10} {figure.unit:<16} {_beside(figure)}".rstrip()
        for figure in figures
    )


def markdown(report: Report) -> str:
    """For a document: one table for each part."""
    tables = [f"### {part}\n\n{_rows(part, figures)}\n" for part, figures in report.parts.items()]
    machine, runs = report.machine, len(report.runs)
    where = (
        f"{report.date}, {'one run' if runs == 1 else f'medians of {runs} runs, with the lowest and the highest'}:"
        f" {machine.cpu}, {machine.cores} cores, {machine.memory} GB, {machine.system}, Python {machine.python},"
        f" PostgreSQL {report.postgresql}"
    )
    return "\n".join([where, "", *tables])


def _rows(part: str, figures: Sequence[Figure]) -> str:
    rates = by_rate(figures)
    if part != "latency":
        lines = [[f.name, f"{_number(f.value)} {f.unit}", _beside(f)] for f in figures]
        return _table(["what", "measured", ""], lines)
    names = list(next(iter(rates.values())))
    lines = [[f"{rate}/s", *map(_milliseconds, measured.values())] for rate, measured in rates.items()]
    return _table(["offered", *names], lines)


def _milliseconds(figure: Figure) -> str:
    return " ".join(filter(None, [f"{_number(figure.value)} ms", _span(figure) and f"({_span(figure)})"]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, line, *rows])


def _beside(figure: Figure) -> str:
    ratio = f"{figure.ratio:.2f} of {figure.limit}" if figure.ratio is not None else ""
    return "; ".join(filter(None, [_span(figure), ratio]))


def _span(figure: Figure) -> str:
    if figure.lowest is None or figure.highest is None:
        return ""
    return f"{_number(figure.lowest)} to {_number(figure.highest)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
