"""Language modelling: which token comes next.

A batch holds "tokens" and "targets" int32 [b, l], the token after each, -1 where none is asked for;
packed documents also "segments" and "positions" int32 [b, l]. "mask" bool [b], where it is there,
is False on padding rows, which then count nowhere. Bits and perplexity are made of the loss over a
whole split by the evaluator `language_modelling`: a mean of exponentials would be another number.

Axis letters: `b` batch, `l` length, `p` length of a prompt, `v` vocabulary, `h` heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common import decoding, sampling
from tasks.common.cross_entropy import cross_entropy
from tasks.common.forward import attention, dropout_key, forward, initial
from tasks.common.text import asked_of, check_smoothing, token_means
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Tree


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `language_modelling`.

    Attributes:
      label_smoothing: s in [0, 1), share of a training target that is spread over the vocabulary;
        evaluation's loss is the plain cross-entropy.
    """

    label_smoothing: float = 0.0


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class LanguageModelling:
    """The Task of a model whose `__call__(tokens, segments, positions, train)` gives [b, l, v].

    Attributes:
      eos: the id that ends a text, `sampling.NEVER` where texts do not end.
      pad: the id that follows it.
    """

    config: Config
    model: Any
    eos: int = sampling.NEVER
    pad: int = 0
    needs: ClassVar[Mapping[str, str]] = {"targets": "data.pipeline=blocks"}

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable)."""
        return initial(self.model, key, *_inputs(batch))

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """Mean cross-entropy in nats a token; metrics "loss" and "accuracy", over tokens."""
        dropout = dropout_key(key, step, train)
        logits, mutable = forward(self.model, params, mutable, *_inputs(batch), dropout=dropout)
        smoothing = self.config.label_smoothing if train else 0.0
        loss, metrics = token_means(logits, batch["targets"], batch, smoothing)
        return loss, Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"log_probabilities": float32 [b, l]} of the targets, in nats; 0 where there is none."""
        del key
        logits, _ = forward(self.model, params, mutable, *_inputs(batch), dropout=None)
        targets = batch["targets"]
        nats = cross_entropy(logits, jnp.maximum(targets, 0))
        return {"log_probabilities": jnp.where(asked_of(targets, batch), -nats, 0.0)}

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"attention": float32 [b, layers, h, l, l]}, {} of a model that sows none."""
        del key
        weights, _ = attention(self.model, params, mutable, *_inputs(batch))
        return {} if weights is None else {"attention": weights}

    @property
    def limit(self) -> int:
        """Tokens that the model remembers while it generates; 0 for any number."""
        return int(getattr(self.model, "max_length", 0))

    def begin(
        self, params: Tree, mutable: Tree, batch: Batch, length: int | None = None
    ) -> sampling.Front:
        """After the prompts "tokens" int32 [b, p], all of one length: the next token's logits.

        `length` tokens may follow; where it is None, as many as the model remembers.
        """
        tokens_bp = batch["tokens"]
        positions_bp = jnp.broadcast_to(jnp.arange(tokens_bp.shape[1]), tokens_bp.shape)
        slots = None if length is None else tokens_bp.shape[1] + length
        variables = {"params": params, **mutable}
        logits, cache = self._cached(variables, tokens_bp, positions_bp, cache_length=slots)
        return sampling.Front.of(logits[:, -1], cache, tokens_bp.shape[1])

    def step_fn(self, params: Tree, mutable: Tree) -> sampling.Step:
        """What `decoding` goes on with, from what `begin` gave."""

        def step(cache: Tree, token_b: jax.Array, position: jax.Array) -> tuple[jax.Array, Tree]:
            positions_b1 = jnp.broadcast_to(position, (len(token_b), 1))
            variables = {"params": params, **mutable, "cache": cache}
            logits, cache = self._cached(variables, token_b[:, None], positions_b1)
            return logits[:, 0], cache

        return step

    def generate(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        *,
        length: int,
        **method: Any,
    ) -> Arrays:
        """{"tokens": int32 [b, length], "scores": float32 [b]}: what follows the prompts.

        Args:
          batch: the prompts "tokens" int32 [b, p], all of one length.
          key: of the draws.
          length: how many tokens follow.
          method: fields of `sampling.Method`.

        Raises:
          ConfigError: the model does not remember as many tokens.
        """
        prompts = {"tokens": batch["tokens"]}
        asked = prompts["tokens"].shape[1] + length
        if self.limit and asked > self.limit:
            raise ConfigError(
                f"{prompts['tokens'].shape[1]} tokens of a prompt and {length} more are beyond the "
                f"{self.limit} that the model remembers"
            )
        return decoding.generate(
            lambda batch: self.begin(params, mutable, batch, length),
            self.step_fn(params, mutable),
            prompts, key, length, sampling.Method(**method), self.eos, self.pad,
        )  # fmt: skip

    def _cached(
        self, variables: Tree, tokens_bl: jax.Array, positions_bl: jax.Array, **options: Any
    ) -> tuple[jax.Array, Tree]:
        """(logits [b, l, v], the cache that has seen the tokens)."""
        logits, changed = self.model.apply(
            variables, tokens_bl, positions=positions_bl, decode=True, train=False,
            mutable=["cache"], **options,
        )  # fmt: skip
        return logits, changed["cache"]


def _inputs(batch: Batch) -> tuple[Any, ...]:
    return batch["tokens"], batch.get("segments"), batch.get("positions")


def build(config: Config, model: Any, info: Info) -> LanguageModelling:
    """The task of saying what comes next.

    Raises:
      ConfigError: the data has no vocabulary, or the smoothing is outside of [0, 1).
    """
    if not info.vocab_size:
        raise ConfigError("language_modelling needs text; vocab_size is 0")
    check_smoothing(config.label_smoothing)
    eos = info.special.get("eos", sampling.NEVER)
    return LanguageModelling(config, model, eos, info.special.get("pad", 0))
