"""Tokens out of a model, one after the other, each the likeliest or drawn.

All of it is jittable, with static shapes, over one function of the task,
`step(cache, token_b, position) -> (logits_bv, cache)`: what the model says of the token that
follows `token_b`, which stands at `position` (int32 scalar), and the cache that has seen it.

Sampling divides the logits by a temperature, keeps the k likeliest tokens (Fan et al. 2018,
arXiv:1805.04833), then the smallest set of tokens whose probability is p or more (nucleus sampling,
Holtzman et al. 2020, arXiv:1904.09751, section 3.1).

Axis letters: `b` batch, `v` vocabulary, `l` new tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from training.contracts import ConfigError, Tree

Step = Callable[[Tree, jax.Array, jax.Array], tuple[jax.Array, Tree]]
# No token has this id: what never ends, ends with it.
NEVER = -1


@dataclass(frozen=True)
class Method:
    """How the next token is chosen.

    Attributes:
      temperature: what the logits are divided by; 0 takes the likeliest token.
      top_k: how many of the likeliest tokens are drawn from; 0 for all.
      top_p: the probability that the tokens drawn from reach together; 1 for all.
      beams: hypotheses that a beam search follows; 1 for none.
      length_penalty: alpha, 0 or more, of the scores, and by which beams are compared.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 0.0

    def __post_init__(self):
        for name, value, right, accepted in (
            ("temperature", self.temperature, self.temperature >= 0, "0 or more"),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, and at most 1"),
            ("beams", self.beams, self.beams >= 1, "1 or more"),
            ("length_penalty", self.length_penalty, self.length_penalty >= 0, "0 or more"),
        ):
            if not right:
                raise ConfigError(f"{name} is {value}: it must be {accepted}")
        if not self.temperature and (self.top_k or self.top_p < 1.0):
            raise ConfigError(
                f"top_k is {self.top_k} and top_p is {self.top_p:g}, but temperature is 0, which "
                "takes the likeliest token whatever they say"
            )
        if self.beams > 1 and self.temperature:
            raise ConfigError(
                f"beams is {self.beams} and temperature is {self.temperature}: a beam search draws "
                "nothing, so one of them must be left out"
            )


@struct.dataclass
class Front:
    """Where decoding stands, and what it goes on from.

    Attributes:
      logits: float32 [b, v], of the next token.
      cache: what the model remembers of all tokens so far.
      position: int32 scalar, of the next token.
      done: bool [b], whose sequence has ended.
    """

    logits: jax.Array
    cache: Tree
    position: jax.Array
    done: jax.Array

    @classmethod
    def of(cls, logits: jax.Array, cache: Tree, position: int) -> "Front":
        """Before the first new token, which stands at `position`."""
        return cls(logits, cache, jnp.int32(position), jnp.zeros(len(logits), bool))


def keep_top_k(logits_bv: jax.Array, k: int) -> jax.Array:
    """The logits of the k likeliest tokens, of equals the lower ids; -inf for all others."""
    return jnp.where(_ranks(logits_bv) < k, logits_bv, -jnp.inf)


def keep_top_p(logits_bv: jax.Array, p: float) -> jax.Array:
    """The logits of the fewest likeliest tokens that have probability p together; others -inf."""
    ranks = _ranks(logits_bv)
    probabilities = jax.nn.softmax(logits_bv, axis=-1)
    falling = -jnp.sort(-probabilities, axis=-1)
    before = jnp.cumsum(falling, axis=-1) - falling
    return jnp.where(jnp.take_along_axis(before, ranks, axis=-1) < p, logits_bv, -jnp.inf)


def _ranks(logits_bv: jax.Array) -> jax.Array:
    """int32 [b, v]: 0 for the likeliest token; of equals, the lower id comes first."""
    order = jnp.argsort(-logits_bv, axis=-1, stable=True)
    return jnp.argsort(order, axis=-1)


def choose(logits_bv: jax.Array, key: jax.Array, method: Method) -> jax.Array:
    """The next tokens, int32 [b]."""
    if not method.temperature:
        return logits_bv.argmax(-1).astype(jnp.int32)
    logits_bv = logits_bv / method.temperature
    if 0 < method.top_k < logits_bv.shape[-1]:
        logits_bv = keep_top_k(logits_bv, method.top_k)
    if method.top_p < 1.0:
        logits_bv = keep_top_p(logits_bv, method.top_p)
    return jax.random.categorical(key, logits_bv).astype(jnp.int32)


def sample(
    step: Step,
    front: Front,
    key: jax.Array,
    length: int,
    method: Method,
    eos: int = NEVER,
    pad: int = 0,
) -> tuple[jax.Array, jax.Array, Front]:
    """(tokens int32 [b, l], log-probabilities float32 [b], the new front).

    A row ends with `eos`, which is its last token; `pad` follows. It stops when all rows have
    ended. The token at a position is drawn from fold_in(key, position): a text made in pieces is
    the text made at once.
    """

    def unfinished(carry: Any) -> jax.Array:
        i, front, *_ = carry
        return (i < length) & ~front.done.all()

    def one(carry: Any) -> Any:
        i, front, tokens, scores = carry
        chosen = choose(front.logits, jax.random.fold_in(key, front.position), method)
        log_probabilities = jax.nn.log_softmax(front.logits, axis=-1)
        own = jnp.take_along_axis(log_probabilities, chosen[:, None], axis=-1)[:, 0]
        chosen = jnp.where(front.done, pad, chosen)
        scores += jnp.where(front.done, 0.0, own)
        logits, cache = step(front.cache, chosen, front.position)
        done = front.done | (chosen == eos)
        front = Front(logits, cache, front.position + 1, done)
        return i + 1, front, tokens.at[:, i].set(chosen), scores

    b = len(front.done)
    start = jnp.int32(0), front, jnp.full((b, length), pad, jnp.int32), jnp.zeros(b)
    _, front, tokens, scores = jax.lax.while_loop(unfinished, one, start)
    return tokens, scores, front
