"""Graph convolutional network: each layer averages a node with its neighbours.

Kipf and Welling 2016, arXiv:1609.02907, equation 2 and table 2 (Cora, Citeseer, Pubmed):

    H' = act(D^-1/2 (A + I) D^-1/2 H W),   D the degrees of A + I

Dropout falls on the input of every layer, that of sparse features on their non-zeros; there are no
biases, as in tkipf/gcn, which trained the table. The products with D are taken at the nodes, before
and after the sum over edges, which is the same number and needs no weight an edge.

Deviations: none known. The paper's L2 penalty lies on the first layer only: `task.l2_paths`.

Axis letters: `n` nodes, `e` edges, `f` features, `d` width, `k` classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph, InputDense, count_nodes
from models.layers.checks import check_rates, check_sizes
from models.layers.precision import compute_dtype
from models.layers.segments import segment_count, segment_sum


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.gcn`.

    Attributes:
      hidden: width of each hidden layer.
      depth: layers, the one that gives the logits included.
      dropout_rate: on the input of every layer.
      use_bias: whether layers add a bias after the average.
      dtype: what it computes in; parameters and logits are float32.
    """

    hidden: int = 16
    depth: int = 2
    dropout_rate: float = 0.5
    use_bias: bool = False
    dtype: str = "float32"


TINY = {"hidden": 4}


def inverse_root_degrees(graph: Graph, n: int) -> jax.Array:
    """(1 + edges that arrive)^-1/2 of each node, float32 [n]; "degrees" count them in part of a
    graph, where some are left out.
    """
    degrees = graph.get("degrees")
    return jax.lax.rsqrt(
        1.0 + (segment_count(graph["receivers"], n) if degrees is None else degrees)
    )


def propagate(x_nd: jax.Array, graph: Graph, scale_n: jax.Array) -> jax.Array:
    """D^-1/2 (A + I) D^-1/2 x: [n, d], `scale_n` being D^-1/2; A counts an edge as often as it is
    listed.
    """
    scale_n1 = scale_n.astype(x_nd.dtype)[:, None]
    x_nd = x_nd * scale_n1
    arrived = segment_sum(x_nd[graph["senders"]], graph["receivers"], len(x_nd))
    return (arrived + x_nd) * scale_n1


class GCN(nn.Module):
    """A graph -> logits [n, k]; layers `layer_00` (kernel [f, d]), `layer_01`, ..."""

    config: Config
    num_features: int
    num_nodes: int
    num_classes: int
    tasks: ClassVar[tuple[str, ...]] = ("node_classification",)

    @property
    def hops(self) -> int:
        """How many edges away a node is seen by another."""
        return self.config.depth

    @nn.compact
    def __call__(self, graph: Graph, train: bool) -> jax.Array:
        """Logits float32 [n, k] of all nodes; the hidden layers are sown as "embedding" [n, d]."""
        config, n = self.config, count_nodes(graph, self.num_nodes)
        dtype = compute_dtype(config.dtype)
        scale_n = inverse_root_degrees(graph, n)
        x_nd = jnp.zeros((n, 0))
        for index in range(config.depth):
            last = index == config.depth - 1
            width, name = self.num_classes if last else config.hidden, f"layer_{index:02d}"
            if index == 0:
                dense = InputDense(
                    self.num_features, width, config.dropout_rate, dtype=dtype, name=name
                )
                x_nd = dense(graph, n, train)
            else:
                x_nd = Dropout(config.dropout_rate, name=f"dropout_{index:02d}")(x_nd, train)
                kernel_init = nn.initializers.glorot_uniform()
                dense = nn.Dense(
                    width, use_bias=False, dtype=dtype, kernel_init=kernel_init, name=name
                )
                x_nd = dense(x_nd)
            x_nd = propagate(x_nd, graph, scale_n)
            if config.use_bias:
                bias_init = nn.initializers.zeros
                x_nd += self.param(f"bias_{index:02d}", bias_init, (width,)).astype(dtype)
            if not last:
                x_nd = nn.relu(x_nd)
                self.sow("intermediates", "embedding", x_nd)
        return x_nd.astype(jnp.float32)


def build(config: Config, info: Any) -> GCN:
    """The model for `info.num_classes` classes; ValueError for a value that no field accepts."""
    check_sizes(config, "hidden", "depth")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    return GCN(config, info.num_features, info.num_nodes, info.num_classes)
