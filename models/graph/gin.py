"""Graph isomorphism network: as able to tell graphs apart as the Weisfeiler-Lehman test.

Xu et al. 2018, arXiv:1810.00826, equations 4.1 and 4.2, table 1 (MUTAG, PROTEINS):

    H' = relu(norm(MLP((1 + epsilon) H + A H))),   GIN-0 has epsilon = 0
    logits = sum over layers l, the input too, of dropout(W_l pool_l)

The MLPs have a batch norm after each hidden layer, as in weihua916/powerful-gnns.

Deviations: running variances are biased and biases start at 0 (PyTorch: unbiased, and uniform).

Axis letters: `n` nodes, `e` edges, `f` features, `d` width, `g` graphs, `k` outputs.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph
from models.graph.common.norms import NodeBatchNorm
from models.graph.common.readout import READOUTS, Readout
from models.layers.checks import check_rates, check_sizes
from models.layers.outputs import num_outputs
from models.layers.precision import compute_dtype
from models.layers.segments import segment_sum

EPSILONS = ("zero", "learned")
_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.gin`.

    Attributes:
      hidden: width of all layers.
      depth: layers whose pools are read, the input counted as the first.
      mlp_depth: dense layers of each MLP.
      epsilon: "zero" (GIN-0) or "learned" (GIN-epsilon).
      pool: how nodes become a graph, "sum", "mean", "max" or "attention".
      dropout_rate: on each layer's part of the logits.
      norm_momentum: share of the running statistics that an update keeps.
      dtype: what it computes in; parameters and logits are float32.
    """

    hidden: int = 32
    depth: int = 5
    mlp_depth: int = 2
    epsilon: str = "zero"
    pool: str = "sum"
    dropout_rate: float = 0.5
    norm_momentum: float = 0.9
    dtype: str = "float32"


TINY = {"hidden": 8, "depth": 3}


class GIN(nn.Module):
    """Graphs -> logits [g, k]; `layer_01` (`dense_0`, `norm_0`, ...), ..., heads `head_00`, ..."""

    config: Config
    num_outputs: int
    axis_name: str | None = None
    tasks: ClassVar[tuple[str, ...]] = ("graph_prediction",)

    @nn.compact
    def __call__(self, graph: Graph, num_graphs: int, train: bool) -> jax.Array:
        """float32 [g, k] of the graphs of one pack, whose nodes are dense."""
        config = self.config
        dtype = compute_dtype(config.dtype)
        mask_n, x_nd = graph.get("node_mask"), graph["nodes"].astype(dtype)
        out_gk = self._head(0, x_nd, graph, num_graphs, train)
        for index in range(1, config.depth):
            x_nd = self._layer(index, x_nd, graph, mask_n, train)
            out_gk += self._head(index, x_nd, graph, num_graphs, train)
        self.sow("intermediates", "embedding", x_nd)
        return out_gk.astype(jnp.float32)

    def _layer(
        self, index: int, x_nd: jax.Array, graph: Graph, mask_n: jax.Array | None, train: bool
    ) -> jax.Array:
        config, name = self.config, f"layer_{index:02d}"
        arrived_nd = segment_sum(x_nd[graph["senders"]], graph["receivers"], len(x_nd))
        epsilon = jnp.zeros((), x_nd.dtype)
        if config.epsilon == "learned":
            epsilon = self.param(f"{name}_epsilon", nn.initializers.zeros, ()).astype(x_nd.dtype)
        x_nd = (1 + epsilon) * x_nd + arrived_nd
        for step in range(config.mlp_depth):
            dense = nn.Dense(
                config.hidden,
                dtype=x_nd.dtype,
                kernel_init=_UNIFORM,
                name=f"{name}_dense_{step}",
            )
            norm = NodeBatchNorm(
                config.norm_momentum, axis_name=self.axis_name, name=f"{name}_norm_{step}"
            )
            x_nd = nn.relu(norm(dense(x_nd), mask_n, train))
        return x_nd

    def _head(
        self, index: int, x_nd: jax.Array, graph: Graph, num_graphs: int, train: bool
    ) -> jax.Array:
        readout = Readout(self.config.pool, name=f"head_{index:02d}_pool")
        pooled_gd = readout(x_nd, graph.get("node_graph"), num_graphs)
        head = nn.Dense(
            self.num_outputs, dtype=x_nd.dtype, kernel_init=_UNIFORM, name=f"head_{index:02d}"
        )
        dropout = Dropout(self.config.dropout_rate, name=f"head_{index:02d}_dropout")
        return dropout(head(pooled_gd), train)


def build(config: Config, info: Any) -> GIN:
    """The model for the classes or targets of `info`; ValueError for a value no field accepts."""
    for field, accepted in (("epsilon", EPSILONS), ("pool", READOUTS)):
        value = getattr(config, field)
        if value not in accepted:
            raise ValueError(f"model.{field}={value!r}: expected one of {', '.join(accepted)}")
    check_sizes(config, "hidden", "depth", "mlp_depth")
    check_rates(config, "dropout_rate", "norm_momentum")
    compute_dtype(config.dtype)
    return GIN(config, num_outputs(info))
