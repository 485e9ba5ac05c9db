"""Batches of whole graphs, each an example: packs of a few static shapes (data/graph/packing.py).

A batch holds "label", int32 [b] or float32 [b] or [b, t], "mask" bool [b], in evaluation "index"
int64 [b], and the packs' arrays [p, ...] as "graph/nodes" [p, n, f], "graph/senders" [p, e], ...:
pack i holds the graphs i * b / p to (i + 1) * b / p - 1, in the order of the labels, with indices
of its own. All packs of a batch have the shape (n, e) of one bucket, the smallest that holds them.

Which graphs training batch s holds depends on (seed, s) alone; an evaluation pass holds each graph
once. Regression has the constants "target/mean" and "target/std" float32 [t], those of the labels
of the training split, with which a task standardises; labels are in their own units.

Letters: `b` graphs of a batch, `p` packs, `n` nodes and `e` edges of a pack, `f` features, `t`
targets.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from data import splits
from data.graph import packing, positions
from data.graph.edges import PREFIX
from data.graph.packing import Bucket, Store
from data.pipelines.common.rows import Arrays, Rows, this_process
from training.contracts import ConfigError, Info, Pipeline

# Fake graphs that are made; a fake pass repeats them.
_DISTINCT = 64


class Source(Protocol):
    """What this pipeline asks of a source; hashable, so that what is made of it can be kept."""

    def __hash__(self) -> int:
        """Equal sources, such as those of two splits of a run, have one store."""
        ...

    @property
    def info(self) -> Info:
        """With num_features, and num_targets in regression."""
        ...

    def store(self) -> Store:
        """All graphs of all splits; may raise DataError."""
        ...

    def rows(self, split: str) -> np.ndarray:
        """int64 [k]: the places of a split's graphs in the store, in the split's order."""
        ...

    def fake(self, seed: int, index: int) -> Mapping[str, Any]:
        """A graph's arrays and its "label", without a file."""
        ...


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source` and `pipeline`.

    Attributes:
      batch_size: graphs of a batch over all processes, in evaluation too; a multiple of packs.
      packs: in how many packs a batch is; a multiple of the parts in which the mesh splits it.
      splits: split expressions (data/splits.py) by the names that evaluators use.
      num_buckets: shapes of a pack, at most; they are computed from the sizes of all graphs.
      buckets: the shapes where they are not computed: nodes (with one for padding) and edges of
        each, the smallest first, such as (512, 1024, 2048, 8192).
      positions: what is added to the nodes: "laplacian:8", "random_walk:16", "degree"
        (data/graph/positions.py).
    """

    batch_size: int = 32
    packs: int = 1
    splits: dict[str, str] = field(default_factory=lambda: dict(splits.USUAL))
    num_buckets: int = 3
    buckets: tuple[int, ...] = ()
    positions: tuple[str, ...] = ()


TINY: dict[str, object] = {"buckets": (), "num_buckets": 2}


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
    """The Pipeline of `config.splits[split]`; graphs are read now: their sizes decide the shapes.

    Arguments are those of every pipeline (data/pipelines/examples.py).

    Raises:
      ConfigError: whatever does not fit together, such as a graph that no bucket holds.
      DataError: graphs that are missing or damaged.
    """
    _check(config)
    info = source.info
    process = this_process(process_index, process_count)
    chosen = splits.choose(config.splits, info.num_examples, split)
    store = (_fakes if fake else _stored)(source, config.positions)
    store.check_sizes(info.max_nodes)
    numbers = _numbers(config, source, chosen, fake, train)
    rows = Rows(len(numbers), config.batch_size, seed, train, shuffled=True, process=process)
    packer = Packer(store, config, _buckets(config, store), process)

    def batches(start: int = 0) -> Iterator[Arrays]:
        for number in rows.numbers(start):
            places, mask = rows.of(number)
            batch = packer.batch(numbers[places], mask)
            if not train:
                index = np.where(mask, places + chosen.start, -1)
                batch["index"] = index[rows.part()]
            yield batch

    constant: dict[str, np.ndarray] = {}
    if info.num_targets:
        training = splits.choose(config.splits, info.num_examples, "train")
        labels = store.labels[_numbers(config, source, training, fake, True)]
        constant = _statistics(labels.reshape(len(labels), -1))
    return Pipeline(
        tuple(packer.spec(bucket, train) for bucket in packer.buckets),
        info,
        batches,
        constant,
        None if train else rows.num_batches,
    )


def together(batches: Sequence[Mapping[str, np.ndarray]]) -> list[Arrays]:
    """The batches in the shape of the largest of them, so that they can be stacked."""
    shapes = [(b[f"{PREFIX}node_mask"].shape[1], b[f"{PREFIX}edge_mask"].shape[1]) for b in batches]
    bucket = max(n for n, _ in shapes), max(e for _, e in shapes)
    return [
        dict(batch) if shape == bucket else _grown(batch, bucket)
        for batch, shape in zip(batches, shapes, strict=True)
    ]


def _grown(batch: Mapping[str, np.ndarray], bucket: Bucket) -> Arrays:
    inside = {k.removeprefix(PREFIX): v for k, v in batch.items() if k.startswith(PREFIX)}
    packs = len(inside["senders"])
    num_graphs = len(batch["label"]) // packs
    grown = [
        packing.grow({k: v[i] for k, v in inside.items()}, bucket, num_graphs) for i in range(packs)
    ]
    rest = {k: v for k, v in batch.items() if not k.startswith(PREFIX)}
    return rest | {PREFIX + k: np.stack([pack[k] for pack in grown]) for k in inside}


def _check(config: Config) -> None:
    if config.packs < 1 or config.batch_size < 1 or config.batch_size % config.packs:
        raise ConfigError(
            f"data.batch_size is {config.batch_size}, not a multiple of data.packs, {config.packs}"
        )
    if config.num_buckets < 1:
        raise ConfigError(f"data.num_buckets is {config.num_buckets}: it must be 1 or more")
    if len(config.buckets) % 2 or any(size < 1 for size in config.buckets):
        raise ConfigError(
            f"data.buckets is {config.buckets}: it must be nodes and edges of each, such as "
            "(512, 1024, 2048, 8192)"
        )


def _numbers(
    config: Config, source: Source, chosen: splits.Range, fake: bool, train: bool
) -> np.ndarray:
    """int64 [k]: the places in the store of a split's graphs."""
    if not fake:
        return source.rows(chosen.split)[chosen.start : chosen.stop]
    limit = len(chosen) if train else 2 * config.batch_size + config.batch_size // 2
    return np.arange(min(len(chosen), limit)) % _DISTINCT


def _buckets(config: Config, store: Store) -> tuple[Bucket, ...]:
    if config.buckets:
        return tuple(zip(config.buckets[::2], config.buckets[1::2], strict=True))
    return packing.buckets_of(
        store.num_nodes, store.num_edges, config.batch_size // config.packs, config.num_buckets
    )


def _statistics(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of targets [n, t]; a target that is the same everywhere has the deviation 1."""
    std = labels.std(axis=0, dtype=np.float64)
    return {
        "target/mean": labels.mean(axis=0, dtype=np.float64).astype(np.float32),
        "target/std": np.where(std > 0, std, 1.0).astype(np.float32),
    }


@functools.lru_cache(maxsize=16)
def _stored(source: Source, added: tuple[str, ...]) -> Store:
    return with_positions(source.store(), added)


@functools.lru_cache(maxsize=16)
def _fakes(source: Source, added: tuple[str, ...]) -> Store:
    graphs = [dict(source.fake(0, index)) for index in range(_DISTINCT)]
    labels = np.stack([graph.pop("label") for graph in graphs])
    return with_positions(Store.of(graphs, labels), added)


def with_positions(store: Store, added: tuple[str, ...]) -> Store:
    """The store with the arrays that `data.positions` names; ConfigError for an unknown one."""
    steps = positions.parse(added, "data.positions")
    if not steps:
        return store
    graphs = [store.graph(i) for i in range(len(store))]
    for graph in graphs:
        for step in steps:
            graph |= step(graph, len(graph["nodes"]))
    return Store.of(graphs, store.labels, store.names)


@dataclasses.dataclass(frozen=True)
class Packer:
    """Makes batches of a store's graphs, this process's packs of them."""

    store: Store
    config: Config
    buckets: tuple[Bucket, ...]
    process: tuple[int, int]

    def __post_init__(self) -> None:
        index, count = self.process
        assert 0 <= index < count, self.process
        if self.config.packs % count:
            raise ConfigError(
                f"data.packs is {self.config.packs}, not a multiple of the {count} processes"
            )
        self.store.check_holds(max(self.buckets), self.num_graphs)

    @property
    def num_graphs(self) -> int:
        """Graphs of a pack."""
        return self.config.batch_size // self.config.packs

    def batch(self, numbers: np.ndarray, mask: np.ndarray) -> Arrays:
        """The batch of the graphs `numbers` [b], all processes'; where `mask` is False is none."""
        groups = [
            part[kept]
            for part, kept in zip(
                numbers.reshape(self.config.packs, -1), mask.reshape(self.config.packs, -1),
                strict=True,
            )
        ]  # fmt: skip
        bucket = self._bucket(groups)
        index, count = self.process
        local = self.config.packs // count
        packs = [
            self.store.pack(group, bucket, self.num_graphs)
            for group in groups[index * local : (index + 1) * local]
        ]
        part = slice(index * local * self.num_graphs, (index + 1) * local * self.num_graphs)
        batch = {"label": self.store.labels[numbers[part]], "mask": mask[part]}
        return batch | {PREFIX + k: np.stack([pack[k] for pack in packs]) for k in packs[0]}

    def _bucket(self, groups: Sequence[np.ndarray]) -> Bucket:
        """The smallest that holds every group; the largest holds whatever group."""
        nodes = max(int(self.store.num_nodes[group].sum()) for group in groups)
        those = max(int(self.store.num_edges[group].sum()) for group in groups)
        return min(b for b in self.buckets if nodes < b[0] and those <= b[1])

    def spec(self, bucket: Bucket, train: bool) -> dict[str, jax.ShapeDtypeStruct]:
        """The global shapes of a batch in a bucket."""
        empty = self.store.pack(np.zeros(0, np.int64), bucket, self.num_graphs)
        b, p = self.config.batch_size, self.config.packs
        labels = self.store.labels
        spec = {
            "label": jax.ShapeDtypeStruct((b, *labels.shape[1:]), labels.dtype),
            "mask": jax.ShapeDtypeStruct((b,), np.bool_),
        }
        spec |= {PREFIX + k: jax.ShapeDtypeStruct((p, *v.shape), v.dtype) for k, v in empty.items()}
        if not train:
            spec["index"] = jax.ShapeDtypeStruct((b,), np.int64)
        return spec
