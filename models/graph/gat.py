"""Graph attention network: a node weighs each of its neighbours, and itself, by what they hold.

Velickovic et al. 2017, arXiv:1710.10903, equations 1 to 6 and table 2 (Cora, Citeseer, Pubmed).
With W the projection of a head and N(i) the neighbours of i and i itself,

    version 1   e_ij = leaky_relu(a_to W x_i + a_from W x_j)
    version 2   e_ij = a leaky_relu(W_to x_i + W_from x_j)       Brody et al. 2021, arXiv:2105.14491
    x'_i = act(sum_j softmax_j(e_ij) W_from x_j + b)

The heads of a hidden layer are concatenated, those of the last are averaged. Dropout falls on a
layer's input, by a mask of its own for each head, on the projections that are summed (the scores
see them whole) and on the attention weights, as in PetarV-/GAT.

Deviations: scores have no bias. An edge from a node to itself in the graph is left out: every node
attends to itself exactly once.

Axis letters: `n` nodes, `e` edges, `f` features, `h` heads, `k` head width.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph, InputDense, count_nodes
from models.layers.checks import check_rates, check_sizes
from models.layers.precision import compute_dtype
from models.layers.segments import segment_sum

VERSIONS = (1, 2)


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.gat`.

    Attributes:
      version: 1, or 2 for GATv2's dynamic attention.
      hidden: width of each head of a hidden layer.
      heads: heads of a hidden layer.
      output_heads: heads of the last layer, averaged.
      depth: layers, the one that gives the logits included.
      dropout_rate: on the input of every layer and on the projections that it sums.
      attention_dropout_rate: on the attention weights.
      negative_slope: of the leaky ReLU under the softmax.
      dtype: what it computes in; softmax, parameters and logits are float32.
    """

    version: int = 1
    hidden: int = 8
    heads: int = 8
    output_heads: int = 1
    depth: int = 2
    dropout_rate: float = 0.6
    attention_dropout_rate: float = 0.6
    negative_slope: float = 0.2
    dtype: str = "float32"


TINY = {"hidden": 3, "heads": 2}


class Attention(nn.Module):
    """Heads of attention over projected nodes; parameters `to`, `from` [h, k] (1) or `score` (2).

    Attributes:
      version: 1 or 2.
      negative_slope: of the leaky ReLU.
      dropout_rate: on the values.
      weights_dropout_rate: on the weights.
    """

    version: int
    negative_slope: float
    dropout_rate: float
    weights_dropout_rate: float

    @nn.compact
    def __call__(
        self, from_nhk: jax.Array, to_nhk: jax.Array, graph: Graph, train: bool
    ) -> jax.Array:
        """[n, h, k] of values `from_nhk`, which version 1 also scores in place of `to_nhk`.

        The weights are sown as "attention": (float32 [e, h], and [n, h] of each node for itself).
        """
        senders, receivers, n = graph["senders"], graph["receivers"], len(from_nhk)
        edge_eh, self_nh = self._scores(from_nhk, to_nhk, senders, receivers)
        # The largest of all that a node weighs, itself among them: one exponential at least is 1.
        edges_eh, highest_nh = map(jax.lax.stop_gradient, (edge_eh, self_nh))
        highest_nh = highest_nh.at[receivers].max(edges_eh, indices_are_sorted=True, mode="drop")
        other_e1 = (senders != receivers)[:, None]
        edge_eh = jnp.where(other_e1, jnp.exp(edge_eh - highest_nh[receivers]), 0.0)
        self_nh = jnp.exp(self_nh - highest_nh)
        total_nh = segment_sum(edge_eh, receivers, n) + self_nh
        if self.is_mutable_collection("intermediates"):
            weights = (edge_eh / total_nh[receivers], self_nh / total_nh)
            self.sow("intermediates", "attention", weights)
        dropout = Dropout(self.weights_dropout_rate, name="weights_dropout")
        edge_eh, self_nh = dropout(edge_eh, train), dropout(self_nh, train)
        dtype = from_nhk.dtype
        values_nhk = Dropout(self.dropout_rate, name="values_dropout")(from_nhk, train)
        messages = edge_eh.astype(dtype)[..., None] * values_nhk[senders]
        out_nhk = segment_sum(messages, receivers, n)
        out_nhk += self_nh.astype(dtype)[..., None] * values_nhk
        return out_nhk / total_nh.astype(dtype)[..., None]

    def _scores(
        self, from_nhk: jax.Array, to_nhk: jax.Array, senders: jax.Array, receivers: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """float32 scores of edges [e, h] and of nodes for themselves [n, h]."""
        heads, width = from_nhk.shape[1:]

        def vector(name: str) -> jax.Array:
            return self.param(name, _vector_init, (heads, width))

        def leaky(x: jax.Array) -> jax.Array:
            return jnp.where(x > 0, x, self.negative_slope * x)

        if self.version == 2:
            score_hk = vector("score")

            def scored(x: jax.Array) -> jax.Array:
                return jnp.einsum("shk,hk->sh", leaky(x).astype(jnp.float32), score_hk)

            return scored(from_nhk[senders] + to_nhk[receivers]), scored(from_nhk + to_nhk)
        values_nhk = from_nhk.astype(jnp.float32)
        from_nh = jnp.einsum("nhk,hk->nh", values_nhk, vector("from"))
        to_nh = jnp.einsum("nhk,hk->nh", values_nhk, vector("to"))
        return leaky(from_nh[senders] + to_nh[receivers]), leaky(from_nh + to_nh)


def _vector_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Glorot's uniform for a projection of k numbers to one, by head."""
    bound = (6.0 / (shape[1] + 1)) ** 0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class GAT(nn.Module):
    """A graph -> logits [n, classes]; layers `layer_00_from`, `layer_00` (attention), ..."""

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
        """Logits float32 [n, classes]; the hidden layers are sown as "embedding" [n, d]."""
        config, n = self.config, count_nodes(graph, self.num_nodes)
        x_nd = None
        for index in range(config.depth):
            last = index == config.depth - 1
            heads = config.output_heads if last else config.heads
            width = self.num_classes if last else config.hidden
            x_nhk = self._layer(index, heads, width, graph, x_nd, train)
            bias = self.param(
                f"layer_{index:02d}_bias",
                nn.initializers.zeros,
                (width,) if last else (heads * width,),
            ).astype(x_nhk.dtype)
            if last:
                x_nd = x_nhk.mean(axis=1) + bias
            else:
                x_nd = nn.elu(x_nhk.reshape(n, -1) + bias)
                self.sow("intermediates", "embedding", x_nd)
        return jnp.asarray(x_nd, jnp.float32)

    def _layer(
        self,
        index: int,
        heads: int,
        width: int,
        graph: Graph,
        x_nd: jax.Array | None,
        train: bool,
    ) -> jax.Array:
        """[n, h, k] before the bias; `x_nd` None is the graph's own features."""
        config = self.config
        n, dtype = count_nodes(graph, self.num_nodes), compute_dtype(config.dtype)
        name = f"layer_{index:02d}"

        def project(role: str) -> jax.Array:
            dense = InputDense(
                self.num_features if x_nd is None else x_nd.shape[1],
                heads * width,
                config.dropout_rate,
                dropout_masks=heads,
                dtype=dtype,
                name=f"{name}_{role}",
            )
            inputs = graph if x_nd is None else {"nodes": x_nd}
            return dense(inputs, n, train).reshape(n, heads, width)

        from_nhk = project("from")
        to_nhk = project("to") if config.version == 2 else from_nhk
        attention = Attention(
            config.version,
            config.negative_slope,
            config.dropout_rate,
            config.attention_dropout_rate,
            name=name,
        )
        return attention(from_nhk, to_nhk, graph, train)


def build(config: Config, info: Any) -> GAT:
    """The model for `info.num_classes` classes; ValueError for a value that no field accepts."""
    if config.version not in VERSIONS:
        raise ValueError(f"model.version={config.version}: expected 1 or 2")
    check_sizes(config, "hidden", "heads", "output_heads", "depth")
    check_rates(config, "dropout_rate", "attention_dropout_rate")
    compute_dtype(config.dtype)
    return GAT(config, info.num_features, info.num_nodes, info.num_classes)
