"""How an array of a tree is called."""

from collections.abc import Mapping
from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
    """A tree path as "params/encoder/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named(tree: Any) -> dict[str, Any]:
    """{"a/b": x} of {"a": {"b": x}}, and of any other tree."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a": {"b": x}} of {"a/b": x}."""
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree
