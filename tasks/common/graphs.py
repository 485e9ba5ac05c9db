"""The graph of a batch, by the names that models know, and penalties on their parameters.

A batch holds the arrays of its graph with the prefix "graph/": those of one large graph, or of
packs of small ones, [p, ...]; with the prefix "field/", what training sees of the one graph.
Axis letters: `b` examples, `n` nodes, `e` edges, `p` packs.
"""

import re

import jax
import jax.numpy as jnp

from training.contracts import Batch, ConfigError, Tree
from training.trees import path_name

PREFIX = "graph/"
FIELD = "field/"


def graph_of(batch: Batch, prefix: str = PREFIX) -> dict[str, jax.Array]:
    """The arrays under "graph/", without it, or under another prefix.

    Raises:
      ConfigError: there are none.
    """
    graph = {name[len(prefix) :]: value for name, value in batch.items() if name.startswith(prefix)}
    if not graph:
        raise ConfigError("this task needs a graph: data.pipeline must be one that gives graphs")
    return graph


def l2_penalty(params: Tree, factor: float, paths: tuple[str, ...]) -> jax.Array:
    """factor / 2 times the sum of squares of the parameters whose path a pattern is found in.

    Raises:
      ConfigError: a pattern is found in no path.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = {path_name(path): leaf for path, leaf in leaves}
    for pattern in paths:
        if not any(re.search(pattern, name) for name in named):
            raise ConfigError(
                f"task.l2_paths: {pattern!r} matches no parameter; there are {', '.join(named)}"
            )
    total = jnp.float32(0.0)
    for name, leaf in named.items():
        if any(re.search(pattern, name) for pattern in paths):
            total += jnp.square(leaf).sum()
    return 0.5 * factor * total
