"""Graphormer: a Transformer over all pairs of nodes that is told how the graph lies between them.

Ying et al. 2021, arXiv:2106.05234, equations 5 to 9, table 4 (ZINC, Graphormer-slim: 12 layers,
width 80, 8 heads). A node starts as its projected features plus a vector of its degree; a score of
head h is

    (W_Q x_i) (W_K x_j) / sqrt(k) + b_h(distance ij) + c_h(ij)
    c_h(ij) = mean over the edges (l = 1, 2, ...) of the shortest path from i to j of e_l . w_{l,h}

and blocks are pre-norm. A virtual node, joined to all by a bias of its own, is what is read.

Everything between pairs is made on the device from the edge list: the breadth-first distances, and
c as one matrix product a step. Deviation: where several paths are shortest, c averages over the
last steps of them all and does not depend on the nodes' order, where the authors' code takes one
path; and it is 0 of pairs farther apart than `max_distance`, where theirs averages over a path's
first edges.

Axis letters: `g` graphs, `n` nodes of the pack, `l` `m` nodes of one graph (the virtual one is
first in attention), `e` edges, `d` width, `h` heads.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph
from models.layers.checks import check_rates, check_sizes
from models.layers.mlp import MLP
from models.layers.multi_head import MultiHeadAttention
from models.layers.norms import layer_norm
from models.layers.outputs import num_outputs
from models.layers.precision import compute_dtype
from models.layers.segments import segment_count


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.graphormer`.

    Attributes:
      width: d.
      depth: layers.
      heads: attention heads.
      mlp_width: hidden width of the feed-forward networks.
      max_nodes: of one graph, no fewer than the data's largest has; where that is not known, the
        output of a larger graph is NaN, which stops a run.
      max_degree: larger degrees count as this one.
      max_distance: larger distances count as this one, and the edges of longer paths not at all.
      edge_features: whether the edges on a path count (c); else distances alone.
      dropout_rate: after the attention and the feed-forward networks.
      attention_dropout_rate: on the attention weights.
      dtype: what it computes in; softmax, parameters and outputs are float32.
    """

    width: int = 80
    depth: int = 12
    heads: int = 8
    mlp_width: int = 80
    max_nodes: int = 64
    max_degree: int = 16
    max_distance: int = 8
    edge_features: bool = True
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1
    dtype: str = "float32"


TINY = {
    "width": 8, "depth": 2, "heads": 2, "mlp_width": 8, "max_degree": 4,
    "max_distance": 3,
}  # fmt: skip
_STD = 0.02


class Graphormer(nn.Module):
    """Graphs -> outputs [g, k]: `input`, `degree`, `virtual_node`, `bias`, `layer_00`, `head`."""

    config: Config
    num_outputs: int
    tasks: ClassVar[tuple[str, ...]] = ("graph_prediction",)

    @nn.compact
    def __call__(self, graph: Graph, num_graphs: int, train: bool) -> jax.Array:
        """float32 [g, k] of the graphs of one pack with dense features."""
        config = self.config
        dtype, n = compute_dtype(config.dtype), len(graph["nodes"])
        normal = nn.initializers.normal(_STD)
        graph = {"node_graph": jnp.zeros(n, jnp.int32), **graph}
        slot_n, size_g = slots(graph["node_graph"], num_graphs)
        place = partial(_place, graph["node_graph"], slot_n, num_graphs, config.max_nodes)

        degree_n = segment_count(graph["receivers"], n).astype(jnp.int32)
        degrees = self.param("degree", normal, (config.max_degree + 1, config.width))
        x_nd = nn.Dense(config.width, dtype=dtype, name="input")(graph["nodes"])
        x_nd += jnp.asarray(degrees, dtype)[jnp.minimum(degree_n, config.max_degree)]
        virtual = self.param("virtual_node", normal, (config.width,)).astype(dtype)
        virtual = jnp.broadcast_to(virtual, (num_graphs, 1, config.width))
        x_gld = jnp.concatenate([virtual, place(x_nd)], axis=1)
        x_gld = Dropout(config.dropout_rate, name="dropout")(x_gld, train)

        seen_gl = jnp.arange(config.max_nodes + 1) <= size_g[:, None]
        bias = PairBias(config, name="bias")(graph, slot_n, num_graphs)
        for index in range(config.depth):
            block = Block(config, dtype, name=f"layer_{index:02d}")
            x_gld = block(x_gld, bias, seen_gl[:, None, None, :], train)
        out_gd = layer_norm("norm", dtype)(x_gld)[:, 0].astype(jnp.float32)
        out_gk = nn.Dense(self.num_outputs, name="head")(out_gd)
        return jnp.where((size_g <= config.max_nodes)[:, None], out_gk, jnp.nan)


class PairBias(nn.Module):
    """What is added to the scores: `distance` [distances, h], `path` [l, f, h], `virtual` [h]."""

    config: Config

    @nn.compact
    def __call__(self, graph: Graph, slot_n: jax.Array, num_graphs: int) -> jax.Array:
        """float32 [g, h, 1 + l, 1 + l], the virtual node first."""
        config, size, normal = self.config, self.config.max_nodes, nn.initializers.normal(_STD)
        senders, receivers = graph["senders"], graph["receivers"]
        pair = (graph["node_graph"][senders], slot_n[senders], slot_n[receivers])
        adjacency = jnp.zeros((num_graphs, size, size)).at[pair].add(1.0, mode="drop")
        steps_glm = distances(adjacency > 0, config.max_distance)
        # Beyond the longest path, and where there is none: two more kinds of distance.
        table = self.param("distance", normal, (config.max_distance + 2, config.heads))
        bias = jnp.asarray(table)[steps_glm]
        if config.edge_features:
            features = graph["edges"].shape[-1]
            shape = (config.max_distance, features, config.heads)
            path = self.param("path", nn.initializers.normal(_STD), shape)
            costs_leh = jnp.einsum("ef,lfh->leh", graph["edges"], path)
            bias += path_means(costs_leh, pair, adjacency, steps_glm)
        virtual = self.param("virtual", normal, (config.heads,))
        bias = jnp.pad(jnp.moveaxis(bias, -1, 1), ((0, 0), (0, 0), (1, 0), (1, 0)))
        to_virtual = jnp.zeros((size + 1, size + 1)).at[0, :].set(1.0).at[:, 0].set(1.0)
        return bias + virtual[:, None, None] * to_virtual


class Block(nn.Module):
    """A pre-norm block of biased scores: `attention_norm`, `attention`, `mlp_norm`, `mlp`."""

    config: Config
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x_gld: jax.Array, bias: jax.Array, mask: jax.Array, train: bool
    ) -> jax.Array:
        """[g, l, d] -> [g, l, d]; `bias` [g, h, l, l] and `mask` bool [g, 1, 1, l]."""
        config = self.config
        attention = MultiHeadAttention(
            config.heads,
            dropout_rate=config.attention_dropout_rate,
            dtype=self.dtype,
            name="attention",
        )
        branch = attention(
            layer_norm("attention_norm", self.dtype)(x_gld), mask=mask, bias=bias, train=train
        )
        x_gld += Dropout(config.dropout_rate, name="attention_out_dropout")(branch, train)
        mlp = MLP(
            config.mlp_width,
            activation="gelu",
            dropout_rate=config.dropout_rate,
            dtype=self.dtype,
            name="mlp",
        )
        return x_gld + mlp(layer_norm("mlp_norm", self.dtype)(x_gld), train)


def slots(node_graph: jax.Array, num_graphs: int) -> tuple[jax.Array, jax.Array]:
    """(place of each node in its graph, int32 [n], nodes of each graph, int32 [g])."""
    size_g = segment_count(node_graph, num_graphs).astype(jnp.int32)
    first_g = jnp.cumsum(size_g) - size_g
    number_n = jnp.arange(len(node_graph), dtype=jnp.int32)
    return number_n - first_g.at[node_graph].get(mode="clip"), size_g


def distances(adjacency: jax.Array, limit: int) -> jax.Array:
    """Edges on the shortest path from l to m, int32 [g, l, m], of bool [g, l, m].

    0 on the diagonal, `limit` for whatever is at least as far, limit + 1 where there is no path
    or none that is found within the nodes of the graph.
    """
    size = adjacency.shape[-1]
    own = jnp.broadcast_to(jnp.eye(size, dtype=bool), adjacency.shape)
    links = (adjacency | own).astype(jnp.float32)
    steps, reached = jnp.where(own, 0, limit + 1), own
    for step in range(1, limit + 1):
        further = jnp.matmul(reached.astype(jnp.float32), links) > 0
        steps, reached = jnp.where(further & ~reached, step, steps), further
    # Far, but joined: doubling what is reached finds all within the nodes of a graph.
    for _ in range(max(size - 1, 1).bit_length()):
        reached = jnp.matmul(reached.astype(jnp.float32), reached.astype(jnp.float32)) > 0
    return jnp.where(reached & (steps > limit), limit, steps).astype(jnp.int32)


def path_means(
    costs_leh: jax.Array,
    pair: tuple[jax.Array, jax.Array, jax.Array],
    adjacency: jax.Array,
    steps_glm: jax.Array,
) -> jax.Array:
    """Mean cost of the edges of the shortest paths, [g, l, m, h]; 0 where there is none, or none of
    as many steps as `costs_leh` has.

    Args:
      costs_leh: what an edge costs as the first, second, ... of a path.
      pair: (graph, sender's slot, receiver's slot) of each edge.
      adjacency: float32 [g, l, m], how many edges lead from l to m.
      steps_glm: distances, as `distances` has them.
    """
    total = jnp.zeros((*adjacency.shape, costs_leh.shape[-1]))
    links = (adjacency > 0).astype(jnp.float32)
    for step in range(1, len(costs_leh) + 1):
        cost = jnp.zeros_like(total).at[pair].add(costs_leh[step - 1], mode="drop")
        cost /= jnp.maximum(adjacency, 1.0)[..., None]
        before = (steps_glm == step - 1).astype(jnp.float32)
        # Over all last steps k to m of the paths from l: their own cost, and what was before.
        last = jnp.einsum("glk,gkmh->glmh", before, cost)
        last += jnp.einsum("glkh,gkm->glmh", total * before[..., None], links)
        count = jnp.einsum("glk,gkm->glm", before, links)
        here = (steps_glm == step)[..., None] & (count > 0)[..., None]
        total = jnp.where(here, last / jnp.maximum(count, 1.0)[..., None], total)
    steps = jnp.clip(steps_glm, 1, len(costs_leh))
    return total / steps[..., None]


def _place(
    node_graph: jax.Array, slot_n: jax.Array, num_graphs: int, size: int, x_nd: jax.Array
) -> jax.Array:
    """[g, size, d] of [n, d]; zeros where a graph has fewer nodes."""
    start = jnp.zeros((num_graphs, size, *x_nd.shape[1:]), x_nd.dtype)
    return start.at[node_graph, slot_n].set(x_nd, mode="drop")


def build(config: Config, info: Any) -> Graphormer:
    """The model for the classes or targets of `info`.

    Raises:
      ValueError: a value that no field accepts, or edge features that the data does not have.
    """
    check_sizes(
        config, "width", "depth", "heads", "mlp_width", "max_nodes", "max_degree", "max_distance"
    )
    check_rates(config, "dropout_rate", "attention_dropout_rate")
    compute_dtype(config.dtype)
    if config.width % config.heads:
        raise ValueError(f"model.width={config.width} is not divisible by {config.heads} heads")
    if info.max_nodes > config.max_nodes:
        raise ValueError(
            f"model.max_nodes={config.max_nodes}: the data has a graph of {info.max_nodes} nodes"
        )
    if config.edge_features and not info.num_edge_features:
        raise ValueError("model.edge_features=True needs edges with features: set it to False")
    return Graphormer(config, num_outputs(info))
