"""report.html: one self-contained page about a run, made from nothing but the run's folder."""

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from training import contents, files, plots, verdict, wording
from training.records import Run, read, section

_TEMPLATES = Path(__file__).parent / "templates"
_OPEN_CURVES = 3


def write(workdir: epath.PathLike) -> epath.Path:
    """Writes `workdir`/report.html, whole or not at all, and returns its path.

    An unfinished run, or a folder with files missing, gives a page that says what is missing.
    """
    run = read(workdir)
    page = render(run)
    path = run.path / "report.html"
    files.write_whole(path, page)
    return path


def render(run: Run) -> str:
    """The page of a run as one text of HTML."""
    curves = list(contents.curves(run))
    return fill(
        "report.html.j2",
        head=_head(run),
        baseline=_baseline(run),
        curves=curves[:_OPEN_CURVES],
        more_curves=curves[_OPEN_CURVES:],
        curves_note=contents.curves_note(run),
        sections=contents.side_by_side([*contents.sections(run), *contents.numbers(run)]),
        timing=contents.timing(run),
        environment=contents.environment(run),
        config=contents.config(run),
        repeat=contents.repeat(run),
        problems=run.problems,
    )


def fill(template: str, *folders: Path, **values: Any) -> str:
    """A page as one text of HTML: a template of training/templates, or of `folders` before it."""
    import jinja2  # 0.1 s that a training process need not wait for

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)


def _head(run: Run) -> dict[str, Any]:
    """Name, state and the one number."""
    name = str(run.config.get("name") or run.result.get("name") or run.path.name)
    field, _, short = name.rpartition("/")
    done = run.result.get("status") == "done"
    train = section(run.config, "train")
    metric = str(run.result.get("metric") or section(run.config, "baseline").get("metric") or "")
    number = {"value": "–", "label": "no metric yet", "note": ""}
    if done and run.result.get("value") is not None:
        number = {
            "value": wording.show(run.result["value"], metric),
            "label": wording.spoken(metric),
            "note": _interval_note(run.result, metric),
        }
    elif newest := _newest(run):
        number = newest
    elif done:
        number = {
            "value": "–",
            "label": wording.spoken(metric),
            "note": "the metric was not measured",
        }
    steps = run.result.get("steps", run.last_step)
    return {
        "field": field,
        "name": short,
        "done": done,
        "smoke": bool(run.config.get("smoke")),
        "number": number,
        "facts": list(_facts(run, steps, train)),
    }


def _newest(run: Run) -> dict[str, str] | None:
    """Of an unfinished run: the metric that selects, else any of the validation split."""
    wanted = str(section(section(run.config, "train"), "select").get("metric") or "val/accuracy")
    for metric in (wanted, "val/loss", "train/loss"):
        split, _, name = metric.rpartition("/")
        steps, values, _ = run.series(split, name)
        if len(values):
            return {
                "value": wording.show(float(values[-1]), name),
                "label": f"{wording.spoken(f'{split}/{name}')} so far",
                "note": f"at step {int(steps[-1]):,}; not the tested weights",
            }
    return None


def _interval_note(result: Mapping[str, Any], metric: str) -> str:
    count = len(result.get("values") or [])
    if not result.get("interval"):
        return "one run, so without an interval" if count == 1 else ""
    low, high = (wording.show(end, metric) for end in result["interval"])
    return f"95 % interval {low} to {high}, from {count} repeats"


def _facts(run: Run, steps: int, train: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    wanted = train.get("steps")
    early = wanted and steps < wanted
    yield "steps", f"{steps:,} of {wanted:,}" if early else f"{steps:,}"
    if run.result.get("seconds") is not None:
        yield "time", wording.duration(run.result["seconds"])
    seeds = run.result.get("seeds") or ([train["seed"]] if "seed" in train else [])
    if seeds:
        few = ", ".join(map(str, seeds))
        text = few if len(seeds) <= 6 else f"{len(seeds)}: {seeds[0]} to {seeds[-1]}"
        yield "seed" if len(seeds) == 1 else "seeds", text
    selected = run.result.get("selected")
    if selected:
        values, at = np.atleast_1d(selected["value"]), np.atleast_1d(selected["step"])
        known = [float(v) for v in values if v is not None]
        if known:
            metric = selected["metric"]
            one = f"at step {at[0]:,}" if len(at) == 1 else f"mean of {len(known)}"
            shown = wording.show(statistics.fmean(known), metric)
            yield f"best {wording.spoken(metric)}", f"{shown}, {one}"
            yield "tested weights", str(selected.get("tested", ""))
    for label in ("model", "algorithm"):
        if name := section(run.config, label).get("name"):
            yield label, str(name)
    if source := section(section(run.config, "data"), "source").get("name"):
        yield "data", str(source)


def _baseline(run: Run) -> dict[str, Any] | None:
    """Baseline against measured, and the verdict; None where the config states no baseline."""
    stated = section(run.config, "baseline") or section(run.result, "baseline")
    if not stated:
        return None
    metric = str(stated.get("metric", ""))
    values = [v for v in run.result.get("values") or [] if v is not None]
    finished = run.result.get("status") == "done" and bool(values)
    judged = verdict.Verdict("NOT JUDGED", "The run is not finished.")
    if run.config.get("smoke"):
        judged = verdict.Verdict("NOT JUDGED", "A smoke run on made-up data measures nothing.")
    elif finished:
        judged = verdict.judge(stated, values, run.result.get("interval"))
    rows = []
    if stated.get("value") is not None:
        rows.append(_published(stated, metric))
    if finished:
        low, high = run.result.get("interval") or (None, None)
        rows.append(
            {
                "label": "this run" if len(values) == 1 else f"this run, {len(values)} repeats",
                "text": _with_interval(run.result["value"], low, high, metric),
                "colour": 0,
                "value": run.result["value"],
                "low": low,
                "high": high,
                "points": values if len(values) > 1 else [],
            }
        )
    if len(rows) == 1 and rows[0]["low"] is None:
        rows = []  # one dot alone compares nothing
    smaller = stated.get("direction") == "min"
    percent = wording.is_percentage(metric)
    return {
        "metric": wording.spoken(metric),
        "word": judged.word,
        "sentence": judged.sentence,
        "plot": plots.draw_intervals(rows, judged.bound, smaller, percent) if rows else None,
        "source": str(stated.get("source") or ""),
        "protocol": str(stated.get("protocol") or ""),
        "smaller": smaller,
    }


def _published(stated: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """The baseline's row: its interval is two standard errors of its mean, where it has one."""
    value, spread = float(stated["value"]), stated.get("spread") or {}
    kind, width, n = spread.get("kind", "none"), spread.get("value") or 0.0, spread.get("n") or 0
    low = high = None
    if kind != "none" and width:
        half = 2 * width / math.sqrt(n) if kind in ("seeds", "folds", "splits") and n else width
        low, high = value - half, value + half
    published = stated.get("kind") == "published"
    return {
        "label": "published" if published else "own, as recorded",
        "text": _with_interval(value, low, high, metric),
        "colour": 1,
        "value": value,
        "low": low,
        "high": high,
        "points": [],
    }


def _with_interval(value: float, low: float | None, high: float | None, metric: str) -> str:
    text = wording.show(value, metric)
    if low is None or high is None:
        return text
    ends = f"{wording.show(low, metric)} to {wording.show(high, metric)}"
    return f"{text} ({ends})"
