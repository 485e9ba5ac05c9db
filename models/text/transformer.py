"""The Transformer of the paper: an encoder reads the source, a decoder writes the target.

Vaswani et al. 2017, arXiv:1706.03762, section 3 and table 3: base (width 512, 6 + 6 layers, 8
heads, mlp 2048, dropout .1) and big (width 1024, 16 heads, mlp 4096, dropout .3), embeddings
multiplied by sqrt(d), post-norm layers, sinusoidal positions, one embedding for source, target and
output. Pre-norm layers (Xiong et al. 2020, arXiv:2002.04745) end in a norm. The Multi30k baseline
of bentrevett/pytorch-seq2seq, notebook 6, is this model with learned positions, nothing shared,
dropout on attention weights and in the mlp, and Xavier's standard deviations for the embeddings:
9,038,341 parameters with vocabularies of 7,853 and 5,893 words and 100 positions.

Axis letters: `b` batch, `l` target length, `m` source length, `d` width, `v` vocabulary, `c` slots
of the cache.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import check_kernel, length_mask
from models.layers.cache import Slots, take_rows
from models.layers.checks import check_rates, check_sizes
from models.layers.embeddings import Embedding, check_length, vocabulary_head
from models.layers.norms import layer_norm
from models.layers.positions import sinusoidal_at
from models.layers.precision import compute_dtype
from models.layers.stack import apply_layers
from models.layers.transformer import NORMS, Block
from models.text.common.sizes import check_choice, longest, vocabulary

POSITIONS = ("sinusoidal", "learned")
SHARED = ("all", "target", "none")
_EPSILON = 1e-5


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `text.transformer`.

    Attributes:
      width: d.
      depth: layers of the encoder.
      decoder_depth: layers of the decoder; `depth` where it is None.
      heads: attention heads.
      mlp_width: hidden width of the feed-forward networks.
      max_length: tokens of the longest text and slots of a cache; the data's where it is None.
      positions: one of `POSITIONS`.
      norm: "post", as the paper, or "pre".
      shared: what is one matrix: "all" (source, target and output; one vocabulary), "target"
        (target and output) or "none", and then the output has a bias.
      embedding_std: of the embeddings' normal initial values; 1 / sqrt(d) where it is None.
      position_std: of learned positions, likewise, added to embeddings that sqrt(d) multiplied.
      dropout_rate: on the embedded tokens and every residual branch.
      hidden_dropout_rate: after the activation of the feed-forward networks.
      attention_dropout_rate: on the attention weights.
      scan_layers: one scan in place of a loop: the same function, compiled in one layer's time.
      remat: activations kept for the backward pass: "none" (all), "dots" or "full" (nothing is).
      attention_kernel: one of `models.layers.attention.KERNELS`.
      dtype: what it computes in; parameters and logits are float32.
    """

    width: int = 512
    depth: int = 6
    decoder_depth: int | None = None
    heads: int = 8
    mlp_width: int = 2048
    max_length: int | None = None
    positions: str = "sinusoidal"
    norm: str = "post"
    shared: str = "all"
    embedding_std: float | None = None
    position_std: float = 0.02
    dropout_rate: float = 0.1
    hidden_dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    scan_layers: bool = False
    remat: str = "none"
    attention_kernel: str = "auto"
    dtype: str = "float32"


TINY = {
    "width": 16, "depth": 2, "decoder_depth": None, "heads": 2, "mlp_width": 32, "max_length": 64,
}  # fmt: skip


class Stack(nn.Module):
    """The embedded tokens through all layers: submodules `positions`, `layer_00`, ..., `norm`."""

    config: Config
    depth: int
    max_length: int
    causal: bool

    @nn.compact
    def __call__(
        self, x_bld: jax.Array, positions: jax.Array | None, *, train: bool, **seen: Any
    ) -> jax.Array:
        """[b, l, d] -> [b, l, d]; `seen` is what `Block` is called with."""
        config, dtype = self.config, compute_dtype(self.config.dtype)
        where = jnp.arange(x_bld.shape[1]) if positions is None else jnp.maximum(positions, 0)
        x_bld *= jnp.asarray(config.width**0.5, dtype)
        if config.positions == "learned":
            std = config.position_std
            table = Embedding(self.max_length, config.width, std, dtype, name="positions")
            x_bld += table(where)
        else:
            x_bld += sinusoidal_at(where, config.width).astype(dtype)
        x_bld = nn.Dropout(config.dropout_rate, name="dropout")(x_bld, deterministic=not train)
        x_bld = apply_layers(
            self._block,
            lambda block, x_bld: block(x_bld, train=train, **seen),
            x_bld,
            depth=self.depth,
            scan=config.scan_layers,
            remat=config.remat if train else "none",
        )
        return layer_norm("norm", dtype, _EPSILON)(x_bld) if config.norm == "pre" else x_bld

    def _block(self, name: str) -> Block:
        config = self.config
        return Block(
            num_heads=config.heads,
            mlp_width=config.mlp_width,
            norm=config.norm,
            norm_epsilon=_EPSILON,
            dropout_rate=config.dropout_rate,
            hidden_dropout_rate=config.hidden_dropout_rate,
            attention_dropout_rate=config.attention_dropout_rate,
            attention_kernel=config.attention_kernel,
            causal=self.causal,
            activation="relu",
            dtype=compute_dtype(config.dtype),
            name=name,
        )


class Transformer(nn.Module):
    """Source and target -> logits; submodules `source_tokens` (unless all is shared), `tokens`,
    `encoder`, `decoder`, `head` (where nothing is shared), and `slots` of the collection "cache".
    """

    config: Config
    vocab_size: int
    source_vocab_size: int
    max_length: int
    tasks: ClassVar[tuple[str, ...]] = ("sequence_to_sequence",)

    def setup(self) -> None:
        """Makes the parts, which several methods use."""
        config, dtype = self.config, compute_dtype(self.config.dtype)
        std = config.width**-0.5 if config.embedding_std is None else config.embedding_std
        self.tokens = Embedding(self.vocab_size, config.width, std, dtype)
        if config.shared != "all":
            self.source_tokens = Embedding(self.source_vocab_size, config.width, std, dtype)
        depth = config.depth if config.decoder_depth is None else config.decoder_depth
        self.encoder = Stack(config, config.depth, self.max_length, causal=False)
        self.decoder = Stack(config, depth, self.max_length, causal=True)
        if config.shared == "none":
            init = nn.initializers.xavier_uniform()
            self.head = vocabulary_head(self.vocab_size, dtype, init, use_bias=True, name=None)
        self.slots = Slots()

    def __call__(
        self,
        source: jax.Array,
        source_lengths: jax.Array,
        target_inputs: jax.Array,
        *,
        train: bool,
    ) -> jax.Array:
        """Logits float32 [b, l, v] of the token after each of `target_inputs`.

        Args:
          source: int32 [b, m].
          source_lengths: int32 [b], tokens before the padding.
          target_inputs: int32 [b, l], the target from bos on without its last token.
          train: whether dropout is on.

        Raises:
          ValueError: a text is longer than the model's positions.
        """
        encoded = self.encode(source, source_lengths, train=train)
        return self._decode(encoded, source_lengths, target_inputs, None, None, train)

    def encode(
        self, source: jax.Array, source_lengths: jax.Array, *, train: bool = False
    ) -> jax.Array:
        """The source as the decoder reads it: [b, m, d]."""
        check_length(source.shape[1], self.max_length)
        embed = self.tokens if self.config.shared == "all" else self.source_tokens
        mask = length_mask(source_lengths, source.shape[1])
        return self.encoder(embed(source), None, mask=mask, train=train)

    def decode_step(
        self,
        encoded: jax.Array,
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
          encoded: what `encode` gave; its keys and values are kept from the first call on.
          source_lengths: int32 [b].
          tokens: int32 [b, l]; one each, or the beginnings of the targets in the first call.
          positions: int32 [b, l], -1 on padding; those after the last call's where it is None.
          train: whether dropout is on.
          decode: keep keys and values in "cache", which has to be mutable; else each call is a
            text from its start. Logits beyond the last slot are NaN.
          cache_length: slots of a cache that this call starts; `max_length` where it is None.
        """
        most = self.max_length if cache_length is None else cache_length
        return self._decode(
            encoded, source_lengths, tokens, positions, most if decode else None, train
        )

    @nn.nowrap
    def reorder(self, cache: Any, rows: jax.Array) -> Any:
        """The collection "cache" of these rows, int32 [b]: a row goes on from another's text."""
        return take_rows(cache, rows)

    def _decode(
        self,
        encoded: jax.Array,
        source_lengths: jax.Array,
        tokens: jax.Array,
        positions: jax.Array | None,
        cache_length: int | None,
        train: bool,
    ) -> jax.Array:
        check_length(tokens.shape[1], self.max_length)
        seen: dict[str, Any] = {
            "context": encoded,
            "context_mask": length_mask(source_lengths, encoded.shape[1]),
        }
        fits = None
        if cache_length is not None:
            slot, positions, kept = self.slots(*tokens.shape, positions, cache_length)
            visible = (kept[:, None] >= 0) & (kept[:, None] <= positions[:, :, None])
            seen.update(slot=slot, mask=visible[:, None])
            fits = slot.start + tokens.shape[1] <= slot.length
        x_bld = self.decoder(self.tokens(tokens), positions, train=train, **seen)
        scores = self.head if self.config.shared == "none" else self.tokens.scores
        logits_blv = scores(x_bld)
        return logits_blv if fits is None else jnp.where(fits, logits_blv, jnp.nan)


def build(config: Config, info: Any) -> Transformer:
    """The model of the data's vocabularies; ValueError for a value that no field accepts."""
    check_choice(config, positions=POSITIONS, norm=NORMS, shared=SHARED)
    check_sizes(config, "width", "heads", "mlp_width")
    check_sizes(config, "depth", "decoder_depth", least=0)
    check_rates(config, "dropout_rate", "hidden_dropout_rate", "attention_dropout_rate")
    check_kernel(config.attention_kernel)
    compute_dtype(config.dtype)
    target, source = vocabulary(info), vocabulary(info, source=True)
    if config.shared == "all" and source != target:
        raise ValueError(
            f"model.shared='all' needs one vocabulary; the data has {source} and {target} tokens"
        )
    return Transformer(config, target, source, longest(config.max_length, info))
