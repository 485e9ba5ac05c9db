"""Knowledge-graph embeddings: how likely a fact (head, relation, tail) is.

    distmult   sum(h * r * t)                              Yang et al. 2014, arXiv:1412.6575
    complex    Re sum(h * r * conjugate(t))                Trouillon et al. 2016, arXiv:1606.06357
    transe     - |h + r - t|                               Bordes et al. 2013, NIPS

Every scorer compares a query, made of the two that are given, with all candidates for the third in
one matrix product. Complex vectors are their real parts, then their imaginary parts. With
`encoder="rgcn"` (Schlichtkrull et al. 2017, arXiv:1703.06103, section 4) an entity is what R-GCN
layers over the training graph make of its learned vector. With `reciprocal` heads are asked for as
tails of the relation's inverse, which has a vector of its own (Lacroix et al. 2018,
arXiv:1806.07297, section 3; Dettmers et al. 2017, arXiv:1707.01476).

Deviations: the norm of transe is the Euclidean one.

Axis letters: `n` entities, `r` relations, `d` width, `b` facts, `c` candidates.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.graph.common.inputs import Dropout, Graph
from models.graph.rgcn import RelationalLayer, edge_weights
from models.layers.checks import check_rates, check_sizes
from models.layers.precision import compute_dtype

SCORERS = ("distmult", "complex", "transe")
ENCODERS = ("none", "rgcn")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `graph.knowledge_graph`.

    Attributes:
      scorer: "distmult", "complex" or "transe".
      width: d; of complex vectors twice the number of their components.
      init_std: standard deviation of the vectors at the start.
      reciprocal: whether a relation's inverse has a vector of its own.
      dropout_rate: between layers of an encoder; queries have `task.dropout_rate`.
      encoder: "none" or "rgcn".
      depth: layers of the encoder.
      bases: matrices that the relations of an encoder's layer share.
      dtype: what it computes in; parameters and scores are float32.
    """

    scorer: str = "distmult"
    width: int = 200
    init_std: float = 0.1
    reciprocal: bool = False
    dropout_rate: float = 0.0
    encoder: str = "none"
    depth: int = 1
    bases: int = 2
    dtype: str = "float32"


TINY = {"width": 8}


class KnowledgeGraph(nn.Module):
    """Vectors of entities [n, d] and of relations [r, d], of both ways [2, r, d], and scores."""

    config: Config
    num_nodes: int
    num_relations: int
    tasks: ClassVar[tuple[str, ...]] = ("knowledge_graph",)

    @nn.compact
    def __call__(self, graph: Graph, train: bool) -> dict[str, jax.Array]:
        """{"entities": [n, d], "tail": [r, d], "head": [r, d]} in the compute dtype.

        The last two are the relations' vectors in queries for tails and for heads.

        Args:
          graph: the training facts, both ways; read by an encoder alone.
          train: whether an encoder drops.
        """
        config, dtype = self.config, compute_dtype(self.config.dtype)
        init = nn.initializers.normal(config.init_std)
        entities = self.param("entities", init, (self.num_nodes, config.width))
        x_nd = jnp.asarray(entities, dtype)
        ways = (2,) if config.reciprocal else ()
        relations = self.param("relations", init, (*ways, self.num_relations, config.width))
        if config.encoder == "rgcn":
            num_types = 2 * self.num_relations
            weight_e = edge_weights(graph, self.num_nodes, num_types)
            for index in range(config.depth):
                name = f"layer_{index:02d}"
                layer = RelationalLayer(config.width, num_types, config.bases, dtype, name=name)
                x_nd = layer(x_nd, graph, weight_e)
                if index < config.depth - 1:
                    x_nd = nn.relu(x_nd)
                    x_nd = Dropout(config.dropout_rate, name=f"{name}_dropout")(x_nd, train)
        relations = jnp.asarray(relations, dtype)
        tail, head = relations if config.reciprocal else (relations, relations)
        return {"entities": x_nd, "tail": tail, "head": head}

    @nn.nowrap
    def squares(self, vectors_bd: jax.Array) -> jax.Array:
        """Squared sizes of the components, float32 [b, d], of complex ones [b, d / 2]."""
        squares_bd = jnp.square(vectors_bd.astype(jnp.float32))
        if self.config.scorer != "complex":
            return squares_bd
        real, imaginary = jnp.split(squares_bd, 2, axis=-1)
        return real + imaginary

    @nn.nowrap
    def query(self, given_bd: jax.Array, relation_bd: jax.Array, side: str) -> jax.Array:
        """What candidates are compared with, [b, d].

        Args:
          given_bd: vectors of the entities that are given: heads where `side` is "tail".
          relation_bd: of the relations, for this side.
          side: what is asked for, "tail" or "head".
        """
        if self.config.reciprocal:
            # Who is asked for is the tail of the inverse.
            side = "tail"
        if self.config.scorer == "distmult":
            return given_bd * relation_bd
        if self.config.scorer == "transe":
            return given_bd + relation_bd if side == "tail" else given_bd - relation_bd
        real, imaginary = jnp.split(given_bd, 2, axis=-1)
        relation_real, relation_imaginary = jnp.split(relation_bd, 2, axis=-1)
        if side == "head":
            # Re(h r conj(t)) = Re(h conj(conj(r) t)).
            relation_imaginary = -relation_imaginary
        return jnp.concatenate(
            [
                real * relation_real - imaginary * relation_imaginary,
                real * relation_imaginary + imaginary * relation_real,
            ],
            axis=-1,
        )

    @nn.nowrap
    def compare(self, query_bd: jax.Array, candidates_cd: jax.Array) -> jax.Array:
        """Scores float32 [b, c] of all candidates; the higher, the likelier."""
        products = jnp.matmul(query_bd, candidates_cd.T, preferred_element_type=jnp.float32)
        if self.config.scorer != "transe":
            return products
        query_bd, candidates_cd = (a.astype(jnp.float32) for a in (query_bd, candidates_cd))
        squares = jnp.square(query_bd).sum(-1)[:, None] + jnp.square(candidates_cd).sum(-1)
        # The gradient of a root at 0 is not finite.
        return -jnp.sqrt(jnp.maximum(squares - 2.0 * products, 1e-9))

    @nn.nowrap
    def score(self, query_bd: jax.Array, entity_bd: jax.Array) -> jax.Array:
        """Scores float32 [b] of one entity a query, equal to its entry of `compare`."""
        query_bd, entity_bd = query_bd.astype(jnp.float32), entity_bd.astype(jnp.float32)
        if self.config.scorer != "transe":
            return (query_bd * entity_bd).sum(-1)
        square = jnp.square(query_bd - entity_bd).sum(-1)
        return -jnp.sqrt(jnp.maximum(square, 1e-9))


def build(config: Config, info: Any) -> KnowledgeGraph:
    """The embeddings of `info.num_nodes` entities and `info.num_relations` relations.

    Raises:
      ValueError: a value that no field accepts, or no relations.
    """
    for field, accepted in (("scorer", SCORERS), ("encoder", ENCODERS)):
        value = getattr(config, field)
        if value not in accepted:
            raise ValueError(f"model.{field}={value!r}: expected one of {', '.join(accepted)}")
    check_sizes(config, "width", "depth", "bases")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    if config.dropout_rate and (config.encoder == "none" or config.depth < 2):
        raise ValueError(
            f"model.dropout_rate={config.dropout_rate}: it falls between layers of an encoder, and "
            "there are none; on queries it is task.dropout_rate"
        )
    if config.scorer == "complex" and config.width % 2:
        raise ValueError(f"model.width={config.width}: complex vectors need an even width")
    if not info.num_relations or not info.num_nodes:
        raise ValueError("graph.knowledge_graph needs facts; num_relations or num_nodes is 0")
    return KnowledgeGraph(config, info.num_nodes, info.num_relations)
