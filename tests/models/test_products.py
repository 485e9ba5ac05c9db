"""A product over several axes is the same one over a single axis, which one CPU computes it by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from models.layers.products import dot_general
from tests.models import run

# Shapes of both sides, and which axes are summed: a dense layer's, that of several heads, that from
# them, an embedding's scores.
CASES = [
    ((2, 3, 4), (4, 5), (2,), (0,)),
    ((2, 3, 4), (4, 5, 6), (2,), (0,)),
    ((2, 3, 5, 6), (5, 6, 4), (2, 3), (0, 1)),
    ((2, 3, 4), (7, 4), (2,), (1,)),
    ((2, 4), (4, 5), (1,), (0,)),
]


def sides(lhs, rhs):
    rng = np.random.default_rng(0)
    return rng.normal(size=lhs).astype("f4"), rng.normal(size=rhs).astype("f4")


def products(jaxpr):
    """The axes of the left sides of all products."""
    found = [e.invars[0].aval.ndim for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert found
    return found


@pytest.mark.parametrize(("lhs", "rhs", "summed", "others"), CASES)
def test_values_and_gradients_are_those_of_the_plain_product(lhs, rhs, summed, others):
    dimensions = ((summed, others), ((), ()))

    def total(product, x, w):
        return jnp.sum(jnp.sin(product(x, w, dimensions, preferred_element_type=jnp.float32)))

    for one, other in zip(
        run.jit(jax.value_and_grad(lambda x, w: total(dot_general, x, w), (0, 1)))(
            *sides(lhs, rhs)
        ),
        run.jit(jax.value_and_grad(lambda x, w: total(jax.lax.dot_general, x, w), (0, 1)))(
            *sides(lhs, rhs)
        ),
        strict=True,
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), one, other
        )
    flat = jax.make_jaxpr(lambda x, w: dot_general(x, w, dimensions))(*sides(lhs, rhs))
    assert products(flat) == [2]


@pytest.mark.parametrize("where", ["several devices", "a batch axis", "sums in between"])
def test_elsewhere_the_axes_stay(where):
    x, w = sides((2, 3, 4), (2, 4, 5) if where == "a batch axis" else (4, 5))
    dimensions = {
        "a batch axis": (((2,), (1,)), ((0,), (0,))),
        "sums in between": (((1,), (0,)), ((), ())),
    }.get(where, (((2,), (0,)), ((), ())))
    if where == "sums in between":
        w = sides((3, 5), (3, 5))[0]
    devices = 8 if where == "several devices" else 1
    mesh = jax.sharding.AbstractMesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    with jax.sharding.use_abstract_mesh(mesh):
        jaxpr = jax.make_jaxpr(lambda x, w: dot_general(x, w, dimensions))(x, w)
    assert products(jaxpr) == [3]
