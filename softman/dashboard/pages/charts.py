"""Small charts of the last publications as SVG, each with the same figures as a table. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from statistics import median

from markupsafe import Markup

from softman.dashboard import text
from softman.model import SyncReport

_WIDTH, _HEIGHT = 640, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 10, 10, 24
_MOST = 40
"""Publications that a chart shows."""
_LEAST = 2
_STEPS = (1, 2, 2.5, 5, 10)
_WAIT = 3600.0
"""A wait longer than this tells of an object that lay there before, not of one that was just put."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart."""

    key: str
    title: str
    summary: str
    """In a sentence, for those who do not see it."""
    svg: Markup
    column: str
    rows: tuple[tuple[float, str], ...]
    """Unix time and value in words, newest first."""


def waits(reports: Sequence[SyncReport]) -> list[tuple[float, float]]:
    """When something became visible, and the seconds since its first object was put; newest first, as ``reports``."""
    found = ((each.finished_at, each.finished_at - each.put_at) for each in reports if _is_of_events(each))
    return [(at, max(waited, each_at_least)) for (at, waited), each_at_least in zip(found, _took(reports), strict=True)]


def usual_latency(reports: Sequence[SyncReport]) -> float | None:
    """The median of the last waits, None when there is none."""
    found = [waited for _, waited in waits(reports)][:_MOST]
    return median(found) if found else None


def size_chart(reports: Sequence[SyncReport]) -> Chart | None:
    """How much the repository held after each publication."""
    points = [(each.finished_at, float(each.bytes)) for each in reports if each.entries][:_MOST]
    if len(points) < _LEAST:
        return None
    newest, oldest = points[0][1], points[-1][1]
    summary = (
        f"Size after each of the last {len(points)} publications: from {text.size(oldest)} to {text.size(newest)}."
    )
    return Chart("size", "Size", summary, _line(points, text.size, base=1024), "Size", _rows(points, text.size))


def visible_chart(reports: Sequence[SyncReport]) -> Chart | None:
    """How long files took from their upload until everybody could see them."""
    points = waits(reports)[:_MOST]
    if len(points) < _LEAST:
        return None
    usual = text.seconds(median(waited for _, waited in points))
    longest = text.seconds(max(waited for _, waited in points))
    summary = f"Time from upload to visible in the last {len(points)} publications: usually {usual}, at most {longest}."
    return Chart(
        "visible", "From upload to visible", summary, _bars(points, text.seconds), "Time", _rows(points, text.seconds)
    )


def _is_of_events(report: SyncReport) -> bool:
    return bool(report.put_at) and "changed key" in report.scope and report.finished_at - report.put_at < _WAIT


def _took(reports: Sequence[SyncReport]) -> list[float]:
    """The object store tells whole seconds and has a clock of its own; a wait is no shorter than the work."""
    return [each.seconds for each in reports if _is_of_events(each)]


def _rows(points: Sequence[tuple[float, float]], said: Callable[[float], str]) -> tuple[tuple[float, str], ...]:
    return tuple((at, said(value)) for at, value in points)


def _scale(most: float, base: int) -> tuple[float, int]:
    """A round step of the axis, and how many steps reach ``most``."""
    if most <= 0:
        return 1.0, 1
    unit = 1.0
    while base > 10 and most / unit >= base:  # noqa: PLR2004 - the units of sizes
        unit *= base
    rough = most / unit / 4
    magnitude = 10.0 ** floor(log10(rough))
    step = next(each * magnitude for each in _STEPS if each * magnitude >= rough) * unit
    return step, max(ceil(most / step), 1)


def _line(points: Sequence[tuple[float, float]], said: Callable[[float], str], base: int = 10) -> Markup:
    grid, places = _grid(points, said, base)
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in places)
    ground = _HEIGHT - _BOTTOM
    area = Markup('<polygon class="area" points="{} {} {}"/>').format(
        f"{places[0][0]:.1f},{ground}", way, f"{places[-1][0]:.1f},{ground}"
    )
    dots = (
        Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"><title>{}: {}</title></circle>').format(
            f"{x:.1f}", f"{y:.1f}", text.date(at), said(value)
        )
        for x, y, at, value in places
    )
    return _picture(grid + area + Markup('<polyline class="line" points="{}"/>').format(way) + Markup("").join(dots))


def _bars(points: Sequence[tuple[float, float]], said: Callable[[float], str]) -> Markup:
    grid, places = _grid(points, said, 10)
    width = max(2.0, min(14.0, (_WIDTH - _LEFT - _RIGHT) / len(places) - 3))
    ground = _HEIGHT - _BOTTOM
    bars = (
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}" rx="2"><title>{}: {}</title></rect>').format(
            f"{x - width / 2:.1f}", f"{y:.1f}", f"{width:.1f}", f"{max(ground - y, 1):.1f}", text.date(at), said(value)
        )
        for x, y, at, value in places
    )
    return _picture(grid + Markup("").join(bars))


def _grid(
    points: Sequence[tuple[float, float]], said: Callable[[float], str], base: int
) -> tuple[Markup, list[tuple[float, float, float, float]]]:
    """Lines and words of the axes, and each point's place with its time and value, oldest first."""
    step, steps = _scale(max(value for _, value in points), base)
    high, wide = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT - _RIGHT
    lines = []
    for number in range(steps + 1):
        y = _HEIGHT - _BOTTOM - high * number / steps
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, f"{y:.1f}", f"{y:.1f}", _LEFT - 8, f"{y + 4:.1f}", said(step * number))
        )
    oldest, newest = points[-1][0], points[0][0]
    for x, anchor, at in ((_LEFT, "start", oldest), (_WIDTH - _RIGHT, "end", newest)):
        lines.append(
            Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, _HEIGHT - 5, anchor, text.date(at)[:-4])
        )
    slot = wide / len(points)
    places = [
        (_LEFT + slot * (index + 0.5), _HEIGHT - _BOTTOM - high * value / (step * steps), at, value)
        for index, (at, value) in enumerate(reversed(points))
    ]
    return Markup("").join(lines), places


def _picture(inside: Markup) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="presentation" aria-hidden="true">{}</svg>').format(
        _WIDTH, _HEIGHT, inside
    )
