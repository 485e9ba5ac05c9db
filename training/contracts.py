"""The few types that the parts of a run share, and nothing else: no part imports another's file.

Arrays are plain: parameters are nested dicts of `jax.Array`, never boxed; their placement is
decided by path, outside of the model. Axis letters: `b` batch, `m` members of an ensemble.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Batch = Mapping[str, Any]
Arrays = dict[str, Any]
Tree = Any


@struct.dataclass
class TrainState:
    """All arrays that an algorithm carries from one update to the next; all of it is checkpointed.

    Attributes:
      step: int32, updates done. An ensemble's arrays, this one too, have a leading axis [m].
      key: typed random key, constant; a use draws from `stream(key, name, step)`.
      params: the trainable arrays; a dict by network where there are several.
      opt_state: Optax's state; a dict by network likewise.
      mutable: Linen's other collections (batch statistics), `{}` where there are none.
      carry: whatever else an algorithm remembers: EMA, loss scale, target networks, replay.
    """

    step: jax.Array
    key: jax.Array
    params: Tree
    opt_state: Tree
    mutable: Tree
    carry: dict[str, Tree]


@struct.dataclass
class Mean:
    """A mean that merges exactly: sums of values and of weights, both arrays of one shape."""

    total: Any
    count: Any

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array | None = None) -> "Mean":
        """The mean of all `values` [b, ...] whose `mask` (same shape, or [b]) is True."""
        values = jnp.asarray(values, jnp.float32)
        if mask is None:
            return cls(values.sum(), jnp.float32(values.size))
        mask = jnp.asarray(mask, bool)
        mask = jnp.broadcast_to(
            mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape
        )
        return cls(jnp.where(mask, values, 0.0).sum(), mask.sum(dtype=jnp.float32))

    def merge(self, other: "Mean") -> "Mean":
        """The mean over both sets of values."""
        return Mean(self.total + other.total, self.count + other.count)

    def compute(self) -> Any:
        """Total over count; NaN where nothing was counted."""
        count = np.asarray(self.count, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total, np.float64) / count


Means = dict[str, Mean]


@dataclass(frozen=True)
class Aux:
    """What a loss returns beside its scalar: the new mutable collections and its metrics."""

    mutable: Tree = field(default_factory=dict)
    metrics: Means = field(default_factory=dict)


jax.tree_util.register_dataclass(Aux, data_fields=["mutable", "metrics"], meta_fields=[])


@dataclass(frozen=True)
class Info:
    """What a source states of itself before any of its data is read.

    Attributes:
      num_examples: examples by split as the publisher names them ("train", "test").
      num_classes: size of the label set, 0 where there is none.
      class_names: one name a class, () where the publisher names none.
      statistics: constants of the data that transforms use, such as
        {"mean": (0.5,), "std": (0.25,)} by channel for images in [0, 1].
      num_features: features of a node of a graph; 0 where there are no graphs.
      num_edge_features: features of an edge, 0 where there are none.
      num_relations: kinds of edges, 0 where all are of one kind.
      num_nodes: nodes of the one graph, or entities of a knowledge graph; 0 where there are many
        graphs.
      receptive_field: edges beyond which training leaves the one graph out, 0 for none left out.
      max_nodes: of many graphs, the nodes of the largest; 0 where that is not known.
      num_targets: numbers that a regression predicts, 0 where there are none.
      vocab_size: token ids are below it; 0 where there is no text.
      source_vocab_size: of the text that is translated from, 0 where it is not another.
      max_length: tokens of the longest text, 0 where that is not known.
      special: ids that stand for no text, by their names: pad unk bos eos mask cls sep.
    """

    num_examples: Mapping[str, int]
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    statistics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    num_features: int = 0
    num_edge_features: int = 0
    num_relations: int = 0
    num_nodes: int = 0
    receptive_field: int = 0
    max_nodes: int = 0
    num_targets: int = 0
    vocab_size: int = 0
    source_vocab_size: int = 0
    max_length: int = 0
    special: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pipeline:
    """Batches of one split.

    Attributes:
      specs: the shapes that a batch may have, {name: ShapeDtypeStruct} with the GLOBAL batch axis.
      info: the source's.
      batches: batches(start) yields this process's part of batch number start, start + 1, ... as
        NumPy arrays; endless for training, and a function of (seed, number) alone. For evaluation
        it ends after `num_batches`, and every batch has "mask" [b], False on padding.
      constant: arrays that every batch shares (a whole graph), placed once, never stacked.
      num_batches: batches of one pass; None for an endless stream.
      decode: from a field of token ids ("tokens", "source", "target") to what turns some of its
        ids into text.
      references: from such a field to what gives the text of the data itself by an example's
        "index": cut into words as the tokenizer cuts it, the words that it does not know included.
      lossless: whether `decode` gives the very characters that the data has.
      vocabularies: {entry: id} of each tokenizer ("tokenizer", "source_tokenizer"), which a run
        keeps; none of made-up texts.
      digest: of the examples of texts, which a run keeps, and goes on with the same alone; "" where
        nothing says it cheaply.
    """

    specs: tuple[Mapping[str, jax.ShapeDtypeStruct], ...]
    info: Info
    batches: Callable[[int], Iterator[dict[str, np.ndarray]]]
    constant: Mapping[str, np.ndarray] = field(default_factory=dict)
    num_batches: int | None = None
    decode: Mapping[str, Callable[[Sequence[int]], str]] = field(default_factory=dict)
    references: Mapping[str, Callable[[int], str]] = field(default_factory=dict)
    lossless: bool = False
    vocabularies: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    digest: str = ""


class Task(Protocol):
    """What is asked of a model: pure functions of its arrays.

    A task with several losses has `losses = {phase: loss}` in place of `loss`. Optional, with
    predict's arguments: `explain`, what a report draws of a batch (attention maps), and `generate`,
    what follows the texts of a batch, which takes options beside (tasks/common/sampling.py).
    Optional, so that what does not fit is refused in one line: `needs`, {array that a batch must
    hold: what gives it}; a model may have it too, and `tasks`, the names of those that it serves.
    """

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable) for batches of this shape."""
        ...

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """The scalar to minimise, a mean over the unmasked examples, and its Aux."""
        ...

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """Arrays with a leading axis [b], padding included."""
        ...


class Algorithm(Protocol):
    """How a run learns. `fit` knows nothing more of it than this; all methods are pure and
    jittable.

    Optional: `explain` and `generate` with predict's arguments. `batches_per_update` batches are
    stacked on a leading axis where it is not 1. With `members` > 1 all arrays of a state and of
    what evaluate and predict return have a leading axis [m].
    """

    @property
    def batches_per_update(self) -> int:
        """How many batches one update takes."""
        ...

    @property
    def members(self) -> int:
        """How many networks a state holds."""
        ...

    def init(self, key: jax.Array, batch: Batch) -> TrainState:
        """The state before the first update."""
        ...

    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Means]:
        """One update; the metric "nonfinite" counts updates that were refused as not finite."""
        ...

    def evaluate(self, state: TrainState, batch: Batch, key: jax.Array) -> Means:
        """Metrics of one batch by batch["mask"]; chooses the weights (EMA, greedy policy)."""
        ...

    def predict(self, state: TrainState, batch: Batch, key: jax.Array) -> Arrays:
        """Predictions of one batch with the same weights."""
        ...

    def weights(self, state: TrainState) -> TrainState:
        """The state without what only `update` reads: evaluate and predict give the same on it."""
        ...

    def member(self, state: TrainState, index: int) -> TrainState:
        """One member's state; the state itself where members is 1."""
        ...


@dataclass(frozen=True)
class Report:
    """What an evaluator found: scalars, each a float or an array [m], and figures by name."""

    scalars: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluator:
    """One line of a config's `evaluators`.

    Attributes:
      name: the module's name below evaluators/.
      split: which split it reads ("val", "test"); its scalars are logged under that name.
      every: updates between two runs; 0 runs it once, after training, on the chosen weights.
      run: run(compiled, state) -> Report, called by every process in the same order.
    """

    name: str
    split: str
    every: int
    run: Callable[[Any, TrainState], Report]


def stream(key: jax.Array, name: str, step: Any = 0) -> jax.Array:
    """The random key of one use, told apart from all others by its name and step."""
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF), step)


def is_test(split: str) -> bool:
    """Whether a split is the test set, "test", or another view of it, "test_..."."""
    return split == "test" or split.startswith("test_")


class ReportedError(Exception):
    """A fault that is not a bug: one clear line for the user, and the process's exit code."""

    code = 1


class ConfigError(ReportedError, ValueError):
    """A bad config, argument or workdir: what is wrong, where, and what would be right."""

    code = 2


class DataError(ReportedError):
    """Data that is missing or corrupt."""

    code = 3


class DivergedError(ReportedError):
    """Training met a loss or gradient that is not finite."""

    code = 4


class VerdictError(ReportedError):
    """A check that answered no."""

    code = 5


class DiskError(ReportedError):
    """A disk that is full or cannot be written."""

    code = 74


class PreemptedError(ReportedError):
    """Stopped from outside with everything saved: run the same command again."""

    code = 75


class HungError(ReportedError):
    """No step for too long, or a process that others wait for: run the same command again.

    As of the last checkpoint. The process ends at once: what hangs would hang its way out too.
    """

    code = 75


class InterruptedRunError(ReportedError):
    """Stopped by the user with everything saved."""

    code = 130
