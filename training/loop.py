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

from training import checkpoint, folder, hosts, mesh, nonfinite, results, transfer, vocabulary
from training.checks import check_intervals, check_selected
from training.compiled import Compiled, Selection
from training.config import Settings
from training.contracts import (
    Algorithm,
    Evaluator,
    InterruptedRunError,
    Pipeline,
    PreemptedError,
    Report,
    TrainState,
)
from training.evaluation import Evaluations
from training.feed import Feed
from training.packing import Packed
from training.profile import Profile
from training.progress import Progress
from training.signals import Signals
from training.timing import Clock
from training.watchdog import Watchdog

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
      DivergedError: a loss or gradient was not finite and train.nonfinite is "stop", or there were
        train.max_rollbacks before.
      HungError: another process did not come.
      PreemptedError, InterruptedRunError: SIGTERM or SIGINT came; everything is saved.
      DiskError: nothing can be written.
    """
    check_intervals(config.train.steps_per_call, config, evaluators)
    check_selected(config.train.select.metric, evaluators)
    path = folder.open_folder(workdir, config.values)
    done = results.finished(path, config.train.steps)
    if done is not None:
        if config.profile:
            log.warning("profile: the run is done, and no step is left to trace: see --fresh")
        return done
    lock = folder.Lock(path)
    try:
        with Signals() as signals:
            hosts.barrier("start", config.train.watchdog_minutes)
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
        self.compiled, self.pipeline = compiled, train
        self.config, self.train, self.path = config, config.train, path
        self.signals, self.clock = signals, Clock()
        self.watchdog = Watchdog(self.train.watchdog_minutes, path)
        self.checkpoints = checkpoint.Checkpoints(path, self.train.keep_checkpoints)
        # Metrics that are still to be read, and the last step of their call.
        self.pending: tuple[int, Packed] | None = None
        self.guard = nonfinite.Guard(path, compiled)
        self.evaluations = Evaluations(evaluators, compiled, self.train.select.metric)
        self.profile = Profile(path, config.profile)
        self._opened, self._streams = ExitStack(), ExitStack()
        self._opened.callback(self.checkpoints.close)
        self._opened.callback(self._streams.close)
        self._opened.callback(self.profile.close)

    def go(self) -> dict[str, Any]:
        """Restores or begins, trains to the end, tests the chosen weights."""
        try:
            self.prepare()
            with self.watchdog:
                with self.progress:
                    while not self.reach_the_end():
                        pass
                return self.end()
        finally:
            self.close()

    def reach_the_end(self) -> bool:
        """Trains on; False where it had to go back to a checkpoint."""
        try:
            while self.going():
                self.advance()
            self.write_open_means()
        except nonfinite.RollBackError as error:
            self.roll_back(error.step)
            return False
        return True

    def prepare(self) -> None:
        """Everything before the first update: data under way, compiled, restored or begun."""
        newest, vocabularies = self.checkpoints.latest(), self.pipeline.vocabularies
        if newest is None:
            model = self.config.values.get("model", {})
            transfer.check(self.train.init_from, model, vocabularies)
            vocabulary.keep(self.path, vocabularies, self.pipeline.digest)
        else:
            vocabulary.check(self.path, vocabularies)
            vocabulary.check_texts(self.path, self.pipeline.digest)
        saved = self.saved(newest)
        self.clock.earlier = saved.seconds
        self.open(saved)
        folder.describe(self.path, self.config)
        with self.clock.measure("compiled"):
            self.compiled.compile_update(self.pipeline.specs[0])
        self.batch_size = results.batch_size(self.pipeline, self.compiled.leading)
        self.progress = Progress(self.train.steps, self.step, self.batch_size, self.config.name)
        self.load(newest)

    def close(self) -> None:
        """Lets go of the data, the files and the checkpoints, however far `prepare` came."""
        self._opened.close()

    def saved(self, newest: int | None) -> checkpoint.RunState:
        """What the loop knew at a checkpoint, or knows at the beginning."""
        return checkpoint.RunState() if newest is None else self.checkpoints.restore_run(newest)

    def open(self, saved: checkpoint.RunState) -> None:
        """The data and the files of records, from where a checkpoint stands."""
        self.step, self.data_offset = saved.step, saved.data_offset
        self.rollbacks = saved.rollbacks
        self.open_means = checkpoint.unpack_means(saved.open_means)
        self.feed = Feed(self.pipeline, self.compiled, self.step + self.data_offset)
        self._streams.callback(self.feed.close)
        self.records = folder.Records(
            self.path, saved.metrics_bytes, saved.members_bytes, saved.step
        )
        self._streams.callback(self.records.close)

    def load(self, newest: int | None) -> None:
        """The first state, or the newest good checkpoint's."""
        compiled = self.compiled
        if newest is None:
            self.state: TrainState = compiled.init(self.train.seed)
            if self.train.init_from:
                self.state = transfer.start_from(self.state, self.train.init_from)
            self.selection: Selection = compiled.init_selection(self.state)
        else:
            self.state, self.selection = self.checkpoints.restore(
                newest,
                checkpoint.abstract(compiled.shapes, compiled.shardings),
                checkpoint.abstract(compiled.selection_shapes, compiled.selection_shardings),
            )
            log.info("resumed at step %d of %d", self.step, self.train.steps)
        self.active = ~np.asarray(self.selection.stopped)
        if newest is None and self.train.init_from:
            # From here on the run no longer depends on what becomes of that folder.
            self.save()

    def roll_back(self, bad: int) -> None:
        """Back to the last good checkpoint, past all batches up to those of the step `bad`."""
        self.checkpoints.finish()
        newest = self.checkpoints.latest()
        saved = self.saved(newest)
        saved.data_offset = self.data_offset + bad - saved.step
        saved.rollbacks = self.rollbacks + 1
        log.warning(
            "back from step %d to %d, past the batches between (rollback %d of at most %d)",
            self.step, saved.step, saved.rollbacks, self.train.max_rollbacks,
        )  # fmt: skip
        self.records.timing({"event": "rollback", "step": self.step, "to": saved.step})
        # Let go of what is left behind first: not every device has room for two states.
        del self.state, self.selection
        self.pending = None
        self._streams.close()
        self.open(saved)
        self.load(newest)
        self.clock.restart(self.step, self.feed.wait)

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
        self.profile.call(self.step, means)
        self.watchdog.beat(self.step)
        self.progress.advance(self.step)
        if self.due(train.log_every) or last:
            self.write_open_means()
        self.evaluate()
        if self.due(train.save_every) and not last:
            self.save()
        self.obey_signals()

    def due(self, every: int) -> bool:
        """Whether an interval ends at this step."""
        return every > 0 and self.step % every == 0

    def read(self, means: Packed) -> None:
        """Takes a call's metrics, and reads those of the call before it."""
        previous, self.pending = self.pending, (self.step, means)
        if previous is not None:
            self.merge(*previous)

    def settle(self) -> None:
        """Reads what is still pending."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            self.merge(*pending)

    def merge(self, step: int, means: Packed) -> None:
        """Adds a call's metrics to those since the last log line, in float64."""
        found = means.read()
        for name, mean in found.items():
            before = self.open_means.get(name)
            self.open_means[name] = mean if before is None else before.merge(mean)
        if nonfinite.refused(found):
            with self.watchdog.rest():
                self.guard.refused(self.state, step, self.data_offset, self.rollbacks, found)

    def write_open_means(self) -> None:
        """The train line of the log, over all updates since the last one."""
        self.settle()
        if not self.open_means:
            return
        means = {name: mean.compute() for name, mean in self.open_means.items()}
        self.open_means = {}
        self.progress.metrics(self.records.metrics(self.step, "train", means))
        self.clock.write(self.records)

    def evaluate(self) -> None:
        """Runs the evaluators that are due, then the selection."""
        due = self.evaluations.due(self.step)
        if not due:
            return
        # What the device still does is training's time.
        self.settle()
        with self.clock.pause(), self.watchdog.rest():
            scalars = self.evaluations.run(due, self.state, self.record)
        if self.compiled.selects and self.train.select.metric in scalars:
            self.selection = self.compiled.select(self.selection, self.state, scalars, self.step)
            self.active = ~np.asarray(self.selection.stopped)

    def record(self, split: str, found: Report) -> None:
        """Writes what an evaluator found after this step."""
        if found.scalars:
            self.progress.metrics(self.records.metrics(self.step, split, found.scalars))
        self.records.figures(self.step, split, found.figures)

    def save(self) -> None:
        """Starts a checkpoint of everything that this step knows."""
        self.settle()
        hosts.barrier(f"save of step {self.step}", self.train.watchdog_minutes)
        with self.clock.saving():
            metrics_bytes, members_bytes = self.records.lengths()
            run = checkpoint.RunState(
                step=self.step,
                data_offset=self.data_offset,
                rollbacks=self.rollbacks,
                metrics_bytes=metrics_bytes,
                members_bytes=members_bytes,
                open_means=checkpoint.pack_means(self.open_means),
                seconds=self.clock.seconds(),
            )
            self.checkpoints.save(self.state, self.selection, run)

    def obey_signals(self) -> None:
        """Saves and leaves where SIGTERM or SIGINT came."""
        self.checkpoints.check()
        due = self.signals.due(self.step, self.train.steps_per_call)
        if not due or self.step >= self.train.steps:
            return
        self.save()
        self.checkpoints.finish()
        if jax.process_index() == 0:
            results.write_report(self.path)
        if self.signals.interrupted:
            raise InterruptedRunError(f"interrupted; saved at step {self.step}: run again to go on")
        raise PreemptedError(f"preempted; saved at step {self.step}: run again to go on")

    def end(self) -> dict[str, Any]:
        """Tests the chosen weights, saves, and writes result.json and report.html."""
        self.save()
        self.guard.tell(self.step)
        state = self.compiled.chosen(self.state, self.selection)
        with self.watchdog.rest():
            scalars = self.evaluations.test(state, self.record)
        self.checkpoints.finish()
        result = results.result(
            self.config, self.selection, scalars, self.step, self.clock.seconds()
        )
        if jax.process_index() == 0:
            self.clock.write_memory(self.records)
            self.records.flush()
            results.write(self.path, result)
        return result
