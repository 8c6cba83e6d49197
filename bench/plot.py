"""Latency against offered rate, as a picture that needs nothing but a browser."""

import math
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment

from bench.figures import Figure, by_rate

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 420, 64, 190, 48, 56
_LINES = ("accept p50", "accept p99", "request to sink p50", "request to sink p95", "request to sink p99")

_PICTURE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="{{ title }}">
<style>
  svg { background: #fff; font: 13px system-ui, sans-serif }
  text { fill: #333 } .title { font-weight: 600; font-size: 15px }
  .end { text-anchor: end } .middle { text-anchor: middle }
  .grid { stroke: #ddd } polyline, .key { fill: none; stroke-width: 2 }
  .l0, .l1 { stroke: #0b62d6 } .l2, .l3, .l4 { stroke: #b3421a }
  .l1, .l3 { stroke-dasharray: 6 4 } .l4 { stroke-dasharray: 2 4 }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181c } text { fill: #ddd } .grid { stroke: #33373d }
    .l0, .l1 { stroke: #6aa9ff } .l2, .l3, .l4 { stroke: #ff9d73 }
  }
</style>
<text class="title" x="{{ left }}" y="26">{{ title }}</text>
{% for y, label in rows %}
<line class="grid" x1="{{ left }}" x2="{{ right }}" y1="{{ y }}" y2="{{ y }}"/>
<text class="end" x="{{ left - 8 }}" y="{{ y + 4 }}">{{ label }}</text>
{% endfor %}
{% for x, label in columns %}
<line class="grid" x1="{{ x }}" x2="{{ x }}" y1="{{ top }}" y2="{{ bottom }}"/>
<text class="middle" x="{{ x }}" y="{{ bottom + 20 }}">{{ label }}</text>
{% endfor %}
<text class="middle" x="{{ (left + right) / 2 }}" y="{{ bottom + 44 }}">offered, requests a second (open loop)</text>
{% for line in lines %}
<polyline class="l{{ loop.index0 }}" points="{{ line.points }}"/>
<path class="key l{{ loop.index0 }}" d="M{{ right + 14 }} {{ line.y }}h26"/>
<text x="{{ right + 46 }}" y="{{ line.y + 4 }}">{{ line.name }}</text>
{% endfor %}
</svg>
"""
)


def draw(figures: list[Figure], file: Path) -> None:
    """Both axes logarithmic, milliseconds upwards; one line for each percentile."""
    rates = by_rate(figures)
    measured = {(name, rate): rates[rate][name].value for name in _LINES for rate in rates}
    across = _Axis(min(rates), max(rates), _LEFT, _WIDTH - _RIGHT)
    up = _Axis(min(measured.values()), max(measured.values()), _HEIGHT - _BOTTOM, _TOP)
    lines = [
        {
            "name": name,
            "points": " ".join(f"{across(rate):.1f},{up(measured[name, rate]):.1f}" for rate in rates),
            "y": _TOP + 12 + 24 * place,
        }
        for place, name in enumerate(_LINES)
    ]
    file.write_text(
        _PICTURE.render(
            title="Latency in milliseconds against offered rate",
            width=_WIDTH,
            height=_HEIGHT,
            left=_LEFT,
            right=_WIDTH - _RIGHT,
            top=_TOP,
            bottom=_HEIGHT - _BOTTOM,
            rows=[(up(value), f"{value:g}") for value in _round_values(up.low, up.high)],
            columns=[(across(rate), f"{rate:,}") for rate in rates],
            lines=lines,
        )
        + "\n"
    )


class _Axis:
    """From a value to its place, by the logarithm; the ends are rounded outwards to 1, 2 or 5 times a power of ten."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low = max(value for value in _all_round_values() if value <= low)
        self.high = min(value for value in _all_round_values() if value >= max(high, 2 * low))
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self._start + share * (self._end - self._start), 1)


def _all_round_values() -> Iterator[float]:
    return (digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5))


def _round_values(low: float, high: float) -> list[float]:
    return [value for value in _all_round_values() if low <= value <= high]
