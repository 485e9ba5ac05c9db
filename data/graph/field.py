"""The part of a graph that some of its nodes can see: what training on few labelled nodes needs.

After L layers of message passing a node's output depends on the nodes at most L edges away, against
the edges' direction, and on nothing else. Leaving out the rest changes no output of these nodes and
no gradient: 140 labelled nodes of Cora see 1664 of its 2708 nodes through two layers.

Letters: `n` nodes, `e` edges, `z` non-zero features.
"""

import numpy as np

from data.graph.edges import EDGE_ARRAYS, Graph

# Of its arrays among a pipeline's constants.
FIELD = "field/"
_BY_NON_ZERO = ("feature_rows", "feature_columns", "feature_values")


def receptive_field(
    graph: Graph, nodes: np.ndarray, hops: int, num_nodes: int
) -> tuple[Graph, np.ndarray]:
    """(the graph within `hops` edges of `nodes`, where each node of the whole stands in it).

    Its nodes keep their order; its edges are those on the way to `nodes`, so that the outermost
    nodes receive none. "degrees" float32 [n] are those of the whole graph, which a node's own edges
    no longer tell. "reverse" goes: the way back is not there.

    Args:
      graph: as in data/graph/edges.py.
      nodes: int [...], those that are asked about.
      hops: 1 or more.
      num_nodes: of the whole graph.

    Returns:
      The smaller graph, and int32 [num_nodes]: a node's number in it, -1 where it is left out.
    """
    senders, receivers = graph["senders"], graph["receivers"]
    near = np.zeros(num_nodes, bool)
    near[nodes] = True
    for _ in range(hops):
        inside = near
        used = inside[receivers]
        near = inside.copy()
        near[senders[used]] = True
        if near.sum() == inside.sum():
            break
    place = np.where(near, np.cumsum(near) - 1, -1).astype(np.int32)
    degrees = np.bincount(receivers, minlength=num_nodes).astype(np.float32)
    smaller: Graph = {"degrees": degrees[near]}
    for name, values in graph.items():
        if name in ("senders", "receivers"):
            smaller[name] = place[values[used]]
        elif name in EDGE_ARRAYS:
            smaller[name] = values[used]
        elif name in _BY_NON_ZERO:
            smaller[name] = values[near[graph["feature_rows"]]]
        else:
            smaller[name] = values[near]
    smaller.pop("reverse", None)
    if "feature_rows" in smaller:
        smaller["feature_rows"] = place[smaller["feature_rows"]]
    return smaller, place
