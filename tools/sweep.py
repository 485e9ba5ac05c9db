"""Searches hyperparameters by the validation metric: python -m tools.sweep --config=FILE --trials=N
--search.optimizer.learning_rate=log:1e-4:1e-1.

Every trial is a run of train.py, or --seeds runs, ranked by `selected` of result.json; the test set
is not read. The same command again goes on where a stopped sweep was, and a larger --trials goes
further. OUT holds the study, the runs (trials/0000/seed0), the best config (best.json, which
train.py takes) and index.html. tools/space.py has the grammar of --search.
"""

import argparse
import contextlib
import signal
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from etils import epath

from tools import command_line, ranking, resolve, space, studies, trials, unseen
from training import config as configs
from training import folder as folders
from training.contracts import (
    ConfigError,
    DiskError,
    InterruptedRunError,
    PreemptedError,
    VerdictError,
)

POLL_SECONDS = 0.2
# How long runs may take to save when a sweep is stopped.
SAVING_SECONDS = 120.0


def run(argv: Sequence[str]) -> int:
    """Searches and prints the table; returns the exit code."""
    # The sweep itself computes nothing: the accelerator is its runs'.
    jax.config.update("jax_platforms", "cpu")
    dimensions, rest = space.take(argv)
    arguments, overrides = _parser().parse(rest)
    for name in ("trials", "jobs", "seeds"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name}={getattr(arguments, name)}: it must be at least 1")
    sweep = prepare(arguments, overrides, dimensions)
    with sweep.alone():
        sweep.open()
        sweep.go()
        # A kill may have come between a trial's end and this.
        sweep.keep_best()
    found = ranking.gather(sweep.study, sweep.metric, sweep.values["name"], dimensions)
    ranking.show(found, sweep.out)
    if not studies.complete(sweep.study):
        said = next((t.failure for t in found.trials if t.failure), "all were pruned")
        raise VerdictError(f"none of {len(found.trials)} trials came to its end: {said}")
    return 0


def _parser() -> command_line.Parser:
    parser = command_line.Parser(
        "python -m tools.sweep",
        description="Searches hyperparameters by the validation metric, never the test metric.",
        epilog="--search.KEY=" + " | ".join(space.FORMS.values()) + " is a dimension of the "
        "search; --config.KEY=VALUE holds for all trials.",
    )
    parser.add_argument("--config", required=True, help="a file below configs/, or a config.json")
    parser.add_argument("--trials", type=int, required=True, help="in all, those before included")
    parser.add_argument("--sampler", choices=studies.SAMPLERS, default="tpe")
    parser.add_argument("--halving", action="store_true", help="stop bad trials at a third")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the cores")
    parser.add_argument("--seeds", type=int, default=1, help="runs of a trial, which is their mean")
    parser.add_argument("--seed", type=command_line.seed, default=0, help="of the sampler")
    parser.add_argument("--storage", help="the study; default OUT/study.journal; *.db is SQLite")
    parser.add_argument("--out", help="default runs/sweeps/<config>-<hash of the sweep>")
    parser.add_argument("--smoke", action="store_true", help="runs of seconds, on fake data")
    return parser


def prepare(
    arguments: argparse.Namespace,
    overrides: Sequence[str],
    dimensions: Sequence[space.Dimension],
) -> "Sweep":
    """The sweep of a command line; raises ConfigError where it makes no sense."""
    studies.imported()
    config = resolve.load_file(arguments.config)
    values = resolve.resolve(config, overrides, arguments.smoke)
    metric, mode = unseen.selects(values)
    space.check(dimensions, config, overrides, arguments.smoke)
    trials.surroundings(arguments.jobs, 0)
    rungs: tuple[int, ...] = ()
    if arguments.halving:
        if any(d.key == "train.steps" for d in dimensions):
            raise ConfigError("--halving compares runs after a third of their steps: fix those")
        rungs = studies.rungs(values["train"]["steps"], unseen.every(values, metric))
    spec = {
        "config": values,
        "search": {d.key: d.spec for d in dimensions},
        "seeds": arguments.seeds,
        "sampler": {"name": arguments.sampler, "seed": arguments.seed},
        "halving": arguments.halving,
    }
    out = Path(arguments.out or f"runs/sweeps/{values['name']}-{configs.fingerprint(spec)}")
    storage = Path(arguments.storage) if arguments.storage else out / "study.journal"
    return Sweep(arguments, tuple(overrides), tuple(dimensions), config, values, metric, mode,
                 spec, rungs, out, storage)  # fmt: skip


@dataclass
class Sweep:
    """A search: what it is, and the trials that are under way.

    Attributes:
      arguments, overrides, dimensions: of the command line.
      config, values: of the config's file, and resolved with the overrides.
      metric, mode: what trials are ranked by, and "max" | "min".
      spec: what all trials of the study have in common.
      rungs: after these steps halving may stop a trial; () stops none.
      out, storage: the folder, and the study's file.
    """

    arguments: argparse.Namespace
    overrides: tuple[str, ...]
    dimensions: tuple[space.Dimension, ...]
    config: dict[str, Any]
    values: dict[str, Any]
    metric: str
    mode: str
    spec: dict[str, Any]
    rungs: tuple[int, ...]
    out: Path
    storage: Path

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Holds the folder; raises ConfigError where another sweep does."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"--out={self.out}: {error.strerror or error}") from error
        try:
            lock = folders.Lock(epath.Path(self.out))
        except ConfigError:
            raise ConfigError(f"--out={self.out}: another sweep is running in it") from None
        try:
            yield
        finally:
            lock.release()

    def open(self) -> None:
        """The study, new or as it was left."""
        self.study = studies.open_study(self.storage, self.values["name"], self.mode, self.spec)
        self.study.pruner = studies.pruner(self.rungs)
        self.waiting = studies.unfinished(self.study)
        self.begun = len(self.study.trials)
        runs = self.out / "trials"
        if not self.begun and runs.exists():
            raise ConfigError(
                f"{runs} holds the runs of another storage than {self.storage}: give that one, or "
                "another --out"
            )
        self.running: dict[int, tuple[Any, trials.Runs]] = {}

    def go(self) -> None:
        """Runs all trials to their ends; stops them where the sweep is stopped."""
        finished = studies.finished(self.study)
        self.bar = ranking.Bar(self.arguments.trials, len(finished), self.metric)
        try:
            with self.bar, trials.signals() as came:
                while not came:
                    self.fill()
                    if not self.running:
                        return
                    time.sleep(POLL_SECONDS)
                    for place in list(self.running):
                        self.attend(place)
        finally:
            self.stop()
        again = f"{self.bar.done} of {self.arguments.trials} trials are done: run again to go on"
        if signal.SIGINT in came:
            raise InterruptedRunError(f"interrupted; {again}")
        raise PreemptedError(f"stopped; {again}")

    def fill(self) -> None:
        """Begins trials in free places, those first that were left unfinished."""
        for place in range(self.arguments.jobs):
            while place not in self.running:
                if self.waiting:
                    trial = self.waiting.pop(0)
                elif self.begun < self.arguments.trials:
                    seed, number = self.arguments.seed, self.begun
                    self.study.sampler = studies.sampler(self.arguments.sampler, seed, number)
                    trial = self.study.ask()
                    self.begun += 1
                else:
                    return
                self.begin(place, trial)

    def begin(self, place: int, trial: Any) -> None:
        """The first run of a trial; one whose values do not fit together has failed already."""
        chosen = {d.key: d.suggest(trial) for d in self.dimensions}
        try:
            values = self.resolved(chosen)
        except ConfigError as error:
            self.end(trial, trials.Outcome(None, 0.0, str(error)))
            return
        runs = trials.Runs(
            self.out / "trials" / f"{trial.number:04d}", values, self.metric, self.mode,
            self.arguments.seeds, trials.surroundings(self.arguments.jobs, place),
        )  # fmt: skip
        known = self.study.get_trials(deepcopy=False)[trial.number].last_step
        runs.rung = self.rung(-1 if known is None else known)
        self.running[place] = trial, runs
        runs.poll()

    def resolved(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """The whole config with a trial's values."""
        return space.resolved(self.config, self.overrides, chosen, self.arguments.smoke)

    def attend(self, place: int) -> None:
        """Looks after a trial: reports what it measured, prunes it, or takes its end down."""
        trial, runs = self.running[place]
        if self.hopeless(trial, runs):
            # Taken down first: a sweep that is killed in between ends the run all the same.
            trial.set_user_attr(studies.SECONDS, round(runs.seconds, 3))
            self.study.tell(trial.number, state=studies.imported().trial.TrialState.PRUNED)
            runs.stop(signal.SIGKILL)
            runs.wait()
            del self.running[place]
            self.bar.ended(trial.number, "pruned", studies.complete(self.study))
            return
        outcome = runs.poll()
        if outcome is not None:
            del self.running[place]
            self.end(trial, outcome)

    def rung(self, step: int) -> int:
        """How many rungs a run has reached."""
        return sum(step >= rung for rung in self.rungs)

    def hopeless(self, trial: Any, runs: trials.Runs) -> bool:
        """Whether halving stops a trial: its first run reached a rung, and is not of the best."""
        for step, value in runs.progress() if self.rungs else ():
            if self.rung(step) <= runs.rung:
                continue
            runs.rung = self.rung(step)
            trial.report(value, step)
            if trial.should_prune():
                return True
        return False

    def end(self, trial: Any, outcome: trials.Outcome) -> None:
        """Takes a trial's end down; a new best config is kept at once."""
        states = studies.imported().trial.TrialState
        trial.set_user_attr(studies.SECONDS, round(outcome.seconds, 3))
        if outcome.values is None:
            trial.set_user_attr(studies.FAILURE, outcome.failure)
            self.study.tell(trial.number, state=states.FAIL)
            said = f"failed, {outcome.failure}"
        else:
            trial.set_user_attr(studies.VALUES, outcome.values)
            mean = sum(outcome.values) / len(outcome.values)
            self.study.tell(trial.number, mean)
            said = f"{ranking.amount(self.metric, mean)} {ranking.settings(trial.params)}"
        done = studies.complete(self.study)
        if done and done[0].number == trial.number:
            self.keep_best()
        self.bar.ended(trial.number, said, done)

    def keep_best(self) -> None:
        """Writes the best config so far, whole: with its test set."""
        if done := studies.complete(self.study):
            best = self.resolved(done[0].params)
            folders.write_json(epath.Path(self.out) / "best.json", best)

    def stop(self) -> None:
        """Lets the runs save, and waits until they are gone."""
        for _, runs in self.running.values():
            runs.stop(signal.SIGTERM)
        end = time.monotonic() + SAVING_SECONDS
        for _, runs in self.running.values():
            runs.wait(max(0.0, end - time.monotonic()))


if __name__ == "__main__":
    command_line.main(run)
