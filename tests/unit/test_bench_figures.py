"""Figures of several runs, and how they are told. Nothing is measured here."""

import pytest

from bench.figures import Figure, Machine, Report, against, by_rate, middle
from bench.tables import markdown, table

RUNS = [against("accept", value, "requests/s", nothing=limit) for value, limit in ((30, 60), (10, 50), (20, 100))]
MACHINE = Machine("Acme 9000", 2, 23.5, "Linux x86_64", "3.11.2")


def report(*runs: dict[str, list[Figure]]) -> Report:
    return Report(list(runs), MACHINE, "18.0", "2035-01-08")


def test_of_several_runs_the_median_counts_and_the_outermost_are_kept() -> None:
    (figure,) = middle(RUNS)
    assert (figure.value, figure.lowest, figure.highest) == (20, 10, 30)
    assert (figure.limit, figure.ratio) == ("nothing", 0.2)


def test_one_run_is_told_as_it_is() -> None:
    assert middle(RUNS[:1]) == RUNS[0]
    assert "to" not in table(RUNS[0])


def test_runs_that_measured_different_things_are_not_put_together() -> None:
    with pytest.raises(ValueError, match="shorter"):
        middle([RUNS[0], []])


def test_a_table_for_a_terminal_has_what_stands_beside_a_figure() -> None:
    assert table(middle(RUNS)) == "  accept       20.00 requests/s       10.00 to 30.00; 0.20 of nothing"


def test_tables_for_a_document_say_of_what_machine_and_how_many_runs_they_are() -> None:
    text = markdown(report(*({"accept": figures} for figures in RUNS)))
    assert text.splitlines()[0] == (
        "2035-01-08, medians of 3 runs, with the lowest and the highest: Acme 9000, 2 cores, 23.5 GB, Linux x86_64,"
        " Python 3.11.2, PostgreSQL 18.0"
    )
    assert "### accept" in text
    assert "| accept | 20.00 requests/s | 10.00 to 30.00; 0.20 of nothing |" in text


def test_latencies_become_a_row_for_each_rate() -> None:
    runs = [
        [
            Figure(f"at {rate}/s, {name}", value + shift, "ms")
            for rate, value in ((50, 1), (1_000, 5))
            for name in ("accept p50", "accept p99")
        ]
        for shift in (0, 1, 3)
    ]
    text = markdown(report(*({"latency": figures} for figures in runs)))
    assert "| offered | accept p50 | accept p99 |" in text
    assert "| 1000/s | 6.00 ms (5.00 to 8.00) | 6.00 ms (5.00 to 8.00) |" in text
    assert [*by_rate(runs[0])] == [50, 1_000]
