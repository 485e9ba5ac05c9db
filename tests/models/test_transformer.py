"""The encoder-decoder: the papers' sizes, what the decoder may see, and its cached steps."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.stack import stack_layers
from models.text import transformer
from tests.models import run, texts
from tests.models.texts import INFO, close
from training.contracts import Info

SMALL = transformer.Config(
    width=16, depth=2, decoder_depth=3, heads=4, mlp_width=24, max_length=24, shared="none",
    dropout_rate=0.0,
)  # fmt: skip
SOURCE, TARGET = texts.tokens(2, 9, texts.SOURCE), texts.tokens(2, 7)
LENGTHS = jnp.asarray([9, 5])
ONE = texts.tokens(1, 4)


def model(**changes) -> transformer.Transformer:
    info = INFO
    if changes.get("shared") == "all":
        info = Info({}, vocab_size=texts.VOCABULARY)
    return transformer.build(dataclasses.replace(SMALL, **changes), info)


@cache
def parameters(**changes):
    return run.params(model(**changes), SOURCE, LENGTHS, TARGET)


def logits(module, params, *inputs, **options):
    inputs = inputs or (SOURCE, LENGTHS, TARGET)
    return run.apply(module, {"params": params}, *inputs, train=False, **options)


@pytest.mark.parametrize("scan", [False, True])
def test_multi30k_baseline_has_its_published_size(scan: bool) -> None:
    config = transformer.Config(
        width=256, depth=3, mlp_width=512, max_length=100, positions="learned", shared="none",
        scan_layers=scan,
    )  # fmt: skip
    module = transformer.build(config, Info({}, vocab_size=5893, source_vocab_size=7853))
    assert texts.count(module, ONE, jnp.asarray([4]), ONE) == 9_038_341


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (transformer.Config(max_length=512), 65),
        (transformer.Config(width=1024, heads=16, mlp_width=4096, max_length=512), 213),
    ],
)
def test_base_and_big_have_the_papers_sizes(config, millions: int) -> None:
    """Table 3, with about 37,000 tokens (section 5.1), which leaves a few per cent open."""
    module = transformer.build(config, Info({}, vocab_size=37_000))
    total = texts.count(module, ONE, jnp.asarray([4]), ONE)
    assert abs(total / 1e6 / millions - 1) < 0.03


def test_shared_embeddings_are_one_matrix() -> None:
    sizes = {s: texts.count(model(shared=s), SOURCE, LENGTHS, TARGET) for s in transformer.SHARED}
    width, target, source = SMALL.width, texts.VOCABULARY, texts.SOURCE
    assert sizes["none"] - sizes["target"] == target * width + target
    assert sizes["target"] - sizes["all"] == source * width
    with pytest.raises(ValueError, match="needs one vocabulary; the data has 11 and 20 tokens"):
        transformer.build(dataclasses.replace(SMALL, shared="all"), INFO)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_target_token_sees_those_before_it_and_the_whole_source(norm: str) -> None:
    module, params = model(norm=norm), parameters(norm=norm)
    source, target = jnp.arange(9)[None], jnp.arange(7)[None]

    def fourth(tokens, source_tokens):
        changed = {
            **params, "tokens": {"embedding": tokens}, "source_tokens": {"embedding": source_tokens}
        }  # fmt: skip
        return module.apply({"params": changed}, source, jnp.asarray([6]), target, train=False)[
            0, 3
        ][0]

    gradient = run.jit(jax.grad(fourth, (0, 1)))
    found = gradient(params["tokens"]["embedding"], params["source_tokens"]["embedding"])
    by_target, by_source = (np.any(np.asarray(g), axis=1) for g in found)
    np.testing.assert_array_equal(by_target[:7], np.arange(7) <= 3)
    np.testing.assert_array_equal(by_source[:9], np.arange(9) < 6)


def test_padding_is_inert() -> None:
    module, params = model(), parameters()
    alone = logits(module, params, SOURCE[1:, :5], LENGTHS[1:], TARGET[1:])
    close(logits(module, params)[1:], alone)


def step(module, variables, piece):
    encoded, tokens, positions = piece
    lengths = LENGTHS[: len(tokens)] if len(tokens) < 3 else LENGTHS[jnp.asarray([1, 1, 0])]
    return module.apply(
        variables, encoded, lengths, tokens, positions, decode=True, mutable=["cache"],
        cache_length=9, method="decode_step",
    )  # fmt: skip


def encode(module, params):
    return run.apply(module, {"params": params}, SOURCE, LENGTHS, train=False, method="encode")


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    ("positions", "norm", "shared"),
    [("sinusoidal", "post", "none"), ("learned", "pre", "target"), ("learned", "post", "none")],
)
def test_cached_steps_equal_the_whole_target(positions, norm, shared, scan) -> None:
    """And the source is projected in the first call alone: later ones need not have it."""
    changes = {"positions": positions, "norm": norm, "shared": shared}
    module, params = model(**changes, scan_layers=scan), parameters(**changes)
    params = stack_layers(params) if scan else params
    encoded = encode(module, params)
    pieces = [(encoded, TARGET[:, :1], None)]
    pieces += [(jnp.full_like(encoded, 7.0), TARGET[:, i : i + 1], None) for i in range(1, 7)]
    found, _ = texts.continued(module, params, step, pieces)
    close(jnp.concatenate(found, axis=1), logits(module, params))


def test_a_cache_of_zeros_is_one_that_has_not_begun() -> None:
    """What an abstract first call says of the cache's shape is enough to begin a loop with."""
    module, params = model(), parameters()
    piece = (encode(module, params), TARGET[:, :1], None)
    first, kept = step(module, {"params": params}, piece)
    shapes = jax.eval_shape(lambda: step(module, {"params": params}, piece))[1]
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    empty["cache"]["slots"]["positions"] -= 1
    again, same = step(module, {"params": params, **empty}, piece)
    close(first, again)
    close(kept, same)


def test_beginnings_of_different_lengths_share_a_batch() -> None:
    module, params = model(), parameters()
    encoded, lengths = encode(module, params), np.array([2, 4])
    valid = np.arange(4) < lengths[:, None]
    where = jnp.asarray(np.where(valid, np.arange(4), -1), jnp.int32)
    pieces = [(encoded, TARGET[:, :4], where)]
    for i in range(3):
        at = jnp.asarray(lengths + i)
        pieces.append((encoded, TARGET[jnp.arange(2), at][:, None], at[:, None]))
    found, _ = texts.continued(module, params, step, pieces)
    whole = logits(module, params)
    for row, length in enumerate(lengths):
        together = np.concatenate([found[0][row][valid[row]], *(f[row] for f in found[1:])])
        close(together, whole[row, : length + 3])


@pytest.mark.parametrize("scan", [False, True])
def test_a_row_may_go_on_from_anothers_text(scan: bool) -> None:
    module, params = model(scan_layers=scan), parameters()
    params = stack_layers(params) if scan else params
    rows = jnp.asarray([1, 1, 0])
    encoded = encode(module, params)
    _, kept = texts.continued(module, params, step, [(encoded, TARGET[:, :3], None)])
    taken = {"cache": module.reorder(kept["cache"], rows)}
    following = texts.tokens(3, 1, seed=5)
    found, _ = step(module, {"params": params, **taken}, (encoded[rows], following, None))
    whole = jnp.concatenate([TARGET[rows, :3], following], axis=1)
    close(found, logits(module, params, SOURCE[rows], LENGTHS[rows], whole)[:, 3:])


def test_a_target_that_outgrows_the_cache_is_nan() -> None:
    module, params = model(), parameters()
    encoded = encode(module, params)
    pieces = [
        (encoded, TARGET, None),
        (encoded, TARGET[:, :2], None),
        (encoded, TARGET[:, :1], None),
    ]
    found, _ = texts.continued(module, params, step, pieces)
    assert np.isfinite(found[1]).all() and np.isnan(found[2]).all()


def test_decode_step_without_a_cache_is_the_whole_target() -> None:
    module, params = model(), parameters()
    out = run.apply(
        module, {"params": params}, encode(module, params), LENGTHS, TARGET, decode=False,
        method="decode_step",
    )  # fmt: skip
    close(out, logits(module, params))


def test_embeddings_start_as_asked() -> None:
    """1 / sqrt(d), which sqrt(d) makes 1; or the deviation that the config gives."""
    for std, expected in ((None, 0.125), (0.5, 0.5)):
        module = model(width=64, embedding_std=std, position_std=0.3, positions="learned")
        params = run.init(module, SOURCE, LENGTHS, TARGET)["params"]
        for name in ("tokens", "source_tokens"):
            assert abs(float(params[name]["embedding"].std()) / expected - 1) < 0.15
        assert abs(float(params["encoder"]["positions"]["embedding"].std()) / 0.3 - 1) < 0.1


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_scan_and_remat_change_nothing(norm: str) -> None:
    loop, other = model(norm=norm), model(norm=norm, scan_layers=True, remat="full")
    params = parameters(norm=norm)

    def gradient(module, params):
        def loss(params):
            return (
                module.apply({"params": params}, SOURCE, LENGTHS, TARGET, train=True) ** 2
            ).sum()

        return run.jit(jax.grad(loss))(params)

    plain, scanned = gradient(loop, params), gradient(other, stack_layers(params))
    close(stack_layers(plain), scanned, 2e-3)


@pytest.mark.parametrize("rate", ["dropout_rate", "hidden_dropout_rate", "attention_dropout_rate"])
def test_dropout_is_for_training_only(rate: str) -> None:
    module, params = model(**{rate: 0.5}), parameters()
    close(logits(module, params), logits(model(), params))
    first, other = (
        run.apply(module, {"params": params}, SOURCE, LENGTHS, TARGET, seed=s, train=True)
        for s in (0, 1)
    )
    assert not np.allclose(first, other)


def test_half_precision_gives_float32_logits() -> None:
    exact, half = (logits(model(dtype=d), parameters()) for d in ("float32", "bfloat16"))
    assert half.dtype == jnp.float32 and not np.array_equal(exact, half)
    np.testing.assert_allclose(half, exact, atol=0.3, rtol=0.1)


def test_all_three_attentions_are_sown() -> None:
    _, sown = logits(model(), parameters(), mutable=["intermediates"])
    layer = sown["intermediates"]["decoder"]["layer_02"]
    assert layer["attention"]["attention"][0].shape == (2, 4, 7, 7)
    (aligned,) = layer["cross_attention"]["attention"]
    assert aligned.shape == (2, 4, 7, 9) and not np.any(aligned[1, :, :, 5:])
    encoder = sown["intermediates"]["encoder"]["layer_01"]["attention"]["attention"][0]
    assert encoder.shape == (2, 4, 9, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "rotary"}, "positions='rotary': expected one of sinusoidal, learned"),
        ({"norm": "none"}, "norm='none': expected one of pre, post"),
        ({"shared": "some"}, "shared='some': expected one of all, target, none"),
    ],
)
def test_values_that_no_field_accepts_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)


def test_a_text_longer_than_the_positions_is_refused() -> None:
    for source, target in (
        (texts.tokens(2, 25, texts.SOURCE), TARGET),
        (SOURCE, texts.tokens(2, 25)),
    ):
        with pytest.raises(ValueError, match=r"25 tokens, and model\.max_length=24"):
            model().init(jax.random.key(0), source, LENGTHS, target, train=False)
