"""Plain SVG pictures of results: horizontal bars, and lines over a logarithmic scale."""

import math
from collections.abc import Mapping, Sequence
from html import escape

OURS, THEIRS = "#2e8049", "#8fa3ba"
COLOURS = ("#2e8049", "#2f6db3", "#b3632f", "#7a4fa3")
STYLE = """<style>
  .title { font-weight: bold; fill: #1b2a41; font-size: 16px }
  .word { fill: #1b2a41 } .note { fill: #5a6b80; font-size: 12px }
  .axis { stroke: #b9c4d0 } .line { fill: none; stroke-width: 2 }
</style>"""
WIDTH, LABEL_WIDTH, BAR, GAP = 860, 290, 20, 10
PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 400, 210, 50
# A label, a length, the text after the bar, and whether the bar is one of ours.
Bar = tuple[str, float, str, bool]


def bars(title: str, note: str, rows: Sequence[Bar]) -> str:
    return groups(title, note, {"": rows})


def groups(title: str, note: str, rows_by_heading: Mapping[str, Sequence[Bar]]) -> str:
    """Bars of one scale under headings; an empty heading takes no space."""
    lengths = [length for rows in rows_by_heading.values() for _, length, _, _ in rows]
    scale = (WIDTH - LABEL_WIDTH - 130) / (max(lengths, default=0) or 1)
    parts = [_text(20, 28, title, "title"), _text(20, 48, note, "note")]
    y = 66
    for heading, rows in rows_by_heading.items():
        if heading:
            parts.append(_text(20, y + 15, heading, "note"))
            y += BAR + GAP
        for label, length, words, ours in rows:
            wide = max(length * scale, 1)
            fill = OURS if ours else THEIRS
            parts.append(_text(LABEL_WIDTH - 10, y + 15, label, "word", "end"))
            parts.append(f'<rect x="{LABEL_WIDTH}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{fill}"/>')
            parts.append(_text(LABEL_WIDTH + wide + 8, y + 15, words, "word"))
            y += BAR + GAP
    return _picture(WIDTH, y + 14, parts)


def panels(title: str, note: str, charts: Sequence[tuple[str, Mapping[str, Sequence[tuple[float, float]]]]]) -> str:
    """Line charts in two columns, each a title and its lines by name; x on a logarithmic scale, y from 0."""
    parts = [_text(20, 28, title, "title"), _text(20, 48, note, "note")]
    for number, (words, lines) in enumerate(charts):
        left, top = 20 + number % 2 * (PANEL_WIDTH + 30), 70 + number // 2 * (PANEL_HEIGHT + 50)
        parts += _panel(left, top, words, lines)
    rows = (len(charts) + 1) // 2
    return _picture(2 * PANEL_WIDTH + 70, 80 + rows * (PANEL_HEIGHT + 50), parts)


def _panel(left: float, top: float, title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> list[str]:
    points = [point for line in lines.values() for point in line]
    least, most = math.log(min(x for x, _ in points)), math.log(max(x for x, _ in points))
    highest = nice(max(y for _, y in points))
    bottom, wide, high = top + PANEL_HEIGHT, PANEL_WIDTH - MARGIN - 20, PANEL_HEIGHT - 50

    def place(x: float, y: float) -> tuple[float, float]:
        return left + MARGIN + (math.log(x) - least) / ((most - least) or 1) * wide, bottom - y / highest * high

    parts = [_text(left, top + 12, title, "word")]
    for share in (0, 0.5, 1):
        _, y = place(points[0][0], highest * share)
        parts.append(f'<path class="axis" d="M{left + MARGIN} {y:.1f} h{wide}"/>')
        parts.append(_text(left + MARGIN - 6, y + 4, f"{highest * share:g}", "note", "end"))
    for at in sorted({x for x, _ in points}):
        parts.append(_text(place(at, 0)[0], bottom + 18, f"{at:,g}", "note", "middle"))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        parts += [f'<circle r="3.5" fill="{colour}" cx="{at.split(",")[0]}" cy="{at.split(",")[1]}"/>'
                  for at in path.split()]  # fmt: skip
        parts.append(f'<text x="{left + MARGIN + 130 * number}" y="{top + 32}" fill="{colour}">{escape(name)}</text>')
    return parts


def nice(value: float) -> float:
    """The next round number above a value: 1, 2 or 5 with zeros."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power)


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _picture(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
    font = 'font-family="Helvetica, Arial, sans-serif" font-size="14"'
    return "\n".join([f"{head} {font}>", STYLE, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])
