"""How the nodes of graphs become one row each."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.segments import POOLS, attention_aggregate, pool

READOUTS = (*POOLS, "attention")
"""What `Readout` does: a pool, or a mean that a score of each node weighs."""


class Readout(nn.Module):
    """A pool, or sum_i softmax_i(w x_i + c) x_i over a graph's nodes (Li et al. 2015,
    arXiv:1511.05493, equation 7, the weights made to sum to 1); parameter `score`.

    Attributes:
      how: one of READOUTS.
    """

    how: str

    @nn.compact
    def __call__(self, x_nd: jax.Array, node_graph: jax.Array | None, num_graphs: int) -> jax.Array:
        """[g, d] of nodes [n, d]; `node_graph` int32 [n], rising, None of one graph."""
        if self.how != "attention":
            return pool(x_nd, node_graph, num_graphs, self.how)
        if node_graph is None:
            node_graph = jnp.zeros(len(x_nd), jnp.int32)
        score_n1 = nn.Dense(1, dtype=x_nd.dtype, name="score")(x_nd)
        return attention_aggregate(score_n1, x_nd[:, None], node_graph, num_graphs)[:, 0]
