"""Small texts, and the counting of parameters without memory for them, for tests of text models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import run
from training.contracts import Info

VOCABULARY, SOURCE, CLASSES = 20, 11, 3
INFO = Info({}, num_classes=CLASSES, vocab_size=VOCABULARY, source_vocab_size=SOURCE, max_length=32)


def tokens(batch: int = 2, length: int = 12, vocabulary: int = VOCABULARY, seed: int = 0) -> Any:
    """int32 [b, l]."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, vocabulary, (batch, length)), jnp.int32)


def count(model: Any, *inputs: Any) -> int:
    """Parameters of a model of any size."""
    shapes = jax.eval_shape(lambda key: model.init(key, *inputs, train=False), jax.random.key(0))
    return sum(a.size for a in jax.tree.leaves(shapes["params"]))


def continued(model: Any, params: Any, call: Any, pieces: Any) -> tuple[list[Any], Any]:
    """Outputs of call(cache's variables, piece), each piece after the other, and the last cache."""
    outputs: list[Any] = []
    cache: dict[str, Any] = {}
    step = run.jit(lambda variables, piece: call(model, variables, piece))
    for piece in pieces:
        output, cache = step({"params": params, **cache}, piece)
        outputs.append(output)
    return outputs, cache


def close(a: Any, b: Any, tolerance: float = 2e-5) -> None:
    """Trees of equal numbers but for rounding."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), a, b
    )
