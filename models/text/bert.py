"""BERT and its kin: a bidirectional Transformer that reads a whole text at once.

Devlin et al. 2018, arXiv:1810.04805, sections 3 and A.2: post-norm layers, exact GELU, vectors of
tokens, positions and token types summed and normed, a dense layer with tanh on the first token (the
pooler), and to guess masked tokens a dense layer with GELU and norm, whose output meets the
embedding again and a bias. Parameters of BERT-base with its pooler and a vocabulary of 30,522:
109,482,240. Kin that its fields describe: DistilBERT (Sanh et al. 2019, arXiv:1910.01108: 6 layers,
no token types, no pooler; its classifier's is "relu"), MiniLM-L6 (Wang et al. 2020,
arXiv:2002.10957: width 384, 12 heads, mlp 1536, 6 layers; as a sentence encoder pool="mean").

Deviation: the next-sentence loss has no head of its own; it is head="classes" with two classes.

Axis letters: `b` batch, `l` length, `d` width, `v` vocabulary, `c` classes.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import check_kernel, length_mask
from models.layers.checks import check_rates, check_sizes
from models.layers.embeddings import Embedding, check_length
from models.layers.mlp import activation
from models.layers.norms import layer_norm
from models.layers.outputs import num_outputs
from models.layers.precision import compute_dtype
from models.layers.products import dot_general
from models.layers.stack import apply_layers
from models.layers.transformer import Block
from models.text.common.sizes import check_choice, longest, vocabulary

HEADS = ("none", "mlm", "classes", "tokens")
TASKS = {
    "mlm": ("masked_language_modelling",),
    "classes": ("sequence_classification",),
    "tokens": ("token_classification",),
}
POOLS = ("first", "mean")
POOLERS = ("tanh", "relu", "none")
_STD, _EPSILON = 0.02, 1e-12


@dataclass(frozen=True)
class Config:
    """Fields of `model` in a config that names `text.bert`.

    Attributes:
      head: what "logits" are: "none", "mlm" (of every token), "classes" (of the text) or "tokens"
        (classes of every token).
      width: d.
      depth: layers.
      heads: attention heads.
      mlp_width: hidden width of the feed-forward networks.
      max_length: positions; the data's longest text where it is None.
      token_types: kinds of tokens (a pair's first and second text), 0 where types are not read.
      pool: what stands for the text: its "first" token or the "mean" of its tokens.
      pooler: activation of a dense layer over it, "tanh" or "relu", or "none" where there is no
        layer; one of heads "none" and "classes".
      dropout_rate: on the embedded tokens, every residual branch, and what a head reads.
      attention_dropout_rate: on the attention weights.
      scan_layers: one scan in place of a loop: the same function, compiled in one layer's time.
      remat: activations kept for the backward pass: "none" (all), "dots" or "full" (nothing is).
      attention_kernel: one of `models.layers.attention.KERNELS`.
      dtype: what it computes in; parameters and outputs are float32.
    """

    head: str = "mlm"
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    max_length: int | None = 512
    token_types: int = 2
    pool: str = "first"
    pooler: str = "tanh"
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1
    scan_layers: bool = False
    remat: str = "none"
    attention_kernel: str = "auto"
    dtype: str = "float32"


TINY = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 32, "max_length": 64}


class BERT(nn.Module):
    """Tokens -> outputs; submodules `tokens`, `positions`, `types`, `embedding_norm`, `layer_00`,
    ..., `pooler`, and of a head `transform`, `transform_norm`, `bias` ("mlm") or `head`.
    """

    config: Config
    vocab_size: int
    max_length: int
    num_outputs: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """What its head serves."""
        return TASKS.get(self.config.head, ())

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

        "logits" are [b, l, v] of head "mlm", [b, c] of "classes", [b, l, c] of "tokens", and not
        there of "none".

        Args:
          tokens: int32 [b, l].
          lengths: int32 [b], tokens before the padding; all where it is None.
          token_types: int32 [b, l]; 0 where it is None.
          train: whether dropout is on.

        Raises:
          ValueError: the text is longer than the model's positions.
        """
        config = self.config
        check_length(tokens.shape[1], self.max_length)
        dropout = nn.Dropout(config.dropout_rate, deterministic=not train, name="dropout")
        embedding = self._embedding("tokens", self.vocab_size)
        x_bld = dropout(self._embed(embedding, tokens, token_types))
        mask = None if lengths is None else length_mask(lengths, tokens.shape[1])
        x_bld = apply_layers(
            self._block,
            lambda block, x_bld: block(x_bld, mask=mask, train=train),
            x_bld,
            depth=config.depth,
            scan=config.scan_layers,
            remat=config.remat,
        )
        pooled_bd = self._pool(x_bld, mask)
        found = {"hidden": x_bld, "pooled": pooled_bd}
        if config.head == "mlm":
            found["logits"] = self._masked_tokens(embedding, x_bld)
        elif config.head != "none":
            read = dropout(pooled_bd if config.head == "classes" else x_bld)
            init = nn.initializers.normal(_STD)
            head = nn.Dense(self.num_outputs, kernel_init=init, name="head")
            found["logits"] = head(read.astype(jnp.float32))
        return {name: array.astype(jnp.float32) for name, array in found.items()}

    def _embed(
        self, embedding: Embedding, tokens: jax.Array, token_types: jax.Array | None
    ) -> jax.Array:
        config = self.config
        x_bld = embedding(tokens)
        x_bld += self._embedding("positions", self.max_length)(jnp.arange(tokens.shape[1]))
        if config.token_types:
            kinds = jnp.zeros_like(tokens) if token_types is None else token_types
            x_bld += self._embedding("types", config.token_types)(kinds)
        return layer_norm("embedding_norm", x_bld.dtype, _EPSILON)(x_bld)

    def _embedding(self, name: str, num: int) -> Embedding:
        dtype = compute_dtype(self.config.dtype)
        return Embedding(num, self.config.width, _STD, dtype, name=name)

    def _pool(self, x_bld: jax.Array, mask: jax.Array | None) -> jax.Array:
        config = self.config
        pooled_bd = x_bld[:, 0]
        if config.pool == "mean":
            valid_bl1 = jnp.ones_like(x_bld[..., :1]) if mask is None else mask[:, 0, 0, :, None]
            valid_bl1 = valid_bl1.astype(jnp.float32)
            total_bd = (x_bld.astype(jnp.float32) * valid_bl1).sum(1)
            pooled_bd = (total_bd / jnp.maximum(valid_bl1.sum(1), 1.0)).astype(x_bld.dtype)
        if config.pooler == "none" or config.head not in ("none", "classes"):
            return pooled_bd
        return activation(config.pooler)(self._dense("pooler")(pooled_bd))

    def _masked_tokens(self, embedding: Embedding, x_bld: jax.Array) -> jax.Array:
        x_bld = activation("gelu")(self._dense("transform")(x_bld))
        x_bld = layer_norm("transform_norm", x_bld.dtype, _EPSILON)(x_bld)
        bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,))
        return embedding.scores(x_bld) + bias

    def _dense(self, name: str) -> nn.Dense:
        init = nn.initializers.normal(_STD)
        dtype = compute_dtype(self.config.dtype)
        return nn.Dense(
            self.config.width, dtype=dtype, kernel_init=init, dot_general=dot_general, name=name
        )

    def _block(self, name: str) -> Block:
        config = self.config
        return Block(
            num_heads=config.heads,
            mlp_width=config.mlp_width,
            norm="post",
            norm_epsilon=_EPSILON,
            dropout_rate=config.dropout_rate,
            hidden_dropout_rate=0.0,
            attention_dropout_rate=config.attention_dropout_rate,
            attention_kernel=config.attention_kernel,
            activation="gelu",
            dtype=compute_dtype(config.dtype),
            kernel_init=nn.initializers.normal(_STD),
            name=name,
        )


def build(config: Config, info: Any) -> BERT:
    """The model of the data's vocabulary and classes; ValueError for what no field accepts."""
    check_choice(config, head=HEADS, pool=POOLS, pooler=POOLERS)
    check_sizes(config, "width", "heads", "mlp_width")
    check_sizes(config, "depth", "token_types", least=0)
    check_rates(config, "dropout_rate", "attention_dropout_rate")
    check_kernel(config.attention_kernel)
    compute_dtype(config.dtype)
    classes = num_outputs(info) if config.head in ("classes", "tokens") else 0
    return BERT(config, vocabulary(info), longest(config.max_length, info), classes)
