"""Edges of one graph, some of them hidden: link prediction as the graph autoencoder has it.

Kipf and Welling 2016 (arXiv:1611.07308, section 4): a part of the undirected edges is hidden for
validation and for testing, and as many pairs without an edge are drawn to tell them from. What is
left is the training graph, `Pipeline.constant` under "graph/...".

A batch holds "source" and "target" int32 [b], "label" int32 [b] (1 for an edge) and "mask" bool
[b]; in evaluation also "index" int64 [b]. A training batch is every edge of the training graph,
each once: what is no edge the task takes from the graph. Evaluation holds the hidden edges of its
split and then the pairs without edge, all in one batch: scores need the whole graph once.

Splits are "train", "val" and "test", made with `split_seed`; member i of an ensemble with data of
its own has split_seed + i. Letters: `b` pairs of a batch.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from data import splits as expressions
from data.graph import edges, splits
from data.pipelines import nodes
from data.pipelines.common.rows import Arrays, Rows, rounded, spec_of, this_process
from training.contracts import ConfigError, Info, Pipeline


class Source(nodes.Source, Protocol):
    """What this pipeline asks of a source."""

    @property
    def num_edges(self) -> int:
        """Undirected edges, each counted once."""
        ...


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source` and `pipeline`.

    Attributes:
      batch_size: 0, which is all of a split; nothing else is served.
      splits: split expressions (data/splits.py) by the names that evaluators use; those of "val"
        and "test" take whole splits.
      split_seed: draws the hidden edges and the pairs without edge.
      val_fraction, test_fraction: of the undirected edges.
      features: "sparse", only what is not 0, or "dense" [n, f].
      positions: what is added to the nodes (data/graph/positions.py).
      pad_to: batches are padded to a multiple, which a mesh then divides.
    """

    batch_size: int = 0
    splits: dict[str, str] = field(default_factory=lambda: dict(expressions.USUAL))
    split_seed: int = 0
    val_fraction: float = 0.05
    test_fraction: float = 0.1
    features: str = "sparse"
    positions: tuple[str, ...] = ()
    pad_to: int = 64


TINY: dict[str, object] = {}


def member(config: Config, index: int) -> Config:
    """What member `index` of an ensemble with data of its own has: its own split."""
    return dataclasses.replace(config, split_seed=config.split_seed + index)


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

    Arguments are those of every pipeline (data/pipelines/examples.py); `seed` decides nothing.

    Raises:
      ConfigError: whatever does not fit together. DataError: a graph that is missing or damaged.
    """
    del seed
    info = _info(config, source)
    chosen = expressions.choose(config.splits, info.num_examples, split)
    if len(chosen) != info.num_examples[chosen.split]:
        raise ConfigError(f"data.splits.{split} is {config.splits[split]!r}: take a whole split")
    data = source.fake_graph(seed=0) if fake else source.graph()
    graph = data.graph
    found = splits.split_links(
        graph["senders"], graph["receivers"], info.num_nodes,
        config.val_fraction, config.test_fraction, config.split_seed,
    )  # fmt: skip
    pairs = _pairs(found, chosen.split, train)
    size = rounded(len(pairs[0]), config.pad_to)
    process = this_process(process_index, process_count)
    rows = Rows(len(pairs[0]), size, 0, train, shuffled=False, process=process)
    places, mask = rows.of(0)
    whole = {
        "source": pairs[0][places, 0],
        "target": pairs[0][places, 1],
        "label": pairs[1][places],
        "mask": mask,
    }
    if not train:
        whole["index"] = np.where(mask, places, -1)
    batch = {name: np.ascontiguousarray(array[rows.part()]) for name, array in whole.items()}

    def batches(start: int = 0) -> Iterator[Arrays]:
        for _ in rows.numbers(start):
            yield dict(batch)

    training = _training_graph(graph, found.positive["train"], info.num_nodes)
    whole = nodes.inputs(training, info, config.features, config.positions)
    constant = nodes.constants(whole, info.num_nodes)
    num_batches = None if train else 1
    return Pipeline((spec_of(batch, size),), info, batches, constant, num_batches)


def _info(config: Config, source: Source) -> Info:
    """The source's, its examples being pairs; raises ConfigError for bad settings."""
    if config.batch_size:
        raise ConfigError(
            f"data.batch_size is {config.batch_size}: 'links' takes all of a split at once: set 0"
        )
    if config.pad_to < 1:
        raise ConfigError(f"data.pad_to is {config.pad_to}: it must be 1 or more")
    nodes.check_features(config.features)
    counts = splits.link_counts(source.num_edges, config.val_fraction, config.test_fraction)
    sizes = {k: count if k == "train" else 2 * count for k, count in counts.items()}
    return dataclasses.replace(source.info, num_examples=sizes)


def _pairs(found: splits.LinkSplit, name: str, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """(pairs int32 [b, 2], labels int32 [b])."""
    positive = found.positive[name]
    negative = found.negative.get(name, positive[:0])
    if train and len(negative):
        raise ConfigError(f"data.splits.train is {name!r}, which is held out: set 'train'")
    labels = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    return np.concatenate([positive, negative]), labels.astype(np.int32)


def _training_graph(graph: edges.Graph, pairs: np.ndarray, num_nodes: int) -> edges.Graph:
    """`graph` with no other edges than `pairs`."""
    kept = edges.edge_list(
        num_nodes, pairs[:, 0], pairs[:, 1], undirected=True, where="training graph"
    )
    return {k: v for k, v in graph.items() if k not in edges.EDGE_ARRAYS} | kept
