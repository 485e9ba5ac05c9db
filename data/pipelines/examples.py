"""Batches of single examples: which, in which order, through which transforms.

A training pipeline is a function of (seed, step) alone. Position p of the endless stream is example
`shuffle(p mod n, seed, p // n)` of the split's n, where `shuffle` is a keyed permutation of its own
for each epoch; batch s holds the positions s * B to s * B + B - 1, and each process takes its slice
of them. So starting at any step costs the same, and the batches do not depend on the number of
processes.

An evaluation pipeline holds each example exactly once, in the split's order; what fills the last
batch has mask False.

Fake batches have the real ones' shapes and types; they touch neither TensorFlow nor a file.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import jax
import numpy as np

from data import fakes, splits, stream
from data.examples import Arrays, Source
from data.pipelines.common.rows import this_process
from data.transforms.common import parse
from training.contracts import ConfigError, Info, Pipeline


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source`.

    Attributes:
      batch_size: examples in a batch over all processes.
      splits: split expressions (data/splits.py) by the names that evaluators use; "train" is what
        is trained on.
      transforms: of training, in order: "name" or "name:arg,arg" (data/transforms/).
      eval_transforms: of everything else; random ones are refused.
    """

    batch_size: int = 64
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    transforms: tuple[str, ...] = ("to_float",)
    eval_transforms: tuple[str, ...] = ("to_float",)


TINY: dict[str, object] = {}


@dataclass(frozen=True)
class Plan:
    """What stream.py and fakes.py need to make batches.

    Attributes:
      split: the range of examples.
      steps: the transforms.
      train: endless and shuffled, or one pass with "mask" and "index".
      seed: of the order and of the transforms.
      batch_size: over all processes.
      local: this process's examples of a batch; rows first .. first + local - 1 of it.
    """

    split: splits.Range
    steps: tuple[parse.Step, ...]
    train: bool
    seed: int
    batch_size: int
    local: int
    first: int


def build(
    config: Config,
    source: Source,
    split: str,
    *,
    train: bool,
    seed: int,
    fake: bool = False,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Pipeline:
    """The Pipeline of `config.splits[split]`; no data is read before its first batch.

    Batches hold "image" [b, h, w, c] and "label", int32 [b] or mixed float32 [b, k]; in evaluation
    also "mask" bool [b] and "index" int64 [b], the example's position in the split that the source
    publishes, -1 on padding. A fake evaluation split is at most two and a half batches long.

    Args:
      config: the section of the config.
      source: where examples come from (data/sources/).
      split: a key of config.splits.
      train: shuffled, endless and through config.transforms; else one pass through eval_transforms.
      seed: of the order and of the random transforms.
      fake: made-up data of the same shapes.
      process_index, process_count: of JAX where not stated.

    Raises:
      ConfigError: here, for whatever does not fit together. DataError: at the first batch.
    """
    process = this_process(process_index, process_count)
    where = "data.transforms" if train else "data.eval_transforms"
    plan = _plan(config, source.info, split, where, train, seed, process)
    if fake and not train:
        limit = min(len(plan.split), 2 * config.batch_size + config.batch_size // 2)
        limited = dataclasses.replace(plan.split, stop=plan.split.start + limit)
        plan = dataclasses.replace(plan, split=limited)
    specs = _specs(plan, source, where)
    num_batches = None if train else -(-len(plan.split) // config.batch_size)
    maker = (
        fakes.Batches(plan, source) if fake else stream.Batches(plan, source, specs, num_batches)
    )

    def batches(start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        if start < 0:
            raise ValueError(f"start is {start}, not a batch number")
        return maker.iterate(start, num_batches)

    return Pipeline((specs,), source.info, batches, num_batches=num_batches)


def _plan(
    config: Config,
    info: Info,
    split: str,
    where: str,
    train: bool,
    seed: int,
    process: tuple[int, int],
) -> Plan:
    """The plan of one process, (index, count), checked."""
    index, count = process
    chosen = splits.choose(config.splits, info.num_examples, split)
    if config.batch_size < 1 or config.batch_size % count:
        raise ConfigError(
            f"data.batch_size is {config.batch_size}, "
            f"not a multiple of the {count} processes and at least that"
        )
    local = config.batch_size // count
    steps = parse.chain(config.transforms if train else config.eval_transforms, train, where)
    for step in steps:
        if local % step.transform.multiple:
            raise ConfigError(
                f"{where} holds {step.text!r}, which takes batches of a multiple of "
                f"{step.transform.multiple}: a process's part of data.batch_size is {local}"
            )
    return Plan(chosen, steps, train, seed, config.batch_size, local, index * local)


def _specs(plan: Plan, source: Source, where: str) -> Mapping[str, jax.ShapeDtypeStruct]:
    """Global shapes and types of a batch, from the stand-ins on a small batch of fake examples."""
    rows = 2
    batch = fakes.stack(source, plan.seed, np.arange(rows))
    if not plan.train:
        batch |= {"mask": np.ones(rows, bool), "index": np.zeros(rows, np.int64)}
    batch = stand_ins(batch, plan.steps, source.info, where)
    return {
        name: jax.ShapeDtypeStruct((plan.batch_size, *array.shape[1:]), array.dtype)
        for name, array in batch.items()
    }


def stand_ins(batch: Arrays, steps: tuple[parse.Step, ...], info: Info, where: str) -> Arrays:
    """`batch` through the NumPy stand-ins; raises ConfigError naming `where`."""
    for step in steps:
        try:
            batch = step.transform.stand_in(batch, info)
        except ConfigError as error:
            raise ConfigError(f"{where} holds {step.text!r}: {error}") from None
    return batch
