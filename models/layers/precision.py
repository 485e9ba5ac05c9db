"""Which precision a model computes in: parameters stay float32, only the arithmetic changes."""

import jax.numpy as jnp

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


def compute_dtype(name: str) -> jnp.dtype:
    """The dtype that a config's `dtype` names; ValueError for a name that is none of `DTYPES`."""
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r}: expected one of {', '.join(DTYPES)}")
    return jnp.dtype(DTYPES[name])
