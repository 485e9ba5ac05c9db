"""Finds what is wrong with an installation, and how to mend it: python -m tools.doctor [--json].

Looks at the interpreter, the packages against the lock, devices, TensorFlow, data, disks and git;
trains nothing and downloads nothing. Runs go to ./runs or --workdir, prepared data to
REPRISE_DATA_DIR, compiled programs to JAX_COMPILATION_CACHE_DIR or train.compilation_cache. Exit
code 5 where a fault is found.
"""

import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence

try:
    from rich.table import Table

    from tools import command_line, find, health, locked, show
    from tools.finding import Finding
    from training.contracts import VerdictError
    from training.progress import setup_logging
except (ImportError, RuntimeError) as error:
    # Without a working environment nothing else here can say so; JAX raises RuntimeError where its
    # parts do not fit together.
    print(
        f"error: {sys.executable} cannot load what Reprise needs ({error}): run `make train`, then "
        ".venv/bin/python -m tools.doctor",
        file=sys.stderr,
    )
    sys.exit(5)

COLOURS = {"ok": "green", "warn": "yellow", "fault": "bold red"}


def run(argv: Sequence[str]) -> int:
    """Prints what was found; raises VerdictError where that is a fault."""
    parser = command_line.Parser("python -m tools.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    arguments, _ = parser.parse(argv)
    setup_logging()
    findings = list(examine())
    if arguments.json:
        counts = {level: sum(f.level == level for f in findings) for level in COLOURS}
        document = {**counts, "findings": [dataclasses.asdict(f) for f in findings]}
        print(json.dumps(document, indent=1))
    else:
        show.console().print(table(findings))
    faults = [f for f in findings if f.level == "fault"]
    if faults:
        first = f"{faults[0].subject}: {faults[0].text}"
        raise VerdictError(f"{len(faults)} faults, the first is {first}: {faults[0].remedy}")
    return 0


def examine() -> Iterator[Finding]:
    """Everything that was found; what takes long runs beside the rest."""
    devices, tensorflow = health.Child(health.DEVICES), health.Child(health.TENSORFLOW)
    rest = itertools.chain(
        health.python(),
        locked.findings(find.ROOT),
        health.machine(),
        health.disks(os.environ),
        health.git(),
        health.data(),
    )
    yield from list(rest)
    yield from health.devices(devices, os.environ)
    yield from health.tensorflow(tensorflow)


def table(findings: Sequence[Finding]) -> Table:
    """A row a finding."""
    rows = Table("", "what", "found", "how to mend it")
    for found in findings:
        colour = COLOURS[found.level]
        rows.add_row(f"[{colour}]{found.level}", found.subject, found.text, found.remedy)
    return rows


if __name__ == "__main__":
    command_line.main(run)
