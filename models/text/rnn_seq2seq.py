"""Sequence to sequence with recurrent networks, and the attention that was made for them.

attention="none": Sutskever et al. 2014, arXiv:1409.3215: the decoder starts from the encoder's last
states. "bahdanau": Bahdanau et al. 2014, arXiv:1409.0473, section 3.1: before a step the last state
s asks all encoder states m,

    alpha = softmax_m(v . tanh(W s + U m)),   context = sum of alpha m

and the cell reads [token; context], the output [state; context; token] with no maxout, as in
bentrevett/pytorch-seq2seq, notebook 3: 20,518,405 parameters there, 3,072 fewer here, where gates
have one bias. "luong": Luong et al. 2015, arXiv:1508.04025, general score s . (U m) of the state
after the step, t = tanh(W [context; state]), from which the output is read, and which the next step
reads beside its token (input feeding). A decoder starts at tanh(W [forward; backward]) of the
encoder's last states where it reads both ways, at those states where it reads one.

Teacher forcing (Williams and Zipser 1989; at random, Bengio et al. 2015, arXiv:1506.03099): at each
step but the first one coin for the whole batch says whether the decoder reads the target's token or
the likeliest of its own last output, through which no gradient goes.

Axis letters: `b` batch, `l` target length, `m` source length, `d` embedding width, `h` state width,
`e` width of an encoder state, `g` gates, `f` what the output reads, `v` vocabulary.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import length_mask
from models.layers.cache import take_rows
from models.layers.cells import CELLS, Carry
from models.layers.checks import check_rates, check_sizes
from models.layers.embeddings import Embedding
from models.layers.precision import compute_dtype
from models.layers.recurrent import Recurrent, States
from models.text.common.recurrent_decoder import ATTENTIONS, Decoder, Encoded
from models.text.common.sizes import check_choice, vocabulary


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `text.rnn_seq2seq`.

    Attributes:
      cell: "lstm" or "gru".
      embedding_width: d, of source and target.
      width: h, of the decoder's states and of each direction of the encoder's.
      depth: layers of each.
      bidirectional: whether the encoder reads both ways.
      attention: "bahdanau", "luong" or "none".
      init_std: all weights start normal with this (.01 is bentrevett's); where it is None,
        embeddings with .1, the products with inputs by Xavier's rule, with states orthogonal.
      dropout_rate: on the embedded tokens, and between layers.
      dtype: what it computes products in; cells, parameters and logits are float32.
    """

    cell: str = "gru"
    embedding_width: int = 256
    width: int = 512
    depth: int = 1
    bidirectional: bool = True
    attention: str = "bahdanau"
    init_std: float | None = None
    dropout_rate: float = 0.5
    dtype: str = "float32"


TINY = {"embedding_width": 12, "width": 16, "depth": 2}


class Bridge(nn.Module):
    """From an encoder's last states in both directions to where a decoder starts: submodules
    `layer_00`, and of an LSTM `layer_00_cell`, ...
    """

    width: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, last: States) -> tuple[Carry, ...]:
        """float32 [b, h] by layer and state."""
        start = []
        for index, sides in enumerate(last):
            made = []
            for suffix, states in zip(("", "_cell"), zip(*sides, strict=True), strict=False):
                name = f"layer_{index:02d}{suffix}"
                dense = nn.Dense(self.width, kernel_init=self.kernel_init, name=name)
                state_bh = dense(jnp.concatenate(states, axis=-1))
                # A state is bounded by tanh; an LSTM's cell is not.
                made.append(state_bh if suffix else jnp.tanh(state_bh))
            start.append(tuple(made))
        return tuple(start)


class Seq2Seq(nn.Module):
    """Source and target -> logits; submodules `source_tokens`, `tokens`, `encoder`, `bridge`,
    `attention_keys`, `decoder`, and `decoder` of the collection "cache".
    """

    config: Config
    vocab_size: int
    source_vocab_size: int
    tasks: ClassVar[tuple[str, ...]] = ("sequence_to_sequence",)

    def setup(self) -> None:
        """Makes the parts, which several methods use."""
        config, dtype = self.config, compute_dtype(self.config.dtype)
        kernel_init, hidden_init = nn.initializers.xavier_uniform(), nn.initializers.orthogonal()
        if config.init_std is not None:
            kernel_init = hidden_init = nn.initializers.normal(config.init_std)
        std = 0.1 if config.init_std is None else config.init_std
        self.source_tokens = Embedding(self.source_vocab_size, config.embedding_width, std, dtype)
        self.tokens = Embedding(self.vocab_size, config.embedding_width, std, dtype)
        self.source_dropout = nn.Dropout(config.dropout_rate)
        self.encoder = Recurrent(
            config.cell, config.width, config.depth, config.bidirectional, config.dropout_rate,
            dtype, kernel_init, hidden_init,
        )  # fmt: skip
        if config.bidirectional:
            self.bridge = Bridge(config.width, kernel_init)
        if config.attention != "none":
            bias = config.attention == "bahdanau"
            self.attention_keys = nn.Dense(
                config.width, use_bias=bias, dtype=dtype, kernel_init=kernel_init
            )
        self.decoder = Decoder(
            config.cell, config.width, config.depth, config.attention, self.vocab_size,
            config.dropout_rate, dtype, kernel_init, hidden_init,
        )  # fmt: skip

    def __call__(
        self,
        source: jax.Array,
        source_lengths: jax.Array,
        target_inputs: jax.Array,
        *,
        train: bool,
        teacher_forcing: float = 1.0,
    ) -> jax.Array:
        """Logits float32 [b, l, v] of the token after each of `target_inputs`.

        Args:
          source: int32 [b, m].
          source_lengths: int32 [b], tokens before the padding.
          target_inputs: int32 [b, l], the target from bos on without its last token.
          train: whether dropout is on.
          teacher_forcing: probability that a step reads the target's token; between 0 and 1 it
            needs the random stream "sample".

        Raises:
          ValueError: `teacher_forcing` is no probability.
        """
        if not 0.0 <= teacher_forcing <= 1.0:
            raise ValueError(f"teacher_forcing={teacher_forcing}: expected from 0 to 1")
        encoded = self.encode(source, source_lengths, train=train)
        mask = length_mask(source_lengths, source.shape[1])[:, 0, 0]
        return self.decoder(
            self.tokens.embedding, encoded, mask, target_inputs, train=train,
            teacher_forcing=teacher_forcing,
        )  # fmt: skip

    def encode(
        self, source: jax.Array, source_lengths: jax.Array, *, train: bool = False
    ) -> Encoded:
        """What the decoder reads of the source: arrays with a leading axis [b], in a dict."""
        mask = length_mask(source_lengths, source.shape[1])[:, 0, 0]
        x_bmd = self.source_dropout(self.source_tokens(source), deterministic=not train)
        memory_bme, last = self.encoder(x_bmd, mask, train=train)
        start = self.bridge(last) if self.config.bidirectional else tuple(s[0] for s in last)
        encoded: Encoded = {"memory": memory_bme, "start": start}
        if self.config.attention != "none":
            encoded["keys"] = self.attention_keys(memory_bme)
        return encoded

    def decode_step(
        self,
        encoded: Encoded,
        source_lengths: jax.Array,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        *,
        train: bool = False,
        decode: bool = True,
        cache_length: int | None = None,
    ) -> jax.Array:
        """Logits float32 [b, l, v] of the token after each of these, which continue earlier calls.

        Args:
          encoded: what `encode` gave; the first call starts from its states.
          source_lengths: int32 [b].
          tokens: int32 [b, l]; one each, or the beginnings of the targets in the first call.
          positions: int32 [b, l]; -1 is padding, which changes no state; others are not read.
          train: whether dropout is on.
          decode: keep the states in "cache", which has to be mutable; else each call is a text from
            its start.
          cache_length: not read; a state has no length.
        """
        del cache_length
        mask = length_mask(source_lengths, encoded["memory"].shape[1])[:, 0, 0]
        valid = None if positions is None else positions >= 0
        return self.decoder(
            self.tokens.embedding, encoded, mask, tokens, valid, train=train, decode=decode
        )

    @nn.nowrap
    def reorder(self, cache: Any, rows: jax.Array) -> Any:
        """The collection "cache" of these rows, int32 [b]: a row goes on from another's text."""
        return take_rows(cache, rows)


def build(config: Config, info: Any) -> Seq2Seq:
    """The model of the data's vocabularies; ValueError for a value that no field accepts."""
    check_choice(config, cell=tuple(CELLS), attention=ATTENTIONS)
    check_sizes(config, "embedding_width", "width", "depth")
    check_rates(config, "dropout_rate")
    compute_dtype(config.dtype)
    return Seq2Seq(config, vocabulary(info), vocabulary(info, source=True))
