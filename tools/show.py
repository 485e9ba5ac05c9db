"""What the programs print for a person: tables of results, configs and values."""

import shlex
import sys
from collections.abc import Mapping
from typing import Any

from etils import epath
from rich.console import Console
from rich.table import Table

from tools import find, resolve
from training import config as plain_configs

UNITS = {"accuracy": 100.0, "top5": 100.0, "macro_f1": 100.0}


def amount(metric: str, value: float | None) -> str:
    """'98.06 %' of an accuracy, '1.8765' of anything else, '-' of nothing."""
    if value is None:
        return "-"
    scale = UNITS.get(metric.rpartition("/")[2])
    return f"{value * scale:.2f} %" if scale else f"{value:.4g}"


def estimate(metric: str, value: float | None, interval: Any, of: str) -> str:
    """An amount; where it is a mean, with its 95 % interval and of what it is the mean."""
    text = amount(metric, value)
    if not interval:
        return text
    low, high = (amount(metric, v) for v in interval)
    return f"{text}  (95 % interval {low} to {high}, {of})"


def console() -> Console:
    """Standard output; where it is no terminal, wide enough that nothing is folded."""
    return Console(width=None if sys.stdout.isatty() else 250, soft_wrap=True)


def result(found: Mapping[str, Any], workdir: epath.Path) -> None:
    """The small table at the end of a run."""
    metric, baseline = found["metric"], found["baseline"]
    table = Table(title=found["name"], show_header=False, title_justify="left")
    members = f"{len(found['values'])} members"
    text = estimate(metric, found["value"], found["interval"], members)
    table.add_row(metric.replace("/", " "), f"[bold]{text}")
    if found["selected"]:
        chosen = found["selected"]
        table.add_row("selected by", f"{chosen['metric']} (tested: the {chosen['tested']} weights)")
    if baseline["value"] is not None:
        note = "" if baseline["verified"] else ", unverified"
        where = baseline["source"] or "this repository"
        text = amount(metric, baseline["value"])
        table.add_row(f"baseline ({baseline['kind']}{note})", f"{text}  {where}")
    table.add_row("time", f"{found['seconds']:.1f} s for {found['steps']} steps")
    table.add_row("report", str(workdir / "report.html"))
    console().print(table)


def configs() -> None:
    """`train.py --list`: every config with what it should reach."""
    table = Table("config", "baseline", "metric", "kind", "source")
    for name in find.configs():
        values = resolve.complete(resolve.load_file(f"configs/{name}.py"))
        baseline = values["baseline"]
        kind = baseline["kind"] + (
            "" if baseline["verified"] or baseline["kind"] == "own" else ", unverified"
        )
        table.add_row(
            f"configs/{name}.py",
            amount(baseline["metric"], baseline["value"]),
            baseline["metric"],
            kind,
            baseline["source"],
        )
    console().print(table)


def values(full: Mapping[str, Any]) -> None:
    """`train.py --print_config`: every key as a shell's command line takes it."""
    for key, value in plain_configs.flatten(full).items():
        # Double quotes inside, as single ones are the shell's.
        text = value if isinstance(value, str) else repr(value).replace("'", '"')
        given = shlex.quote(f"--config.{key}={text}")
        print(given if key not in ("name", "smoke") else f"# {key}: {value}")
