"""Edge lists in the one form that every graph here has, and the check of a graph.

A graph is a dict of arrays; letters `n` nodes, `e` edges, `f` features, `z` non-zero features:

    nodes                            float32 [n, f]; or sparse: feature_rows, feature_columns
                                     int32 [z] and feature_values float32 [z], by row and column
    senders, receivers               int32 [e]; by receiver, then by sender; no self-loops; an
                                     undirected edge stands twice, once in each direction
    reverse                          int32 [e], where undirected: the place of the opposite edge
    edges, edge_type                 float32 [e, fe], int32 [e], where there are any
"""

from collections.abc import Mapping

import numpy as np

from training.contracts import DataError

Graph = dict[str, np.ndarray]
# Of a graph's arrays in a batch or among a pipeline's constants.
PREFIX = "graph/"
# Arrays by edge; all else that a graph of a pack holds is by node.
EDGE_ARRAYS = ("senders", "receivers", "edges", "edge_type", "reverse")
# Beyond so many words of a node a padded table costs more than it saves.
MOST_SLOTS = 64
# A table's slots are a multiple of it, because so many of them are added at once.
SLOTS_AT_ONCE = 5


def edge_list(
    num_nodes: int,
    senders: np.ndarray,
    receivers: np.ndarray,
    *,
    undirected: bool,
    where: str,
    **attributes: np.ndarray,
) -> Graph:
    """{"senders", "receivers", **attributes} (and "reverse") as above, from edges in any order.

    Self-loops go, and of equal edges all but the first; `undirected` adds what is missing of the
    opposite direction, with the same attributes [e, ...].

    Raises:
      DataError: naming `where`, for an index that is not 0 to num_nodes - 1, and for lists of
        different lengths.
    """
    senders, receivers = _whole(senders, where), _whole(receivers, where)
    for name, values in {"receivers": receivers, **attributes}.items():
        if len(values) != len(senders):
            raise DataError(f"{where}: {len(senders)} senders, and {len(values)} of {name!r}")
    check_indices(num_nodes, senders, receivers, where)
    kept = np.flatnonzero(senders != receivers)
    if undirected:
        kept = np.concatenate([kept, kept])
        half = len(kept) // 2
        flipped = np.arange(len(kept)) >= half
        source = np.where(flipped, receivers[kept], senders[kept])
        target = np.where(flipped, senders[kept], receivers[kept])
    else:
        source, target = senders[kept], receivers[kept]
    _, first = np.unique(target * num_nodes + source, return_index=True)
    graph = {
        "senders": source[first].astype(np.int32),
        "receivers": target[first].astype(np.int32),
        **{name: np.asarray(values)[kept[first]] for name, values in attributes.items()},
    }
    if undirected:
        graph["reverse"] = opposite(graph["senders"], graph["receivers"])
    return graph


def _whole(indices: np.ndarray, where: str) -> np.ndarray:
    """int64 [e]; raises DataError for what is no list of whole numbers."""
    given = np.asarray(indices)
    if given.ndim != 1:
        raise DataError(f"{where}: indices of nodes have shape {list(given.shape)}, not [e]")
    if given.size and given.dtype.kind not in "iu":
        raise DataError(f"{where}: indices of nodes are {given.dtype}, not whole numbers")
    return given.astype(np.int64)


def opposite(senders: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """int32 [e]: of each edge of an undirected list, the place of the edge in the other direction.

    So a sum over the edges by their senders is one by their receivers: of values[opposite].
    """
    # The edges by (sender, receiver) are, one by one, the opposites of those by (receiver, sender).
    return np.lexsort((receivers, senders)).astype(np.int32)


def check_indices(num_nodes: int, senders: np.ndarray, receivers: np.ndarray, where: str) -> None:
    """Raises DataError for an edge of a node that does not exist."""
    wrong = (senders < 0) | (senders >= num_nodes) | (receivers < 0) | (receivers >= num_nodes)
    if wrong.any():
        edge = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: edge {edge} joins node {senders[edge]} to {receivers[edge]}, and there are "
            f"{num_nodes} nodes, 0 to {num_nodes - 1} ({int(wrong.sum())} such edges)"
        )


def check(
    graph: Mapping[str, np.ndarray], num_nodes: int, where: str, num_features: int | None = None
) -> None:
    """Raises DataError, naming `where`, for a graph that no model could read.

    That is: no nodes, a node without features, a feature that is no finite number, an edge of a
    node that does not exist, edges that are not by receiver, edges and attributes of different
    numbers; and where `num_features` is given, other features than these.
    """
    if num_nodes < 1:
        raise DataError(f"{where}: an empty graph: it has no nodes")
    for name in ("senders", "receivers"):
        if name not in graph:
            raise DataError(f"{where}: a graph without {name!r}")
    check_indices(num_nodes, graph["senders"], graph["receivers"], where)
    if np.any(np.diff(graph["receivers"]) < 0):
        raise DataError(f"{where}: edges are not in the order of their receivers (edge_list)")
    if "nodes" in graph:
        _check_dense(graph["nodes"], num_nodes, where, num_features)
    elif "feature_values" in graph:
        _check_sparse(graph, num_nodes, where, num_features)
    else:
        raise DataError(f"{where}: a graph without features of its nodes")
    for name in EDGE_ARRAYS:
        if name in graph and len(graph[name]) != len(graph["senders"]):
            raise DataError(
                f"{where}: {len(graph['senders'])} edges, and {len(graph[name])} of {name!r}"
            )
    for name, most in (("reverse", len(graph["senders"])), ("edge_type", np.inf)):
        values = graph.get(name, np.zeros(0, np.int32))
        if len(values) and (values.min() < 0 or values.max() >= most):
            raise DataError(f"{where}: {name!r} has {values.min()} to {values.max()}")
    if "edges" in graph:
        _check_rows(graph["edges"], "edge", where)


def _check_rows(rows: np.ndarray, kind: str, where: str) -> None:
    """Raises DataError for rows that are not [k, f] of finite numbers."""
    if rows.ndim != 2 or rows.dtype.kind not in "fiub":
        what = f"{rows.dtype} of shape {list(rows.shape)}"
        raise DataError(f"{where}: features of {kind}s are {what}, not numbers [{kind}s, f]")
    wrong = np.argwhere(~np.isfinite(rows))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(_not_finite(where, kind, row, column, rows[row, column], len(wrong)))


def _check_dense(nodes: np.ndarray, num_nodes: int, where: str, num_features: int | None) -> None:
    if len(nodes) != num_nodes or nodes.ndim != 2 or not nodes.shape[1]:
        raise DataError(
            f"{where}: {num_nodes} nodes, and features of shape {list(nodes.shape)}: "
            f"a node is without features"
        )
    if num_features is not None and nodes.shape[1] != num_features:
        raise DataError(f"{where}: {nodes.shape[1]} features of a node, not {num_features}")
    _check_rows(nodes, "node", where)


def _check_sparse(
    graph: Mapping[str, np.ndarray], num_nodes: int, where: str, num_features: int | None
) -> None:
    rows, columns, values = (graph[f"feature_{k}"] for k in ("rows", "columns", "values"))
    if not len(rows) == len(columns) == len(values):
        raise DataError(
            f"{where}: features in {len(rows)} rows, {len(columns)} columns, {len(values)} values"
        )
    if len(rows) and (rows.min() < 0 or rows.max() >= num_nodes):
        wrong = int(rows.min() if rows.min() < 0 else rows.max())
        raise DataError(f"{where}: features of node {wrong}, and there are {num_nodes} nodes")
    most = np.inf if num_features is None else num_features
    if len(columns) and (columns.min() < 0 or columns.max() >= most):
        wrong = int(columns.min() if columns.min() < 0 else columns.max())
        known = "0 is the first" if wrong < 0 else f"there are {num_features}"
        raise DataError(f"{where}: feature {wrong} of a node, and {known}")
    wrong_values = np.flatnonzero(~np.isfinite(values))
    if len(wrong_values):
        first = wrong_values[0]
        raise DataError(
            _not_finite(
                where, "node", rows[first], columns[first], values[first], len(wrong_values)
            )
        )


def _not_finite(where: str, kind: str, row: int, column: int, value: float, count: int) -> str:
    return f"{where}: feature {column} of {kind} {row} is {value} ({count} such values)"


def dense_features(graph: Mapping[str, np.ndarray], num_nodes: int, width: int) -> np.ndarray:
    """float32 [n, f] of a graph's features, whichever way they are kept."""
    if "nodes" in graph:
        return graph["nodes"]
    nodes = np.zeros((num_nodes, width), np.float32)
    nodes[graph["feature_rows"], graph["feature_columns"]] = graph["feature_values"]
    return nodes


def sparse_features(nodes: np.ndarray) -> Graph:
    """{"feature_rows", "feature_columns", "feature_values"} of the non-zeros of `nodes` [n, f]."""
    rows, columns = np.nonzero(nodes)
    return {
        "feature_rows": rows.astype(np.int32),
        "feature_columns": columns.astype(np.int32),
        "feature_values": nodes[rows, columns].astype(np.float32),
    }


def feature_slots(features: Mapping[str, np.ndarray], num_nodes: int) -> Graph:
    """The sparse features once more, as a table of s slots for each node.

    {"slot_columns": int32 [s, n], "slot_values": float32 [s, n], 0 where a node has no more,
    "slot_places": int32 [z], where in the flat table each non-zero stands}; {} where a node has
    more than MOST_SLOTS non-zeros. Models that have the table sum a node's rows without a scatter.

    Args:
      features: "feature_rows" int32 [z], rising, "feature_columns" and "feature_values" [z].
      num_nodes: n.
    """
    rows = features["feature_rows"]
    counts = np.bincount(rows, minlength=num_nodes)
    most = int(counts.max(initial=0))
    if not 0 < most <= MOST_SLOTS:
        return {}
    shape = (-(-most // SLOTS_AT_ONCE) * SLOTS_AT_ONCE, num_nodes)
    first = np.cumsum(counts) - counts
    slots = np.arange(len(rows)) - first[rows]
    columns, values = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    columns[slots, rows] = features["feature_columns"]
    values[slots, rows] = features["feature_values"]
    places = np.ravel_multi_index((slots, rows), shape).astype(np.int32)
    return {"slot_columns": columns, "slot_values": values, "slot_places": places}
