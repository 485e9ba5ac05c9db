"""GraphSAGE: learn to aggregate, from the whole neighbourhood or from a sample of it.

Hamilton et al. 2017, arXiv:1706.02216, algorithm 1 (whole) and 2 (sampled minibatches):

    h_N(i) = aggregate({h_j, j in N(i)}),   h'_i = act(W_self h_i + W_neighbours h_N(i) + b)
    mean    the mean of the neighbours
    pool    elementwise max of relu(W_pool h_j + b_pool), equation 3

followed by h / |h| on hidden layers. W applied to a concatenation, as the paper writes it, is the
sum of two products.

Deviations: the last layer gives the logits and is not normalised; neighbours are as the data
samples them.

Axis letters: `n` nodes, `b` nodes asked about, `s` `t` sampled neighbours, `f` features, `d` width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph, InputDense, count_nodes
from models.layers.checks import check_rates, check_sizes
from models.layers.precision import compute_dtype
from models.layers.segments import segment_max, segment_mean

AGGREGATORS = ("mean", "pool")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.graphsage`.

    Attributes:
      aggregator: "mean" or "pool".
      hidden: width of each hidden layer, and of the pooling layers.
      depth: layers, the one that gives the logits included; sampled batches need as many hops.
      dropout_rate: on the input of every layer.
      normalise: whether hidden rows are scaled to length 1.
      dtype: what it computes in; parameters and logits are float32.
    """

    aggregator: str = "mean"
    hidden: int = 128
    depth: int = 2
    dropout_rate: float = 0.5
    normalise: bool = True
    dtype: str = "float32"


TINY = {"hidden": 5}


class Layer(nn.Module):
    """One layer before its activation; submodules `self`, `neighbours` and, for "pool", `pool`."""

    aggregator: str
    num_nodes: int
    features: int
    width: int
    pool_width: int
    dropout_rate: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self,
        own: Any,
        sent: Any,
        aggregate: Callable[[jax.Array], jax.Array],
        train: bool,
    ) -> jax.Array:
        """[..., d] of own features [..., f] and of those that neighbours send.

        `aggregate` turns what they send, [..., d] as `sent` lies, into what arrives. Sparse
        features are a whole graph in the place of an array.
        """
        own = self._project(own, self.width, "self", train, use_bias=True)
        if self.aggregator == "mean":
            # The mean of projections is the projection of the mean, and narrower.
            return own + aggregate(self._project(sent, self.width, "neighbours", train))
        sent = nn.relu(self._project(sent, self.pool_width, "pool", train, use_bias=True))
        dense = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="neighbours")
        return own + dense(aggregate(sent))

    def _project(
        self, x: Any, width: int, name: str, train: bool, use_bias: bool = False
    ) -> jax.Array:
        if isinstance(x, Mapping):
            dense = InputDense(
                self.features, width, self.dropout_rate, use_bias, self.dtype, name=name
            )
            return dense(x, count_nodes(x, self.num_nodes), train)
        x = Dropout(self.dropout_rate, name=f"{name}_dropout")(x, train)
        init = nn.initializers.glorot_uniform()
        dense = nn.Dense(width, use_bias=use_bias, dtype=self.dtype, kernel_init=init, name=name)
        return dense(x)


class GraphSAGE(nn.Module):
    """A graph -> logits [n, k], or of sampled neighbours [b, k]: `layer_00`, `layer_01`, ..."""

    config: Config
    num_features: int
    num_nodes: int
    num_classes: int
    samples_neighbours: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("node_classification",)

    @property
    def hops(self) -> int:
        """How many edges away a node is seen by another."""
        return self.config.depth

    @nn.compact
    def __call__(self, graph: Graph, train: bool, hops: Sequence[jax.Array] = ()) -> jax.Array:
        """Logits float32 [n, k] of all nodes, or [b, k] where there are hops.

        Args:
          graph: dense or sparse features; dense ones alone where there are hops.
          train: whether it drops.
          hops: () for the whole neighbourhoods, else the nodes asked about, int32 [b], their
            neighbours [b, s], the neighbours of those [b, s, t], ...; below 0 is none.

        Raises:
          ValueError: there are not `depth` hops of neighbours, or their features are sparse.
        """
        config = self.config
        layers = [self._layer(index) for index in range(config.depth)]
        if hops:
            return self._sampled(layers, graph, hops, train)
        n = count_nodes(graph, self.num_nodes)
        reduce = segment_mean if config.aggregator == "mean" else segment_max

        def aggregate(sent_nd: jax.Array) -> jax.Array:
            return reduce(sent_nd[graph["senders"]], graph["receivers"], n)

        x: Any = graph.get("nodes", graph)
        for index, layer in enumerate(layers):
            x = self._activate(index, layer(x, x, aggregate, train))
        return x.astype(jnp.float32)

    def _layer(self, index: int) -> Layer:
        config = self.config
        return Layer(
            aggregator=config.aggregator,
            num_nodes=self.num_nodes,
            features=self.num_features if index == 0 else config.hidden,
            width=self.num_classes if index == config.depth - 1 else config.hidden,
            pool_width=config.hidden,
            dropout_rate=config.dropout_rate,
            dtype=compute_dtype(config.dtype),
            name=f"layer_{index:02d}",
        )

    def _sampled(
        self, layers: Sequence[Layer], graph: Graph, hops: Sequence[jax.Array], train: bool
    ) -> jax.Array:
        depth = self.config.depth
        if len(hops) != depth + 1:
            raise ValueError(f"model.depth={depth} needs as many hops, not {len(hops) - 1}")
        if "nodes" not in graph:
            raise ValueError("sampled neighbours need dense features: data.features=dense")
        values = [graph["nodes"][jnp.maximum(hop, 0)] for hop in hops]
        for index, layer in enumerate(layers):
            values = [
                self._activate(
                    index,
                    layer(values[k], values[k + 1], self._over_samples(hops[k + 1] >= 0), train),
                )
                for k in range(depth - index)
            ]
        return values[0].astype(jnp.float32)

    def _over_samples(self, valid: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Mean or max over the samples [..., s, d] that are valid [..., s]; 0 if none is."""
        valid = valid[..., None]

        def aggregate(sent: jax.Array) -> jax.Array:
            if self.config.aggregator == "pool":
                # What is pooled went through a ReLU: nothing is below 0.
                return jnp.where(valid, sent, 0).max(-2)
            count = jnp.maximum(valid.sum(-2), 1).astype(sent.dtype)
            return jnp.where(valid, sent, 0).sum(-2) / count

        return aggregate

    def _activate(self, index: int, x: jax.Array) -> jax.Array:
        """The layer's activation; rows of a hidden layer are sown as "embedding"."""
        if index == self.config.depth - 1:
            return x
        x = nn.relu(x)
        if self.config.normalise:
            square = jnp.square(x.astype(jnp.float32)).sum(-1, keepdims=True)
            x *= jax.lax.rsqrt(jnp.maximum(square, 1e-12)).astype(x.dtype)
        self.sow("intermediates", "embedding", x)
        return x


def build(config: Config, info: Any) -> GraphSAGE:
    """The model for `info.num_classes` classes; ValueError for a value that no field accepts."""
    if config.aggregator not in AGGREGATORS:
        raise ValueError(f"model.aggregator={config.aggregator!r}: expected one of {AGGREGATORS}")
    check_sizes(config, "hidden", "depth")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    return GraphSAGE(config, info.num_features, info.num_nodes, info.num_classes)
