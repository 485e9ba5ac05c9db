"""What follows the prompts of a batch, by any method: sampling.py and beams.py.

Axis letters: `b` batch, `l` new tokens.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tasks.common.beams import batch_axes, beam_search, penalty
from tasks.common.sampling import NEVER, Front, Method, Step, sample
from training.contracts import Arrays, Batch


def generate(
    begin: Callable[[Batch], Front],
    step: Step,
    batch: Batch,
    key: jax.Array,
    length: int,
    method: Method,
    eos: int = NEVER,
    pad: int = 0,
) -> Arrays:
    """{"tokens": int32 [b, l], "scores": float32 [b]}: what follows the prompts of a batch.

    A row ends with its first `eos`, if any, and `pad` follows. A score is the tokens'
    log-probability in nats, divided by the length penalty.

    Args:
      begin: reads the prompts; of a batch of any size.
      batch: the arrays of the prompts, [b, ...] all.
      length: l.
    """
    front = begin(batch)
    if method.beams > 1:
        axes = batch_axes(lambda grown: begin(grown).cache, batch)
        tokens, scores = beam_search(
            step, front, axes, length, method.beams, method.length_penalty, eos, pad
        )
        return {"tokens": tokens, "scores": scores}
    tokens, scores, _ = sample(step, front, key, length, method, eos, pad)
    ended = tokens == eos
    lengths = jnp.where(ended.any(1), ended.argmax(1) + 1, length)
    return {"tokens": tokens, "scores": scores / penalty(lengths, method.length_penalty)}
