"""Small random graphs in the layout that models read: one graph, or packs of several."""

from collections.abc import Mapping, Sequence

import numpy as np

Graph = dict[str, np.ndarray]
FEATURES, EDGE_FEATURES, RELATIONS, POSITIONS = 5, 3, 2, 3
BY_EDGE = ("senders", "receivers", "edges", "edge_type")


def graph(
    n: int = 9,
    seed: int = 0,
    density: float = 0.35,
    isolated: int = 0,
    self_loops: int = 0,
) -> Graph:
    """An undirected graph; its last nodes are isolated, its first have an edge to themselves."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < density, 1)
    upper[:, n - isolated :] = False
    if n > 1 + isolated:
        upper[0, 1] = True
    receivers, senders = np.nonzero(upper | upper.T | np.diag(np.arange(n) < self_loops))
    sparse = rng.normal(size=(n, FEATURES)) * (rng.random((n, FEATURES)) < 0.7)
    order = np.sort(rng.permutation(len(senders)))
    return {
        "nodes": sparse.astype("f4"),
        "senders": senders[order].astype("i4"),
        "receivers": receivers[order].astype("i4"),
        "edges": rng.normal(size=(len(senders), EDGE_FEATURES)).astype("f4"),
        "edge_type": rng.integers(0, 2 * RELATIONS, len(senders)).astype("i4"),
        "laplacian_positions": rng.normal(size=(n, POSITIONS)).astype("f4"),
    }


def sparse(graph: Mapping[str, np.ndarray]) -> Graph:
    """The same with features by their non-zeros."""
    rows, columns = np.nonzero(graph["nodes"])
    return {
        **{k: v for k, v in graph.items() if k != "nodes"},
        "feature_rows": rows.astype("i4"),
        "feature_columns": columns.astype("i4"),
        "feature_values": graph["nodes"][rows, columns],
    }


def permuted(graph: Mapping[str, np.ndarray], order: np.ndarray) -> Graph:
    """The same graph whose node i is what node order[i] was, receivers sorted again."""
    place = np.argsort(order).astype("i4")
    senders, receivers = place[graph["senders"]], place[graph["receivers"]]
    edge_order = np.lexsort((senders, receivers))
    found = {}
    for name, array in graph.items():
        if name in ("senders", "receivers"):
            continue
        found[name] = array[edge_order] if name in BY_EDGE else array[order]
    return {**found, "senders": senders[edge_order], "receivers": receivers[edge_order]}


def pack(graphs: Sequence[Mapping[str, np.ndarray]], n: int, e: int, seed: int = 0) -> Graph:
    """Graphs side by side, padded to n nodes and e edges with whatever may stand in padding."""
    rng = np.random.default_rng(seed)
    sizes = [len(one["nodes"]) for one in graphs]
    offsets = np.cumsum([0, *sizes])
    nodes, edges = offsets[-1], sum(len(one["senders"]) for one in graphs)
    assert nodes < n and edges <= e, (nodes, edges)
    found = {}
    for name in graphs[0]:
        arrays = [one[name] for one in graphs]
        if name in ("senders", "receivers"):
            arrays = [a + o for a, o in zip(arrays, offsets, strict=False)]
            fill = np.full(e - edges, n - 1)
        else:
            count = e - edges if name in BY_EDGE else n - nodes
            shape = (count, *arrays[0].shape[1:])
            whole = arrays[0].dtype.kind == "i"
            fill = np.zeros(shape) if whole else 7.0 * rng.normal(size=shape)
        found[name] = np.concatenate([*arrays, fill]).astype(arrays[0].dtype)
    numbers = np.repeat(np.arange(len(graphs)), sizes)
    found["node_graph"] = np.append(numbers, np.full(n - nodes, len(graphs))).astype("i4")
    found["node_mask"], found["edge_mask"] = np.arange(n) < nodes, np.arange(e) < edges
    return found
