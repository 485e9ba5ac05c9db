"""Many graphs: kept end to end, and packed with padding into arrays of a few static shapes.

A pack holds g graphs side by side as one graph without edges between them: all arrays of
data/graph/edges.py with indices of its own, and

    node_graph             int32 [n], which graph of the pack a node is of; g on padding
    node_mask, edge_mask   bool [n], bool [e], False on padding; padded edges join the last node,
                           which is padding, to itself

A bucket is a shape (n, e). A few of them, so that few programs are compiled and little is padding:
a batch takes the smallest that holds all of its packs. Letters: `n` nodes, `e` edges, `g` graphs
of a pack, `s` graphs of a set.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.graph import edges
from data.graph.edges import EDGE_ARRAYS, Graph
from training.contracts import ConfigError, DataError

Bucket = tuple[int, int]
# Buckets are rounded up to these: tiles of an accelerator, and fewer different shapes.
NODES_MULTIPLE, EDGES_MULTIPLE = 8, 16
_DRAWS = 512


@dataclass(frozen=True)
class Store:
    """A set of s graphs, end to end.

    Attributes:
      arrays: arrays by node and by edge of all graphs, those of each after another's; senders and
        receivers count within their own graph.
      node_starts, edge_starts: int64 [s + 1], where each graph begins.
      labels: int32 [s], or float32 [s] or [s, t].
      names: what each graph is called in messages.
    """

    arrays: Mapping[str, np.ndarray]
    node_starts: np.ndarray
    edge_starts: np.ndarray
    labels: np.ndarray
    names: Sequence[str]

    @classmethod
    def of(cls, graphs: Sequence[Graph], labels: np.ndarray, names: Sequence[str] = ()) -> "Store":
        """Of graphs with dense "nodes"; raises DataError for those that no model could read.

        All graphs have the same arrays, and a label and a name each.
        """
        if not graphs:
            raise DataError("a set of no graphs")
        names = names or [f"graph {i}" for i in range(len(graphs))]
        labels = np.asarray(labels)
        if not len(graphs) == len(labels) == len(names):
            raise DataError(f"{len(graphs)} graphs, {len(labels)} labels and {len(names)} names")
        for graph, name in zip(graphs, names, strict=True):
            if graph.keys() != graphs[0].keys():
                raise DataError(
                    f"{name} has {', '.join(sorted(graph))}; {names[0]} has "
                    f"{', '.join(sorted(graphs[0]))}"
                )
            if "nodes" not in graph:
                raise DataError(f"{name}: a graph without dense features of its nodes")
            edges.check(graph, len(graph["nodes"]), name, np.shape(graphs[0]["nodes"])[-1])
        wrong = np.flatnonzero(~np.isfinite(labels.reshape(len(labels), -1)).all(axis=1))
        if len(wrong):
            raise DataError(f"{names[wrong[0]]}: its label is {labels[wrong[0]]}")
        arrays = {k: [graph[k] for graph in graphs] for k in graphs[0]}
        if "edges" in arrays:
            arrays["edges"] = _of_one_width(arrays["edges"], names)
        return cls(
            {k: np.concatenate(v) for k, v in arrays.items()},
            np.cumsum([0, *(len(graph["nodes"]) for graph in graphs)]),
            np.cumsum([0, *(len(graph["senders"]) for graph in graphs)]),
            labels,
            names,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def num_nodes(self) -> np.ndarray:
        """int64 [s]."""
        return np.diff(self.node_starts)

    @functools.cached_property
    def num_edges(self) -> np.ndarray:
        """int64 [s]."""
        return np.diff(self.edge_starts)

    def graph(self, number: int) -> Graph:
        """One graph's arrays."""
        nodes = slice(self.node_starts[number], self.node_starts[number + 1])
        those = slice(self.edge_starts[number], self.edge_starts[number + 1])
        return {k: v[those if k in EDGE_ARRAYS else nodes] for k, v in self.arrays.items()}

    def pack(self, numbers: np.ndarray, bucket: Bucket, num_graphs: int) -> Graph:
        """The graphs `numbers` [<= g] as one pack of a bucket.

        Raises ConfigError where they do not fit.
        """
        if len(numbers) > num_graphs:
            raise ConfigError(f"{len(numbers)} graphs for a pack of {num_graphs}")
        nodes, node_counts = _places(self.node_starts, self.num_nodes, numbers)
        those, edge_counts = _places(self.edge_starts, self.num_edges, numbers)
        if len(nodes) >= bucket[0] or len(those) > bucket[1]:
            raise ConfigError(self.too_large(numbers, bucket, num_graphs))
        found = {}
        for name, array in self.arrays.items():
            part = array[those if name in EDGE_ARRAYS else nodes]
            if name in ("senders", "receivers"):
                part = part + np.repeat(np.cumsum(node_counts) - node_counts, edge_counts)
            elif name == "reverse":
                part = part + np.repeat(np.cumsum(edge_counts) - edge_counts, edge_counts)
            found[name] = part.astype(array.dtype)
        found["node_graph"] = np.repeat(np.arange(len(numbers), dtype=np.int32), node_counts)
        return grow(found, bucket, num_graphs)

    def too_large(self, numbers: np.ndarray, bucket: Bucket, num_graphs: int) -> str:
        """What is wrong where the graphs `numbers` do not fit into a bucket, and what to set for
        packs of `num_graphs`.
        """
        largest = numbers[self.num_nodes[numbers].argmax()]
        nodes, those = self.num_nodes[numbers].sum() + 1, self.num_edges[numbers].sum()
        own = self.num_nodes[largest] + 1, self.num_edges[largest]
        what = f"{self.names[largest]} has {own[0] - 1} nodes and {own[1]} edges"
        if own[0] <= bucket[0] and own[1] <= bucket[1]:
            what = f"{len(numbers)} graphs of one pack ({what}) have {nodes - 1} and {those}"
        return f"{what}, {self.advice(bucket, num_graphs)}"

    def check_holds(self, bucket: Bucket, num_graphs: int) -> None:
        """Raises ConfigError where the largest bucket does not hold every pack of `num_graphs`."""
        alone = np.flatnonzero((self.num_nodes >= bucket[0]) | (self.num_edges > bucket[1]))
        if len(alone):
            raise ConfigError(self.too_large(alone[:1], bucket, num_graphs))
        nodes, those = largest_pack(self.num_nodes, self.num_edges, num_graphs)
        if nodes > bucket[0] or those > bucket[1]:
            what = f"{num_graphs} graphs of one pack may have {nodes - 1} nodes and {those} edges"
            raise ConfigError(f"{what}, {self.advice(bucket, num_graphs)}")

    def check_sizes(self, most: int) -> None:
        """Raises DataError for a graph of more than `most` nodes; 0 is no limit."""
        largest = int(self.num_nodes.argmax())
        if 0 < most < self.num_nodes[largest]:
            raise DataError(
                f"{self.names[largest]} has {self.num_nodes[largest]} nodes, and the data set's "
                f"largest graph has {most}"
            )

    def advice(self, bucket: Bucket, num_graphs: int) -> str:
        """What to set where the largest bucket does not hold every pack of `num_graphs`."""
        needed = largest_pack(self.num_nodes, self.num_edges, num_graphs)
        return (
            f"and the largest bucket holds {bucket[0] - 1} nodes beside its padding and "
            f"{bucket[1]} edges: set data.buckets to end with {needed[0]} and {needed[1]}, which "
            "hold whatever pack, or data.buckets=() to have them computed"
        )


def _of_one_width(attributes: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """Features of edges, as wide everywhere; those of a graph without edges have any width."""
    widths = {a.shape[1]: name for a, name in zip(attributes, names, strict=True) if len(a)}
    if len(widths) > 1:
        (one, first), (other, second) = list(widths.items())[:2]
        raise DataError(f"{second}: {other} features of an edge, and {first} has {one}")
    width = next(iter(widths), attributes[0].shape[1])
    return [a if len(a) else np.zeros((0, width), np.float32) for a in attributes]


def _places(
    starts: np.ndarray, sizes: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(places in the flat arrays of all of the graphs `numbers`, how many each has)."""
    counts = sizes[numbers]
    before = np.cumsum(counts) - counts
    return np.repeat(starts[numbers] - before, counts) + np.arange(counts.sum()), counts


def grow(pack: Mapping[str, np.ndarray], bucket: Bucket, num_graphs: int) -> Graph:
    """A pack, padded or not, in a larger bucket."""
    old = {"nodes": len(pack["node_graph"]), "edges": len(pack["senders"])}
    node_mask = pack.get("node_mask", np.ones(old["nodes"], bool))
    edge_mask = pack.get("edge_mask", np.ones(old["edges"], bool))
    last = bucket[0] - 1
    found: Graph = {}
    for name, array in {**pack, "node_mask": node_mask, "edge_mask": edge_mask}.items():
        by_edge = name in EDGE_ARRAYS or name == "edge_mask"
        size = bucket[1] if by_edge else bucket[0]
        grown = np.zeros((size, *array.shape[1:]), array.dtype)
        grown[: len(array)] = array
        if name in ("senders", "receivers"):
            grown[: len(array)][~edge_mask] = last
            grown[len(array) :] = last
        elif name == "reverse":
            grown[len(array) :] = np.arange(len(array), size)
        elif name == "node_graph":
            grown[len(array) :] = num_graphs
        found[name] = grown
    return found


def unpack(pack: Mapping[str, np.ndarray], num_graphs: int) -> list[Graph]:
    """The graphs of a pack without padding, at most `num_graphs`: empty places are left out."""
    graphs = []
    first_edge = 0
    for number in range(num_graphs):
        chosen = np.flatnonzero(pack["node_graph"] == number)
        if not len(chosen):
            continue
        first = chosen[0]
        those = (pack["receivers"] >= first) & (pack["receivers"] < first + len(chosen))
        those &= pack["edge_mask"]
        graph: Graph = {}
        for name, array in pack.items():
            if name in ("node_graph", "node_mask", "edge_mask"):
                continue
            part = array[those] if name in EDGE_ARRAYS else array[chosen]
            if name in ("senders", "receivers"):
                part = part - first
            elif name == "reverse":
                part = part - first_edge
            graph[name] = part.astype(array.dtype)
        first_edge += int(those.sum())
        graphs.append(graph)
    return graphs


def largest_pack(num_nodes: np.ndarray, num_edges: np.ndarray, num_graphs: int) -> Bucket:
    """The smallest bucket that holds any `num_graphs` of the graphs of these sizes [s]."""

    def worst(sizes: np.ndarray) -> int:
        # A batch that ends an epoch and begins the next may hold a graph once more.
        repeats = -(-num_graphs // min(num_graphs, len(sizes))) + 1
        return int(np.sort(np.repeat(sizes, repeats))[::-1][:num_graphs].sum())

    return worst(num_nodes) + 1, worst(num_edges)


def buckets_of(
    num_nodes: np.ndarray, num_edges: np.ndarray, num_graphs: int, count: int, seed: int = 0
) -> tuple[Bucket, ...]:
    """At most `count` buckets for packs of `num_graphs` of the graphs of these sizes [s].

    The last holds whatever pack: the largest graphs together. Those before hold the even quantiles
    of packs that are drawn with `seed`, so that each is used about as often.
    """
    size = min(num_graphs, len(num_nodes))
    found = {_rounded(*largest_pack(num_nodes, num_edges, num_graphs))}
    rng = np.random.default_rng((seed, 0xB0C))
    draws = np.stack([rng.permutation(len(num_nodes))[:size] for _ in range(_DRAWS)])
    scale = num_graphs / size
    nodes = np.sort(num_nodes[draws].sum(axis=1) * scale)
    those = np.sort(num_edges[draws].sum(axis=1) * scale)
    for part in range(1, count):
        # Of the last drawn all are held: beyond it lie the rare packs that the worst case takes.
        place = round(part / (count - 1) * (_DRAWS - 1))
        found.add(_rounded(int(nodes[place]) + 1, int(those[place])))
    return tuple(sorted(found))


def _rounded(nodes: int, those: int) -> Bucket:
    return (
        -(-nodes // NODES_MULTIPLE) * NODES_MULTIPLE,
        max(1, -(-those // EDGES_MULTIPLE)) * EDGES_MULTIPLE,
    )
