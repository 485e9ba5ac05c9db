"""Message passing with an edge network and set2set: what a bond is decides what it passes on.

Gilmer et al. 2017, arXiv:1704.01212, section 5 ("edge network", "set2set"); the molecules of Wu et
al. 2017, arXiv:1703.00564 (MoleculeNet). With N(i) the neighbours of atom i and e_ij the features
of the bond, T times with the same weights:

    m_i = sum_{j in N(i)} A(e_ij) h_j + b,      A(e) a [d, d] matrix, the output of a small network
    h_i = GRU(h_i, m_i)

Set2set (Vinyals et al. 2015, arXiv:1511.06391, equations 3 to 7) then reads the atoms M times: an
LSTM asks q, r = sum_i softmax_i(h_i q) h_i answers, and [q, r] of the last time goes through a
network of one hidden layer.

Deviations: the read-out sees h of the last step alone, not its concatenation with the atom
features.

Axis letters: `n` nodes, `e` edges, `d` width, `g` graphs, `k` outputs.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph
from models.layers.checks import check_rates, check_sizes
from models.layers.outputs import num_outputs
from models.layers.precision import compute_dtype
from models.layers.segments import segment_softmax, segment_sum


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.mpnn`.

    Attributes:
      hidden: d, width of an atom's state.
      edge_hidden: hidden width of the network that makes a bond's matrix.
      steps: T, rounds of message passing.
      readings: M, rounds of set2set.
      head_hidden: hidden width of the network that reads [q, r].
      dropout_rate: on that hidden layer.
      dtype: what it computes in; softmax, parameters and outputs are float32.
    """

    hidden: int = 64
    edge_hidden: int = 128
    steps: int = 3
    readings: int = 6
    head_hidden: int = 128
    dropout_rate: float = 0.0
    dtype: str = "float32"


TINY = {"hidden": 6, "edge_hidden": 5, "steps": 2, "readings": 2, "head_hidden": 7}


class EdgeNetwork(nn.Module):
    """Matrices float [e, d, d] of edge features; submodules `hidden`, `out`."""

    width: int
    hidden: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, edges: jax.Array) -> jax.Array:
        """[e, d, d]: row of the result, column of the state that is sent."""
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="hidden")(edges))
        out = nn.Dense(self.width**2, dtype=self.dtype, name="out")(x)
        return out.reshape(-1, self.width, self.width)


class Set2Set(nn.Module):
    """[g, 2 d] of nodes [n, d], whatever their order; submodule `lstm`."""

    readings: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_nd: jax.Array, node_graph: jax.Array | None, num_graphs: int) -> jax.Array:
        """[g, 2 d] in `dtype`."""
        n, width = x_nd.shape
        if node_graph is None:
            node_graph = jnp.zeros(n, jnp.int32)
        lstm = nn.OptimizedLSTMCell(width, dtype=self.dtype, name="lstm")
        zeros = jnp.zeros((num_graphs, width), self.dtype)
        carry, read_gd = (zeros, zeros), jnp.concatenate([zeros, zeros], axis=-1)
        # Padding belongs to the graph after the last and must find a row of that number.
        rows = jnp.minimum(node_graph, num_graphs - 1)
        for _ in range(self.readings):
            carry, query_gd = lstm(carry, read_gd)
            scores = jnp.einsum("nd,nd->n", x_nd, query_gd[rows].astype(x_nd.dtype))
            weights = segment_softmax(scores, node_graph, num_graphs).astype(x_nd.dtype)
            answer = segment_sum(weights[:, None] * x_nd, node_graph, num_graphs)
            read_gd = jnp.concatenate([query_gd, answer], axis=-1)
        return read_gd


class MPNN(nn.Module):
    """Graphs -> outputs [g, k]: `input`, `edge_network`, `message_bias`, `gru`, `set2set`, head."""

    config: Config
    num_outputs: int
    tasks: ClassVar[tuple[str, ...]] = ("graph_prediction",)

    @nn.compact
    def __call__(self, graph: Graph, num_graphs: int, train: bool) -> jax.Array:
        """float32 [g, k] of the graphs of one pack with dense node and edge features."""
        config = self.config
        dtype, width = compute_dtype(config.dtype), config.hidden
        senders, receivers = graph["senders"], graph["receivers"]
        x_nd = nn.relu(nn.Dense(width, dtype=dtype, name="input")(graph["nodes"]))
        network = EdgeNetwork(width, config.edge_hidden, dtype, name="edge_network")
        matrices_edd = network(graph["edges"])
        bias = self.param("message_bias", nn.initializers.zeros, (width,)).astype(dtype)
        gru = nn.GRUCell(width, dtype=dtype, name="gru")
        for _ in range(config.steps):
            sent_ed = jnp.einsum("eij,ej->ei", matrices_edd, x_nd[senders])
            message_nd = segment_sum(sent_ed, receivers, len(x_nd)) + bias
            x_nd, _ = gru(x_nd, message_nd)
        self.sow("intermediates", "embedding", x_nd)
        read = Set2Set(config.readings, dtype, name="set2set")
        read_gd = read(x_nd, graph.get("node_graph"), num_graphs)
        hidden = nn.relu(nn.Dense(config.head_hidden, dtype=dtype, name="head_hidden")(read_gd))
        hidden = Dropout(config.dropout_rate, name="head_dropout")(hidden, train)
        return nn.Dense(self.num_outputs, name="head")(hidden.astype(jnp.float32))


def build(config: Config, info: Any) -> MPNN:
    """The model for the classes or targets of `info`.

    Raises:
      ValueError: a value that no field accepts, or edges without features.
    """
    check_sizes(config, "hidden", "edge_hidden", "steps", "readings", "head_hidden")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    if not info.num_edge_features:
        raise ValueError("graph.mpnn needs edges with features; num_edge_features is 0")
    return MPNN(config, num_outputs(info))
