"""The only training loop: it shards, steps, logs, evaluates, selects, saves, stops and reports.

It knows an algorithm by the methods of `contracts.Algorithm` alone and never asks of what kind it
is. The metrics of a call are read after the next one is dispatched, so that the devices never wait
for the host; saves and evaluations happen between calls.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import jax
import numpy as np

from training import checkpoint, folder, mesh, results
from training.checks import check_intervals, check_selected
from training.compiled import Compiled, Selection
from training.config import Settings
from training.contracts import (
    Algorithm,
    DivergedError,
    Evaluator,
    InterruptedRunError,
    Mean,
    Pipeline,
    PreemptedError,
    TrainState,
)
from training.feed import Feed
from training.figures import save as save_figure
from training.packing import Packed
from training.progress import Progress
from training.signals import Signals
from training.timing import Clock

log = logging.getLogger("reprise")


def fit(
    algorithm: Algorithm,
    train: Pipeline,
    evaluators: Sequence[Evaluator],
    config: Settings,
    workdir: str,
) -> dict[str, Any]:
    """Trains, or goes on where the folder's last checkpoint stands, and returns what result.json
    says.

    Raises:
      ConfigError: the folder holds another config or is in use, or an interval does not fit.
      DivergedError: a loss or gradient was not finite and train.nonfinite is "stop".
      PreemptedError, InterruptedRunError: SIGTERM or SIGINT came; everything is saved.
      DiskError: nothing can be written.
    """
    check_intervals(config.train.steps_per_call, config, evaluators)
    check_selected(config.train.select.metric, evaluators)
    path = folder.open_folder(workdir, config.values)
    done = results.finished(path, config.train.steps)
    if done is not None:
        return done
    lock = folder.Lock(path)
    try:
        with Signals() as signals:
            devices = mesh.make(config.mesh)
            compiled = Compiled(algorithm, train, devices, config.train, config.mesh.rules)
            return Run(compiled, train, evaluators, config, path, signals).go()
    finally:
        lock.release()


class Run:
    """One process's part of one run: the variables of the loop, and the steps it is made of."""

    def __init__(
        self,
        compiled: Compiled,
        train: Pipeline,
        evaluators: Sequence[Evaluator],
        config: Settings,
        path: Any,
        signals: Signals,
    ) -> None:
        self.compiled, self.pipeline, self.evaluators = compiled, train, evaluators
        self.config, self.train, self.path = config, config.train, path
        self.signals, self.clock = signals, Clock()
        self.checkpoints = checkpoint.Checkpoints(path, self.train.keep_checkpoints)
        self.open_means: dict[str, Mean] = {}
        self.pending: Packed | None = None
        # What each evaluator gave when it first ran.
        self.given: dict[int, set[str]] = {}
        self._opened = ExitStack()
        self._opened.callback(self.checkpoints.close)

    def go(self) -> dict[str, Any]:
        """Restores or begins, trains to the end, tests the chosen weights."""
        try:
            self.prepare()
            with self.progress:
                while self.going():
                    self.advance()
                self.settle()
                self.write_open_means()
            return self.end()
        finally:
            self.close()

    def prepare(self) -> None:
        """Everything before the first update: data under way, compiled, restored or begun."""
        newest = self.checkpoints.latest()
        saved = checkpoint.RunState() if newest is None else self.checkpoints.restore_run(newest)
        self.step, self.data_offset = saved.step, saved.data_offset
        self.clock.earlier = saved.seconds
        self.open_means = checkpoint.unpack_means(saved.open_means)
        self.feed = Feed(self.pipeline, self.compiled, self.step + self.data_offset)
        self._opened.callback(self.feed.close)
        if jax.process_index() == 0:
            folder.write_json(self.path / "config.json", self.config.values)
            folder.write_json(
                self.path / "environment.json", folder.environment(self.config.command)
            )
        self.records = folder.Records(
            self.path, saved.metrics_bytes, saved.members_bytes, saved.step
        )
        self._opened.callback(self.records.close)
        with self.clock.measure("compiled"):
            self.compiled.compile_update(self.pipeline.specs[0])
        self.begin(newest)
        self.active = ~np.asarray(self.selection.stopped)
        self.batch_size = results.batch_size(self.pipeline, self.compiled.leading)
        self.progress = Progress(self.train.steps, self.step, self.batch_size, self.config.name)

    def close(self) -> None:
        """Lets go of the data, the files and the checkpoints, however far `prepare` came."""
        self._opened.close()

    def begin(self, newest: int | None) -> None:
        """The first state, or the newest good checkpoint's."""
        compiled = self.compiled
        if newest is None:
            self.state: TrainState = compiled.init(self.train.seed)
            self.selection: Selection = compiled.init_selection(self.state)
            return
        self.state, self.selection = self.checkpoints.restore(
            newest,
            checkpoint.abstract(compiled.shapes, compiled.shardings),
            checkpoint.abstract(compiled.selection_shapes, compiled.selection_shardings),
        )
        log.info("resumed at step %d of %d", self.step, self.train.steps)

    def going(self) -> bool:
        """Whether there are steps left and members that have not stopped."""
        return self.step < self.train.steps and bool(self.active.any())

    def advance(self) -> None:
        """One call of the update, and whatever is due after it."""
        train = self.train
        batch = self.feed.take()
        self.state, means = self.compiled.update(self.state, batch, self.active)
        self.step += train.steps_per_call
        last = self.step >= train.steps
        if not last:
            self.feed.peek()
        if self.clock.starting:
            jax.block_until_ready(means)
            self.progress.first_step()
        self.read(means)
        self.clock.step(self.step, self.feed.wait, self.batch_size)
        self.progress.advance(self.step)
        if self.due(train.log_every) or last:
            self.write_open_means()
        if self.evaluate():
            self.active = ~np.asarray(self.selection.stopped)
        if self.due(train.save_every) and not last:
            self.save()
        self.obey_signals()

    def due(self, every: int) -> bool:
        """Whether an interval ends at this step."""
        return every > 0 and self.step % every == 0

    def read(self, means: Packed) -> None:
        """Takes a call's metrics, and reads those of the call before it."""
        previous, self.pending = self.pending, means
        if previous is not None:
            self.merge(previous)

    def settle(self) -> None:
        """Reads what is still pending."""
        if self.pending is not None:
            self.merge(self.pending)
            self.pending = None

    def merge(self, means: Packed) -> None:
        """Adds a call's metrics to those since the last log line, in float64."""
        for name, mean in means.read().items():
            before = self.open_means.get(name)
            self.open_means[name] = mean if before is None else before.merge(mean)
        refused = self.open_means.get("nonfinite")
        if refused is not None and np.any(refused.total) and self.train.nonfinite == "stop":
            raise DivergedError(
                f"the loss or a gradient was not finite at about step {self.step}: the update was "
                "refused; lower the learning rate, clip (optimizer.clip_norm), or set "
                "train.nonfinite='skip'"
            )

    def write_open_means(self) -> None:
        """The train line of the log, over all updates since the last one."""
        self.settle()
        if not self.open_means:
            return
        means = {name: mean.compute() for name, mean in self.open_means.items()}
        self.open_means = {}
        self.progress.metrics(self.records.metrics(self.step, "train", means))
        self.clock.write(self.records)

    def evaluate(self) -> bool:
        """Runs the evaluators that are due, then the selection; True where any ran."""
        due = [i for i, e in enumerate(self.evaluators) if self.due(e.every)]
        if not due:
            return False
        scalars: dict[str, Any] = {}
        with self.clock.pause():
            for i in due:
                found = self.run_evaluator(self.evaluators[i], self.state)
                scalars.update(found)
                self.given.setdefault(i, set(found))
        check_selected(self.train.select.metric, self.evaluators, self.given)
        if self.compiled.selects and self.train.select.metric in scalars:
            self.selection = self.compiled.select(self.selection, self.state, scalars, self.step)
        return True

    def run_evaluator(self, evaluator: Evaluator, state: TrainState) -> dict[str, Any]:
        """Its scalars as {"val/accuracy": value}; its lines and figures are written."""
        found = evaluator.run(self.compiled, state)
        if found.scalars:
            line = self.records.metrics(self.step, evaluator.split, found.scalars)
            self.progress.metrics(line)
        if jax.process_index() == 0:
            for name, figure in found.figures.items():
                figures = self.path / "figures" / f"{self.step:08d}"
                save_figure(figure, figures / f"{evaluator.split}_{name}.npz")
        return {f"{evaluator.split}/{name}": value for name, value in found.scalars.items()}

    def save(self) -> None:
        """Starts a checkpoint of everything that this step knows."""
        self.settle()
        metrics_bytes, members_bytes = self.records.lengths()
        run = checkpoint.RunState(
            step=self.step,
            data_offset=self.data_offset,
            metrics_bytes=metrics_bytes,
            members_bytes=members_bytes,
            open_means=checkpoint.pack_means(self.open_means),
            seconds=self.clock.seconds(),
        )
        with self.clock.saving():
            self.checkpoints.save(self.state, self.selection, run)

    def obey_signals(self) -> None:
        """Saves and leaves where SIGTERM or SIGINT came."""
        self.checkpoints.check()
        if self.signals.received is None or self.step >= self.train.steps:
            return
        self.save()
        self.checkpoints.finish()
        if self.signals.interrupted:
            raise InterruptedRunError(f"interrupted; saved at step {self.step}: run again to go on")
        raise PreemptedError(f"preempted; saved at step {self.step}: run again to go on")

    def end(self) -> dict[str, Any]:
        """Tests the chosen weights, saves, and writes result.json and report.html."""
        self.save()
        state = self.compiled.chosen(self.state, self.selection)
        scalars: dict[str, Any] = {}
        for evaluator in self.evaluators:
            if evaluator.every == 0:
                scalars.update(self.run_evaluator(evaluator, state))
        self.checkpoints.finish()
        result = results.result(
            self.config, self.selection, scalars, self.step, self.clock.seconds()
        )
        if jax.process_index() == 0:
            self.clock.write_memory(self.records)
            folder.write_json(self.path / "result.json", result)
            from training import report  # its drawing library is needed here alone

            report.write(self.path)
        return result
