"""Graphs from and to networkx, SciPy's sparse matrices and dense adjacency matrices.

All hold the edges of data/graph/edges.py; adjacency[i, j] is the weight of the edge that node j
sends to node i, so that `adjacency @ features` is one round of messages. Letters `n` nodes,
`e` edges, `f` features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data.graph import edges
from data.graph.edges import Graph
from training.contracts import DataError


def from_adjacency(
    adjacency: np.ndarray, nodes: np.ndarray, where: str = "adjacency matrix"
) -> Graph:
    """The graph of a dense [n, n] matrix: an edge where it is not 0; `nodes` float [n, f].

    It counts as undirected, and has "reverse", where the matrix is symmetric. Values other than 1
    become "edges" [e, 1]. Raises DataError for a matrix or features that make no graph.
    """
    adjacency = _numbers(adjacency, where)
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise DataError(f"{where}: its shape is {list(adjacency.shape)}, not [n, n]")
    receivers, senders = np.nonzero(adjacency)
    weights = adjacency[receivers, senders]
    return _from_list(len(adjacency), weights, senders, receivers, nodes, where)


def from_scipy(matrix: Any, nodes: np.ndarray, where: str = "sparse matrix") -> Graph:
    """As `from_adjacency`, of any of SciPy's sparse matrices or arrays [n, n]."""
    if not hasattr(matrix, "tocoo"):
        raise DataError(f"{where}: a {type(matrix).__name__}, not a sparse matrix of SciPy's")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"{where}: its shape is {list(matrix.shape)}, not [n, n]")
    listed = matrix.tocoo(copy=True)
    listed.sum_duplicates()
    listed.eliminate_zeros()
    return _from_list(matrix.shape[0], listed.data, listed.col, listed.row, nodes, where)


def _from_list(
    num_nodes: int,
    weights: np.ndarray,
    senders: np.ndarray,
    receivers: np.ndarray,
    nodes: np.ndarray,
    where: str,
) -> Graph:
    weighted = not np.all(weights == 1)
    attributes = {"edges": _numbers(weights, f"{where}: weights")[:, None]} if weighted else {}
    graph = edges.edge_list(
        num_nodes, senders, receivers, undirected=False, where=where, **attributes
    )
    reverse = edges.opposite(graph["senders"], graph["receivers"])
    back = {k: v[reverse] for k, v in graph.items()}
    same = np.array_equal(back["senders"], graph["receivers"])
    same = same and np.array_equal(back["receivers"], graph["senders"])
    if same and all(np.array_equal(back[name], graph[name]) for name in attributes):
        graph["reverse"] = reverse
    graph["nodes"] = _numbers(nodes, f"{where}: features of nodes")
    edges.check(graph, num_nodes, where)
    return graph


def _numbers(values: Any, what: str) -> np.ndarray:
    """float32; raises DataError for what holds anything else than rows of as many numbers."""
    try:
        found = np.asarray(values)
        if values is None or found.dtype.kind == "c":
            raise TypeError("None" if values is None else "complex numbers")
        return found.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} are no numbers, or not as many everywhere: {error}") from error


def to_adjacency(
    graph: Mapping[str, np.ndarray], num_nodes: int, weight: int | None = None
) -> np.ndarray:
    """float32 [n, n]: at each edge its weight.

    Args:
      graph: its edges.
      num_nodes: n.
      weight: which feature of an edge it is; None takes the only one, and 1 where edges have none
        or several.

    Raises:
      DataError: there is no such feature, or an edge has the weight 0, which would be no edge.
    """
    adjacency = np.zeros((num_nodes, num_nodes), np.float32)
    adjacency[graph["receivers"], graph["senders"]] = _weights(graph, weight)
    return adjacency


def to_scipy(graph: Mapping[str, np.ndarray], num_nodes: int, weight: int | None = None) -> Any:
    """`to_adjacency` as a scipy.sparse.csr_array."""
    from scipy import sparse

    places = (graph["receivers"], graph["senders"])
    return sparse.csr_array((_weights(graph, weight), places), shape=(num_nodes, num_nodes))


def _weights(graph: Mapping[str, np.ndarray], weight: int | None) -> np.ndarray:
    features = graph.get("edges", np.zeros((len(graph["senders"]), 0)))
    width = features.shape[1]
    if weight is None and width != 1:
        return np.ones(len(features), np.float32)
    if not 0 <= (weight or 0) < width:
        raise DataError(f"feature {weight} of an edge as its weight, and there are {width}")
    weights = np.asarray(features[:, weight or 0], np.float32)
    if zeros := int((weights == 0).sum()):
        raise DataError(f"{zeros} edges have the weight 0, which a matrix takes for no edge")
    return weights


def networkx() -> Any:
    """The module; raises DataError, saying what to install, where it is not there."""
    try:
        import networkx
    except ModuleNotFoundError as error:
        raise DataError(
            "networkx is not installed: pip install networkx (the extra `graphs`)"
        ) from error
    return networkx


def from_networkx(
    graph: Any, feature: str = "feature", edge_feature: str = "", where: str = "networkx graph"
) -> Graph:
    """The graph of a networkx Graph or DiGraph, nodes in its order.

    Args:
      graph: without parallel edges.
      feature: the node attribute that holds its features: a number or f numbers.
      edge_feature: likewise of edges, "" for none.
      where: named in errors.

    Raises:
      DataError: a node or edge without that attribute, or parallel edges.
    """
    if not hasattr(graph, "is_multigraph"):
        raise DataError(f"{where}: a {type(graph).__name__}, not a graph of networkx's")
    if graph.is_multigraph():
        raise DataError(f"{where}: it is a multigraph, whose parallel edges have no place here")
    if not len(graph):
        raise DataError(f"{where}: an empty graph: it has no nodes")
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node, data in graph.nodes(data=True):
        if feature not in data:
            raise DataError(f"{where}: node {node!r} has no {feature!r}: a node without features")
    nodes = [np.ravel(data[feature]) for _, data in graph.nodes(data=True)]
    listed = list(graph.edges(data=True))
    attributes = {}
    if edge_feature:
        for one, other, data in listed:
            if edge_feature not in data:
                raise DataError(f"{where}: the edge {one!r} - {other!r} has no {edge_feature!r}")
        values = [np.ravel(data[edge_feature]) for *_, data in listed]
        # Of no edges the width is not known.
        values = values or np.zeros((0, 1))
        attributes = {"edges": _numbers(values, f"{where}: {edge_feature!r} of edges")}
    result = edges.edge_list(
        len(order),
        np.array([order[one] for one, *_ in listed], np.int64),
        np.array([order[other] for _, other, _ in listed], np.int64),
        undirected=not graph.is_directed(),
        where=where,
        **attributes,
    )
    result["nodes"] = _numbers(nodes, f"{where}: {feature!r} of nodes")
    edges.check(result, len(order), where)
    return result


def to_networkx(graph: Mapping[str, np.ndarray]) -> Any:
    """A Graph where "reverse" says that edges go both ways, else a DiGraph.

    Nodes are 0 to n - 1 with the attribute "feature", edges have "edge_feature" where there is one.
    Raises DataError where features are sparse: `edges.dense_features` makes them dense.
    """
    if "nodes" not in graph:
        raise DataError("a graph of sparse features: make them dense first (edges.dense_features)")
    module = networkx()
    result = module.Graph() if "reverse" in graph else module.DiGraph()
    result.add_nodes_from((i, {"feature": row}) for i, row in enumerate(graph["nodes"]))
    pairs = zip(graph["senders"].tolist(), graph["receivers"].tolist(), strict=True)
    if "edges" in graph:
        result.add_edges_from(
            (s, r, {"edge_feature": row}) for (s, r), row in zip(pairs, graph["edges"], strict=True)
        )
    else:
        result.add_edges_from(pairs)
    return result
