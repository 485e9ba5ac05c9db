"""Relational graph convolutional network: neighbours are averaged relation by relation.

Schlichtkrull et al. 2017, arXiv:1703.06103, equations 2 and 3 (basis decomposition):

    h'_i = act(sum_r sum_{j in N_r(i)} 1 / |N_r(i)| W_r h_j + W_self h_i + b),  W_r = sum_b a_rb V_b

Relations count both ways: type r + num_relations is relation r from its tail to its head. Without
node features a node starts as a learned vector.

Deviations: dropout falls on the input of a layer, not on its edges.

Axis letters: `n` nodes, `e` edges, `d` width, `r` types of edges, `b` bases.
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


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.rgcn`.

    Attributes:
      hidden: width of a node's first vector and of each hidden layer.
      depth: layers, the one that gives the logits included.
      bases: matrices V_b that the relations of a layer share.
      dropout_rate: on the input of every layer.
      dtype: what it computes in; parameters and logits are float32.
    """

    hidden: int = 16
    depth: int = 2
    bases: int = 2
    dropout_rate: float = 0.0
    dtype: str = "float32"


TINY = {"hidden": 4}


def edge_weights(graph: Graph, n: int, num_types: int) -> jax.Array:
    """1 / |N_r(i)| of each edge of type r that arrives at i, float32 [e]."""
    group_e = graph["receivers"] * num_types + graph["edge_type"]
    ones_e = jnp.ones(group_e.shape, jnp.float32)
    counts = segment_sum(ones_e, group_e, n * num_types, ordered=False)
    return 1.0 / jnp.maximum(counts[group_e], 1.0)


class RelationalLayer(nn.Module):
    """One layer before its activation; `bases` [b, d, d'], `coefficients` [r, b], `self`, bias.

    Attributes:
      width: d'.
      num_types: r, both directions counted.
      num_bases: b.
    """

    width: int
    num_types: int
    num_bases: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_nd: jax.Array, graph: Graph, weight_e: jax.Array) -> jax.Array:
        """[n, d] -> [n, d']."""
        init = nn.initializers.glorot_uniform(in_axis=-2, out_axis=-1, batch_axis=0)
        bases = self.param("bases", init, (self.num_bases, x_nd.shape[-1], self.width))
        # Each W_r then has the variance of one basis.
        shape, scale = (self.num_types, self.num_bases), self.num_bases**-0.5
        coefficients = self.param("coefficients", nn.initializers.normal(scale), shape)
        weight_eb = jnp.asarray(coefficients)[graph["edge_type"]] * weight_e[:, None]
        weight_eb = weight_eb.astype(self.dtype)
        sent_ed = jnp.zeros((), self.dtype)
        for b in range(self.num_bases):
            projected_nd = x_nd.astype(self.dtype) @ bases[b].astype(self.dtype)
            sent_ed += weight_eb[:, b, None] * projected_nd[graph["senders"]]
        own = nn.Dense(self.width, dtype=self.dtype, name="self")(x_nd)
        return own + segment_sum(sent_ed, graph["receivers"], len(x_nd))


class RGCN(nn.Module):
    """A graph with "edge_type" -> logits [n, k]; `input` or `embedding`, `layer_00`, ..."""

    config: Config
    num_features: int
    num_nodes: int
    num_relations: int
    num_classes: int
    tasks: ClassVar[tuple[str, ...]] = ("node_classification",)

    @nn.compact
    def __call__(self, graph: Graph, train: bool) -> jax.Array:
        """Logits float32 [n, k] of all nodes; the hidden layers are sown as "embedding"."""
        config, num_types = self.config, 2 * self.num_relations
        dtype = compute_dtype(config.dtype)
        if self.num_features:
            n = count_nodes(graph, self.num_nodes)
            dense = InputDense(
                self.num_features, config.hidden, config.dropout_rate, dtype=dtype, name="input"
            )
            x_nd = dense(graph, n, train)
        else:
            init, n = nn.initializers.glorot_uniform(), self.num_nodes
            x_nd = self.param("embedding", init, (n, config.hidden)).astype(dtype)
        weight_e = edge_weights(graph, n, num_types)
        for index in range(config.depth):
            last = index == config.depth - 1
            name = f"layer_{index:02d}"
            x_nd = Dropout(config.dropout_rate, name=f"{name}_dropout")(x_nd, train)
            width = self.num_classes if last else config.hidden
            layer = RelationalLayer(width, num_types, config.bases, dtype, name=name)
            x_nd = layer(x_nd, graph, weight_e)
            if not last:
                x_nd = nn.relu(x_nd)
                self.sow("intermediates", "embedding", x_nd)
        return x_nd.astype(jnp.float32)


def build(config: Config, info: Any) -> RGCN:
    """The model for `info.num_classes` classes.

    Raises:
      ValueError: a value that no field accepts, or edges of one kind only.
    """
    check_sizes(config, "hidden", "depth", "bases")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    if not info.num_relations:
        raise ValueError("graph.rgcn needs edges of several kinds; num_relations is 0")
    return RGCN(config, info.num_features, info.num_nodes, info.num_relations, info.num_classes)
