"""Lines, points and intervals as geometry: what `templates/figures.html.j2` turns into SVG.

A plot's area is WIDTH x HEIGHT units, stretched by the page to any size; its labels are text of the
page at positions in percent, so that they stay readable at every width.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.axes import Axis, axes, make_axis
from training.figures import Bars, Curve, Graph, Scatter

WIDTH, HEIGHT = 600, 300
MOST_POINTS = 300
MOST_DOTS = 3000
COLOURS = 8


def thin(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """The points whose y is finite; where there are too many, means of neighbours."""
    keep = np.isfinite(y)
    x, y = np.asarray(x, np.float64)[keep], np.asarray(y, np.float64)[keep]
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(x)))
    return np.add.reduceat(x, edges) / counts, np.add.reduceat(y, edges) / counts


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """'M0,1L2,3' of shares in [0, 1], y upwards."""
    points = (f"{WIDTH * a:.1f},{HEIGHT * (1 - b):.1f}" for a, b in zip(x, y, strict=True))
    return "M" + "L".join(points) if len(x) else ""


def _dots(x: np.ndarray, y: np.ndarray, width: float = WIDTH, height: float = HEIGHT) -> str:
    """A path of lines without length: their round ends are circles however the plot stretches."""
    return "".join(f"M{width * a:.1f},{height * (1 - b):.1f}h0" for a, b in zip(x, y, strict=True))


def draw_curve(
    curve: Curve,
    percent: bool = False,
    log: bool | None = None,
    mark: tuple[float, str] | None = None,
    colours: Mapping[str, int] | None = None,
    from_zero: bool = False,
) -> dict[str, Any]:
    """What the template draws of a Curve.

    `log` None chooses a logarithmic y axis where positive values span more than a factor of 50;
    `mark` is a vertical line (x, label); `colours` numbers the series' colours; `from_zero` lets
    the y axis hold 0.
    """
    x_axis, y_axis = _axes_of(curve, percent, log, from_zero)
    lines, bands, points = [], [], []
    for number, (name, values) in enumerate(curve.series.items()):
        colour = (colours or {}).get(name, number % COLOURS)
        x, y = thin(curve.x, values)
        few = len(x) <= 40
        line = {
            "name": name,
            "colour": colour,
            "path": _path(x_axis(x), y_axis(y)),
            "dots": _dots(x_axis(x), y_axis(y)) if few and curve.sizes is None else "",
            "sized": _sized(curve, values, x_axis, y_axis),
        }
        lines.append(line)
        points.append(
            {
                "name": name,
                "colour": colour,
                "px": [round(float(v), 4) for v in x_axis(x)],
                "x": [float(f"{v:.6g}") for v in x],
                "y": [float(f"{v:.4g}") for v in y],
            }
        )
        if name in curve.bands:
            bands.append({"colour": colour, "path": _band(curve, name, x_axis, y_axis)})
    return {
        "kind": "curve",
        "title": curve.title,
        "alt": _alt(curve),
        "lines": lines,
        "bands": bands,
        "legend": len(lines) > 1,
        "diagonal": curve.diagonal,
        "mark": {"x": float(x_axis(mark[0])), "label": mark[1]} if mark else None,
        "points": {"x_label": curve.x_label, "percent": percent, "series": points},
        **axes(x_axis, y_axis, curve.x_label, curve.y_label),
    }


def _axes_of(curve: Curve, percent: bool, log: bool | None, from_zero: bool) -> tuple[Axis, Axis]:
    everything = np.concatenate([np.ravel(v) for v in (*curve.series.values(), [])])
    everything = everything[np.isfinite(everything)]
    if log is None:
        log = bool(everything.size) and 0 < 50 * everything.min() < everything.max()
    # Negative edges of a band (a mean less its std) have no place on a logarithmic axis.
    floor = everything.min() * 0.5 if log and everything.size else -np.inf
    edges = [np.maximum(np.ravel(v), floor) for v in curve.bands.values()]
    if curve.diagonal:
        shared = np.concatenate([[0.0, 1.0], curve.x, everything, *edges])
        axis = make_axis(shared, percent=percent, tight=True)
        return axis, axis
    x = np.asarray(curve.x, np.float64)
    # An axis of steps begins at 0, where the first point is near enough.
    start = [0.0] if len(x) and 0 < x[0] <= 0.2 * x[-1] else []
    whole = bool(np.all(x == np.round(x)))
    x_axis = make_axis(np.append(x, start), count=4, tight=len(x) > 1, whole=whole)
    zero = [0.0] if from_zero else []
    y_axis = make_axis(np.concatenate([everything, *edges, zero]), log=log, percent=percent)
    return x_axis, y_axis


def _band(curve: Curve, name: str, x_axis: Axis, y_axis: Axis) -> str:
    floor = y_axis.low if y_axis.log else -np.inf
    low, high = (np.maximum(edge, floor) for edge in curve.bands[name])
    x, low = thin(curve.x, low)
    high = thin(curve.x, high)[1]
    return _path(
        np.append(x_axis(x), x_axis(x)[::-1]), np.append(y_axis(low), y_axis(high)[::-1])
    ) + ("Z" if len(x) else "")


def _sized(
    curve: Curve, values: np.ndarray, x_axis: Axis, y_axis: Axis
) -> list[dict[str, float | str]]:
    """A circle a point, whose area is its share of `sizes`."""
    if curve.sizes is None or not len(curve.x):
        return []
    share = np.sqrt(np.asarray(curve.sizes, np.float64) / max(float(np.max(curve.sizes)), 1e-12))
    rows = zip(x_axis(curve.x), y_axis(values), share, strict=True)
    return [
        {"path": _dots(np.array([x]), np.array([y])), "width": round(5 + 17 * float(s), 1)}
        for x, y, s in rows
        if np.isfinite(y)
    ]


def _alt(curve: Curve) -> str:
    parts = []
    for name, values in curve.series.items():
        finite = np.asarray(values, np.float64)[np.isfinite(values)]
        if finite.size:
            parts.append(f"{name} goes from {finite[0]:.4g} to {finite[-1]:.4g}")
    span = f" over {curve.x_label or 'x'} {curve.x[0]:g} to {curve.x[-1]:g}" if len(curve.x) else ""
    return f"{curve.title or curve.y_label}: {', '.join(parts) or 'no values'}{span}"


def draw_scatter(scatter: Scatter) -> dict[str, Any]:
    """What the template draws of a Scatter: one path a group; evenly thinned beyond MOST_DOTS."""
    points = np.asarray(scatter.points, np.float64)
    groups = np.zeros(len(points), int) if scatter.groups is None else np.asarray(scatter.groups)
    step = max(1, math.ceil(len(points) / MOST_DOTS))
    points, groups = points[::step], groups[::step]
    finite = np.isfinite(points).all(axis=1)
    points, groups = points[finite], groups[finite]
    x_axis, y_axis = (make_axis(points[:, i]) for i in (0, 1))
    layers = []
    for group in range(max(1, len(scatter.group_names))):
        chosen = points[groups == group]
        layers.append(
            {
                "name": scatter.group_names[group] if scatter.group_names else "",
                "colour": group % COLOURS,
                "path": _dots(x_axis(chosen[:, 0]), y_axis(chosen[:, 1])),
            }
        )
    return {
        "kind": "scatter",
        "title": scatter.title,
        "alt": f"{scatter.title}: {len(scatter.points)} points",
        "layers": layers,
        "legend": bool(scatter.group_names),
        **axes(x_axis, y_axis, scatter.x_label, scatter.y_label),
    }


def draw_graph(graph: Graph) -> dict[str, Any]:
    """What the template draws of a Graph, its proportions kept; edges in four strengths."""
    positions = np.asarray(graph.positions, np.float64)
    low = positions.min(axis=0) if len(positions) else np.zeros(2)
    span = np.ptp(positions, axis=0) if len(positions) else np.ones(2)
    span = np.where(span > 0, span, 1.0)
    scale = WIDTH / max(span)
    width, height = float(span[0] * scale), float(span[1] * scale)
    shares = (positions - low) / span
    edges = np.asarray(graph.edges, int).reshape(-1, 2)
    weights = np.ones(len(edges)) if graph.weights is None else np.asarray(graph.weights)
    strength = np.clip(np.ceil(np.nan_to_num(weights) * 4), 1, 4).astype(int)
    groups = np.zeros(len(shares), int) if graph.groups is None else np.asarray(graph.groups)
    names = graph.group_names or ("",)

    def segments(chosen: np.ndarray) -> str:
        ends = shares[chosen] * [width, -height] + [0, height]
        return "".join(f"M{a:.1f},{b:.1f}L{c:.1f},{d:.1f}" for (a, b), (c, d) in ends)

    layers = []
    for group, name in enumerate(names):
        x, y = shares[groups == group].T
        path = _dots(x, y, width, height)
        layers.append({"name": name, "colour": group % COLOURS, "path": path})
    return {
        "kind": "graph",
        "title": graph.title,
        "alt": f"{graph.title}: {len(shares)} nodes, {len(edges)} edges",
        "width": round(width, 1),
        "height": round(height, 1),
        "edges": [{"path": segments(edges[strength == s]), "opacity": s / 4} for s in (1, 2, 3, 4)],
        "layers": layers,
        "legend": bool(graph.group_names),
        "dot": 9 if len(shares) <= 200 else 4,
    }


def draw_bars(bars: Bars) -> dict[str, Any]:
    """What the template draws of Bars: lengths in units of WIDTH, the longest fills it."""
    values = np.asarray(bars.values, np.float64)
    longest = float(values.max(initial=0.0)) or 1.0
    texts = [f"{100 * v:.1f} %" if bars.percent else f"{v:.4g}" for v in values]
    rows = [
        {"label": label, "text": text, "length": round(WIDTH * float(v) / longest, 1)}
        for label, text, v in zip(bars.labels, texts, values, strict=True)
    ]
    said = ", ".join(f"{row['label']} {row['text']}" for row in rows)
    return {"kind": "bars", "title": bars.title, "alt": f"{bars.title}: {said}", "rows": rows}


def draw_intervals(
    rows: Sequence[Mapping[str, Any]], bound: float | None, smaller: bool, percent: bool
) -> dict[str, Any]:
    """Values with their intervals, one row each, over one axis.

    Args:
      rows: {"label", "text", "colour", "value", "low", "high", "points"}; an end may be None.
      bound: where the zone of what reproduces begins; None draws none.
      smaller: whether less is better.
      percent: whether the axis is in percent.
    """
    numbers = [row["value"] for row in rows] + [p for row in rows for p in row["points"]]
    numbers += [row[end] for row in rows for end in ("low", "high")] + [bound]
    values = np.array([n for n in numbers if n is not None], np.float64)
    if not np.ptp(values):
        # One value, or equal ones: an axis to stand on, not a magnified nothing.
        margin = 0.02 if percent else 0.1 * abs(values[0]) or 1.0
        values = np.append(values, [values[0] - margin, values[0] + margin])
    axis = make_axis(values, count=4, percent=percent)

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * float(axis(value)), 2)

    zone = None
    if bound is not None:
        start = at(bound) or 0.0
        zone = {"left": 0.0, "width": start} if smaller else {"left": start, "width": 100 - start}
    return {
        "rows": [
            {
                "label": row["label"],
                "text": row["text"],
                "colour": row["colour"],
                "value": at(row["value"]),
                "low": at(row["low"]),
                "high": at(row["high"]),
                "points": [at(p) for p in row["points"]],
            }
            for row in rows
        ],
        "zone": zone,
        "ticks": [(round(100 * p, 2), text) for p, text in axis.ticks if 0 <= p <= 1],
    }
