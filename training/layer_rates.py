"""Layer-wise learning rates: the nearer to the input, the smaller.

Howard and Ruder 2018, arXiv:1801.06146, section 3.2 (discriminative fine-tuning), with the layers
counted as Clark et al. 2020, arXiv:2003.10555, appendix A, and Bao et al. 2021, arXiv:2106.08254,
count them: of n layers, layer k = 0 .. n - 1 has decay^(n - k) of the rate, what comes before them
(embeddings) decay^(n + 1), and what comes after (norm, pooler, head) the whole of it.

A layer is "layer_03/..." of a loop, or entry 3 of the first axis of "layers/..." of a scan; encoder
and decoder, where there are both, are counted apart.
"""

import re
from typing import Any

import jax
import numpy as np

from training.contracts import ConfigError, Tree
from training.trees import path_name

INPUTS = (
    r"(^|/)(tokens|positions|types|relative|embedding_norm|class_token|distillation_token"
    r"|patch_projection)(/|$)",
)
"""Paths of what comes before the layers, in this project's Transformers."""
_LAYER = re.compile(r"^(?P<column>.*?)(?:layer_(?P<number>\d+)|layers)/")


def factors(tree: Tree, decay: float, inputs: tuple[str, ...] = INPUTS) -> Tree:
    """A tree of factors on the learning rate: numbers, and of a scan arrays [n, 1, ...].

    Args:
      tree: parameters, or whatever has their paths and shapes.
      decay: from 0 to 1.
      inputs: regular expressions of paths that come before the layers.

    Raises:
      ConfigError: there are no layers, or nothing comes before them; all layers of a scan are
        frozen, which hides how many there are, and what comes before them is not.
    """
    depths = _depths(tree)
    if not depths:
        raise ConfigError(
            "optimizer.layer_decay: no path has a layer (layer_00/ or layers/), as in "
            + ", ".join([*_all(tree)][:3])
        )
    deepest = max(depths.values())

    def before(name: str) -> bool:
        return any(re.search(pattern, name) for pattern in inputs)

    def factor(path: Any, leaf: Any) -> Any:
        name = path_name(path)
        found = _LAYER.match(name)
        if found is None and before(name) and not deepest:
            raise ConfigError(
                f"optimizer.layer_decay: the layers are frozen as one array, and {name} before "
                "them is not: freeze it, too, or set optimizer.layer_decay=1"
            )
        if found is None:
            return decay ** (deepest + 1) if before(name) else 1.0
        depth, number = depths[found["column"]], found["number"]
        if number is not None:
            return decay ** (depth - int(number))
        powers = decay ** (depth - np.arange(depth, dtype=np.float32))
        return powers.reshape(depth, *(1,) * (leaf.ndim - 1))

    beside = [name for name in _all(tree) if not _LAYER.match(name)]
    if not any(map(before, beside)):
        raise ConfigError(
            f"optimizer.input_paths={inputs} matches nothing before the layers; beside them are "
            + ", ".join(beside[:6])
        )
    return jax.tree_util.tree_map_with_path(factor, tree)


def _depths(tree: Tree) -> dict[str, int]:
    """{what stands before the layers in a path: how many there are, 0 of a frozen scan}."""
    depths: dict[str, int] = {}
    for name, leaf in _all(tree).items():
        found = _LAYER.match(name)
        if found is not None:
            number = found["number"]
            length = 0 if leaf is None else leaf.shape[0]
            depth = length if number is None else int(number) + 1
            depths[found["column"]] = max(depth, depths.get(found["column"], 0))
    return depths


def _all(tree: Tree) -> dict[str, Any]:
    """{path: leaf}, those too in whose place None stands because they are frozen."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: leaf is None)
    return {path_name(path): leaf for path, leaf in leaves}
