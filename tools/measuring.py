"""Times a config's real training loop against a bare one; what tools/benchmark.py reports.

"Bare" is the least that a loop over the same compiled update can be: batches that lie on the
devices already, one call after the other, nothing read. Blocks of both take turns in one process on
one state, so that a machine that is busy for a while slows both.
"""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from etils import epath

from tools import chips, parts
from tools import flops as counting
from training import folder, mesh, results, timing
from training.compiled import Compiled
from training.contracts import Pipeline
from training.loop import Run
from training.signals import Signals

BLOCKS = 10
BLOCK_SECONDS = 0.8
# A block holds the same number of log lines as any other where that makes it no longer than this.
LONGEST_BLOCK_SECONDS = 4.0
WARM_CALLS = 3
PIPELINE_SECONDS = 2.0
# Over so many updates one save is counted; where they take longer than the limit, fewer are run.
SAVE_UPDATES, LONGEST_SAVE_BLOCK_SECONDS = 100, 60.0


@contextmanager
def prepared(built: parts.Parts, workdir: Path) -> Generator[Run]:
    """What `fit` makes before its first step, but endless; nothing evaluates and nothing saves."""
    settings = built.settings
    # The optimizer's schedule is built already: only the loop sees this number.
    endless = settings.train.steps_per_call * 10**9
    train = dataclasses.replace(settings.train, steps=endless, save_every=0, nonfinite="skip")
    settings = dataclasses.replace(settings, train=train)
    path = folder.open_folder(str(workdir), settings.values)
    compiled = Compiled(
        built.algorithm, built.train, mesh.make(settings.mesh), train, settings.mesh.rules
    )
    run = Run(compiled, built.train, (), settings, epath.Path(path), Signals())
    try:
        run.prepare()
        yield run
    finally:
        run.close()


def first_step(run: Run) -> float:
    """Seconds from the start of this process to the end of the first call."""
    run.advance()
    jax.block_until_ready(run.state)
    return timing.process_seconds()


def steps(run: Run, updates: int | None) -> dict[str, float]:
    """overhead_ratio, step_ms, bare_step_ms, examples_per_s, wait_share; medians over the blocks.

    `updates`, where given, is how many updates each of the two loops makes in all.
    """
    k = run.train.steps_per_call
    batches = [run.feed.take() for _ in range(4)]
    for _ in range(WARM_CALLS):
        fit_block(run, 1)
        bare_block(run, batches, 1)
    calls = max(1, updates // k // BLOCKS) if updates else _calls(run, batches)
    blocks = min(BLOCKS, max(1, updates // k)) if updates else BLOCKS
    waited = run.feed.wait
    fit, bare = [], []
    for number in range(blocks):
        # A B, B A, A B ...: neither is always the one that comes second.
        for is_fit in (True, False) if number % 2 == 0 else (False, True):
            seconds = fit_block(run, calls) if is_fit else bare_block(run, batches, calls)
            (fit if is_fit else bare).append(seconds / (calls * k))
    step = statistics.median(fit)
    return {
        "overhead_ratio": step / statistics.median(bare),
        "step_ms": 1000 * step,
        "bare_step_ms": 1000 * statistics.median(bare),
        "examples_per_s": run.batch_size / step,
        "wait_share": (run.feed.wait - waited) / (sum(fit) * calls * k),
    }


def fit_block(run: Run, calls: int) -> float:
    """Seconds of `calls` calls in the training loop."""
    began = time.perf_counter()
    for _ in range(calls):
        run.advance()
    jax.block_until_ready(run.state)
    return time.perf_counter() - began


def bare_block(run: Run, batches: list[Any], calls: int) -> float:
    """Seconds of `calls` calls of the same executable, on the same state."""
    compiled, active = run.compiled, run.active
    update = compiled.compile_update(run.pipeline.specs[0])
    state = run.state
    began = time.perf_counter()
    for batch in itertools.islice(itertools.cycle(batches), calls):
        state, _ = update(state, active, batch, compiled.constant)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - began
    run.state = state
    return seconds


def save_share(run: Run, step_ms: float) -> float:
    """The part of the loop's thread that one save takes of 100 updates with that save among them.

    Its arrays are copied off the devices in that time; they are written, and summed, by others.
    Where 100 updates take too long fewer are run, and the rest is counted at their pace.
    """
    k = run.train.steps_per_call
    calls = math.ceil(SAVE_UPDATES / k)
    ran = min(calls, max(2, int(LONGEST_SAVE_BLOCK_SECONDS / (k * step_ms / 1000))))
    run.save()  # the first makes folders and threads
    run.checkpoints.finish()
    saved, began = run.clock.saved, time.perf_counter()
    for number in range(ran):
        run.advance()
        if number == ran // 2:
            run.save()
    jax.block_until_ready(run.state)
    saved = run.clock.saved - saved
    others = time.perf_counter() - began - saved
    run.checkpoints.finish()
    return saved / (saved + others * calls / ran)


def _calls(run: Run, batches: list[Any]) -> int:
    """How many calls make a block."""
    guess = 1
    while (seconds := bare_block(run, batches, guess)) < BLOCK_SECONDS / 4:
        guess *= 2
    call = seconds / guess
    calls = max(1, round(BLOCK_SECONDS / call))
    interval = run.train.log_every // run.train.steps_per_call
    even = math.ceil(calls / interval) * interval if interval else calls
    return even if even * call <= LONGEST_BLOCK_SECONDS else calls


def pipeline_rate(pipeline: Pipeline, axis: int, seconds: float = PIPELINE_SECONDS) -> float | None:
    """Examples a second that the pipeline makes alone; None where batches hold none."""
    size = results.batch_size(pipeline, axis)
    if not size:
        return None
    iterator = pipeline.batches(0)
    for _ in range(2):
        next(iterator)
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not count:
        next(iterator)
        count += 1
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
    return count * size / spent


def flops(compiled: Compiled) -> float | None:
    """The model's operations of one update over all devices, as tools/flops.py counts them."""
    traced = compiled.trace_update(compiled.stacked_specs(compiled.pipeline.specs[0]))
    found = counting.count(traced.jaxpr).model / compiled.train.steps_per_call
    return found if found > 0 else None


def mfu(flops: float | None, step_ms: float, devices: list[Any]) -> float | None:
    """Share of the devices' peak in bfloat16 that the model's operations make up."""
    peak = chips.peak(devices[0].device_kind)
    if flops is None or peak is None:
        return None
    return flops / (step_ms / 1000) / (peak * len(devices))
