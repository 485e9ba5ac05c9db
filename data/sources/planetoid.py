"""The Planetoid citation graphs: Cora, Citeseer and Pubmed, with their published split.

Data: Sen et al. 2008, split by Yang et al. 2016 (arXiv:1603.08861), as Kipf and Welling 2017
(arXiv:1609.02907) use it: 20 training nodes a class, the next 500 for validation, 1000 for test.
A node is a paper with the words that it holds (Pubmed: their TF-IDF), an edge a citation in either
direction; features are sparse, each row divided by its sum where `normalise` says so.

    dataset   nodes   undirected edges  features  classes  train   val   test
    cora       2708               5278      1433        7    140   500   1000
    citeseer   3327               4552      3703        6    120   500   1000
    pubmed    19717              44324       500        3     60   500   1000

Self-loops and repeated edges of the files are dropped (Citeseer: 124 self-loops). 15 of Citeseer's
nodes between the test nodes are in no file of features: their features are 0, their label is 0,
and they are in no split. The sums of Pubmed's files could not be checked where this was written, so
that none is stated: what they hold is checked by its counts.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import raw
from data.graph import edges, unpickle
from data.graph.edges import Graph
from data.graph.kinds import NodeGraph, fake_node_graph
from data.graph.sums import raw_file
from data.names import nearest
from data.raw import RawFile
from training.contracts import ConfigError, DataError, Info

_ADDRESS = (
    "https://raw.githubusercontent.com/kimiyoung/planetoid/"
    "af6abf468a772cc055bec88c52e4d6f51b7c37e3/data/"
)
PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")


@dataclass(frozen=True)
class Sizes:
    """What a data set holds; `edges` counts each undirected edge once."""

    nodes: int
    edges: int
    features: int
    non_zeros: int
    classes: int
    train: int


SIZES = {
    "cora": Sizes(2708, 5278, 1433, 49216, 7, 140),
    "citeseer": Sizes(3327, 4552, 3703, 105165, 6, 120),
    "pubmed": Sizes(19717, 44324, 500, 988031, 3, 60),
}
VAL, TEST = 500, 1000


@dataclass(frozen=True)
class Config:
    """Attributes:

    dataset: cora | citeseer | pubmed.
    normalise: rows of features sum to 1, as in GCN and GAT; False in GAE.
    """

    dataset: str = "cora"
    normalise: bool = True


# The largest of them takes a minute where Cora takes seconds.
TINY: dict[str, object] = {"dataset": "cora"}


@dataclass(frozen=True)
class Planetoid:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("nodes", "links")

    @property
    def sizes(self) -> Sizes:
        """The data set's."""
        return SIZES[self.config.dataset]

    @property
    def info(self) -> Info:
        """Splits "train", "val" and "test" of nodes."""
        sizes = self.sizes
        return Info(
            num_examples={"train": sizes.train, "val": VAL, "test": TEST},
            num_classes=sizes.classes,
            num_features=sizes.features,
            num_nodes=sizes.nodes,
        )

    @property
    def num_edges(self) -> int:
        """Undirected edges, each counted once."""
        return self.sizes.edges

    def fake(self, seed: int, index: int) -> dict[str, Any]:
        """A node and its label, int32."""
        rng = np.random.default_rng((seed, index))
        node, label = rng.integers(self.sizes.nodes), rng.integers(self.sizes.classes)
        return {"node": np.int32(node), "label": np.int32(label)}

    def fake_graph(self, seed: int) -> NodeGraph:
        """A random graph of exactly the data set's sizes."""
        return _fake(self.config.dataset, seed)

    def graph(self) -> NodeGraph:
        """The whole graph; raises DataError where the files are missing or damaged."""
        return _read(self.config)

    def prepare(self) -> None:
        """Finds or downloads the files, and reads them once."""
        self.graph()

    def verify(self) -> list[str]:
        """A line on each data set of which there are files; may raise DataError."""
        lines = []
        for name in SIZES:
            if any(raw.locate("planetoid", file) for file in files_of(name)):
                found = _read(Config(name))
                count = len(found.graph["senders"]) // 2
                folder = raw.folders("planetoid")[0]
                lines.append(f"{name}: {len(found.labels)} nodes, {count} edges in {folder}")
        return lines


def build(config: Config) -> Planetoid:
    """The source; raises ConfigError for an unknown name."""
    if config.dataset not in SIZES:
        raise ConfigError(
            f"data.source.dataset is {config.dataset!r}: {nearest(config.dataset, SIZES)}"
        )
    return Planetoid(config)


def files_of(name: str) -> tuple[RawFile, ...]:
    """The eight published files."""
    return tuple(raw_file("planetoid", f"ind.{name}.{part}", _ADDRESS) for part in PARTS)


@functools.lru_cache(maxsize=2)
def _fake(name: str, seed: int) -> NodeGraph:
    sizes = SIZES[name]
    return fake_node_graph(
        seed,
        num_nodes=sizes.nodes,
        num_edges=sizes.edges,
        num_features=sizes.features,
        num_non_zeros=sizes.non_zeros,
        num_classes=sizes.classes,
        splits={"train": sizes.train, "val": VAL, "test": TEST},
    )


@functools.lru_cache(maxsize=2)
def _read(config: Config) -> NodeGraph:
    paths = raw.fetch("planetoid", files_of(config.dataset))
    return read(config, paths)


def read(config: Config, paths: Mapping[str, Path]) -> NodeGraph:
    """The graph of the eight files at `paths` (by name); raises DataError for what is not right."""
    name = config.dataset
    parts = {part: unpickle.load(paths[f"ind.{name}.{part}"]) for part in PARTS[:-1]}
    test = _test_nodes(paths[f"ind.{name}.test.index"])
    try:
        return _joined(config, parts, test)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"planetoid: {name}: the files do not fit together ({type(error).__name__}: {error})"
        ) from error


def _joined(config: Config, parts: Mapping[str, Any], test: np.ndarray) -> NodeGraph:
    where, sizes = f"planetoid: {config.dataset}", SIZES[config.dataset]
    rows, columns, values = _features(parts, test)
    senders, receivers = _listed(parts["graph"])
    labels = np.zeros(sizes.nodes, np.int32)
    labels[: parts["allx"].shape[0]] = parts["ally"].argmax(axis=1)
    labels[test] = parts["ty"].argmax(axis=1)
    graph = edges.edge_list(sizes.nodes, senders, receivers, undirected=True, where=where)
    if config.normalise:
        values = values / np.bincount(rows, weights=values, minlength=sizes.nodes)[rows]
    graph |= {
        "feature_rows": rows.astype(np.int32),
        "feature_columns": columns.astype(np.int32),
        "feature_values": values.astype(np.float32),
    }
    edges.check(graph, sizes.nodes, where, sizes.features)
    _check_counts(where, sizes, graph, parts, test)
    first = len(parts["y"])
    splits = {
        "train": np.arange(first, dtype=np.int32),
        "val": np.arange(first, first + VAL, dtype=np.int32),
        "test": np.sort(test).astype(np.int32),
    }
    return NodeGraph(graph, labels, splits)


def _test_nodes(path: Path) -> np.ndarray:
    try:
        return np.array(path.read_text().split(), np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path} cannot be read as a list of nodes: {error}") from error


def _features(
    parts: Mapping[str, Any], test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, columns, values) of all features, by row: those of `tx` are in the order of `test`."""
    rows, columns, values = parts["allx"].lists()
    test_rows, test_columns, test_values = parts["tx"].lists()
    rows = np.concatenate([rows, test[test_rows]])
    columns = np.concatenate([columns, test_columns])
    order = np.lexsort((columns, rows))
    return rows[order], columns[order], np.concatenate([values, test_values])[order]


def _listed(neighbours: Mapping[int, list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """(senders, receivers) of a dict of neighbours by node."""
    counts = [len(found) for found in neighbours.values()]
    senders = np.repeat(np.fromiter(neighbours, np.int64, len(neighbours)), counts)
    receivers = np.fromiter(itertools.chain(*neighbours.values()), np.int64, len(senders))
    return senders, receivers


def _check_counts(
    where: str, sizes: Sizes, graph: Graph, parts: Mapping[str, Any], test: np.ndarray
) -> None:
    """Raises DataError where the files hold other numbers than were published."""
    found = {
        "nodes": (len(parts["graph"]), sizes.nodes),
        "undirected edges": (len(graph["senders"]) // 2, sizes.edges),
        "features": (parts["allx"].shape[1], sizes.features),
        "classes": (parts["y"].shape[1], sizes.classes),
        "training nodes": (len(parts["y"]), sizes.train),
        "test nodes": (len(np.unique(test)), TEST),
    }
    for what, (count, expected) in found.items():
        if count != expected:
            raise DataError(f"{where}: the files hold {count} {what}, not {expected}")
