"""Recurrent language models and readers: causality, padding, packing, states that go on."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.text import rnn
from tests.models import run, texts
from tests.models.texts import INFO, close
from training.contracts import Info

SMALL = rnn.Config(embedding_width=6, width=8, depth=2)
TOKENS = texts.tokens()
LENGTHS = jnp.asarray([12, 7])


def model(**changes):
    return rnn.build(dataclasses.replace(SMALL, **changes), INFO)


@cache
def parameters(**changes):
    return run.params(model(**changes), TOKENS)


def outputs(module, params, *inputs, **options):
    return run.apply(module, {"params": params}, *inputs, train=False, **options)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_no_token_sees_a_later_one(cell: str) -> None:
    module, params = model(cell=cell), parameters(cell=cell)

    def sixth(embedding):
        changed = {**params, "tokens": {"embedding": embedding}}
        return module.apply({"params": changed}, jnp.arange(12)[None], train=False)[0, 5][0]

    seen = np.any(np.asarray(run.jit(jax.grad(sixth))(params["tokens"]["embedding"])), axis=1)
    np.testing.assert_array_equal(seen[:12], np.arange(12) <= 5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_packed_documents_are_read_one_by_one(cell: str) -> None:
    module, params = model(cell=cell), parameters(cell=cell)
    segments = jnp.asarray([[1] * 5 + [2] * 4 + [0] * 3] * 2)
    packed = outputs(module, params, TOKENS, segments)
    close(packed[:, :5], outputs(module, params, TOKENS[:, :5]))
    close(packed[:, 5:9], outputs(module, params, TOKENS[:, 5:9]))


def step(module, variables, piece):
    tokens, positions = piece
    return module.apply(
        variables, tokens, positions=positions, decode=True, train=False, mutable=["cache"]
    )


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_cached_steps_equal_the_whole_text(cell: str) -> None:
    module, params = model(cell=cell), parameters(cell=cell)
    pieces = [(TOKENS[:, :5], None), *((TOKENS[:, i : i + 1], None) for i in range(5, 12))]
    found, _ = texts.continued(module, params, step, pieces)
    close(jnp.concatenate(found, axis=1), outputs(module, params, TOKENS))


@pytest.mark.parametrize("side", ["left", "right"])
def test_prompts_of_different_lengths_share_a_batch(side: str) -> None:
    module, params = model(), parameters()
    lengths = np.array([3, 5])
    where = np.arange(5) - ((5 - lengths)[:, None] if side == "left" else 0)
    valid = (where >= 0) & (where < lengths[:, None])
    prompts = np.where(valid, np.asarray(TOKENS)[[[0], [1]], np.maximum(where, 0)], 7)
    pieces = [(jnp.asarray(prompts), jnp.asarray(np.where(valid, where, -1), jnp.int32))]
    at = jnp.asarray(lengths)
    pieces.append((TOKENS[jnp.arange(2), at][:, None], at[:, None]))
    found, _ = texts.continued(module, params, step, pieces)
    for row, length in enumerate(lengths):
        alone = outputs(module, params, TOKENS[row : row + 1, : length + 1])[0]
        close(np.concatenate([found[0][row][valid[row]], found[1][row]]), alone)


def test_a_row_may_go_on_from_anothers_text() -> None:
    module, params = model(), parameters()
    _, kept = texts.continued(module, params, step, [(TOKENS[:, :5], None)])
    rows = jnp.asarray([1, 1, 0])
    following = texts.tokens(3, 1, seed=5)
    taken = {"cache": module.reorder(kept["cache"], rows)}
    found, _ = step(module, {"params": params, **taken}, (following, None))
    whole = jnp.concatenate([TOKENS[rows, :5], following], axis=1)
    close(found, outputs(module, params, whole)[:, 5:])


@pytest.mark.parametrize("pool", rnn.POOLS)
@pytest.mark.parametrize("head", ["classes", "tokens"])
def test_readers_shapes_and_inert_padding(head: str, pool: str) -> None:
    changes = {"head": head, "bidirectional": True, "pool": pool, "cell": "gru"}
    module, params = model(**changes), parameters(**changes)
    batch = outputs(module, params, TOKENS, LENGTHS)
    assert batch["hidden"].shape == (2, 12, 16) and batch["pooled"].shape == (2, 16)
    alone = outputs(module, params, TOKENS[1:, :7])
    close(batch["hidden"][1:, :7], alone["hidden"])
    close(batch["pooled"][1:], alone["pooled"])
    if head == "classes":
        assert batch["logits"].shape == (2, texts.CLASSES)
        close(batch["logits"][1:], alone["logits"])
    else:
        assert batch["logits"].shape == (2, 12, texts.CLASSES)
        close(batch["logits"][1:, :7], alone["logits"])


@pytest.mark.parametrize("pool", ["mean", "max", "last"])
def test_pools_are_what_they_are_called(pool: str) -> None:
    changes = {"head": "classes", "bidirectional": True, "pool": pool}
    found = outputs(model(**changes), parameters(**changes), TOKENS, LENGTHS)
    for row, length in enumerate(LENGTHS):
        hidden = found["hidden"][row, :length]
        forward, backward = jnp.split(hidden, 2, axis=-1)
        expected = {
            "mean": hidden.mean(0),
            "max": hidden.max(0),
            "last": jnp.concatenate([forward[-1], backward[0]]),
        }[pool]
        close(found["pooled"][row], expected)


def test_types_tell_a_pairs_texts_apart() -> None:
    module = model(head="classes")
    types = jnp.asarray(np.arange(12) > 5, jnp.int32) * jnp.ones((2, 1), jnp.int32)
    params = run.params(module, TOKENS, LENGTHS, types)
    assert params["types"]["embedding"].shape == (2, 6)
    first = outputs(module, params, TOKENS, LENGTHS, types)["logits"]
    assert not np.allclose(first, outputs(module, params, TOKENS, LENGTHS, 1 - types)["logits"])


def test_dropout_is_for_training_only() -> None:
    module, params = model(dropout_rate=0.5), parameters()
    close(outputs(module, params, TOKENS), outputs(model(), params, TOKENS))
    first, other = (
        run.apply(module, {"params": params}, TOKENS, seed=s, train=True) for s in (0, 1)
    )
    assert not np.allclose(first, other)


@pytest.mark.parametrize("changes", [{}, {"head": "classes", "bidirectional": True}])
def test_half_precision_gives_float32(changes: dict) -> None:
    params = parameters(**changes)
    exact, half = (
        outputs(model(**changes, dtype=d), params, TOKENS) for d in ("float32", "bfloat16")
    )
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(half), strict=True):
        assert b.dtype == jnp.float32 and not np.array_equal(a, b)
        np.testing.assert_allclose(a, b, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "class"}, "head='class': expected one of language, classes, tokens"),
        ({"cell": "rnn"}, "cell='rnn': expected one of lstm, gru"),
        ({"pool": "sum"}, "pool='sum': expected one of last, mean, max"),
        ({"bidirectional": True}, "must not read what it guesses"),
    ],
)
def test_values_that_no_field_accepts_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)


def test_a_reader_needs_something_to_tell() -> None:
    with pytest.raises(ValueError, match="neither classes nor targets"):
        rnn.build(dataclasses.replace(SMALL, head="classes"), Info({}, vocab_size=9))
