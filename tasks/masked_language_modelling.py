"""Masked language modelling: Devlin et al. 2019, arXiv:1810.04805, section 3.1, task 1.

A share of the tokens is chosen; of those 80 % become the mask, 10 % another token, 10 % stay, and
the model says what all of them were. In training they are chosen anew in every update; in
evaluation always the same, by an example's place in its split. Special tokens are never chosen, nor
put in. Deviation: each token is chosen by a draw of its own, so that the share is not exact.

A batch holds "tokens" int32 [b, l], "lengths" int32 [b], of pairs "token_types" int32 [b, l]; in
evaluation "index" [b] and "mask" bool [b], False on padding rows, which then count nowhere.

Axis letters: `b` batch, `l` length, `v` vocabulary, `h` heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from tasks.common.forward import attention, dropout_key, forward, initial
from tasks.common.text import inputs, token_means, within
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Tree, stream

# Of the chosen tokens, how many become the mask, and how many that or another token.
MASKED, REPLACED = 0.8, 0.9


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `masked_language_modelling`.

    Attributes:
      rate: share of the tokens that are chosen, in (0, 1).
    """

    rate: float = 0.15


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class MaskedLanguageModelling:
    """The Task of a model that gives "logits" [b, l, v] of (tokens, lengths, token_types, train).

    Attributes:
      mask: the id of the mask.
      special: ids that are never chosen.
      ordinary: int32, all other ids, which are put in.
    """

    config: Config
    model: Any
    mask: int
    special: tuple[int, ...]
    ordinary: np.ndarray
    needs: ClassVar[Mapping[str, str]] = {"tokens": "data.pipeline=texts"}

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable)."""
        return initial(self.model, key, *inputs(batch))

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """Mean cross-entropy in nats of the chosen tokens; metrics "loss" and "accuracy" of them.

        In evaluation the chosen tokens do not depend on `key` and `step`.
        """
        rows = jnp.arange(len(batch["tokens"]))
        if not train:
            key, step, rows = jax.random.key(0), jnp.int32(0), batch.get("index", rows)
        tokens, targets = self.masked(batch, stream(key, "masking", step), rows)
        dropout = dropout_key(key, step, train)
        hidden = inputs({**batch, "tokens": tokens})
        out, mutable = forward(self.model, params, mutable, *hidden, dropout=dropout)
        loss, metrics = token_means(out["logits"], targets, batch)
        return loss, Aux(mutable, metrics)

    def masked(self, batch: Batch, key: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(tokens, targets) int32 [b, l]: what the model sees, and what it says; -1 is not asked.

        Row i is drawn from fold_in(key, rows[i]).
        """
        tokens = batch["tokens"]
        length = tokens.shape[1]
        keys = jax.vmap(lambda row: jax.random.split(jax.random.fold_in(key, row), 3))(rows)
        chance, kind = (
            jax.vmap(lambda key: jax.random.uniform(key, (length,)))(keys[:, i]) for i in (0, 1)
        )
        drawn = jax.vmap(lambda key: jax.random.randint(key, (length,), 0, len(self.ordinary)))
        other = jnp.asarray(self.ordinary)[drawn(keys[:, 2])]
        allowed = ~jnp.isin(tokens, jnp.asarray(self.special, jnp.int32))
        if "lengths" in batch:
            allowed &= within(batch["lengths"], length)
        chosen = allowed & (chance < self.config.rate)
        seen = jnp.where(kind < MASKED, self.mask, jnp.where(kind < REPLACED, other, tokens))
        return jnp.where(chosen, seen, tokens), jnp.where(chosen, tokens, -1)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """The text with its masks filled in: "tokens" int32 and "probabilities" float32 [b, l].

        Tokens are the likeliest where the batch holds the mask, else its own; probabilities are the
        model's of those.
        """
        del key
        out, _ = forward(self.model, params, mutable, *inputs(batch), dropout=None)
        probabilities = jax.nn.softmax(out["logits"], axis=-1)
        likeliest = probabilities.argmax(-1).astype(jnp.int32)
        tokens = jnp.where(batch["tokens"] == self.mask, likeliest, batch["tokens"])
        own = jnp.take_along_axis(probabilities, tokens[..., None], axis=-1)[..., 0]
        return {"tokens": tokens, "probabilities": own}

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"attention": float32 [b, layers, h, l, l]}, {} of a model that sows none."""
        del key
        weights, _ = attention(self.model, params, mutable, *inputs(batch))
        return {} if weights is None else {"attention": weights}


def build(config: Config, model: Any, info: Info) -> MaskedLanguageModelling:
    """The task of saying what is hidden.

    Raises:
      ConfigError: the data has no mask or nothing but special tokens, or a rate out of range.
    """
    if "mask" not in info.special:
        raise ConfigError(
            "masked_language_modelling needs a tokenizer with a mask; special tokens are "
            f"{', '.join(info.special) or 'none'}"
        )
    if not 0.0 < config.rate < 1.0:
        raise ConfigError(f"task.rate={config.rate}: expected (0, 1)")
    special = tuple(sorted(set(info.special.values())))
    ordinary = np.setdiff1d(np.arange(info.vocab_size, dtype=np.int32), special)
    if not len(ordinary):
        raise ConfigError(f"a vocabulary of {info.vocab_size} holds only special tokens")
    return MaskedLanguageModelling(config, model, info.special["mask"], special, ordinary)
