"""The scatter of predicted against measured seconds, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from prediction.latency_rows import Row

SIZE, MARGIN = 460, 56
DECADES = (-3, 1)
"""Powers of ten of the seconds at both ends."""

COLOURS = {"timm": "#0072b2", "torchvision": "#d55e00", "other": "#009e73"}
NAMES = {"timm": "timm on an RTX 3090, families or the GPU left out", "torchvision": "torchvision, the GPU left out",
         "other": "language models and training, the GPU left out"}  # fmt: skip
MOST = 700
"""Points of one colour; of more, every so many."""


def _place(seconds: float) -> float:
    low, high = DECADES
    return MARGIN + (math.log10(seconds) - low) / (high - low) * SIZE


def _dots(points: Sequence[tuple[float, float]], colour: str) -> Iterable[str]:
    for measured, predicted in points[:: max(1, len(points) // MOST)]:
        x, y = _place(measured), SIZE + 2 * MARGIN - _place(predicted)
        yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="2.2" fill="{colour}" fill-opacity="0.45"/>'


def _lines() -> Iterable[str]:
    low, high = DECADES
    for power in range(low, high + 1):
        at = _place(10.0**power)
        label = f"{10.0 ** (power + 3):g} ms" if power < 0 else f"{10.0**power:g} s"
        top, bottom = MARGIN, SIZE + MARGIN
        yield f'<path d="M{at:.0f} {top}V{bottom}M{top} {SIZE + 2 * MARGIN - at:.0f}H{bottom}" stroke="#ddd"/>'
        yield f'<text x="{at:.0f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
        yield f'<text x="{MARGIN - 6}" y="{SIZE + 2 * MARGIN - at + 4:.0f}" text-anchor="end">{label}</text>'
    for factor, dash in ((1.0, ""), (1.25, "4 4"), (0.8, "4 4")):
        start, end = _place(10.0**low), _place(10.0**high)
        shift = math.log10(factor) / (high - low) * SIZE
        a, b = SIZE + 2 * MARGIN - start - shift, SIZE + 2 * MARGIN - end - shift
        yield f'<path d="M{start:.0f} {a:.0f}L{end:.0f} {b:.0f}" stroke="#555" stroke-dasharray="{dash}"/>'


def draw_scatter(found: Iterable[tuple[Row, float]]) -> str:
    """Rows with the seconds that were predicted of them."""
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in COLOURS}
    for row, predicted in found:
        points[row.source if row.source in points else "other"].append((row.seconds, predicted))
    width = SIZE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {width + 10}" role="img" '
        'aria-label="predicted against measured seconds" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{width + 10}" fill="#fff"/>', *_lines(),
        f'<text x="{width / 2:.0f}" y="{width}" text-anchor="middle">measured</text>',
        f'<text x="14" y="{width / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {width / 2:.0f})">'
        "predicted</text>",
    ]  # fmt: skip
    for place, (name, colour) in enumerate(COLOURS.items()):
        parts += _dots(points[name], colour)
        y = MARGIN + 14 + 16 * place
        parts.append(f'<circle cx="{MARGIN + 12}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{MARGIN + 22}" y="{y}">{NAMES[name]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
