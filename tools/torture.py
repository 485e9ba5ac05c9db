"""Kills training runs again and again: python -m tools.torture --config=FILE --kills=100.

Each time the same command is started anew, as a launcher would. In the end the final parameters and
every metric line must equal, bit for bit, those of a run that nothing disturbed. Moments are drawn
from --seed: while the program starts and compiles, while it trains, and inside a save; most kills
are SIGKILL, some SIGTERM. Without --config, a small config of every algorithm is tortured.
"""

import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from tools import command_line, find, resolve, show
from training.contracts import ConfigError, PreemptedError, VerdictError
from training.trees import path_name

# Of the kills: this share while the program starts, this while it saves, the others in training.
STARTING, SAVING = 0.3, 0.2
TERMINATED = 0.2
PATIENCE = 10  # times as long as the undisturbed run, and a minute, is a hang
SMALL = (
    "--smoke", "--config.train.steps=240", "--config.train.log_every=12",
    "--config.train.save_every=20",
)  # fmt: skip


@dataclass
class Case:
    """One training command under torture.

    Attributes:
      name: for people.
      argv: train.py's arguments, but for the folder.
      folder: of this case; `whole` and the tortured runs `0`, `1`, ... are below it.
      seconds, starting: the undisturbed run's, in all and until its first metric line.
      kills: how many struck each tortured run.
      unequal: what differs, by tortured run.
    """

    name: str
    argv: list[str]
    folder: Path
    seconds: float = 0.0
    starting: float = 0.0
    kills: list[int] = field(default_factory=list)
    unequal: dict[int, str] = field(default_factory=dict)

    def start(self, run: str) -> subprocess.Popen[bytes]:
        """train.py on the folder of a run; what it says goes to <run>.log."""
        workdir = self.folder / run
        workdir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "train.py", *self.argv, f"--workdir={workdir}"]
        with (self.folder / f"{run}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=find.ROOT, stdout=log, stderr=log)

    def fail(self, run: str, text: str) -> VerdictError:
        """The verdict on a run that did not come back."""
        lines = (self.folder / f"{run}.log").read_text(errors="replace").strip().splitlines()
        return VerdictError(
            f"{self.name}: {text}; its last line: {lines[-1] if lines else '(none)'} "
            f"(see {self.folder / run})"
        )

    def wait(self, run: str, process: subprocess.Popen[bytes], until: Any = None) -> bool:
        """Whether `until` came true before the process ended well.

        Raises:
          VerdictError: it ended otherwise, or not at all.
        """
        deadline = time.monotonic() + PATIENCE * self.seconds + 600 * (not self.seconds) + 60
        while process.poll() is None:
            if until is not None and until():
                return True
            if time.monotonic() > deadline:
                process.kill()
                raise self.fail(run, "a start hung")
            time.sleep(0.001)
        if process.returncode:
            raise self.fail(run, f"a start ended with exit code {process.returncode}")
        return False


def run(argv: Sequence[str]) -> int:
    """Prints how many kills were survived; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.torture", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config", help="a file below configs/; default: one of every algorithm")
    parser.add_argument("--smoke", action="store_true", help="the config as --smoke shrinks it")
    parser.add_argument("--kills", type=int, default=20, help="for each config")
    parser.add_argument("--seed", type=command_line.seed, default=0, help="of the moments")
    arguments, overrides = parser.parse(argv)
    if arguments.kills < 1:
        raise ConfigError(f"--kills={arguments.kills}: it must be at least 1")
    folder = Path(tempfile.mkdtemp(prefix="reprise-torture-"))
    # Orbax logs that a folder is opened for reading alone.
    logging.getLogger("absl").setLevel(logging.ERROR)
    cases = list(chosen(arguments, overrides, folder))
    with Progress(console=show.console()) as progress:
        for case in cases:
            task = progress.add_task(case.name, total=arguments.kills)
            measure(case)
            for _ in torture(case, arguments.kills, random.Random(arguments.seed)):
                progress.advance(task)
    verdicts = [compare(case) for case in cases]
    if not all(verdicts):
        raise VerdictError(f"not every kill was survived: the runs are kept in {folder}")
    shutil.rmtree(folder)
    return 0


def chosen(arguments: Any, overrides: Sequence[str], folder: Path) -> Iterator[Case]:
    """The given config, or a small one of every algorithm."""
    if arguments.config:
        argv = [f"--config={arguments.config}", *(f"--config.{o}" for o in overrides)]
        argv += ["--smoke"] * arguments.smoke
        values = resolve.resolve(
            resolve.load_file(arguments.config), overrides, smoke=arguments.smoke
        )
        members = values["train"]["ensemble"]
        name = values["name"] + (f" ({members} members)" if members > 1 else "")
        yield Case(name, argv, folder / "config")
        return
    by_algorithm: dict[str, str] = {}
    for name in find.configs():
        values = resolve.load_file(f"configs/{name}.py")
        by_algorithm.setdefault(values.get("algorithm", {}).get("name", "supervised"), name)
    for algorithm in find.names("algorithm"):
        wraps = algorithm == "ensemble"
        config = by_algorithm.get("supervised" if wraps else algorithm)
        if config is None:
            raise VerdictError(f"no config trains with the algorithm {algorithm!r}")
        argv = [f"--config=configs/{config}.py", *SMALL, *(f"--config.{o}" for o in overrides)]
        argv += ["--config.train.ensemble=2"] * wraps
        yield Case(f"{algorithm} ({config})", argv, folder / algorithm)


def measure(case: Case) -> None:
    """The undisturbed run, and the times at which to strike."""
    began = time.monotonic()
    process = case.start("whole")
    metrics = case.folder / "whole" / "metrics.jsonl"
    case.wait("whole", process, lambda: metrics.exists() and metrics.stat().st_size > 0)
    case.starting = time.monotonic() - began
    case.wait("whole", process)
    case.seconds = time.monotonic() - began


def torture(case: Case, kills: int, rng: random.Random) -> Iterator[None]:
    """Kills runs of the case `kills` times; one that comes to its end is followed by the next."""
    case.kills = [0]
    struck = 0
    while struck < kills:
        run = str(len(case.kills) - 1)
        process = case.start(run)
        if not strike(case, run, process, kills, rng):
            case.kills.append(0)
            continue
        case.kills[-1] += 1
        struck += 1
        yield
    case.wait(run, case.start(run))


def strike(
    case: Case, run: str, process: subprocess.Popen[bytes], kills: int, rng: random.Random
) -> bool:
    """Ends a process at a moment of chance; False where it was done before that."""
    folder, kind = case.folder / run, rng.random()
    if kind < STARTING:
        delay = rng.uniform(0, case.starting)
    elif kind < STARTING + SAVING:
        before, half = time.time(), "checkpoints/*.orbax-checkpoint-tmp*"
        if not case.wait(run, process, lambda: _newer(folder, half, before)):
            return False
        delay = rng.uniform(0, 0.02)
    else:
        # Before or after its first save: what was done since the last one is done again.
        saved = rng.random() < 0.5
        pattern = "checkpoints/*.sha256" if saved else "metrics.jsonl"
        before = time.time()
        if not case.wait(run, process, lambda: _newer(folder, pattern, before)):
            return False
        delay = rng.uniform(0, 2 * max(case.seconds - case.starting, 1.0) / kills)
    end = time.monotonic() + delay
    if not case.wait(run, process, lambda: time.monotonic() >= end):
        return False
    number = signal.SIGTERM if rng.random() < TERMINATED else signal.SIGKILL
    process.send_signal(number)
    process.wait()
    # Before its first lines, Python knows no better than to die of a SIGTERM.
    expected = (0, -number, PreemptedError.code)
    if process.returncode not in expected:
        raise case.fail(run, f"a {number.name} made it end with exit code {process.returncode}")
    return process.returncode != 0


def _newer(folder: Path, pattern: str, since: float) -> bool:
    return any(_changed(path) > since for path in folder.glob(pattern))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # a save that was just completed
        return 0.0


def compare(case: Case) -> bool:
    """Whether every tortured run equals the undisturbed one; prints the line that says so."""
    whole = case.folder / "whole"
    for run in range(len(case.kills)):
        fault = difference(whole, case.folder / str(run))
        if fault is not None:
            case.unequal[run] = fault
    lost = sum(case.kills[run] for run in case.unequal)
    struck = sum(case.kills)
    lines = len((whole / "metrics.jsonl").read_bytes().splitlines())
    text = f"{case.name}: {struck - lost} of {struck} kills survived, {len(case.kills)} runs"
    if case.unequal:
        faults = "; ".join(f"run {run}: {fault}" for run, fault in case.unequal.items())
        print(f"{text}: {faults}")
        return False
    print(f"{text}: final parameters and all {lines} metric lines bit for bit as undisturbed")
    return True


def difference(whole: Path, other: Path) -> str | None:
    """What of a run's files and last checkpoint is not as in `whole`; None where all is."""
    for name in ("metrics.jsonl", "members.jsonl"):
        files = [folder / name for folder in (whole, other)]
        a, b = (file.read_bytes() if file.exists() else b"" for file in files)
        if a != b:
            pairs = enumerate(zip(a.splitlines(), b.splitlines(), strict=False), 1)
            line = next((i for i, (x, y) in pairs if x != y), "the last")
            return f"{name} differs from line {line} on"
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, other)]
    if any(results[0][k] != results[1][k] for k in results[0] if k != "seconds"):
        return "result.json differs"
    return _unequal(_arrays(whole), _arrays(other))


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    import jax

    from tools import parts

    restored = parts.restore(str(folder), "last")
    leaves = jax.tree_util.tree_leaves_with_path((restored.state, restored.selection))
    found = {}
    for path, leaf in leaves:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        found[path_name(path)] = np.asarray(leaf)
    return found


def _unequal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> str | None:
    for name in a:
        if a[name].tobytes() != b[name].tobytes():
            return f"the last checkpoint's {name} differs"
    return None


if __name__ == "__main__":
    command_line.main(run)
