"""Does the code reproduce its papers? Runs configs, the cheapest first, and records their numbers.

    python -m tools.reproduce [NAME ...] [--field=graph] [--seeds=N] [--budget=5m] [--out=DIR]
    python -m tools.reproduce --import=RUN,RUN     finished runs into records, without running
    python -m tools.reproduce --check              do the cheap rows still give what is recorded?
    python -m tools.reproduce --render             the pages again, from the records

NAME is such as graph/gcn_cora, gcn_cora or graph/gin_mutag:validated. What is interrupted goes on
where it stopped when the same command is given again. A config that says why it is not run here is
run only where it is named.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from tools import checking, command_line, find, joining, outcomes, pages, rerunning, show
from tools.outcomes import Row
from tools.wordings import both, cost, published, repeats, trivial
from training import config as configs
from training import wording
from training.contracts import ConfigError, DiskError, VerdictError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Outcome:
    """What became of a row.

    Attributes:
      row: with its new record where there is one.
      note: why it was not run or did not end; "" of one that was measured.
      failed: whether it ended with an error.
    """

    row: Row
    note: str = ""
    failed: bool = False


def run(argv: Sequence[str]) -> int:
    """Prints a table; 5 where a row failed, or --check found another number than is recorded."""
    parser = command_line.Parser(
        "python -m tools.reproduce", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="configs; all without one")
    parser.add_argument("--field", help="only the configs of a field, such as graph")
    parser.add_argument("--seeds", help="how many repeats; default: what the verdict asks for")
    parser.add_argument("--budget", help="time in total, such as 90s, 5m or 2h")
    parser.add_argument("--out", default="results", help="folder of the records and the board")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--check", action="store_true", help="rerun cheap rows, 5m in total")
    actions.add_argument(
        "--import", dest="imported", metavar="RUN,RUN", help="folders of finished runs"
    )
    actions.add_argument("--render", action="store_true", help="write the pages again")
    arguments, _ = parser.parse(argv)
    _check(arguments)
    budget = seconds(arguments.budget)
    seeds = _count(arguments.seeds)
    out, root = places(arguments.out)
    if not arguments.check:
        writable(out)
    if arguments.render:
        print(pages.counts(pages.render(out, root)))
        return 0
    rows = chosen(outcomes.rows(out), arguments.names, arguments.field)
    if arguments.imported is not None:
        found = imported(arguments.imported.split(","), rows, out)
        show.console().print(table([Outcome(row) for row in found], pages.render(out, root)))
        return 0
    if arguments.check:
        return checking.check(rows, budget or checking.SECONDS, bool(arguments.names))
    done = reproduce(rows, bool(arguments.names), seeds, budget, out, root)
    if not all(outcome.note for outcome in done):
        show.console().print(table(done, outcomes.rows(out)))
    _tell(done)
    return VerdictError.code if any(outcome.failed for outcome in done) else 0


def _check(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for what one of the three actions would not look at."""
    for action, chosen, others in (
        ("--render", arguments.render, ("names", "field", "seeds", "budget")),
        ("--check", arguments.check, ("seeds",)),
        ("--import", arguments.imported is not None, ("seeds", "budget")),
    ):
        given = [name for name in others if getattr(arguments, name) not in (None, [])]
        if chosen and given:
            what = "NAME" if given[0] == "names" else f"--{given[0]}"
            raise ConfigError(f"{action} takes no {what}")
    if arguments.imported is not None and not all(map(str.strip, arguments.imported.split(","))):
        raise ConfigError(
            f"--import={arguments.imported}: the folders of finished runs, with commas between them"
        )


def places(out: str) -> tuple[Path, Path | None]:
    """(folder of the records, root of RESULTS.md and README.md or None): the repository's own.

    Raises ConfigError for no name.
    """
    if not out:
        raise ConfigError("--out=: a folder, for the records and the board")
    path = outcomes.OWN if out == "results" else Path(out)
    return path, find.ROOT if path.resolve() == outcomes.OWN.resolve() else None


def writable(out: Path) -> None:
    """Makes the folder; raises DiskError where nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"--out={out}: {error.strerror}; give another folder") from None
    if not os.access(out, os.W_OK):
        raise DiskError(f"--out={out}: no permission to write there; give another folder")


def seconds(text: str | None) -> float | None:
    """300.0 of "5m"; a number alone is of minutes. ConfigError for anything else, and for 0."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    if not match or not float(match[1]):
        raise ConfigError(f"--budget={text}: a time such as 90s, 5m or 2h")
    return float(match[1]) * UNITS[match[2] or "m"]


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch("[0-9]+", text) or not int(text):
        raise ConfigError(f"--seeds={text}: a whole number, 1 or more")
    return int(text)


def chosen(rows: Sequence[Row], names: Sequence[str], field: str | None) -> list[Row]:
    """The rows that are asked for, the cheapest first; raises ConfigError for an unknown name."""
    fields = sorted({row.field for row in rows})
    if field is not None:
        configs.choose(field, fields, "--field")
    kept = [row for row in rows if field in (None, row.field)]
    known = {row.spec: row for row in kept}
    short = {row.spec.partition("/")[2]: row for row in kept}
    if names:
        kept = []
        for name in names:
            plain = name.removeprefix("configs/").replace(".py", "")
            row = known.get(plain) or short.get(plain)
            if row is None:
                raise ConfigError(f"{name}: no such config; {configs.nearest(plain, known)}")
            kept.append(row)
    return sorted(dict.fromkeys(kept), key=lambda row: row.seconds)


def imported(folders: Sequence[str], rows: Sequence[Row], out: Path) -> list[Row]:
    """Makes the records of finished runs; of new seeds, with those that the record has."""
    groups: dict[str, tuple[Row, list[str]]] = {}
    for folder in dict.fromkeys(folder.rstrip("/") or folder for folder in folders):
        row = outcomes.belongs(folder, rows)
        groups.setdefault(row.spec, (row, []))[1].append(folder)
    found = []
    for row, workdirs in groups.values():
        record = joining.joined(row, outcomes.make(row, workdirs))
        if kept := outcomes.better_kept(row, record):
            raise ConfigError(f"{row.spec}: {kept}; give all its runs, or another --out")
        outcomes.write(row, record, out)
        found.append(replace(row, record=record))
    return found


def reproduce(
    rows: Sequence[Row],
    named: bool,
    seeds: int | None,
    budget: float | None,
    out: Path,
    root: Path | None,
) -> list[Outcome]:
    """Runs the rows in their order and writes a record and the pages after each.

    Raises ReportedError with the run's own code where it, or this program, was stopped.
    """
    deadline = None if budget is None else time.monotonic() + budget
    done = []
    with rerunning.Bar(len(rows)) as bar:
        for row in rows:
            outcome = _one(row, named, seeds, deadline, bar, out)
            if not outcome.note:
                pages.render(out, root)
            if outcome.failed:
                print(f"{row.spec} failed: {outcome.note}", file=sys.stderr, flush=True)
            done.append(outcome)
            bar.row_done()
    return done


def _one(
    row: Row,
    named: bool,
    seeds: int | None,
    deadline: float | None,
    bar: rerunning.Bar,
    out: Path,
) -> Outcome:
    """A row's runs and its record."""
    if row.baseline["not_run_here"] and not named:
        return Outcome(row, f"not run here: {row.baseline['not_run_here']}")
    runs = rerunning.runs(row, seeds)
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and (needed := rerunning.remaining(row, runs)) > left:
        about = wording.duration(needed)
        return Outcome(row, f"not run: takes about {about}, and {max(0.0, left):.0f} s are left")
    try:
        for number, one in enumerate(runs, 1):
            bar.begin(f"{row.spec}, {number} of {len(runs)}" if len(runs) > 1 else row.spec)
            rerunning.execute(one, bar, deadline)
        record = outcomes.make(row, [str(one.workdir) for one in runs])
    except rerunning.OutOfBudgetError:
        return Outcome(row, "not finished in its time: the same command goes on")
    except (rerunning.RunError, ConfigError) as error:
        return Outcome(row, str(error), failed=True)
    if kept := outcomes.better_kept(row, record):
        print(f"{row.spec}: {kept}, which is kept", file=sys.stderr)
    else:
        outcomes.write(row, record, out)
    return Outcome(replace(row, record=record))


def table(done: Sequence[Outcome], rows: Sequence[Row]) -> Table:
    """A line for each row that has a number of this run; `rows` are all that there are."""
    found = Table(
        "config", "verdict", "published", "measured (95 % interval)", "repeats", "without learning",
        "time",
    )  # fmt: skip
    for outcome in done:
        row = outcome.row
        if not outcome.note:
            found.add_row(
                row.spec, row.verdict.word, published(row), both(row, rows), repeats(row),
                trivial(row), cost(row),
            )  # fmt: skip
    return found


def _tell(done: Sequence[Outcome]) -> None:
    """A line for each row that has none; a failed one's log was printed when it failed."""
    for outcome in done:
        if outcome.note:
            note = outcome.note.splitlines()[0]
            print(f"{outcome.row.spec}: {'FAILED, ' if outcome.failed else ''}{note}")


if __name__ == "__main__":
    command_line.main(run)
