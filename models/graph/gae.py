"""Graph auto-encoder: two nodes are linked as their embeddings' inner product says.

Kipf and Welling 2016, arXiv:1611.07308, table 1 (Cora; tkipf/gae). A two-layer GCN gives each node
a mean and, where variational, the log of a standard deviation:

    H = dropout(relu(A^ X W_0)),  mean = A^ H W_mean,  log_std = A^ H W_log_std
    p(link ij) = sigmoid(z_i z_j),  A^ the normalised adjacency of models/graph/gcn.py

The task draws z, and owns the loss.

Deviations: none known; dropout, 0 in the table, falls on the input of both layers.

Axis letters: `n` nodes, `d` width of an embedding.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph, InputDense, count_nodes
from models.graph.gcn import inverse_root_degrees, propagate
from models.layers.checks import check_rates, check_sizes
from models.layers.precision import compute_dtype


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.gae`.

    Attributes:
      variational: whether nodes have distributions (VGAE) or points (GAE).
      hidden: width of the hidden layer.
      embedding: d.
      dropout_rate: on the input of both layers.
      dtype: what it computes in; parameters and embeddings are float32.
    """

    variational: bool = False
    hidden: int = 32
    embedding: int = 16
    dropout_rate: float = 0.0
    dtype: str = "float32"


TINY = {"hidden": 6, "embedding": 4}


class GAE(nn.Module):
    """A graph -> {"mean": [n, d]} and, if variational, {"log_std": [n, d]}.

    Submodules `layer_00`, `mean`, `log_std`, each a `kernel` alone.
    """

    config: Config
    num_features: int
    num_nodes: int
    tasks: ClassVar[tuple[str, ...]] = ("link_prediction",)

    @nn.compact
    def __call__(self, graph: Graph, train: bool) -> dict[str, jax.Array]:
        """float32 [n, d] each."""
        config, n = self.config, count_nodes(graph, self.num_nodes)
        dtype = compute_dtype(config.dtype)
        scale_n = inverse_root_degrees(graph, n)
        dense = InputDense(
            self.num_features, config.hidden, config.dropout_rate, dtype=dtype, name="layer_00"
        )
        hidden_nd = nn.relu(propagate(dense(graph, n, train), graph, scale_n))
        hidden_nd = Dropout(config.dropout_rate, name="dropout_01")(hidden_nd, train)
        heads = ("mean", "log_std") if config.variational else ("mean",)
        out = {}
        for name in heads:
            head = nn.Dense(
                config.embedding,
                use_bias=False,
                dtype=dtype,
                kernel_init=nn.initializers.glorot_uniform(),
                name=name,
            )
            out[name] = propagate(head(hidden_nd), graph, scale_n).astype(jnp.float32)
        return out


def build(config: Config, info: Any) -> GAE:
    """The encoder of a graph; ValueError for a value that no field accepts."""
    check_sizes(config, "hidden", "embedding")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    return GAE(config, info.num_features, info.num_nodes)
