"""What a graph source hands to its pipelines: one graph with labelled nodes, or facts.

Many graphs are a `Store` (data/graph/packing.py). Letters: `n` nodes, `e` edges, `k` of a split.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.graph import edges
from data.graph.edges import Graph


@dataclass(frozen=True)
class NodeGraph:
    """One graph whose nodes have labels.

    Attributes:
      graph: as data/graph/edges.py says.
      labels: int32 [n], a class for each node.
      splits: int32 [k] by the name of a published split: its nodes, in the publisher's order.
    """

    graph: Graph
    labels: np.ndarray
    splits: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Facts:
    """A knowledge graph: int32 [k, 3] by published split; columns head, relation, tail.

    Two are the same only where they are one object, so that what is made of one can be kept.
    """

    splits: Mapping[str, np.ndarray]


def fake_node_graph(
    seed: int,
    *,
    num_nodes: int,
    num_edges: int,
    num_features: int,
    num_non_zeros: int,
    num_classes: int,
    splits: Mapping[str, int],
) -> NodeGraph:
    """A random undirected graph of exactly these sizes; `num_edges` counts each edge once.

    Its sparse features, `num_non_zeros` of them, are at random places, and `splits` are disjoint.
    """
    rng = np.random.default_rng((seed, num_nodes))
    one, other = _pairs(rng, num_nodes, num_edges)
    graph = edges.edge_list(num_nodes, one, other, undirected=True, where="fake graph")
    # In rows and columns that may be many, a place is drawn by its number.
    places = np.sort(rng.choice(num_nodes * num_features, num_non_zeros, replace=False))
    rows, columns = np.divmod(places, num_features)
    counts = np.bincount(rows, minlength=num_nodes)
    graph |= {
        "feature_rows": rows.astype(np.int32),
        "feature_columns": columns.astype(np.int32),
        "feature_values": (1 / counts[rows]).astype(np.float32),
    }
    order = rng.permutation(num_nodes).astype(np.int32)
    ends = np.cumsum(list(splits.values()))
    parts = np.split(order[: ends[-1]], ends[:-1])
    labels = rng.integers(0, num_classes, num_nodes).astype(np.int32)
    return NodeGraph(graph, labels, dict(zip(splits, parts, strict=True)))


def _pairs(rng: np.random.Generator, nodes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` different pairs i < j of `nodes`."""
    numbers = rng.choice(nodes * (nodes - 1) // 2, count, replace=False)
    # Pair number j (j - 1) / 2 + i.
    high = ((1 + np.sqrt(1 + 8 * numbers.astype(np.float64))) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > numbers
    high += (high + 1) * high // 2 <= numbers
    return numbers - high * (high - 1) // 2, high


def fake_graph(
    seed: int,
    index: int,
    *,
    mean_nodes: float,
    most_nodes: int,
    rings: float,
    num_features: int,
    num_edge_features: int = 0,
) -> Graph:
    """A small connected graph: a random tree with `rings` more edges a node, one-hot features.

    Sizes are spread log-normally around `mean_nodes`, and at most `most_nodes`.
    """
    rng = np.random.default_rng((seed, index, num_features))
    drawn = mean_nodes * rng.lognormal(-0.08, 0.4)
    count = int(np.clip(drawn, 2, most_nodes))
    parents = (rng.random(count - 1) * np.arange(1, count)).astype(np.int64)
    more = rng.integers(0, count, (int(rings * count), 2))
    one = np.concatenate([parents, more[:, 0]])
    other = np.concatenate([np.arange(1, count), more[:, 1]])
    attributes = {}
    if num_edge_features:
        kinds = rng.integers(0, num_edge_features, len(one))
        attributes = {"edges": np.eye(num_edge_features, dtype=np.float32)[kinds]}
    where = f"fake graph {index}"
    graph = edges.edge_list(count, one, other, undirected=True, where=where, **attributes)
    graph["nodes"] = np.eye(num_features, dtype=np.float32)[rng.integers(0, num_features, count)]
    return graph
