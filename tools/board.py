"""results/index.html: the board of all results, one page that asks nothing of any other."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.outcomes import Row
from tools.wordings import (
    MEANINGS,
    WORDS,
    beside,
    cost,
    measured,
    published,
    repeats,
    sentence,
    trivial,
)
from training import plots, report, wording
from training.figures import Curve

TEMPLATES = Path(__file__).parent / "templates"


def html(rows: Sequence[Row]) -> str:
    """The page; a row and those beside it share a card."""
    count = Counter(row.verdict.word for row in rows)
    return report.fill(
        "board.html.j2",
        TEMPLATES,
        groups=groups(rows),
        rows=len(rows),
        verdicts=[(word, count[word], MEANINGS[word]) for word in WORDS if count[word]],
        fields=sorted(Counter(row.field for row in rows).items()),
        measured=sum(row.record is not None for row in rows),
        seconds=wording.duration(sum(row.record["seconds"] for row in rows if row.record)),
    )


def groups(rows: Sequence[Row]) -> list[list[dict[str, Any]]]:
    """The rows as the template draws them, those of one config together, the best news first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.spec.partition(":")[0], []).append(entry(row, beside(row, rows)))
    return sorted(found.values(), key=lambda card: WORDS.index(card[0]["word"]))


def entry(row: Row, other: str = "") -> dict[str, Any]:
    """A row as the template draws it; `other` is what the rows beside it measured."""
    name, _, argument = row.spec.partition(":")
    record, stated = row.record, row.baseline
    return {
        "spec": row.spec,
        "field": row.field,
        "name": name.partition("/")[2],
        "argument": argument,
        "word": row.verdict.word,
        "sentence": f"{sentence(row)} Beside it: {other}." if other else sentence(row),
        "metric": wording.spoken(stated["metric"]),
        "smaller": stated["direction"] == "min",
        "published": published(row),
        "measured": wording.show(record["mean"], record["metric"]) if record else "–",
        "trivial": trivial(row).partition(",")[0] if record and record["trivial"] else "",
        "cost": cost(row),
        "plot": dots(row),
        "facts": list(facts(row)),
        "curves": list(drawn_curves(row)),
        "source": stated["source"],
        "protocol": stated["protocol"],
        "command": f"python -m tools.reproduce {row.spec}",
    }


def dots(row: Row) -> dict[str, Any] | None:
    """Paper against ours on one axis; None without a record."""
    record, stated = row.record, row.baseline
    if record is None:
        return None
    metric, values = record["metric"], list(record["values"].values())
    low, high = record["interval"] or (None, None)
    both = [
        {
            "label": "measured", "text": measured(row), "colour": 0, "value": record["mean"],
            "low": low, "high": high, "points": values if 1 < len(values) <= 30 else [],
        }
    ]  # fmt: skip
    if stated["value"] is not None:
        paper = {
            "label": "published", "text": published(row), "colour": 1, "value": stated["value"],
            "low": None, "high": None, "points": [],
        }  # fmt: skip
        both.append(paper)
    percent = wording.is_percentage(metric)
    return plots.draw_intervals(both, row.verdict.bound, stated["direction"] == "min", percent)


def facts(row: Row) -> Iterator[tuple[str, str]]:
    """What a row says beside its number."""
    record = row.record
    if record is None:
        return
    yield "measured", f"{measured(row)}, {repeats(row)} repeats"
    yield "without learning", trivial(row)
    also = [
        f"{wording.spoken(name)} {wording.show(value, name)}"
        for name, value in record["scalars"].items()
        if name != record["metric"] and value is not None
    ]
    if also:
        yield "also", ", ".join(also[:8])
    yield "steps", f"{record['steps']:,}"
    yield "time in all", cost(row)
    runs = record["runs"]
    yield "device", "; ".join(dict.fromkeys(map(_device, runs)))
    yield "commit", ", ".join(dict.fromkeys(_commit(run["commit"]) for run in runs))
    versions = runs[-1]["versions"]
    kept = [f"{k} {versions[k]}" for k in ("jax", "jaxlib", "flax", "optax") if k in versions]
    yield "versions", ", ".join([f"Python {runs[-1]['python']}", *kept])


def _device(run: Mapping[str, Any]) -> str:
    kinds = Counter(device.partition(" ")[2] or device for device in run["devices"])
    named = ", ".join(f"{n} x {kind}" if n > 1 else kind for kind, n in kinds.items())
    return f"{named}, {run['cpu_count']} cores"


def _commit(commit: str) -> str:
    short, plus, _ = commit.partition("+")
    return short[:10] + (" with changes" if plus else "")


def drawn_curves(row: Row) -> Iterator[dict[str, Any]]:
    """A plot for each metric of the record's curves."""
    for name, splits in (row.record or {"curves": {}})["curves"].items():
        x = np.unique([point[0] for points in splits.values() for point in points]).astype(float)
        series, bands = {}, {}
        for split, points in splits.items():
            places = np.searchsorted(x, [point[0] for point in points])
            table = np.array([point[1:] for point in points], np.float64)
            series[split] = np.full(len(x), np.nan)
            series[split][places] = table[:, 0]
            if np.isfinite(table[:, 1]).any():
                bands[split] = np.full((2, len(x)), np.nan)
                bands[split][:, places] = table[:, 0] - table[:, 1], table[:, 0] + table[:, 1]
        title = wording.words(name)
        curve = Curve(title, x, series, bands, x_label="step", y_label=title)
        percent = wording.is_percentage(name)
        others = [split for split in series if split != "train"]
        colours = {"train": 0} | {split: number for number, split in enumerate(others, 1)}
        yield plots.draw_curve(curve, percent, False if percent else None, None, colours)
