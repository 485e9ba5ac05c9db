"""How activations are split over the mesh: the one thing that paths of parameters cannot say.

Off a mesh, on one device and inside `shard_map` these are the identity, so that a layer calls them
unconditionally. The axes are those of training/mesh.py: examples over data x fsdp, positions over
`sequence`, so that no device holds the activations of a long sequence whole. Attention then gathers
keys and values, and keeps its queries and scores split (the context parallelism of Dubey et al.
2024, arXiv:2407.21783, section 3.3.2).

Axis letters: `b` batch, `l` length.
"""

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

BATCH_AXES, SEQUENCE = ("data", "fsdp"), "sequence"


def shard_tokens(x_bl: jax.Array) -> jax.Array:
    """The same [b, l, ...], examples split over data x fsdp and positions over `sequence`.

    A length that the axis does not divide is padded by the compiler; a batch that does not divide
    (one example, from which shapes are made) stays as it is.
    """
    mesh = jax.sharding.get_abstract_mesh()
    named = {*BATCH_AXES, SEQUENCE} <= set(mesh.axis_names)
    if not named or mesh.size == 1 or set(mesh.axis_types) != {AxisType.Auto}:
        return x_bl
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    batch = P.UNCONSTRAINED if x_bl.shape[0] % parts else BATCH_AXES
    return jax.lax.with_sharding_constraint(x_bl, P(batch, SEQUENCE))
