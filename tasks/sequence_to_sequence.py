"""Sequence to sequence: translation, summarisation, and whatever has a text in and a text out.

A batch holds "source" int32 [b, m] and "source_lengths" int32 [b], "target" int32 [b, l] = bos, the
text, eos, padding, and "target_lengths" int32 [b], bos and eos counted. The model reads all of a
target but its last token and says the next one at each place (teacher forcing). "mask" bool [b],
where it is there, is False on padding rows, which then count nowhere.

Axis letters: `b` batch, `m` source length, `l` target length, `v` vocabulary, `h` heads.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common import decoding, sampling
from tasks.common.forward import attention, dropout_key, forward, initial
from tasks.common.text import check_smoothing, token_means, within
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Mean, Tree


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `sequence_to_sequence`.

    Attributes:
      label_smoothing: s in [0, 1), share of a training target that is spread over the vocabulary;
        evaluation's loss is the plain cross-entropy.
      teacher_forcing: share of the target's tokens that a recurrent model reads in training; the
        others are its own guesses.
      max_length: most tokens of a prediction, eos counted.
      beams: hypotheses of the beam search that predicts; 1 is greedy decoding.
      length_penalty: alpha of ((5 + length) / 6)^alpha, which divides a hypothesis's score.
    """

    label_smoothing: float = 0.0
    teacher_forcing: float = 1.0
    max_length: int = 64
    beams: int = 1
    length_penalty: float = 0.0


TINY: dict[str, Any] = {"max_length": 8}


@dataclass(frozen=True)
class SequenceToSequence:
    """The Task of a model whose `__call__(source, lengths, target, train)` gives [b, l, v].

    Attributes:
      bos: the id that begins a text.
      eos: the id that ends it.
      pad: the id that follows.
    """

    config: Config
    model: Any
    bos: int
    eos: int
    pad: int
    needs: ClassVar[Mapping[str, str]] = {
        "source_lengths": "data.pipeline=texts of a source of pairs"
    }

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
        """Mean cross-entropy in nats a token; metrics "loss", "accuracy" and "exact_match".

        The first two are over tokens, eos counted. "exact_match" is the share of targets of which
        every token is the likeliest after those before: greedy decoding gives them whole.
        """
        options: dict[str, Any] = {}
        if train and self.config.teacher_forcing < 1.0:
            options["teacher_forcing"] = self.config.teacher_forcing
        dropout = dropout_key(key, step, train)
        logits, mutable = forward(
            self.model, params, mutable, *_inputs(batch), dropout=dropout, **options
        )
        labels = batch["target"][:, 1:]
        asked = within(batch["target_lengths"] - 1, labels.shape[1])
        smoothing = self.config.label_smoothing if train else 0.0
        loss, metrics = token_means(logits, jnp.where(asked, labels, -1), batch, smoothing)
        right = ((logits.argmax(-1) == labels) | ~asked).all(1)
        metrics["exact_match"] = Mean.of(right, batch.get("mask"))
        return loss, Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"tokens": int32 [b, max_length], "scores": float32 [b]}: what `generate` gives."""
        return self.generate(params, mutable, batch, key)

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"alignment": float32 [b, l - 1, m]}, {} of a model that sows none.

        The weights that the token after each of the target's gives to the source: of the last layer
        that attends to it, the mean over its heads.
        """
        del key
        weights, _ = attention(
            self.model, params, mutable, *_inputs(batch), within=("cross_attention", "decoder")
        )
        return {} if weights is None else {"alignment": weights[:, -1].mean(1)}

    def begin(self, params: Tree, mutable: Tree, batch: Batch, length: int) -> sampling.Front:
        """After reading "source" [b, m] of "source_lengths" [b], and bos: the first logits.

        `length` tokens may follow.
        """
        variables = {"params": params, **mutable}
        lengths = batch["source_lengths"]
        encoded = self.model.apply(
            variables, batch["source"], lengths, train=False, method="encode"
        )
        read = {"encoded": encoded, "source_lengths": lengths}
        bos_b = jnp.full(len(lengths), self.bos, jnp.int32)
        logits, cache = self._decode(variables, read, bos_b, jnp.int32(0), cache_length=length)
        return sampling.Front.of(logits, {**read, "cache": cache}, 1)

    def step_fn(self, params: Tree, mutable: Tree) -> sampling.Step:
        """What `decoding` goes on with, from what `begin` gave."""

        def step(cache: Tree, token_b: jax.Array, position: jax.Array) -> tuple[jax.Array, Tree]:
            variables = {"params": params, **mutable, "cache": cache["cache"]}
            logits, changed = self._decode(variables, cache, token_b, position)
            return logits, {**cache, "cache": changed}

        return step

    def generate(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        *,
        length: int = 0,
        **method: Any,
    ) -> Arrays:
        """{"tokens": int32 [b, length], "scores": float32 [b]}: eos is the last, pad follows.

        Args:
          batch: "source" int32 [b, m] and "source_lengths" int32 [b].
          key: of draws, where the method makes any.
          length: most tokens; 0 for `task.max_length`.
          method: fields of `sampling.Method` in place of the task's.

        Raises:
          ConfigError: the model does not have as many positions.
        """
        config = self.config
        options: dict[str, Any] = {"beams": config.beams, "length_penalty": config.length_penalty}
        if method.get("temperature"):
            options["beams"] = 1
        sources = {name: batch[name] for name in ("source", "source_lengths")}
        length = length or config.max_length
        _check_positions(f"{length} tokens of a prediction", length, self.model)
        return decoding.generate(
            lambda batch: self.begin(params, mutable, batch, length),
            self.step_fn(params, mutable),
            sources, key, length,
            sampling.Method(**{**options, **method}), self.eos, self.pad,
        )  # fmt: skip

    def _decode(
        self, variables: Tree, read: Tree, token_b: jax.Array, position: jax.Array, **options: Any
    ) -> tuple[jax.Array, Tree]:
        """(logits [b, v] after one token more, the cache that has seen it)."""
        positions_b1 = jnp.broadcast_to(position, (len(token_b), 1))
        logits, changed = self.model.apply(
            variables, read["encoded"], read["source_lengths"], token_b[:, None], positions_b1,
            train=False, decode=True, method="decode_step", mutable=["cache"], **options,
        )  # fmt: skip
        return logits[:, 0], changed["cache"]


def _inputs(batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    return batch["source"], batch["source_lengths"], batch["target"][:, :-1]


def _check_positions(what: str, length: int, model: Any) -> None:
    limit = getattr(model, "max_length", 0)
    if limit and length > limit:
        raise ConfigError(f"{what}: the model has {limit} positions (model.max_length)")


def build(config: Config, model: Any, info: Info) -> SequenceToSequence:
    """The task of writing the target.

    Raises:
      ConfigError: the vocabulary lacks bos or eos, or a value is out of its range.
    """
    missing = [name for name in ("bos", "eos") if name not in info.special]
    if missing:
        raise ConfigError(
            f"sequence_to_sequence needs a tokenizer with {' and '.join(missing)}; special tokens "
            f"are {', '.join(info.special) or 'none'}"
        )
    check_smoothing(config.label_smoothing)
    sampling.Method(beams=config.beams, length_penalty=config.length_penalty)
    if config.max_length < 1:
        raise ConfigError(f"task.max_length={config.max_length}: expected 1 or more")
    _check_positions(f"task.max_length={config.max_length}", config.max_length, model)
    if not 0.0 <= config.teacher_forcing <= 1.0:
        raise ConfigError(f"task.teacher_forcing={config.teacher_forcing}: expected 0 to 1")
    reads = inspect.signature(type(model).__call__).parameters
    if config.teacher_forcing < 1.0 and "teacher_forcing" not in reads:
        raise ConfigError(
            f"task.teacher_forcing={config.teacher_forcing}: {type(model).__name__} reads all of a "
            "target at once, so it must be 1"
        )
    special = info.special
    return SequenceToSequence(config, model, special["bos"], special["eos"], special.get("pad", 0))
