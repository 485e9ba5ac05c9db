"""Sequence to sequence with recurrent networks: attention, teacher forcing, cached steps."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.cells import CELLS
from models.text import rnn_seq2seq
from models.text.common import recurrent_decoder
from tests.models import run, texts
from tests.models.texts import INFO, close
from tests.oracles import recurrent as oracle
from training.contracts import Info

SMALL = rnn_seq2seq.Config(embedding_width=6, width=8, depth=2, dropout_rate=0.0)
SOURCE, TARGET = texts.tokens(2, 9, texts.SOURCE), texts.tokens(2, 7)
LENGTHS = jnp.asarray([9, 5])
MASK = jnp.arange(9) < LENGTHS[:, None]
ATTENTIONS = recurrent_decoder.ATTENTIONS


def model(**changes) -> rnn_seq2seq.Seq2Seq:
    return rnn_seq2seq.build(dataclasses.replace(SMALL, **changes), INFO)


@cache
def parameters(**changes):
    return run.params(model(**changes), SOURCE, LENGTHS, TARGET)


def logits(module, params, *inputs, **options):
    inputs = inputs or (SOURCE, LENGTHS, TARGET)
    return run.apply(module, {"params": params}, *inputs, train=False, **options)


def test_size_is_notebook_3s_less_the_biases_that_say_the_same_twice() -> None:
    """PyTorch's three GRUs each have two biases of 512 more, added to others that do the same."""
    config = rnn_seq2seq.Config()
    module = rnn_seq2seq.build(config, Info({}, vocab_size=5893, source_vocab_size=7853))
    total = texts.count(module, SOURCE[:1], LENGTHS[:1], TARGET[:1])
    assert total == 20_518_405 - 3 * 2 * 512


def draw(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f4")


@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
def test_attention_is_its_papers(kind: str) -> None:
    state, keys, memory = draw(2, 8), draw(2, 9, 8), draw(2, 9, 5)
    query, score = draw(8, 8), draw(8)
    if kind == "bahdanau":
        scores = recurrent_decoder.bahdanau(*map(jnp.asarray, (state, keys, query, score)))
    else:
        scores = recurrent_decoder.luong(jnp.asarray(state), jnp.asarray(keys))
    context, weights = recurrent_decoder.read(scores, jnp.asarray(memory), MASK)
    for row, length in enumerate(LENGTHS):
        given = state[row].astype("f8"), keys[row, :length].astype("f8")
        expected = (
            oracle.bahdanau(*given, query, score) if kind == "bahdanau" else oracle.luong(*given)
        )
        close(weights[row, :length], expected)
        assert not np.any(weights[row, length:])
        close(context[row], expected @ memory[row, :length])


def test_a_step_is_bahdanaus_equations() -> None:
    """One GRU layer in float64: the context of the last state, the cell over [token; context]."""
    changes = {"depth": 1}
    module, params = model(**changes), parameters(**changes)
    found = logits(module, params)
    encoded = run.apply(module, {"params": params}, SOURCE, LENGTHS, method="encode")
    memory, keys = (np.asarray(encoded[n], "f8") for n in ("memory", "keys"))
    decoder = jax.tree.map(lambda a: np.asarray(a, "f8"), params["decoder"])
    embedding = np.asarray(params["tokens"]["embedding"], "f8")
    first, hidden = decoder["layer_00_input"], decoder["layer_00_hidden"]
    for row, length in enumerate(LENGTHS):
        (state,) = (np.asarray(s[row], "f8") for s in encoded["start"][0])
        for t in range(3):
            token = embedding[TARGET[row, t]]
            weights = oracle.bahdanau(
                state, keys[row, :length], decoder["attention_query"]["kernel"],
                decoder["attention_score"]["kernel"][:, 0],
            )  # fmt: skip
            context = weights @ memory[row, :length]
            (state,) = oracle.gru_cell(
                np.concatenate([token, context]), (state,),
                np.concatenate([first["kernel"], decoder["fed"]["kernel"]]), first["bias"],
                hidden["kernel"], hidden["bias"],
            )  # fmt: skip
            features = np.concatenate([state, context, token])
            expected = features @ decoder["head"]["kernel"] + decoder["head"]["bias"]
            close(found[row, t], expected, 1e-4)


def test_a_decoder_starts_from_both_directions_last_states() -> None:
    changes = {"depth": 1, "cell": "lstm"}
    module, params = model(**changes), parameters(**changes)
    encoded = run.apply(module, {"params": params}, SOURCE, LENGTHS, method="encode")
    hidden, cell = encoded["start"][0]
    memory = encoded["memory"]
    both = jnp.stack([
        jnp.concatenate([memory[row, n - 1, :8], memory[row, 0, 8:]])
        for row, n in enumerate(LENGTHS)
    ])  # fmt: skip
    dense = params["bridge"]["layer_00"]
    close(hidden, jnp.tanh(both @ dense["kernel"] + dense["bias"]))
    assert cell.shape == hidden.shape and "layer_00_cell" in params["bridge"]
    one_way = model(**changes, bidirectional=False)
    params = run.params(one_way, SOURCE, LENGTHS, TARGET)
    encoded = run.apply(one_way, {"params": params}, SOURCE, LENGTHS, method="encode")
    assert "bridge" not in params
    close(encoded["start"][0][0], encoded["memory"][jnp.arange(2), LENGTHS - 1])


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_target_token_sees_those_before_it_and_the_whole_source(attention: str) -> None:
    module, params = model(attention=attention), parameters(attention=attention)
    source, target = jnp.arange(9)[None], jnp.arange(7)[None]

    def fourth(tokens, source_tokens):
        changed = {
            **params, "tokens": {"embedding": tokens}, "source_tokens": {"embedding": source_tokens}
        }  # fmt: skip
        out = module.apply({"params": changed}, source, jnp.asarray([6]), target, train=False)
        return out[0, 3][0]

    gradient = run.jit(jax.grad(fourth, (0, 1)))
    found = gradient(params["tokens"]["embedding"], params["source_tokens"]["embedding"])
    by_target, by_source = (np.any(np.asarray(g), axis=1) for g in found)
    np.testing.assert_array_equal(by_target[:7], np.arange(7) <= 3)
    np.testing.assert_array_equal(by_source[:9], np.arange(9) < 6)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_padding_is_inert(attention: str) -> None:
    module, params = model(attention=attention), parameters(attention=attention)
    alone = logits(module, params, SOURCE[1:, :5], LENGTHS[1:], TARGET[1:])
    close(logits(module, params)[1:], alone)


def step(module, variables, piece):
    encoded, lengths, tokens, positions = piece
    return module.apply(
        variables, encoded, lengths, tokens, positions, mutable=["cache"], method="decode_step"
    )


def encode(module, params):
    return run.apply(module, {"params": params}, SOURCE, LENGTHS, method="encode")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_cached_steps_equal_the_whole_target(attention: str, cell: str) -> None:
    changes = {"attention": attention, "cell": cell}
    module, params = model(**changes), parameters(**changes)
    encoded = encode(module, params)
    pieces = [(encoded, LENGTHS, TARGET[:, :2], None)]
    pieces += [(encoded, LENGTHS, TARGET[:, i : i + 1], None) for i in range(2, 7)]
    found, _ = texts.continued(module, params, step, pieces)
    close(jnp.concatenate(found, axis=1), logits(module, params))


def test_a_cache_of_zeros_is_one_that_has_not_begun() -> None:
    module, params = model(), parameters()
    piece = (encode(module, params), LENGTHS, TARGET[:, :1], None)
    first, kept = step(module, {"params": params}, piece)
    again, same = step(module, {"params": params, **jax.tree.map(jnp.zeros_like, kept)}, piece)
    close(first, again)
    close(kept, same)


def test_beginnings_of_different_lengths_share_a_batch() -> None:
    module, params = model(), parameters()
    encoded, lengths = encode(module, params), np.array([2, 4])
    valid = np.arange(4) < lengths[:, None]
    where = jnp.asarray(np.where(valid, np.arange(4), -1), jnp.int32)
    at = jnp.asarray(lengths)
    pieces = [
        (encoded, LENGTHS, TARGET[:, :4], where),
        (encoded, LENGTHS, TARGET[jnp.arange(2), at][:, None], at[:, None]),
    ]
    found, _ = texts.continued(module, params, step, pieces)
    whole = logits(module, params)
    for row, length in enumerate(lengths):
        together = np.concatenate([found[0][row][valid[row]], found[1][row]])
        close(together, whole[row, : length + 1])


def test_a_row_may_go_on_from_anothers_text() -> None:
    module, params = model(attention="luong"), parameters(attention="luong")
    rows = jnp.asarray([1, 1, 0])
    encoded = encode(module, params)
    _, kept = texts.continued(module, params, step, [(encoded, LENGTHS, TARGET[:, :3], None)])
    taken = {"cache": module.reorder(kept["cache"], rows)}
    of_rows = jax.tree.map(lambda a: a[rows], encoded)
    following = texts.tokens(3, 1, seed=5)
    found, _ = step(module, {"params": params, **taken}, (of_rows, LENGTHS[rows], following, None))
    whole = jnp.concatenate([TARGET[rows, :3], following], axis=1)
    close(found, logits(module, params, SOURCE[rows], LENGTHS[rows], whole)[:, 3:])


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_without_teacher_forcing_it_reads_its_own_likeliest_tokens(attention: str) -> None:
    """The same as greedy decoding: what it said, given back to it, changes nothing."""
    module, params = model(attention=attention), parameters(attention=attention)
    free = logits(module, params, teacher_forcing=0.0)
    said = jnp.concatenate([TARGET[:, :1], free.argmax(-1)[:, :-1]], axis=1)
    assert not np.array_equal(said, TARGET)
    close(free, logits(module, params, SOURCE, LENGTHS, said))


def test_a_coin_a_step_says_whose_token_is_read() -> None:
    """Until the first token of its own, the logits are the forced ones; keys differ in when."""
    module, params = model(), parameters()
    forced = logits(module, params)

    def sampled(seed: int):
        rngs = {"sample": jax.random.key(seed)}
        return module.apply(
            {"params": params}, SOURCE, LENGTHS, TARGET, train=False, teacher_forcing=0.5, rngs=rngs
        )

    agree = []
    for seed in range(6):
        same = np.isclose(sampled(seed), forced, atol=1e-5).all((0, 2))
        first = len(same) if same.all() else int(np.argmin(same))
        assert first >= 1
        agree.append(first)
        np.testing.assert_array_equal(sampled(seed), sampled(seed))
    assert len(set(agree)) > 1
    with pytest.raises(ValueError, match=r"teacher_forcing=1\.5: expected from 0 to 1"):
        logits(module, params, teacher_forcing=1.5)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_reach_every_parameter_whoever_says_the_tokens(attention: str) -> None:
    changes = {"attention": attention, "cell": "lstm", "dropout_rate": 0.3}
    module, params = model(**changes), parameters(**changes)

    def loss(params, rate):
        rngs = {"sample": jax.random.key(0), "dropout": jax.random.key(1)}
        out = module.apply(
            {"params": params}, SOURCE, LENGTHS, TARGET, train=True, teacher_forcing=rate, rngs=rngs
        )
        return (out**2).sum()

    for rate in (1.0, 0.5):
        gradient = run.jit(jax.grad(lambda p, r=rate: loss(p, r)))(params)
        for path, array in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.isfinite(array).all() and np.any(array), jax.tree_util.keystr(path)


def test_known_tokens_are_multiplied_out_of_the_loop() -> None:
    """With all tokens forced the loop holds no embedding, and the output is one product."""
    module, params = model(depth=1), parameters(depth=1)

    def text(rate: float) -> str:
        rngs = {"sample": jax.random.key(0)}
        return str(jax.make_jaxpr(lambda p: module.apply(
            {"params": p}, SOURCE, LENGTHS, TARGET, train=False, teacher_forcing=rate, rngs=rngs
        ))(params))  # fmt: skip

    assert text(1.0).count("argmax[") == 0 and text(1.0).count("cond[") == 0
    assert text(0.5).count("argmax[") == 1 and text(0.5).count("cond[") == 1


@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
def test_alignment_is_sown(attention: str) -> None:
    module, params = model(attention=attention), parameters(attention=attention)
    _, sown = logits(module, params, mutable=["intermediates"])
    (weights,) = sown["intermediates"]["decoder"]["attention"]
    assert weights.shape == (2, 1, 7, 9)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    assert not np.any(weights[1, :, :, 5:])


def test_dropout_is_for_training_only() -> None:
    module, params = model(dropout_rate=0.5), parameters()
    close(logits(module, params), logits(model(), params))
    first, other = (
        run.apply(module, {"params": params}, SOURCE, LENGTHS, TARGET, seed=s, train=True)
        for s in (0, 1)
    )
    assert not np.allclose(first, other)


def test_weights_start_as_asked() -> None:
    params = run.init(model(width=32, init_std=0.01), SOURCE, LENGTHS, TARGET)["params"]
    for path, array in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key == "bias":
            assert not np.any(array)
        elif array.size > 500:
            assert abs(float(array.std()) / 0.01 - 1) < 0.15, jax.tree_util.keystr(path)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_half_precision_gives_float32_logits(attention: str) -> None:
    params = parameters(attention=attention)
    exact, half = (
        logits(model(attention=attention, dtype=d), params) for d in ("float32", "bfloat16")
    )
    assert half.dtype == jnp.float32 and not np.array_equal(exact, half)
    np.testing.assert_allclose(half, exact, atol=0.2, rtol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "dot"}, "attention='dot': expected one of bahdanau, luong, none"),
        ({"cell": "rnn"}, "cell='rnn': expected one of lstm, gru"),
    ],
)
def test_values_that_no_field_accepts_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)
