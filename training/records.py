"""What a run's folder holds, read as it is: unfinished, interrupted, or with files missing."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from etils import epath

from training.figures import Figure, load

# What reading a cut or overwritten .npz may raise.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass
class Run:
    """A run's folder in memory.

    Attributes:
      path: the folder.
      config, environment, result: the JSON files; {} where missing.
      metrics: lines by split and step, {"val": {200: {"loss": ..., "loss_std": ...}}}.
      timings: the lines of timings.jsonl.
      figures: the newest of each, {(split, name): (step, figure)}.
      problems: what is missing or damaged, a sentence each.
    """

    path: epath.Path
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[tuple[str, str], tuple[int, Figure]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def last_step(self) -> int:
        """The last step that any line of metrics.jsonl names; 0 where there is none."""
        return max((step for lines in self.metrics.values() for step in lines), default=0)

    def series(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(steps [n], values [n], std over the members [n] or None) of one metric."""
        lines = sorted(self.metrics.get(split, {}).items())
        rows = [(step, line[name], line.get(f"{name}_std")) for step, line in lines if name in line]
        steps = np.array([row[0] for row in rows], np.float64)
        values = np.array([row[1] for row in rows], np.float64)
        if any(row[2] is None for row in rows) or not rows:
            return steps, values, None
        return steps, values, np.array([row[2] for row in rows], np.float64)

    def last(self, split: str) -> dict[str, float]:
        """The newest value of every metric of a split."""
        merged: dict[str, float] = {}
        for _, line in sorted(self.metrics.get(split, {}).items()):
            merged.update(line)
        return merged


def read(workdir: epath.PathLike) -> Run:
    """Reads a run's folder; whatever cannot be read becomes one of its `problems`."""
    run = Run(epath.Path(workdir))
    run.config = _read_json(run, "config.json")
    run.environment = _read_json(run, "environment.json")
    run.result = _read_json(run, "result.json", expected=False)
    for line in _read_lines(run, "metrics.jsonl"):
        step, split = line.pop("step", None), line.pop("split", None)
        if not isinstance(step, int) or not isinstance(split, str):
            continue
        row = run.metrics.setdefault(split, {}).setdefault(step, {})
        row.update({k: float(v) for k, v in line.items() if isinstance(v, int | float)})
    run.timings = _read_lines(run, "timings.jsonl")
    _read_figures(run)
    return run


def _read_json(run: Run, name: str, expected: bool = True) -> dict[str, Any]:
    path = run.path / name
    if not path.exists():
        if expected:
            run.problems.append(f"{name} is missing.")
        return {}
    try:
        value = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        run.problems.append(f"{name} could not be read: {error}")
        return {}
    return value if isinstance(value, dict) else {}


def _read_lines(run: Run, name: str) -> list[dict[str, Any]]:
    path = run.path / name
    if not path.exists():
        run.problems.append(f"{name} is missing.")
        return []
    lines, damaged = [], 0
    for text in path.read_bytes().decode(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            damaged += 1
            continue
        if isinstance(line, dict):
            lines.append(line)
    if damaged:
        run.problems.append(f"{damaged} damaged line{'s' * (damaged > 1)} of {name} left out.")
    return lines


def _read_figures(run: Run) -> None:
    folder = run.path / "figures"
    steps = sorted(p for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []
    newest = {}
    for step in steps:
        for path in step.iterdir():
            if path.suffix == ".npz" and not path.name.startswith("."):
                newest[path.name] = path
    for file_name, path in sorted(newest.items()):
        split, _, name = file_name.removesuffix(".npz").partition("_")
        try:
            run.figures[split, name] = (int(path.parent.name), load(path))
        except _DAMAGED as error:
            run.problems.append(f"Figure {path.parent.name}/{file_name} could not be read: {error}")


def section(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The mapping under `name`; {} where there is none."""
    value = mapping.get(name)
    return value if isinstance(value, dict) else {}
