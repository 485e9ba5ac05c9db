"""GPT-2 and its kin: a decoder-only Transformer, trained to say the next token.

Radford et al. 2019 (Language Models are Unsupervised Multitask Learners), section 2.3: pre-norm
layers with a norm after the last, learned positions, GELU by its tanh approximation, the output
tied to the embedding; weights start normal with .02, those that write into the sum with
.02 / sqrt(2 depth). Parameters of the four sizes, vocabulary 50,257, 1024 positions: 124,439,808,
354,823,168, 774,030,080, 1,557,611,200. Options: other positions (models/layers/positions.py),
shared keys and values (models/layers/attention.py), and sparse patterns of attention
(models/layers/attention_sparse.py).

With sinusoidal positions the embedding is multiplied by sqrt(d), as Vaswani et al. 2017,
arXiv:1706.03762, section 3.4: beside sines of amplitude 1 it would hardly be seen.

Axis letters: `b` batch, `l` length, `d` width, `v` vocabulary, `h` heads, `c` slots of the cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import check_kernel
from models.layers.attention_sparse import BigBird, Pattern, Window, check_pattern, pattern_mask
from models.layers.cache import Slot, Slots, take_rows
from models.layers.checks import check_rates, check_sizes
from models.layers.embeddings import Embedding, check_length, vocabulary_head
from models.layers.norms import layer_norm
from models.layers.positions import RelativeBias, alibi, sinusoidal_at
from models.layers.precision import compute_dtype
from models.layers.stack import apply_layers
from models.layers.transformer import Block
from models.text.common.sizes import check_choice, longest, vocabulary

POSITIONS = ("learned", "sinusoidal", "rotary", "alibi", "relative")
PATTERNS: dict[str, tuple[str, ...]] = {
    "full": (),
    "window": ("window",),
    "bigbird": ("block_size", "global_blocks", "window_blocks", "random_blocks"),
}
"""What attention sees, with the fields that say more of it."""
_STD, _EPSILON = 0.02, 1e-5


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `text.gpt`.

    Attributes:
      width: d.
      depth: layers.
      heads: attention heads.
      kv_heads: heads of keys and values, a divisor of `heads`; `heads` where it is None.
      mlp_width: hidden width of the feed-forward networks; four times the width where it is None.
      max_length: tokens of the longest text and slots of a cache; the data's where it is None.
      positions: one of `POSITIONS`.
      pattern: what attention sees: "full" (all tokens before), "window" or "bigbird".
      window: tokens that the window holds, the query's own included.
      block_size: tokens of a block of "bigbird"; blocks are counted from the start of the row.
      global_blocks: first blocks that all see.
      window_blocks: an odd number: a block's own and, half of the others, those before it.
      random_blocks: others before it that a block sees.
      use_bias: whether dense layers and norms have biases.
      tied: whether the output is the embedding; else a matrix of its own, `head`.
      dropout_rate: on the embedded tokens and on every residual branch.
      attention_dropout_rate: on the attention weights.
      scan_layers: one scan in place of a loop: the same function, compiled in one layer's time.
      remat: activations kept for the backward pass: "none" (all), "dots" or "full" (nothing is).
      attention_kernel: one of `models.layers.attention.KERNELS`.
      dtype: what it computes in; parameters and logits are float32.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    kv_heads: int | None = None
    mlp_width: int | None = None
    max_length: int | None = None
    positions: str = "learned"
    pattern: str = "full"
    window: int = 256
    block_size: int = 64
    global_blocks: int = 2
    window_blocks: int = 3
    random_blocks: int = 3
    use_bias: bool = True
    tied: bool = True
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    scan_layers: bool = False
    remat: str = "none"
    attention_kernel: str = "auto"
    dtype: str = "float32"


TINY = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 32, "max_length": 64, "kv_heads": None}


class GPT(nn.Module):
    """Tokens -> logits; submodules `tokens`, `positions` or `relative`, `layer_00`, ..., `norm`,
    `head` where it is not tied, and `slots` of the collection "cache".
    """

    config: Config
    vocab_size: int
    max_length: int
    pattern: Pattern | None
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
          positions: int32 [b, l], within the document; 0, 1, ... where it is None. In decoding, -1
            is padding, on either side of a prompt, and later calls say where each row goes on.
          train: whether dropout is on.
          decode: keep keys and values in "cache", which has to be mutable: first the prompts, then
            a token a call. Logits beyond the last slot are NaN.
          cache_length: slots of the cache that a first call starts; `max_length` where it is None.

        Raises:
          ValueError: the text is longer than the model's positions or the cache.
        """
        config, dtype = self.config, compute_dtype(self.config.dtype)
        check_length(tokens.shape[1], self.max_length)
        if decode:
            if segments is not None:
                where = jnp.arange(tokens.shape[1]) if positions is None else positions
                positions = jnp.where(segments > 0, where, -1)
            most = self.max_length if cache_length is None else cache_length
            slot, positions, kept = Slots(name="slots")(*tokens.shape, positions, most)
            seen = self._seen_in_cache(slot, positions, kept)
        else:
            slot, seen = None, {**self._seen(tokens.shape[1]), "segments": segments}
        seen["positions"] = positions
        embedding = Embedding(self.vocab_size, config.width, _STD, dtype, name="tokens")
        x_bld = self._place(embedding(tokens), positions)
        x_bld = nn.Dropout(config.dropout_rate, name="dropout")(x_bld, deterministic=not train)
        x_bld = apply_layers(
            self._block,
            lambda block, x_bld: block(x_bld, train=train, **seen),
            x_bld,
            depth=config.depth,
            scan=config.scan_layers,
            remat=config.remat if train else "none",
        )
        logits_blv = self._logits(
            layer_norm("norm", dtype, _EPSILON, config.use_bias)(x_bld), embedding
        )
        if slot is None:
            return logits_blv
        return jnp.where(slot.start + tokens.shape[1] <= slot.length, logits_blv, jnp.nan)

    def _logits(self, x_bld: jax.Array, embedding: Embedding) -> jax.Array:
        if self.config.tied:
            return embedding.scores(x_bld)
        init = nn.initializers.normal(_STD)
        return vocabulary_head(self.vocab_size, x_bld.dtype, init, use_bias=False)(x_bld)

    @nn.nowrap
    def reorder(self, cache: Any, rows: jax.Array) -> Any:
        """The collection "cache" of these rows, int32 [b]: a row goes on from another's text."""
        return take_rows(cache, rows)

    def _place(self, x_bld: jax.Array, positions: jax.Array | None) -> jax.Array:
        """The embedded tokens with what says where they are, as far as that is added."""
        config = self.config
        # Padding may have no position; what stands there is not seen.
        where = jnp.arange(x_bld.shape[1]) if positions is None else jnp.maximum(positions, 0)
        if config.positions == "learned":
            table = Embedding(self.max_length, config.width, _STD, x_bld.dtype, name="positions")
            return x_bld + table(where)
        if config.positions == "sinusoidal":
            scale = jnp.asarray(config.width**0.5, x_bld.dtype)
            return x_bld * scale + sinusoidal_at(where, config.width).astype(x_bld.dtype)
        return x_bld

    def _distance_bias(self) -> Callable[[jax.Array], jax.Array] | None:
        config = self.config
        if config.positions == "alibi":
            return partial(alibi, heads=config.heads)
        if config.positions == "relative":
            return RelativeBias(config.heads, causal=True, name="relative")()
        return None

    def _seen(self, length: int) -> dict[str, Any]:
        """What adds to scores without a cache, once for all layers where it is no pattern's."""
        distance_bias = self._distance_bias()
        if distance_bias is None or self.pattern is not None:
            return {"distance_bias": distance_bias}
        distance = jnp.arange(length) - jnp.arange(length)[:, None]
        return {"bias": distance_bias(distance)}

    def _seen_in_cache(self, slot: Slot, positions: jax.Array, kept: jax.Array) -> dict[str, Any]:
        """The slots that hold what each token may see, by the positions in the text."""
        query_bl1, key_b1c = positions[:, :, None], kept[:, None]
        mask = (key_b1c >= 0) & (key_b1c <= query_bl1)
        if self.pattern is not None:
            first = jnp.zeros((), jnp.int32)
            mask &= pattern_mask(
                self.pattern,
                jnp.maximum(query_bl1, first),
                jnp.maximum(key_b1c, first),
                self.max_length,
                causal=True,
            )
        seen: dict[str, Any] = {"mask": mask[:, None], "slot": slot}
        distance_bias = self._distance_bias()
        if distance_bias is not None:
            seen["bias"] = jnp.moveaxis(distance_bias(key_b1c - query_bl1), 0, 1)
        return seen

    def _block(self, name: str) -> Block:
        config = self.config
        return Block(
            num_heads=config.heads,
            mlp_width=4 * config.width if config.mlp_width is None else config.mlp_width,
            kv_heads=config.kv_heads,
            norm_epsilon=_EPSILON,
            dropout_rate=config.dropout_rate,
            hidden_dropout_rate=0.0,
            attention_dropout_rate=config.attention_dropout_rate,
            attention_kernel=config.attention_kernel,
            causal=True,
            pattern=self.pattern,
            rotary=config.positions == "rotary",
            use_bias=config.use_bias,
            dtype=compute_dtype(config.dtype),
            kernel_init=nn.initializers.normal(_STD),
            out_init=nn.initializers.normal(_STD / (2 * max(config.depth, 1)) ** 0.5),
            name=name,
        )


def build(config: Config, info: Any) -> GPT:
    """The model of the data's vocabulary; ValueError for a value that no field accepts."""
    check_choice(config, positions=POSITIONS, pattern=tuple(PATTERNS))
    check_sizes(config, "width", "heads", "kv_heads", "mlp_width")
    check_sizes(config, "depth", "global_blocks", "random_blocks", least=0)
    check_rates(config, "dropout_rate", "attention_dropout_rate")
    check_kernel(config.attention_kernel)
    compute_dtype(config.dtype)
    pattern = _pattern(config)
    return GPT(config, vocabulary(info), longest(config.max_length, info), pattern)


def _pattern(config: Config) -> Pattern | None:
    """What attention sees; ValueError for sizes that are none, or of another pattern."""
    for name, fields in PATTERNS.items():
        for field in fields if name != config.pattern else ():
            if getattr(config, field) != getattr(Config, field):
                raise ValueError(
                    f"model.{field}={getattr(config, field)} does nothing: it is for "
                    f"model.pattern={name}, and that is {config.pattern}"
                )
    if config.pattern == "full":
        return None
    values = [getattr(config, field) for field in PATTERNS[config.pattern]]
    pattern: Pattern = Window(*values) if config.pattern == "window" else BigBird(*values)
    check_pattern(pattern)
    return pattern
