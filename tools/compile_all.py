"""Compiles all configs that need an accelerator for TPU slices: make compile-tpu.

    .venv-tpu/bin/python -m tools.compile_all [--slices=v5e:2x4] [--only=vit_l16] [--readme]

One program after the other, as each takes all cores and gigabytes; what each reports is kept in
--results, and a program whose report is there is not compiled again. --readme writes what is kept
into the table between README.md's marks, whose other rows stay.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from tools import chips, command_line, compiling, find, fitting, parts, published, resolve
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import ConfigError, VerdictError
from training.mesh import make

SLICES = ("v5e:2x4", "v5e:16x16", "v5p:2x2x2", "v6e:4x4")
# Above this a run takes a CPU days.
NEEDS_ACCELERATOR = 1e17
MARK = "<!-- tpu -->"


def run(argv: Sequence[str]) -> int:
    """Compiles what is missing and prints a line each; 5 where one does not compile or fit."""
    parser = command_line.Parser(
        "python -m tools.compile_all", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--slices", default=",".join(SLICES), help="with commas")
    parser.add_argument("--only", default="", help="one config, or those with this in their name")
    parser.add_argument("--results", default="artifacts/compile", help="folder of the reports")
    parser.add_argument("--readme", action="store_true", help="write README.md's table")
    arguments, _ = parser.parse(argv)
    topologies = [chips.topology(name) for name in arguments.slices.split(",")]
    # Nothing but shapes is needed here, and libtpu would look for a TPU, at length.
    jax.config.update("jax_platforms", "cpu")
    names = chosen(arguments.only)
    folder = Path(arguments.results)
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names:
        for topology in topologies:
            found = one(name, topology.name, folder)
            failed += not found["fits"]
            print(line(found), flush=True)
    if arguments.readme:
        write(reports(folder), find.ROOT / "README.md")
    return VerdictError.code if failed else 0


def chosen(only: str) -> list[str]:
    """The config of this name, or those that need an accelerator and have it in theirs.

    Raises ConfigError where there is none.
    """
    names = [only] if only in find.configs() else [name for name in needing() if only in name]
    if not names:
        raise ConfigError(f"--only={only}: no config that needs an accelerator has it")
    return names


def needing() -> list[str]:
    """The configs whose training takes more than `NEEDS_ACCELERATOR` operations."""
    return [name for name in find.configs() if operations(name) > NEEDS_ACCELERATOR]


def operations(name: str) -> float:
    """All operations of a config's run."""
    values = resolve.resolve(resolve.load_file(f"configs/{name}.py"))
    built = parts.build(values, fake=True)
    train, here = built.settings.train, make(Mesh(), jax.devices()[:1])
    compiled = Compiled(built.algorithm, built.train, here, train)
    return compiling.operations(compiled) * train.steps


def one(name: str, topology: str, folder: Path) -> dict[str, Any]:
    """The report of one config on one slice: the kept one, or of a program of its own."""
    path = folder / f"{name.replace('/', '.')}@{topology.replace(':', '-')}.json"
    if path.exists():
        return json.loads(path.read_text())
    command = [
        sys.executable, "-m", "tools.compile", f"--config=configs/{name}.py",
        f"--topologies={topology}", "--json",
    ]  # fmt: skip
    done = _start(command)
    died = done.returncode < 0
    if died:
        # The compiler itself: what its least effort leaves out may be what it died of.
        done = _start(command, JAX_EXEC_TIME_OPTIMIZATION_EFFORT="-1")
    if done.returncode not in (0, VerdictError.code):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1][:200]
        return {"name": name, "target": topology, "fits": False, "error": last}
    (found,) = json.loads(done.stdout)
    found["least_effort"] = died
    path.write_text(json.dumps(found, indent=1))
    return found


def _start(command: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=find.ROOT, capture_output=True, text=True, check=False, env=os.environ | more
    )


def reports(folder: Path) -> list[dict[str, Any]]:
    """What is kept."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return [f for f in found if "error" not in f]


def line(found: Mapping[str, Any]) -> str:
    """A report in one line."""
    if "error" in found:
        return f"{found.get('name', '')} {found['target']}: ERROR {found['error']}"
    return " ".join(cells(found))


def cells(found: Mapping[str, Any]) -> list[str]:
    """Config, slice, memory of its limit, predicted step, MFU, limit, the compiler's seconds."""
    memory, estimate = found["update"]["memory"]["all"], found["estimate"]
    fits = "" if found["fits"] else ", does not fit"
    capacity = f"{fitting.show_bytes(memory)} of {found['memory_capacity'] / 2**30:.0f}{fits}"
    times = ("-", "-", "-")
    if estimate:
        mfu = f"{100 * estimate['mfu']:.0f} %"
        times = (f"{1000 * estimate['step']:.0f} ms", mfu, estimate["bound"])
    compiled = f"{found['compile_s']:.0f} s ({found['compile_cpu_s']:.0f} of a core)"
    if found.get("least_effort"):
        compiled += ", at least effort: at its usual one the compiler crashes"
    return [f"`{found['name']}`", f"`{found['target']}`", capacity, *times, compiled]


def write(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes these reports between the two marks of a file, beside the table's rows of other
    programs, and what other times the estimator predicts (tools/published.py).

    Raises ConfigError where the marks are not.
    """
    pieces = path.read_text().split(MARK)
    if len(pieces) != 3:
        raise ConfigError(f"{path} needs the mark {MARK} twice, around the tables")
    head = ["config", "slice", "memory a device", "step", "MFU", "limit", "compiled in"]
    other = ["published run", "slice", "measured", "predicted", "error", "source"]
    tables = (
        _markdown(head, _ordered([*_rows(pieces[1], len(head)), *map(cells, found)])),
        _markdown(other, [published.cells(published.compare(r)) for r in published.RUNS]),
    )
    path.write_text(f"{pieces[0]}{MARK}\n{tables[0]}\n\n{tables[1]}\n{MARK}{pieces[2]}")


def _rows(text: str, columns: int) -> list[list[str]]:
    """The cells of a table's rows that begin with a config and a slice."""
    lines = [line.strip("|").split("|") for line in text.splitlines()]
    rows = [[cell.strip() for cell in line] for line in lines if len(line) == columns]
    return [row for row in rows if all(cell[:1] == "`" for cell in row[:2])]


def _ordered(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The last row of each config and slice, by name and then by slice."""
    last = {(row[0], row[1]): row for row in rows}
    order = {f"`{name}`": place for place, name in enumerate(SLICES)}
    return [last[key] for key in sorted(last, key=lambda k: (k[0], order.get(k[1], len(order))))]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    command_line.main(run)
