"""The parts of a report below its headline, from a run's records: plain values for the template."""

import shlex
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training import drawing, plots, wording
from training.contracts import is_test
from training.figures import Curve
from training.records import Run, section

# Figures in the order in which a person asks for them; any other comes after, by name.
_SECTIONS = {
    "confusion": "Confusion matrix",
    "classes": "By class",
    "mistakes": "Most confident mistakes",
    "attention": "Attention",
    "reliability": "Reliability",
}
# The kinds of figures that want a page's whole width.
_WIDE = ("images", "heat_picture")
_FIRST_CURVES = ("loss", "accuracy", "learning_rate")
# The colour of a split is the same in every plot.
_COLOURS = {"train": 0, "val": 1, "test": 2}
_HIDDEN = ("nonfinite",)


def curves(run: Run) -> Iterator[dict[str, Any]]:
    """A plot for each metric that has at least two points, the usual first."""
    splits = [s for s in ("train", "val") if s in run.metrics]
    splits += sorted(s for s in run.metrics if s not in ("train", "val"))
    names = dict.fromkeys(
        name
        for split in splits
        for line in run.metrics[split].values()
        for name in line
        if name not in _HIDDEN and not name.endswith("_std")
    )
    ordered = [n for n in _FIRST_CURVES if n in names]
    selected = run.result.get("selected") or {}
    mark = None
    if isinstance(selected.get("step"), int) and selected["step"] > 0:
        mark = (float(selected["step"]), "best")
    for name in ordered + [n for n in names if n not in ordered]:
        curve = _curve(run, splits, name)
        if curve is not None:
            percent = wording.is_percentage(name)
            log = False if percent or name == "learning_rate" else None
            inside = mark is not None and len(curve.x) and curve.x[0] <= mark[0] <= curve.x[-1]
            yield plots.draw_curve(curve, percent, log, mark if inside else None, _COLOURS)


def curves_note(run: Run) -> str:
    """What the curves of an ensemble are; '' for a single model."""
    members = section(run.config, "train").get("ensemble") or 1
    return f"mean and std of {members} members" if members > 1 else ""


def _curve(run: Run, splits: list[str], name: str) -> Curve | None:
    found = {split: run.series(split, name) for split in splits}
    found = {split: rows for split, rows in found.items() if len(rows[0]) > 1}
    if not found:
        return None
    x = np.unique(np.concatenate([steps for steps, _, _ in found.values()]))
    series, bands = {}, {}
    for split, (steps, values, std) in found.items():
        places = np.searchsorted(x, steps)
        series[split] = np.full(len(x), np.nan)
        series[split][places] = values
        if std is not None:
            bands[split] = np.full((2, len(x)), np.nan)
            bands[split][:, places] = values - std, values + std
    title = wording.words(name)
    return Curve(title, x, series, bands, x_label="step", y_label=title)


def _weights(run: Run, entry: Mapping[str, Any]) -> str:
    """Of which step the weights were that a figure speaks of."""
    selected = run.result.get("selected") or {}
    if is_test(entry["split"]) and selected.get("tested") == "best":
        best = selected.get("step")
        return "best weights" + (f", of step {best:,}" if isinstance(best, int) else "")
    return f"step {entry['step']:,}"


def sections(run: Run) -> Iterator[dict[str, Any]]:
    """The evaluators' figures by name, those of the test split open and first."""
    names = list(dict.fromkeys(name for _, name in run.figures))
    names.sort(key=lambda n: (list(_SECTIONS).index(n) if n in _SECTIONS else len(_SECTIONS), n))
    for name in names:
        found: list[dict[str, Any]] = []
        for (split, other), (step, figure) in run.figures.items():
            if other != name:
                continue
            try:
                found.append({"split": split, "step": step, "drawn": drawing.draw(figure)})
            except (ValueError, IndexError, TypeError) as error:
                run.problems.append(f"Figure {split}_{name} could not be drawn: {error}")
        found.sort(key=lambda entry: (entry["split"] != "test", entry["split"]))
        if not found:
            continue
        title = _SECTIONS.get(name, wording.words(name))
        for entry in found:
            # What the heading already says need not stand in the card again.
            added = entry["drawn"]["title"].removeprefix(title).strip()
            entry["note"] = f"{entry['split']} split, {_weights(run, entry)}"
            if added.startswith("(") or not added:
                entry["drawn"]["title"] = ""
                entry["note"] += f", {added.strip('()')}" if added else ""
        first = found[0]
        yield {
            "id": "figure-" + "".join(c if c.isalnum() else "-" for c in name),
            "title": title,
            "note": first["note"],
            "drawn": first["drawn"],
            "others": found[1:],
        }


def numbers(run: Run) -> Iterator[dict[str, Any]]:
    """One section: the last value of each metric by split; none where nothing was measured."""
    splits = [s for s in ("train", "val", "test") if s in run.metrics]
    splits += sorted(s for s in run.metrics if s not in splits)
    last = {split: run.last(split) for split in splits}
    names = dict.fromkeys(n for values in last.values() for n in values if not n.endswith("_std"))
    ordered = [name for name in _FIRST_CURVES if name in names]
    rows = []
    for name in ordered + [name for name in names if name not in ordered]:
        if name in _HIDDEN and not any(last[s].get(name) for s in splits):
            continue
        cells = []
        for split in splits:
            value, std = last[split].get(name), last[split].get(f"{name}_std")
            cells.append(wording.show_spread(value, std, name))
        rows.append((wording.words(name), *cells))
    if rows:
        yield {
            "id": "metrics",
            "title": "Metrics",
            "note": "the last value of each split",
            "drawn": {"kind": "table", "title": "", "columns": ("metric", *splits), "rows": rows},
            "others": [],
        }


def side_by_side(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections, each told whether it is `wide`: two narrow neighbours share a row."""
    free = False
    for place, entry in enumerate(found):
        narrow = entry["drawn"]["kind"] not in _WIDE
        after = found[place + 1 :][:1]
        partner = narrow and not free and any(a["drawn"]["kind"] not in _WIDE for a in after)
        entry["wide"] = not (free or partner)
        free = bool(partner)
    return found


def timing(run: Run) -> dict[str, Any]:
    """Rates and seconds as (value, label) tiles, and the rate over the run."""
    lines = [t for t in run.timings if isinstance(t.get("step"), int)]
    events = {t["event"]: t for t in run.timings if "event" in t}

    def median(name: str) -> float | None:
        values = [t[name] for t in lines if isinstance(t.get(name), int | float)]
        return statistics.median(values) if values else None

    def seconds(name: str) -> float | None:
        return events.get(name, {}).get("seconds")

    memory = events.get("memory", {})
    tiles = [
        ("examples a second", wording.count(median("examples_per_s"))),
        ("steps a second", wording.count(median("steps_per_s"))),
        ("compiling", wording.duration(seconds("compiled"))),
        ("start to first step", wording.duration(seconds("first_step"))),
        ("waiting for data", wording.share(median("wait_share"))),
        ("saving", wording.share(median("save_share"))),
        ("peak memory", wording.size(memory.get("host_bytes"))),
        ("peak device memory", wording.size(memory.get("device_bytes"))),
        ("whole run", wording.duration(run.result.get("seconds"))),
    ]
    plot = None
    rates = {t["step"]: t["examples_per_s"] for t in lines if t.get("examples_per_s")}
    if len(rates) > 1:
        steps = np.array(sorted(rates), np.float64)
        values = np.array([rates[int(s)] for s in steps], np.float64)
        curve = Curve("Examples a second", steps, {"examples a second": values}, x_label="step")
        plot = plots.draw_curve(curve, log=False, from_zero=True)
    return {"tiles": [(label, text) for label, text in tiles if text], "plot": plot}


def environment(run: Run) -> dict[str, Any]:
    """Devices, commit and host as (name, text), and the versions of the packages."""
    environment = run.environment
    commit = str(environment.get("git_commit") or "")
    names = {"python": "Python", "platform": "platform", "hostname": "host", "cpu_count": "CPUs"}
    rows = [(label, str(environment[key])) for key, label in names.items() if environment.get(key)]
    if environment.get("process_count", 1) != 1:
        rows.append(("processes", str(environment["process_count"])))
    if commit:
        rows.append(("commit", commit.replace("+changes", " with changes that were not committed")))
    devices = [str(d) for d in environment.get("devices") or []]
    if devices:
        shown = ", ".join(devices[:4])
        more = f" and {len(devices) - 4} more" if len(devices) > 4 else ""
        rows.insert(0, ("devices", shown + more))
    versions = [(k, str(v)) for k, v in section(environment, "versions").items()]
    return {"rows": rows, "versions": versions}


def config(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """The resolved config as (section, [(dotted key, value)])."""
    parts = {name: value for name, value in run.config.items() if isinstance(value, dict | list)}
    rest = {name: value for name, value in run.config.items() if name not in parts}
    found = [(name, list(_flat("", value))) for name, value in ({"run": rest} | parts).items()]
    return [(name, rows) for name, rows in found if rows]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    nested = isinstance(value, list) and any(isinstance(v, dict) for v in value)
    if isinstance(value, dict) or nested:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in items:
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), entry)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value)) or "()"
    else:
        yield prefix, repr(value) if value == "" else str(value)


def repeat(run: Run) -> dict[str, str]:
    """The commands that repeat the run."""
    path = Path(str(run.path))
    if "://" not in str(run.path) and path.resolve().is_relative_to(Path.cwd()):
        path = path.resolve().relative_to(Path.cwd())
    shown = str(run.path) if "://" in str(run.path) else str(path)
    config = shlex.quote(f"{shown}/config.json")
    commit = str(run.environment.get("git_commit") or "").removesuffix("+changes")
    return {
        "command": f"python train.py --config={config} --fresh",
        "commit": f"git checkout {commit}" if commit else "",
        "started": str(run.environment.get("command") or ""),
    }
