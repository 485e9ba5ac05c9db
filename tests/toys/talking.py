"""A tiny language model, translator and reader, with the calls of models/text and a cache.

Their memory is a running mix of the embeddings of all tokens so far, so that every token matters to
all that follow; in decoding it lies in the collection "cache".
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

DECAY = 0.7


def remembered(x_bld: jax.Array, start_bd: jax.Array) -> jax.Array:
    """m_t = DECAY m_{t-1} + x_t, [b, l, d]."""

    def one(memory, x):
        memory = DECAY * memory + x
        return memory, memory

    return jnp.moveaxis(jax.lax.scan(one, start_bd, jnp.moveaxis(x_bld, 1, 0))[1], 0, 1)


class Talker(nn.Module):
    """Called as models.text.gpt is; `max_length` 0 remembers any number of tokens."""

    vocab_size: int = 11
    width: int = 8
    max_length: int = 0
    std: float = 1.0

    @nn.compact
    def __call__(
        self, tokens, segments=None, positions=None, *, train, decode=False, cache_length=None
    ):
        normal = nn.initializers.normal(self.std)
        x = nn.Embed(self.vocab_size, self.width, embedding_init=normal, name="embed")(tokens)
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        x += 0.3 * jnp.sin(positions[..., None] * jnp.arange(1.0, self.width + 1))
        start = jnp.zeros((len(tokens), self.width))
        if decode:
            memory = self.variable("cache", "memory", lambda: start)
            counted = self.variable("cache", "counted", lambda: jnp.int32(0))
            x = remembered(x, memory.value)
            memory.value, counted.value = x[:, -1], counted.value + tokens.shape[1]
            if cache_length or self.max_length:
                slots = self.variable("cache", "slots", jnp.zeros, cache_length or self.max_length)
                # As a cache that is full: nothing is said of what it has no slot for.
                x = jnp.where(counted.value <= len(slots.value), x, jnp.nan)
        else:
            x = remembered(x, start)
        dense = nn.Dense(self.vocab_size, kernel_init=nn.initializers.normal(1.0), name="head")
        return dense(jnp.tanh(x))


class Translator(nn.Module):
    """Called as models.text.transformer is, and as rnn_seq2seq for its `teacher_forcing`."""

    vocab_size: int = 11
    width: int = 8

    def setup(self):
        self.reader = nn.Embed(self.vocab_size, self.width)
        self.talker = Talker(self.vocab_size, self.width)

    def encode(self, source, source_lengths, train):
        seen = jnp.arange(source.shape[1]) < source_lengths[:, None]
        x = jnp.where(seen[..., None], self.reader(source), 0.0)
        weights = jnp.arange(1.0, source.shape[1] + 1)[:, None]
        return 3.0 * jnp.tanh((x * weights).sum(1))

    def decode_step(
        self, encoded, source_lengths, tokens, positions=None, *, train=False, decode=True,
        cache_length=None,
    ):  # fmt: skip
        logits = self.talker(
            tokens, None, positions, train=train, decode=decode, cache_length=cache_length
        )
        return logits + (encoded @ self.reader.embedding.T)[:, None]

    def __call__(self, source, source_lengths, target_inputs, train, teacher_forcing=1.0):
        encoded = self.encode(source, source_lengths, train)
        positions = jnp.broadcast_to(jnp.arange(target_inputs.shape[1]), target_inputs.shape)
        if teacher_forcing < 1.0:
            kept = jax.random.bernoulli(
                self.make_rng("sample"), teacher_forcing, target_inputs.shape
            )
            target_inputs = jnp.where(kept, target_inputs, 0)
        return self.decode_step(
            encoded, source_lengths, target_inputs, positions, train=train, decode=False
        )


class Reader(nn.Module):
    """Called as models.text.bert is: logits of the text, or of each token where `tokens`."""

    outputs: int
    tokens: bool = False
    vocab_size: int = 11
    width: int = 8

    @nn.compact
    def __call__(self, tokens, lengths=None, token_types=None, *, train):
        x = nn.Embed(self.vocab_size, self.width, name="embed")(tokens)
        seen = jnp.ones(tokens.shape, bool)
        if lengths is not None:
            seen = jnp.arange(tokens.shape[1]) < lengths[:, None]
        if token_types is not None:
            x += token_types[..., None]
        scores = jnp.where(seen[:, None], jnp.einsum("bld,bmd->blm", x, x), -1e9)
        weights = jax.nn.softmax(scores)[:, None]
        self.sow("intermediates", "attention", weights)
        hidden = x + jnp.einsum("bhlm,bmd->bld", weights, x)
        pooled = jnp.tanh(jnp.where(seen[..., None], hidden, 0.0).sum(1))
        head = nn.Dense(self.outputs, name="head")
        return {
            "hidden": hidden, "pooled": pooled, "logits": head(hidden if self.tokens else pooled)
        }  # fmt: skip
