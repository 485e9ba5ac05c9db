"""Recurrent networks of text: a language model, and readers of whole texts.

head="language": Zaremba et al. 2014, arXiv:1409.2329: an embedding, stacked cells with dropout
between them, and a dense layer to the next token. head="classes" and "tokens": the same read in
both directions, as the BiLSTM of flax's examples/sst2. The cells are models/layers/cells.py.

Axis letters: `b` batch, `l` length, `d` width, `v` vocabulary, `c` classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import length_mask
from models.layers.cache import take_rows
from models.layers.cells import CELLS
from models.layers.checks import check_rates, check_sizes
from models.layers.embeddings import Embedding, vocabulary_head
from models.layers.outputs import num_outputs
from models.layers.precision import compute_dtype
from models.layers.recurrent import Recurrent
from models.text.common.sizes import check_choice, vocabulary

READS = {"classes": "sequence_classification", "tokens": "token_classification"}
HEADS = ("language", *READS)
POOLS = ("last", "mean", "max")


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `text.rnn`.

    Attributes:
      head: "language" (the next token of each), "classes" (of the text) or "tokens" (classes of
        every token).
      cell: "lstm" or "gru".
      embedding_width: of a token.
      width: of a state.
      depth: layers.
      bidirectional: whether a reader reads both ways; a language model cannot.
      pool: what stands for the text that "classes" tells: the "last" states of both directions, or
        the "mean" or "max" over its tokens.
      embedding_std: of the embedding's normal initial values.
      dropout_rate: on the embedded tokens, between layers, and on what the head reads.
      dtype: what it computes products in; cells, parameters and outputs are float32.
    """

    head: str = "language"
    cell: str = "lstm"
    embedding_width: int = 128
    width: int = 256
    depth: int = 1
    bidirectional: bool = False
    pool: str = "last"
    embedding_std: float = 0.1
    dropout_rate: float = 0.0
    dtype: str = "float32"


TINY = {"embedding_width": 12, "width": 16, "depth": 2}


def _parts(config: Config, vocab_size: int) -> tuple[Embedding, nn.Dropout, Recurrent]:
    dtype = compute_dtype(config.dtype)
    return (
        Embedding(vocab_size, config.embedding_width, config.embedding_std, dtype, name="tokens"),
        nn.Dropout(config.dropout_rate, name="dropout"),
        Recurrent(
            config.cell,
            config.width,
            config.depth,
            config.bidirectional,
            config.dropout_rate,
            dtype,
            name="recurrent",
        ),
    )


class LanguageModel(nn.Module):
    """Tokens -> logits; submodules `tokens`, `recurrent`, `head`, and in the collection "cache" the
    states, `states`.
    """

    config: Config
    vocab_size: int
    tasks: ClassVar[tuple[str, ...]] = ("language_modelling",)

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        segments: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        train: bool,
        decode: bool = False,
        cache_length: int | None = None,
    ) -> jax.Array:
        """Logits float32 [b, l, v] of the token after each.

        Args:
          tokens: int32 [b, l].
          segments: int32 [b, l], the documents of a packed row, 1, 2, ...; 0 is padding.
          positions: int32 [b, l]; -1 is padding, which changes no state; others are not read.
          train: whether dropout is on.
          decode: go on from the states in "cache", which has to be mutable.
          cache_length: not read; a state has no length.
        """
        del cache_length
        config = self.config
        embedding, dropout, recurrent = _parts(config, self.vocab_size)
        mask = None if segments is None else segments > 0
        if positions is not None:
            mask = positions >= 0 if mask is None else mask & (positions >= 0)
        start = None
        if decode:
            first = recurrent.first(tokens.shape[0])
            states = self.variable("cache", "states", lambda: first)
            # A prompt is one document: in decoding, segments only tell its padding.
            start, segments = states.value, None
        x_bld = dropout(embedding(tokens), deterministic=not train)
        x_bld, last = recurrent(x_bld, mask, segments, start, train=train)
        if decode:
            states.value = last
        x_bld = dropout(x_bld, deterministic=not train)
        init = nn.initializers.xavier_uniform()
        return vocabulary_head(self.vocab_size, x_bld.dtype, init, use_bias=True)(x_bld)

    @nn.nowrap
    def reorder(self, cache: Any, rows: jax.Array) -> Any:
        """The collection "cache" of these rows, int32 [b]: a row goes on from another's text."""
        return take_rows(cache, rows)


class Reader(nn.Module):
    """Tokens -> outputs; submodules `tokens`, `types` where there are any, `recurrent`, `head`."""

    config: Config
    vocab_size: int
    num_outputs: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """What its head serves."""
        return (READS[self.config.head],)

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        lengths: jax.Array | None = None,
        token_types: jax.Array | None = None,
        *,
        train: bool,
    ) -> dict[str, jax.Array]:
        """{"hidden" [b, l, d], "pooled" [b, d], "logits"}, all float32, of tokens int32 [b, l].

        "logits" are [b, c] of head "classes" and [b, l, c] of "tokens".

        Args:
          tokens: int32 [b, l].
          lengths: int32 [b], tokens before the padding; all where it is None.
          token_types: int32 [b, l], 0 or 1, whose vectors are added to the tokens'.
          train: whether dropout is on.
        """
        config = self.config
        embedding, dropout, recurrent = _parts(config, self.vocab_size)
        x_bld = embedding(tokens)
        if token_types is not None:
            width, std = config.embedding_width, config.embedding_std
            x_bld += Embedding(2, width, std, x_bld.dtype, name="types")(token_types)
        mask = None if lengths is None else length_mask(lengths, tokens.shape[1])[:, 0, 0]
        x_bld = dropout(x_bld, deterministic=not train)
        x_bld, last = recurrent(x_bld, mask, train=train)
        x_bld = x_bld.astype(jnp.float32)
        if config.pool == "last":
            pooled_bd = jnp.concatenate([state[0] for state in last[-1]], axis=-1)
        else:
            pooled_bd = _pool(x_bld, mask, config.pool)
        read = dropout(pooled_bd if config.head == "classes" else x_bld, deterministic=not train)
        logits = nn.Dense(self.num_outputs, name="head")(read)
        return {"hidden": x_bld, "pooled": pooled_bd, "logits": logits}


def _pool(x_bld: jax.Array, mask: jax.Array | None, how: str) -> jax.Array:
    valid_bl1 = jnp.ones((*x_bld.shape[:2], 1), bool) if mask is None else mask[..., None]
    if how == "mean":
        return x_bld.sum(1) / jnp.maximum(valid_bl1.sum(1), 1)
    lowest = jnp.where(valid_bl1, x_bld, jnp.finfo(jnp.float32).min).max(1)
    return jnp.where(valid_bl1.any(1), lowest, 0.0)


def build(config: Config, info: Any) -> LanguageModel | Reader:
    """The model of the data's vocabulary and classes; ValueError for what no field accepts."""
    check_choice(config, head=HEADS, pool=POOLS, cell=tuple(CELLS))
    check_sizes(config, "embedding_width", "width", "depth")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    if config.head != "language":
        return Reader(config, vocabulary(info), num_outputs(info))
    if config.bidirectional:
        raise ValueError("model.bidirectional=True: a language model must not read what it guesses")
    return LanguageModel(config, vocabulary(info))
