"""Batches of nodes of one graph, which lies whole in `Pipeline.constant` under "graph/...".

A batch holds "node" and "label" int32 [b] and "mask" bool [b], False on padding; in evaluation also
"index" int64 [b], the node's place in its published split, -1 on padding. `batch_size=0` takes the
whole split in each batch, always in the same order: full-batch training, as GCN and GAT do. A
positive one draws nodes in an order of each epoch's own; evaluation still takes the split whole,
because each batch of it computes the whole graph.

With `neighbours` (s1, s2, ...) training batches also hold a sample of each node's neighbourhood, as
GraphSAGE has it (Hamilton et al. 2017, arXiv:1706.02216, section 3.1; drawn with replacement):
"neighbours_1" int32 [b, s1], nodes that send to the batch's, "neighbours_2" [b, s1, s2], nodes
that send to those, ...; -1 where a node has no neighbour.

With `receptive_field` L the part of the graph that training nodes see through L layers
(data/graph/field.py) lies in "field/..." too, and a training batch says in "seen" int32 [b] where
its nodes stand in that: to train on it changes no number and saves the rest.

Letters: `b` nodes of a batch, `n` of the graph, `e` edges, `k` of the split, `s` samples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from data import splits
from data.graph import edges, positions
from data.graph.field import FIELD, receptive_field
from data.graph.kinds import NodeGraph
from data.pipelines.common.rows import Arrays, Rows, rounded, spec_of, this_process
from training.contracts import ConfigError, Info, Pipeline


class Source(Protocol):
    """What this pipeline asks of a source."""

    @property
    def info(self) -> Info:
        """With num_nodes and num_features."""
        ...

    def graph(self) -> NodeGraph:
        """The data; may raise DataError."""
        ...

    def fake_graph(self, seed: int) -> NodeGraph:
        """Random data of the same shapes, without a file."""
        ...


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source` and `pipeline`.

    Attributes:
      batch_size: training nodes of a batch; 0 for all of the split.
      splits: split expressions (data/splits.py) by the names that evaluators use.
      features: "sparse", only what is not 0, or "dense" [n, f].
      neighbours: how many neighbours are sampled at each distance, () for none.
      receptive_field: edges, at least the model's layers, beyond which training leaves the graph
        out; 0 to train on all of it.
      positions: what is added to the nodes: "laplacian:8", "random_walk:16", "degree".
      pad_to: batches of the whole split are padded to a multiple, which a mesh then divides.
    """

    batch_size: int = 0
    splits: dict[str, str] = field(default_factory=lambda: dict(splits.USUAL))
    features: str = "sparse"
    neighbours: tuple[int, ...] = ()
    receptive_field: int = 0
    positions: tuple[str, ...] = ()
    pad_to: int = 64


TINY: dict[str, object] = {}


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
    """The Pipeline of `config.splits[split]`; the graph is read now, since it is a constant.

    Arguments are those of every pipeline (data/pipelines/examples.py).

    Raises:
      ConfigError: whatever does not fit together. DataError: a graph that is missing or damaged.
    """
    _check(config)
    chosen = splits.choose(config.splits, source.info.num_examples, split)
    data = source.fake_graph(seed=0) if fake else source.graph()
    nodes = data.splits[chosen.split][chosen.start : chosen.stop]
    whole = not (train and config.batch_size)
    size = rounded(len(nodes), config.pad_to) if whole else config.batch_size
    process = this_process(process_index, process_count)
    rows = Rows(len(nodes), size, seed, train, shuffled=not whole, process=process)
    sampled = config.neighbours if train else ()
    sampler = Sampler(data.graph, source.info.num_nodes) if sampled else None
    graph = inputs(data.graph, source.info, config.features, config.positions)
    constant, place = constants(graph, source.info.num_nodes), None
    if train and config.receptive_field:
        hops = config.receptive_field
        graph, place = receptive_field(graph, nodes, hops, source.info.num_nodes)
        constant |= constants(graph, len(graph["degrees"]), FIELD)

    def batch(number: int) -> Arrays:
        places, mask = rows.of(number)
        chosen_nodes = nodes[places]
        found = {"node": chosen_nodes, "label": data.labels[chosen_nodes], "mask": mask}
        if place is not None:
            found["seen"] = place[chosen_nodes]
        if not train:
            found["index"] = np.where(mask, places + chosen.start, -1)
        if sampler is not None:
            found |= sampler.around(chosen_nodes, sampled, (seed, number))
        return {name: array[rows.part()] for name, array in found.items()}

    def batches(start: int = 0) -> Iterator[Arrays]:
        kept = batch(0) if whole and rows.num_batches == 1 else None
        for number in rows.numbers(start):
            yield dict(kept) if kept is not None and not sampled else batch(number)

    return Pipeline(
        (spec_of(batch(0), size),),
        replace(source.info, receptive_field=config.receptive_field),
        batches,
        constant=constant,
        num_batches=None if train else rows.num_batches,
    )


def _check(config: Config) -> None:
    if config.batch_size < 0:
        raise ConfigError(f"data.batch_size is {config.batch_size}: 0 takes the whole split")
    if config.pad_to < 1:
        raise ConfigError(f"data.pad_to is {config.pad_to}: it must be 1 or more")
    if any(count < 1 for count in config.neighbours):
        raise ConfigError(f"data.neighbours is {config.neighbours}: counts must be 1 or more")
    if config.receptive_field < 0:
        raise ConfigError(f"data.receptive_field is {config.receptive_field}: 0 is the whole graph")
    if config.receptive_field and config.neighbours:
        raise ConfigError("data.receptive_field and data.neighbours: one of them, as both choose")
    check_features(config.features)


def check_features(features: str) -> None:
    """Raises ConfigError unless `data.features` is "sparse" or "dense"."""
    if features not in ("sparse", "dense"):
        raise ConfigError(f"data.features is {features!r}: it must be 'sparse' or 'dense'")


def inputs(
    graph: Mapping[str, np.ndarray], info: Info, features: str, added: tuple[str, ...]
) -> edges.Graph:
    """A whole graph as models read it: its features sparse or dense, with `added` positions.

    Raises ConfigError for an unknown position.
    """
    sparse = ("feature_rows", "feature_columns", "feature_values")
    kept = {k: v for k, v in graph.items() if k not in (*sparse, "nodes")}
    if features == "dense":
        kept["nodes"] = edges.dense_features(graph, info.num_nodes, info.num_features)
    elif "nodes" in graph:
        kept |= edges.sparse_features(graph["nodes"])
    else:
        kept |= {k: graph[k] for k in sparse}
    for step in positions.parse(added, "data.positions"):
        kept |= step(kept, info.num_nodes)
    return kept


def constants(graph: edges.Graph, num_nodes: int, prefix: str = edges.PREFIX) -> Arrays:
    """{"graph/...": array} of a graph of `num_nodes` nodes, sparse features as a table too."""
    if "feature_rows" in graph:
        graph = graph | edges.feature_slots(graph, num_nodes)
    return {prefix + name: array for name, array in graph.items()}


class Sampler:
    """Neighbours of nodes, drawn with replacement."""

    def __init__(self, graph: Mapping[str, np.ndarray], num_nodes: int) -> None:
        self._senders = graph["senders"]
        self._starts = np.searchsorted(graph["receivers"], np.arange(num_nodes + 1))

    def around(
        self, nodes: np.ndarray, counts: tuple[int, ...], key: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """{"neighbours_1": int32 [b, s1], "neighbours_2": [b, s1, s2], ...} of nodes [b]."""
        rng = np.random.default_rng((*key, 0x5A6E))
        found, around = {}, nodes
        for depth, count in enumerate(counts, 1):
            around = self._draw(around, count, rng)
            found[f"neighbours_{depth}"] = around
        return found

    def _draw(self, nodes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """int32 [..., s]: `count` neighbours of each node, -1 of one that has none."""
        first = self._starts[nodes]
        degrees = np.where(nodes >= 0, self._starts[nodes + 1] - first, 0)
        chosen = (rng.random((*nodes.shape, count)) * degrees[..., None]).astype(np.int64)
        places = np.minimum(first[..., None] + chosen, len(self._senders) - 1)
        return np.where(degrees[..., None] > 0, self._senders[places], -1).astype(np.int32)
