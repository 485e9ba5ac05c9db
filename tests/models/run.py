"""Running a module in one compiled program: op by op, a test would mostly compile single ops.

And compiled without optimisation: the random numbers of a small ResNet's `init` alone take XLA:CPU
20 seconds with it, and 1 without.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def init(module: Any, *inputs: Any, seed: int = 0, **options: Any) -> Any:
    """All collections of `module` at its start."""
    return jit(lambda key, *x: module.init(key, *x, train=False, **options))(
        jax.random.key(seed), *inputs
    )


def params(module: Any, *inputs: Any, seed: int = 0) -> Any:
    """Parameters with noise on them all: some start at zero, where nothing shows."""
    rng = np.random.default_rng(seed + 1)
    start = jax.device_get(init(module, *inputs, seed=seed)["params"])
    return jax.tree.map(lambda a: a + rng.normal(size=a.shape).astype("f4") / 5, start)


def apply(module: Any, variables: Any, *inputs: Any, seed: int = 0, **options: Any) -> Any:
    """`module.apply` with a dropout key of `seed`."""

    @jit
    def run(key: jax.Array, variables: Any, *inputs: Any) -> Any:
        return module.apply(variables, *inputs, rngs={"dropout": key}, **options)

    return run(jax.random.key(seed), variables, *inputs)
