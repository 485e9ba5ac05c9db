"""Evaluates a run's weights on a split: python -m tools.evaluate --workdir=DIR [--split=test].

The evaluators are those that the config has for the split, else the standard one. On the weights
that the run itself tested the values are those of its result.json, bit for bit.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from tools import command_line, launching, parts, show
from training import results
from training.contracts import Evaluator
from training.folder import number
from training.progress import setup_logging


def run(argv: Sequence[str]) -> int:
    """Prints a table, or a JSON object; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.evaluate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="the run's folder")
    parser.add_argument(
        "--checkpoint", default="tested", help="tested (what the run tests), best, last or a step"
    )
    parser.add_argument("--split", default="test", help="a key of data.splits; default test")
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    arguments, _ = parser.parse(argv)
    setup_logging()
    launching.prepare(parts.values_of(arguments.workdir))
    restored = parts.restore(arguments.workdir, arguments.checkpoint)
    scalars: dict[str, Any] = {}
    for evaluator in evaluators(restored.parts, arguments.split):
        scalars.update(evaluator.run(restored.compiled, restored.state).scalars)
    report = summary(arguments.split, scalars)
    context = {
        "name": restored.parts.settings.name,
        "workdir": arguments.workdir,
        "checkpoint": arguments.checkpoint,
        "step": restored.step,
    }
    if arguments.json:
        print(json.dumps({**context, **report}, indent=1))
        return 0
    title = f"{context['name']}  {arguments.checkpoint} weights, step {restored.step}"
    show.console().print(table(title, report))
    return 0


def evaluators(built: parts.Parts, split: str) -> list[Evaluator]:
    """The config's evaluators of the split, else the standard one; ConfigError for no such one."""
    configured = [e for e in built.evaluators if e.split == split]
    if configured:
        return configured
    entry = {"name": "standard", "split": split, "every": 0, "options": {}}
    return [parts.build_evaluator(entry, built.values, built.algorithm)]


def summary(split: str, scalars: Mapping[str, Any]) -> dict[str, Any]:
    """{"scalars": means, "members": values by member, "intervals": of their mean}, for JSON."""
    found: dict[str, Any] = {"scalars": {}, "members": {}, "intervals": {}}
    for name, value in scalars.items():
        metric, values = f"{split}/{name}", np.atleast_1d(np.asarray(value, np.float64))
        found["scalars"][metric] = number(values.mean())
        if values.size > 1:
            found["members"][metric] = [number(v) for v in values]
            found["intervals"][metric] = results.interval(list(values))
    return found


def table(title: str, report: Mapping[str, Any]) -> Table:
    """A row a metric; of an ensemble with the interval of the mean."""
    rows = Table("metric", "value", title=title, title_justify="left")
    for metric, value in report["scalars"].items():
        interval = report["intervals"].get(metric)
        members = len(report["members"].get(metric, ()))
        rows.add_row(metric, show.estimate(metric, value, interval, f"{members} members"))
    return rows


if __name__ == "__main__":
    command_line.main(run)
