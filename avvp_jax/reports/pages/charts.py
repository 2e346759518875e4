"""Charts as numbers: where a template draws lines, dots and ticks.

Coordinates are in units of the drawing, y downwards, rounded to a tenth.
"""

import math
from collections.abc import Sequence

# Of a small line chart.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 240, 150, 44, 8, 10, 22
# Of a dot plot.
DOTS_WIDTH, DOTS_LEFT, DOTS_RIGHT, ROW = 560, 118, 14, 34
_FINEST = 1e-4  # of a scale: its span beside the largest number on it
_SMALLEST = 1e-200  # of a span; a power of ten below is no number


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers from below `low` to above `high`, different from one another."""
    largest = max(abs(low), abs(high))
    # What differs by less is drawn as one: labels have six digits.
    span = max(high - low, largest * _FINEST) if high > low else largest
    span = span if span > _SMALLEST else 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = power * next(x for x in (1, 2, 5, 10) if x * power >= span / count * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def line_chart(
    epochs: Sequence[int],
    mean: Sequence[float],
    groups: Sequence[Sequence[float]] = (),
    spread: Sequence[float] = (),
    marks: Sequence[int] = (),
) -> dict | None:
    """A small chart of one quantity by epoch; None if there is no number.

    Args:
      epochs: in order.
      mean: a number for each epoch, NaN where there is none.
      groups: the same of each group of seeds, drawn thin.
      spread: the standard deviation over seeds, drawn as a band.
      marks: epochs to mark.
    """
    band = [(m - s, m + s) for m, s in zip(mean, spread, strict=False)]
    values = [x for line in (mean, *groups, *band) for x in line if math.isfinite(x)]
    if not values:
        return None
    levels = ticks(min(values), max(values), 3)
    span = max(epochs[-1] - epochs[0], 1)

    def place(epoch: float, value: float) -> tuple[float, float]:
        x = LEFT + (epoch - epochs[0]) / span * (WIDTH - LEFT - RIGHT)
        share = (value - levels[0]) / (levels[-1] - levels[0])
        return round(x, 1), round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def path(line: Sequence[float]) -> str:
        there = [(e, v) for e, v in zip(epochs, line, strict=True) if math.isfinite(v)]
        return " ".join(f"{x},{y}" for x, y in (place(*each) for each in there))

    def drawn_band() -> str:
        there = [(e, *b) for e, b in zip(epochs, band, strict=False) if math.isfinite(b[0])]
        around = [(e, high) for e, _, high in there] + [(e, low) for e, low, _ in reversed(there)]
        return " ".join(f"{x},{y}" for x, y in (place(*each) for each in around))

    points = [(*place(e, v), e, v) for e, v in zip(epochs, mean, strict=True) if math.isfinite(v)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "top": TOP,
        "levels": [(place(epochs[0], level)[1], f"{level:g}") for level in levels],
        "ends": [epochs[0], epochs[-1]],
        "thin": [path(line) for line in groups] if len(groups) > 1 else [],
        "band": drawn_band() if band else "",
        "line": path(mean),
        "points": points if len(points) <= 60 else [],
        "marks": [(place(epoch, levels[0])[0], epoch) for epoch in sorted(set(marks))],
    }


def dot_plot(rows: Sequence[tuple[str, Sequence[dict | None]]], series: int) -> dict | None:
    """A plot with a row for each score and a dot for each series; None if there is none.

    Args:
      rows: the name of a score, and for each series {"value", "low", "high"}, the ends being NaN
        where they are not known; None where the series lacks the score.
      series: how many series there are.
    """
    numbers = [
        x
        for _, dots in rows
        for dot in dots
        if dot
        for x in (dot["value"], dot["low"], dot["high"])
        if math.isfinite(x)
    ]
    if not numbers:
        return None
    scale = ticks(max(0, min(numbers) - 2), min(100, max(numbers) + 2), 5)
    row = max(ROW, 9 * series + 8)

    def at(value: float) -> float:
        # An interval of few seeds may reach beyond 0 and 100.
        share = min(max((value - scale[0]) / (scale[-1] - scale[0]), 0), 1)
        return round(DOTS_LEFT + share * (DOTS_WIDTH - DOTS_LEFT - DOTS_RIGHT), 1)

    drawn = []
    for index, (name, dots) in enumerate(rows):
        top, each = 8 + index * row, []
        for place, dot in enumerate(dots):
            if dot is None or not math.isfinite(dot["value"]):
                continue
            y = round(top + row * (place + 1) / (series + 1), 1)
            known = math.isfinite(dot["low"]) and math.isfinite(dot["high"])
            ends = (at(dot["low"]), at(dot["high"])) if known else None
            each.append({"series": place, "x": at(dot["value"]), "y": y, "ends": ends, **dot})
        drawn.append({"name": name, "top": top, "middle": top + row / 2, "dots": each})
    return {
        "width": DOTS_WIDTH,
        "height": 8 + row * len(rows) + 24,
        "left": DOTS_LEFT,
        "right": DOTS_WIDTH - DOTS_RIGHT,
        "bottom": 8 + row * len(rows),
        "row": row,
        "scale": [(at(x), f"{x:g}") for x in scale],
        "rows": drawn,
    }
