"""Training a toy without `fit`: one scan, for the tests of the core itself."""

import jax
import numpy as np

from training.contracts import TrainState
from training.gradients import merge


def stacked(trees):
    """Trees of arrays, stacked on a new first axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def update_batches(algorithm, pipeline, count: int, start: int = 0):
    """What `count` updates take, [count, ...] or [count, batches_per_update, ...]."""
    batches = pipeline.batches(start)
    per = algorithm.batches_per_update

    def one():
        return next(batches) if per == 1 else stacked([next(batches) for _ in range(per)])

    return stacked([one() for _ in range(count)])


def train(algorithm, pipeline, steps: int, *seeds: int) -> list[tuple[TrainState, TrainState]]:
    """[(first state, state after `steps` updates)] of each seed, which the data follow too."""
    init = jax.jit(algorithm.init)
    run = jax.jit(lambda s, b: jax.lax.scan(algorithm.update, s, b, length=steps))
    pairs = []
    for seed in seeds:
        first = init(jax.random.key(seed), next(pipeline.batches(0)))
        start = seed * steps * algorithm.batches_per_update
        state, metrics = run(first, update_batches(algorithm, pipeline, steps, start))
        assert not np.asarray(metrics["nonfinite"].total).any()
        pairs.append((first, state))
    return pairs


def measure(algorithm, pipeline, *states: TrainState) -> list[dict]:
    """[{metric: value}] of each state over an evaluation pipeline, with its chosen weights."""
    evaluate, key, values = jax.jit(algorithm.evaluate), jax.random.key(0), []
    for state in states:
        means = merge(*(evaluate(state, batch, key) for batch in pipeline.batches(0)))
        values.append({name: mean.compute() for name, mean in means.items()})
    return values
