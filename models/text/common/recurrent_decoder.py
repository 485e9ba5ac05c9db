"""The decoder of models/text/rnn_seq2seq.py: one step, and its loop over a target.

What does not wait for the last step's state is outside of the loop: the product of the target's
tokens with the first cell, where no token is the decoder's own, and the output. Axis letters as
there.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.cells import GATES, step, times
from models.layers.recurrent import Initializer, Matrix, by_gate, hidden_weights, input_weights

ATTENTIONS = ("bahdanau", "luong", "none")
Encoded = dict[str, Any]
Weights = dict[str, Any]
_LOWEST = float(jnp.finfo(jnp.float32).min) / 2


def bahdanau(
    state_bh: jax.Array, keys_bma: jax.Array, query_ha: jax.Array, score_a: jax.Array
) -> jax.Array:
    """Scores float32 [b, m]: v . tanh(W s + U m), `keys_bma` being U m."""
    energy_bma = jnp.tanh(times(state_bh, query_ha)[:, None] + keys_bma)
    return jnp.einsum("bma,a->bm", energy_bma, score_a, preferred_element_type=jnp.float32)


def luong(state_bh: jax.Array, keys_bmh: jax.Array) -> jax.Array:
    """Scores float32 [b, m]: s . (U m), `keys_bmh` being U m."""
    state_bh = state_bh.astype(keys_bmh.dtype)
    return jnp.einsum("bh,bmh->bm", state_bh, keys_bmh, preferred_element_type=jnp.float32)


def read(
    scores_bm: jax.Array, memory_bme: jax.Array, mask_bm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(context float32 [b, e], weights float32 [b, m]) by the softmax over valid source tokens."""
    scores_bm = jnp.where(mask_bm, scores_bm, _LOWEST)
    weights_bm = jnp.where(mask_bm, jax.nn.softmax(scores_bm, axis=-1), 0.0)
    context_be = jnp.einsum(
        "bm,bme->be", weights_bm.astype(memory_bme.dtype), memory_bme,
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    return context_be, weights_bm


class Decoder(nn.Module):
    """Target tokens -> logits; submodules `layer_00_input`, `layer_00_hidden`, ..., `fed` (of what
    the first cell reads beside the token), `attention_query` and `attention_score` or
    `attention_out`, `head`; in the collection "cache" `index` and `states`.
    """

    cell: str
    width: int
    depth: int
    attention: str
    vocab_size: int
    dropout_rate: float
    dtype: jnp.dtype
    kernel_init: Initializer
    hidden_init: Initializer

    @nn.compact
    def __call__(
        self,
        embedding_vd: jax.Array,
        encoded: Encoded,
        mask_bm: jax.Array,
        tokens: jax.Array,
        valid_bl: jax.Array | None = None,
        *,
        train: bool,
        decode: bool = False,
        teacher_forcing: float = 1.0,
    ) -> jax.Array:
        """Logits float32 [b, l, v].

        Args:
          embedding_vd: the tokens' vectors.
          encoded: "memory" [b, m, e], "start" by layer, and with attention "keys" [b, m, h].
          mask_bm: bool, the valid source tokens.
          tokens: int32 [b, l], of the target.
          valid_bl: bool; a token where it is False changes no state.
          train: whether dropout is on.
          decode: go on from the states in the collection "cache".
          teacher_forcing: probability that a step reads its own token of `tokens`.
        """
        weights = self._weights(embedding_vd.shape[1], encoded["memory"].shape[2])
        embedding_vd = embedding_vd.astype(self.dtype)
        loop = Loop(self.cell, self.attention, weights, encoded, mask_bm, embedding_vd)
        start = loop.start(tokens[:, 0], self.width)
        if decode:
            index = self.variable("cache", "index", jnp.zeros, (), jnp.int32)
            kept = self.variable("cache", "states", lambda: start)
            # A first call starts from the source, whatever an empty cache holds.
            start = jax.tree.map(lambda a, b: jnp.where(index.value > 0, a, b), kept.value, start)
        given: dict[str, Any] = {"valid": None if valid_bl is None else valid_bl.T}
        given["kept"], given["kept_layers"] = self._dropout(tokens, embedding_vd.shape[1], train)
        if teacher_forcing == 1.0:
            given.update(loop.known(tokens.T, given.pop("kept")))
        else:
            given.update(tokens=tokens.T, **self._coins(tokens.shape[1], teacher_forcing))
        after, (features_lbf, weights_lbm) = jax.lax.scan(loop.one, start, given)
        if decode:
            index.value, kept.value = index.value + tokens.shape[1], after
        if weights_lbm is not None:
            self.sow("intermediates", "attention", jnp.swapaxes(weights_lbm, 0, 1)[:, None])
        return loop.logits(jnp.swapaxes(features_lbf, 0, 1))

    def _weights(self, embedding: int, memory: int) -> Weights:
        """All matrices, for a loop in which no module may be called."""
        width, gates = self.width, GATES[self.cell] * self.width
        matrix = partial(self._matrix, init=self.kernel_init)
        init = by_gate(self.kernel_init, GATES[self.cell])
        weights: Weights = {"layers": []}
        for index in range(self.depth):
            name = f"layer_{index:02d}"
            rows = width if index else embedding
            weights["layers"].append((
                input_weights(self.cell, width, rows, self.kernel_init, f"{name}_input"),
                hidden_weights(self.cell, width, self.hidden_init, f"{name}_hidden"),
            ))  # fmt: skip
        features = width
        if self.attention == "bahdanau":
            weights["fed"] = Matrix(memory, gates, init, name="fed")()[0]
            weights["query"] = matrix("attention_query", width, width)
            weights["score"] = matrix("attention_score", width, 1)[:, 0]
            features = width + memory + embedding
        elif self.attention == "luong":
            weights["fed"] = Matrix(width, gates, init, name="fed")()[0]
            weights["out"] = matrix("attention_out", memory + width, width)
        head = Matrix(features, self.vocab_size, self.kernel_init, self.vocab_size, name="head")
        weights["head"] = head()
        dtype = self.dtype
        return jax.tree.map(lambda a: a.astype(dtype) if a.ndim == 2 else a, weights)

    def _matrix(self, name: str, rows: int, columns: int, init: Initializer) -> jax.Array:
        return Matrix(rows, columns, init, name=name)()[0]

    def _dropout(
        self, tokens: jax.Array, embedding: int, train: bool
    ) -> tuple[jax.Array | None, jax.Array | None]:
        """What multiplies the embedded tokens [l, b, d], and what goes between layers
        [l, layers, b, h]: 0 or 1 / (1 - rate). None where nothing is dropped."""
        if not train or self.dropout_rate == 0.0:
            return None, None
        batch, length = tokens.shape
        dropout = nn.Dropout(self.dropout_rate, deterministic=False, name="dropout")
        layers = jnp.ones((length, self.depth - 1, batch, self.width))
        return dropout(jnp.ones((length, batch, embedding), self.dtype)), dropout(layers)

    def _coins(self, length: int, teacher_forcing: float) -> dict[str, jax.Array]:
        """Bool [l]: where a step reads the decoder's "own" token, and where it is "asked" for one,
        which the next step reads."""
        own = jnp.arange(length) > 0
        if teacher_forcing:
            own &= ~jax.random.bernoulli(self.make_rng("sample"), teacher_forcing, (length,))
        return {"own": own, "asked": jnp.append(own[1:], False)}


@dataclass(frozen=True)
class Loop:
    """The decoder over the steps of a target: arrays and no modules."""

    cell: str
    attention: str
    weights: Weights
    encoded: Encoded
    mask_bm: jax.Array
    embedding_vd: jax.Array

    def start(self, token_b: jax.Array, width: int) -> dict[str, Any]:
        """The states before the first step, and the token that it reads."""
        start = {"states": self.encoded["start"], "last": token_b}
        if self.attention == "luong":
            start["fed"] = jnp.zeros((len(token_b), width), jnp.float32)
        return start

    def known(self, tokens: jax.Array, kept: jax.Array | None) -> dict[str, jax.Array]:
        """Of tokens int32 [..., b]: "embedded" [..., b, d] and its "product" with W."""
        embedded = jnp.take(self.embedding_vd, tokens, axis=0)
        embedded = embedded if kept is None else embedded * kept
        kernel, bias = self.weights["layers"][0][0]
        return {"embedded": embedded, "product": times(embedded, kernel) + bias}

    def logits(self, features: jax.Array) -> jax.Array:
        """float32 [..., v] of [..., f]."""
        kernel, bias = self.weights["head"]
        return times(features, kernel) + bias

    def one(self, carry: dict[str, Any], given: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """A step of the scan: (states, (features [b, f], weights [b, m] or None))."""
        if "own" in given:
            token_b = jnp.where(given["own"], carry["last"], given["tokens"])
            given = {**given, **self.known(token_b, given["kept"])}
        after, features_bf, weights_bm = self.advance(carry, given)
        if given["valid"] is not None:
            after = jax.tree.map(
                lambda a, b: jnp.where(given["valid"].reshape(-1, *(1,) * (a.ndim - 1)), a, b),
                after,
                carry,
            )
        if "own" in given:
            after["last"] = jax.lax.cond(
                given["asked"],
                lambda features: self.logits(features).argmax(-1).astype(jnp.int32),
                lambda features: carry["last"],
                jax.lax.stop_gradient(features_bf),
            )
        return after, (features_bf, weights_bm)

    def advance(
        self, carry: dict[str, Any], given: dict[str, Any]
    ) -> tuple[dict[str, Any], jax.Array, jax.Array | None]:
        """The states after a step, what the output reads, and the attention's weights."""
        weights, encoded, states = self.weights, self.encoded, carry["states"]
        product_bg, weights_bm, context_be = given["product"], None, None
        if self.attention == "bahdanau":
            scores = bahdanau(states[-1][0], encoded["keys"], weights["query"], weights["score"])
            context_be, weights_bm = read(scores, encoded["memory"], self.mask_bm)
            product_bg += times(context_be, weights["fed"])
        elif self.attention == "luong":
            product_bg += times(carry["fed"], weights["fed"])
        after = []
        for index, ((kernel, bias), (hidden_kernel, hidden_bias)) in enumerate(weights["layers"]):
            if index:
                below = after[-1][0]
                if given["kept_layers"] is not None:
                    below = below * given["kept_layers"][index - 1]
                product_bg = times(below, kernel) + bias
            after.append(step(self.cell, product_bg, hidden_kernel, hidden_bias, states[index]))
        new = {**carry, "states": tuple(after)}
        features_bf = after[-1][0]
        if context_be is not None:
            features_bf = jnp.concatenate([features_bf, context_be, given["embedded"]], axis=-1)
        elif self.attention == "luong":
            scores = luong(features_bf, encoded["keys"])
            context_be, weights_bm = read(scores, encoded["memory"], self.mask_bm)
            both = jnp.concatenate([context_be, features_bf], axis=-1)
            new["fed"] = features_bf = jnp.tanh(times(both, weights["out"]))
        return new, features_bf, weights_bm
