"""What a node attends to: heads of a graph attention network, drawn on the neighbourhood of a node.

The neighbourhood is that of the split's first node. An edge is drawn as strongly as the larger of
its two directions' weights, as a share of the largest that is drawn. Letters: `b` nodes asked
about, `n` nodes of the graph, `e` edges, `h` heads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.layout import neighbourhood, spring
from evaluators.common.passes import unpadded
from training.compiled import evaluation_key
from training.config import bounded
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import Graph
from training.mesh import batch_parts, reader


@dataclass(frozen=True)
class Config:
    """Attributes:

    nodes: nodes that are drawn at most; also no more than a batch of the split has.
    layer: whose heads are drawn, 0 the first.
    heads: how many are drawn.
    """

    nodes: int = 40
    layer: int = 0
    heads: int = 1


TINY: dict[str, Any] = {"nodes": 12}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with "head_1", ..., member 0's.

    The report is empty where the algorithm explains no attention of nodes of one graph.
    """
    del environment
    for key, least in (("nodes", 2), ("layer", 0), ("heads", 1)):
        where = f"evaluators: {key} of 'graph_attention'"
        bounded(getattr(config, key), least, float("inf"), where)
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        local = next(iter(pipeline.batches(0)))
        if "graph/senders" not in pipeline.constant or "node" not in local:
            return Report()
        edges = np.stack(
            [_first(pipeline.constant[f"graph/{end}"], 1) for end in ("senders", "receivers")],
            axis=1,
        )
        centre, size = _centre(compiled, local, members)
        nodes = neighbourhood(centre, edges, min(config.nodes, size))
        batch = compiled.put(_asking(local, nodes, compiled.mesh))
        key = evaluation_key(state, "evaluate", 0)
        arrays = compiled.explain(state, batch, key, "attention")
        if "attention" not in arrays:
            return Report()
        found = unpadded({"weights": arrays["attention"]}, {"mask": batch["mask"]}, members)[0]
        weights = found["weights"]
        if config.layer >= weights.shape[1] or not np.isfinite(weights).all():
            return Report()
        where = "" if members == 1 else f" (member 0 of {members})"
        chosen = weights[:, config.layer, : config.heads]
        figures = {
            f"head_{h + 1}": draw(
                chosen[:, h],
                nodes,
                edges,
                f"Attention of head {h + 1}, layer {config.layer + 1}{where}",
            )
            for h in range(chosen.shape[1])
        }
        return Report(figures=figures)

    return run


def draw(weights: np.ndarray, nodes: np.ndarray, edges: np.ndarray, title: str) -> Graph:
    """The subgraph of `nodes`, its first in a group of its own.

    Args:
      weights: [len(nodes), n], what each gives to all nodes of the graph.
      nodes: their numbers in the graph.
      edges: [e, 2], sender and receiver, of the whole graph.
      title: what is drawn.
    """
    place = np.full(weights.shape[1], -1)
    place[nodes] = np.arange(len(nodes))
    ends = place[edges]
    inside = (ends >= 0).all(axis=1)
    pairs = np.unique(np.sort(ends[inside], axis=1), axis=0)
    one, other = pairs[:, 0], pairs[:, 1]
    strength = np.maximum(weights[one, nodes[other]], weights[other, nodes[one]])
    largest = strength.max(initial=0.0) or 1.0
    return Graph(
        title=title,
        positions=spring(len(nodes), pairs),
        edges=pairs,
        groups=(np.arange(len(nodes)) > 0).astype(np.int64),
        group_names=(f"node {nodes[0]}", "its neighbourhood"),
        weights=strength / largest,
    )


def _first(array: Any, dimensions: int) -> np.ndarray:
    """Member 0's, of an array that members may have of their own."""
    array = np.asarray(array)
    return array if array.ndim == dimensions else array[0]


def _centre(compiled: Any, local: dict[str, np.ndarray], members: int) -> tuple[int, int]:
    """(the split's first node, nodes of a batch over all processes)."""
    whole = compiled.put({name: local[name] for name in ("node", "mask")})
    nodes = unpadded({}, whole, members)[0]["node"]
    return int(nodes[0]), whole["mask"].shape[-1]


def _asking(local: dict[str, np.ndarray], nodes: np.ndarray, mesh: Any) -> dict[str, np.ndarray]:
    """This process's part of a batch of `nodes` in the place of the split's.

    It has no more rows than the mesh needs: each is as wide as the graph, for every member.
    """
    index, count = reader(mesh)
    parts = batch_parts(mesh)
    rows = np.array_split(np.arange(-(-len(nodes) // parts) * parts), count)[index]
    mask = rows < len(nodes)
    wanted = np.where(mask, nodes[np.minimum(rows, len(nodes) - 1)], nodes[0]).astype(np.int32)
    own = local["mask"].shape[:-1]
    return {
        "node": np.broadcast_to(wanted, (*own, len(rows))).copy(),
        "mask": np.broadcast_to(mask, (*own, len(rows))).copy(),
    }
