"""Compares runs: python -m tools.compare RUN RUN ... (folders).

Runs whose configs differ in nothing but `train.seed` are one group: its row has the mean of their
values, the 95 % t-interval of that mean, and how many independent values it has (runs times
members). A column stands for each config key in which groups differ. A run that is not done is
named with its step and counts nowhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from etils import epath
from rich.table import Table

from tools import command_line, parts, show
from training import config as configs
from training import records, results
from training.folder import read_json

SEED = "train.seed"


@dataclass
class Group:
    """Runs of one config.

    Attributes:
      values: the config, flat, without the seed.
      folders: of the finished runs that count.
      metric, baseline: the first run's.
      results: the metric's values by seed ("0", or "0.3" for member 3 of an ensemble).
      seconds: of each run that counts.
    """

    values: dict[str, Any]
    metric: str
    baseline: dict[str, Any]
    folders: list[str] = field(default_factory=list)
    results: dict[str, float | None] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @property
    def known(self) -> list[float]:
        """The values that are numbers."""
        return [v for v in self.results.values() if v is not None]

    @property
    def mean(self) -> float | None:
        """None where a value is missing: a mean over the rest would flatter."""
        complete = self.known and len(self.known) == len(self.results)
        return float(np.mean(self.known)) if complete else None


def run(argv: Sequence[str]) -> int:
    """Prints a table, or a JSON object; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.compare", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder")
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    arguments, _ = parser.parse(argv)
    groups, notes = gather(list(dict.fromkeys(r.rstrip("/") or r for r in arguments.runs)))
    keys = differing(groups)
    if arguments.json:
        print(json.dumps({"groups": [document(g, keys) for g in groups], "notes": notes}, indent=1))
        return 0
    if groups:
        show.console().print(table(groups, keys))
    for note in notes:
        print(note)
    return 0


def gather(folders: Sequence[str]) -> tuple[list[Group], list[str]]:
    """The groups, the best first, and a line on each run that does not count.

    Raises ConfigError for a folder that holds no run.
    """
    groups: dict[str, Group] = {}
    notes = []
    for folder in folders:
        values = parts.values_of(folder)
        result = _result(folder)
        if result.get("status") != "done":
            step, steps = records.read(folder).last_step, values["train"]["steps"]
            notes.append(f"{folder}: not done, at step {step} of {steps}")
            continue
        flat = {k: v for k, v in configs.flatten(values).items() if k != SEED}
        key = json.dumps(configs.plain(flat), sort_keys=True)
        group = groups.setdefault(key, Group(flat, result["metric"], result["baseline"]))
        new = dict(zip(map(str, result["seeds"]), result["values"], strict=True))
        if again := sorted(set(new) & set(group.results)):
            notes.append(f"{folder}: seed {again[0]} counts already, in {group.folders[0]}")
            continue
        group.results.update(new)
        group.folders.append(folder)
        group.seconds.append(result["seconds"])
    return sorted(groups.values(), key=_rank), notes


def _result(folder: str) -> Mapping[str, Any]:
    path = epath.Path(folder) / "result.json"
    return read_json(path) if path.exists() else {}


def _rank(group: Group) -> tuple[Any, ...]:
    mean = group.mean
    if mean is None:
        return group.metric, True, 0.0
    return group.metric, False, mean if group.baseline["direction"] == "min" else -mean


def differing(groups: Sequence[Group]) -> list[str]:
    """The config keys in which groups differ, in the config's order; never the baseline's."""
    keys = dict.fromkeys(k for g in groups for k in g.values)
    return [
        k
        for k in keys
        if not k.startswith("baseline.")
        and any(_differ(g.values, groups[0].values, k) for g in groups)
    ]


def _differ(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> bool:
    return (key in a, a.get(key)) != (key in b, b.get(key))


def document(group: Group, keys: Sequence[str]) -> dict[str, Any]:
    """The group as JSON has it."""
    return {
        "name": group.values["name"],
        "metric": group.metric,
        "mean": group.mean,
        "interval": results.interval(group.known) if group.mean is not None else None,
        "n": len(group.results),
        "values": group.results,
        "seconds": float(np.mean(group.seconds)),
        "baseline": group.baseline,
        "config": {k: group.values.get(k) for k in keys},
        "runs": group.folders,
    }


def table(groups: Sequence[Group], keys: Sequence[str]) -> Table:
    """A row a group, a column a key in which they differ."""
    shown = [k for k in keys if k != "name"]
    rows = Table()
    for name in ("config", *shown, "metric", "mean", "95 % interval", "n", "seconds", "baseline"):
        rows.add_column(name, overflow="fold")
    for group in groups:
        found = document(group, keys)
        metric, interval = found["metric"], found["interval"]
        rows.add_row(
            found["name"],
            *(_text(group.values, k) for k in shown),
            metric,
            show.amount(metric, found["mean"]),
            " to ".join(show.amount(metric, v) for v in interval) if interval else "-",
            str(found["n"]),
            f"{found['seconds']:.1f}",
            show.amount(metric, group.baseline["value"]),
        )
    return rows


def _text(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "-"


if __name__ == "__main__":
    command_line.main(run)
