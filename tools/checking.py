"""Do the cheap rows still give what is recorded? By the rerun rule of training/verdict.py.

A rerun is a fresh run: of an ensemble ten members, of others one seed. A config that is no longer
the record's is named too: its number would be of something else.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools import outcomes, rerunning
from tools.outcomes import Row
from training import records, verdict, wording
from training.contracts import ConfigError, InterruptedRunError, PreemptedError, VerdictError

SECONDS = 300.0
MEMBERS = 10


def check(rows: Sequence[Row], budget: float, named: bool = False) -> int:
    """Reruns the cheapest rows that fit the budget together; 5 where one does not agree.

    Args:
      rows: in the order of their costs.
      budget: seconds that the records say of all reruns together.
      named: whether the user named them: each that is left out is told then.

    Raises ConfigError where no row fits.
    """
    chosen, spent, left_out = [], 0.0, {}
    for row in sorted(rows, key=cost):
        if reason := uncheckable(row):
            left_out[row.spec] = reason
        elif spent + cost(row) > budget:
            left_out[row.spec] = "takes longer than is left: see --budget"
        else:
            chosen.append(row)
            spent += cost(row)
    counted = {f"{n} rows": reason for reason, n in Counter(left_out.values()).items()}
    told = left_out if named else counted
    if not chosen:
        why = "; ".join(f"{spec} {reason}" for spec, reason in told.items())
        raise ConfigError(f"nothing to rerun in {budget:.0f} s: {why}")
    for spec, reason in told.items():
        print(f"{spec}: left out, {reason}", file=sys.stderr)
    print(f"about {wording.duration(spent)} by the records", file=sys.stderr)
    failed = 0
    with tempfile.TemporaryDirectory() as folder, rerunning.Bar(len(chosen)) as bar:
        for row in chosen:
            agrees, line = one(row, Path(folder), bar)
            failed += not agrees
            print(line, flush=True)
            bar.row_done()
    print(f"{len(chosen) - failed} of {len(chosen)} rows agree with their records")
    return VerdictError.code if failed else 0


def repeats(row: Row) -> int:
    """How many new values a rerun has: all folds of a protocol that has folds."""
    members = row.values["train"]["ensemble"]
    folds = row.baseline["spread"]["kind"] == "folds"
    return members if folds else min(MEMBERS, members)


def cost(row: Row) -> float:
    """The seconds of a rerun, as the record says; 0 without one."""
    if row.record is None:
        return 0.0
    return row.record["seconds"] * repeats(row) / len(row.record["values"])


def uncheckable(row: Row) -> str:
    """Why nothing can be held against a row; "" where it can."""
    if row.record is None:
        return "has no record"
    few = len(row.record["values"]) < 2
    return "has a record of one value, whose spread is not known" if few else ""


def one(row: Row, folder: Path, bar: rerunning.Bar) -> tuple[bool, str]:
    """(whether a row agrees, a line about it)."""
    assert row.record is not None
    seeds = repeats(row) if row.values["train"]["ensemble"] > 1 else 1
    (run,) = rerunning.runs(row, seeds, folder)
    bar.begin(row.spec)
    try:
        rerunning.execute(run, bar)
    except rerunning.RunError as error:
        return False, f"{row.spec}: FAILED, {error}"
    except (PreemptedError, InterruptedRunError) as error:
        raise type(error)("stopped; nothing of a check is kept") from None
    values = records.read(run.workdir).result["values"]
    agrees, line = compare(row, values)
    differences = outcomes.changed(row.record["resolved"], row.values)
    if differences:
        return False, f"{line}; its config is not the record's: {outcomes.told(differences)}"
    return agrees, line


def compare(row: Row, values: Sequence[float | None]) -> tuple[bool, str]:
    """(whether the mean of new values agrees with the record's, a line that says both)."""
    assert row.record is not None
    metric, recorded = row.record["metric"], row.record["mean"]
    if None in values:
        return False, f"{row.spec}: DIFFERS, {metric} is no number"
    mean = float(np.mean(np.array(values, np.float64)))
    known = list(row.record["values"].values())
    allowed = verdict.rerun_allowance(known, len(values))
    agrees = abs(mean - recorded) <= allowed
    said = wording.show(mean, metric), wording.show(recorded, metric)
    line = (
        f"{row.spec}: {'agrees' if agrees else 'DIFFERS'}, {wording.spoken(metric)} {said[0]} by "
        f"{len(values)} new repeats, {said[1]} recorded by {len(known)}, off by "
        f"{verdict.gap(mean - recorded, metric)}, allowed {verdict.gap(allowed, metric)}"
    )
    return agrees, line
