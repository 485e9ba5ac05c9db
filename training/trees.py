"""How an array of a tree is called."""

from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
    """A tree path as "params/encoder/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
