"""Graph Transformer: attention over the neighbours, positions from the spectrum, edges in it.

Dwivedi and Bresson 2020, arXiv:2012.09699, section 2.2, equations 8 to 17, table 1 (ZINC). With
Q, K, V, E projections of a head of width k, N(i) the neighbours of node i:

    w_ij = Q h_i * K h_j / sqrt(k) * E e_ij       [k], elementwise; without edge features no E
    h_i <- norm(h_i + O_h sum_{j in N(i)} softmax_j(sum(w_ij)) V h_j),  then norm(h + FFN(h))
    e_ij <- norm(e_ij + O_e w_ij),                                      then norm(e + FFN(e))

Positions (Laplacian eigenvectors, whose signs are flipped at random in training, or the return
probabilities of random walks: Dwivedi et al. 2021, arXiv:2110.07875) are projected and added to the
projected features. The read-out is a mean, then a network that halves its width twice.

Deviations: a softmax that subtracts the maximum, where the authors' code clamps to [-5, 5].

Axis letters: `n` nodes, `e` edges, `d` width, `h` heads, `k` head width, `g` graphs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph, keep_mask
from models.graph.common.norms import NodeBatchNorm
from models.graph.common.readout import READOUTS, Readout
from models.layers.checks import check_rates, check_sizes
from models.layers.norms import layer_norm
from models.layers.outputs import num_outputs
from models.layers.precision import compute_dtype
from models.layers.segments import segment_softmax, segment_sum

POSITIONS = ("none", "laplacian", "random_walk")
NORMS = ("batch", "layer")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.graph_transformer`.

    Attributes:
      width: d of nodes and of edges.
      depth: layers.
      heads: attention heads.
      positions: "none", "laplacian" (graph/laplacian_positions) or "random_walk"
        (graph/random_walk_positions).
      edge_features: whether edges have states of their own.
      norm: "batch" or "layer".
      pool: how nodes become a graph, "sum", "mean", "max" or "attention".
      dropout_rate: after the attention and inside and after the feed-forward networks.
      dtype: what it computes in; softmax, parameters and outputs are float32.
    """

    width: int = 64
    depth: int = 10
    heads: int = 8
    positions: str = "laplacian"
    edge_features: bool = True
    norm: str = "batch"
    pool: str = "mean"
    dropout_rate: float = 0.0
    dtype: str = "float32"


TINY = {"width": 16, "depth": 2, "heads": 2}


class GraphTransformer(nn.Module):
    """Graphs -> outputs [g, k]: `input`, `positions`, `edge_input`, `layer_00`, ..., `head_2`."""

    config: Config
    num_outputs: int
    axis_name: str | None = None
    tasks: ClassVar[tuple[str, ...]] = ("graph_prediction",)

    @property
    def needs(self) -> Mapping[str, str]:
        """The positions that are projected, if any."""
        positions = self.config.positions
        if positions == "none":
            return {}
        return {f"graph/{positions}_positions": f"data.positions=\"('{positions}:8',)\""}

    @nn.compact
    def __call__(self, graph: Graph, num_graphs: int, train: bool) -> jax.Array:
        """float32 [g, k] of the graphs of one pack with dense features."""
        config = self.config
        dense = partial(nn.Dense, dtype=compute_dtype(config.dtype))
        x_nd = dense(config.width, name="input")(graph["nodes"])
        if config.positions != "none":
            positions = self._positions(graph, train)
            x_nd += dense(config.width, name="positions")(positions)
        x_nd = Dropout(config.dropout_rate, name="input_dropout")(x_nd, train)
        y_ed = None
        if config.edge_features:
            y_ed = dense(config.width, name="edge_input")(graph["edges"])
        for index in range(config.depth):
            last = index == config.depth - 1
            layer = Layer(config, last, self.axis_name, name=f"layer_{index:02d}")
            x_nd, y_ed = layer(x_nd, y_ed, graph, train)
        self.sow("intermediates", "embedding", x_nd)
        readout = Readout(config.pool, name="pool")
        out = readout(x_nd, graph.get("node_graph"), num_graphs)
        for index in range(2):
            width = max(config.width // 2 ** (index + 1), 1)
            out = nn.relu(dense(width, name=f"head_{index}")(out))
        return nn.Dense(self.num_outputs, name="head_2")(out.astype(jnp.float32))

    def _positions(self, graph: Graph, train: bool) -> jax.Array:
        positions = graph[f"{self.config.positions}_positions"]
        if self.config.positions == "laplacian" and train:
            # An eigenvector's sign is arbitrary: no sign must mean anything.
            keep = keep_mask(self.make_rng("dropout"), 0.5, positions.shape[1:])
            positions = jnp.where(keep, positions, -positions)
        return positions


class Layer(nn.Module):
    """One layer of nodes [n, d] and edges [e, d]; the last layer leaves the edges as they are."""

    config: Config
    last: bool
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x_nd: jax.Array, y_ed: jax.Array | None, graph: Graph, train: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        """(nodes, edges) of the same shapes."""
        config = self.config
        dtype, heads = x_nd.dtype, (config.heads, config.width // config.heads)
        senders, receivers, n = graph["senders"], graph["receivers"], len(x_nd)
        project = partial(nn.DenseGeneral, heads, use_bias=False, dtype=dtype)
        query_nhk, key_nhk = project(name="query")(x_nd), project(name="key")(x_nd)
        value_nhk = project(name="value")(x_nd)
        products_ehk = query_nhk[receivers] * key_nhk[senders] * heads[1] ** -0.5
        if y_ed is not None:
            products_ehk *= project(name="edge")(y_ed)
        weights_eh = segment_softmax(products_ehk.astype(jnp.float32).sum(-1), receivers, n)
        self.sow("intermediates", "attention", weights_eh)
        sent_ehk = weights_eh.astype(dtype)[..., None] * value_nhk[senders]
        arrived_nhk = segment_sum(sent_ehk, receivers, n)
        x_nd = self._residual("node", x_nd, arrived_nhk, graph.get("node_mask"), train)
        if y_ed is not None and not self.last:
            y_ed = self._residual("edge", y_ed, products_ehk, graph.get("edge_mask"), train)
        return x_nd, y_ed

    def _residual(
        self,
        name: str,
        x: jax.Array,
        heads: jax.Array,
        mask: jax.Array | None,
        train: bool,
    ) -> jax.Array:
        config, dtype = self.config, x.dtype
        dense = partial(nn.Dense, dtype=dtype)
        heads = heads.reshape(len(x), -1)
        heads = Dropout(config.dropout_rate, name=f"{name}_attention_dropout")(heads, train)
        x += dense(config.width, name=f"{name}_out")(heads)
        x = self._norm(f"{name}_attention_norm", x, mask, train)
        hidden = nn.relu(dense(2 * config.width, name=f"{name}_mlp_hidden")(x))
        hidden = Dropout(config.dropout_rate, name=f"{name}_mlp_dropout")(hidden, train)
        x += dense(config.width, name=f"{name}_mlp_out")(hidden)
        return self._norm(f"{name}_mlp_norm", x, mask, train)

    def _norm(self, name: str, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        if self.config.norm == "layer":
            return layer_norm(name, x.dtype)(x)
        return NodeBatchNorm(axis_name=self.axis_name, name=name)(x, mask, train)


def build(config: Config, info: Any) -> GraphTransformer:
    """The model for the classes or targets of `info`.

    Raises:
      ValueError: a value that no field accepts, or edge features that the data does not have.
    """
    for field, accepted in (("positions", POSITIONS), ("norm", NORMS), ("pool", READOUTS)):
        value = getattr(config, field)
        if value not in accepted:
            raise ValueError(f"model.{field}={value!r}: expected one of {', '.join(accepted)}")
    check_sizes(config, "width", "depth", "heads")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    if config.width % config.heads:
        raise ValueError(f"model.width={config.width} is not divisible by {config.heads} heads")
    if config.edge_features and not info.num_edge_features:
        raise ValueError("model.edge_features=True needs edges with features: set it to False")
    return GraphTransformer(config, num_outputs(info))
