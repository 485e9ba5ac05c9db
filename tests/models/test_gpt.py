"""GPT: the published sizes, causality, packing, and a cache that changes nothing."""

import dataclasses
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import devices
from models.layers.stack import stack_layers
from models.text import gpt
from tests.models import run, texts
from tests.models.texts import INFO, close
from training.contracts import Info

SMALL = gpt.Config(
    width=16, depth=2, heads=4, mlp_width=24, max_length=24,
)  # fmt: skip
SIZES = {
    "full": {},
    "window": {"window": 4},
    "bigbird": {"block_size": 2, "global_blocks": 1, "window_blocks": 1, "random_blocks": 1},
}
TOKENS = texts.tokens()
# All positions, and all patterns; biases by distance go another way in a pattern.
KINDS = [(p, "full") for p in gpt.POSITIONS] + [
    ("learned", "window"), ("learned", "bigbird"), ("relative", "window"), ("alibi", "bigbird"),
]  # fmt: skip


def model(**changes) -> gpt.GPT:
    sizes = SIZES.get(changes.get("pattern", "full"), {})
    return gpt.build(dataclasses.replace(SMALL, **sizes | changes), INFO)


@cache
def parameters(positions: str = "learned", kv_heads: int | None = None, **changes):
    return run.params(model(positions=positions, kv_heads=kv_heads, **changes), TOKENS)


def logits(module, params, tokens=TOKENS, **options):
    return run.apply(module, {"params": params}, tokens, train=False, **options)


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    ("width", "depth", "heads", "expected"),
    [
        (768, 12, 12, 124_439_808),
        (1024, 24, 16, 354_823_168),
        (1280, 36, 20, 774_030_080),
        (1600, 48, 25, 1_557_611_200),
    ],
)
def test_sizes_are_the_published_ones(width, depth, heads, expected, scan) -> None:
    config = gpt.Config(width=width, depth=depth, heads=heads, max_length=1024, scan_layers=scan)
    module = gpt.build(config, Info({}, vocab_size=50_257))
    assert texts.count(module, texts.tokens(1, 4)) == expected


def test_nano_gpts_characters_have_no_biases() -> None:
    """nanoGPT says 10.65 M of its character model, positions not counted."""
    config = gpt.Config(width=384, depth=6, heads=6, max_length=256, use_bias=False)
    module = gpt.build(config, Info({}, vocab_size=65))
    total = texts.count(module, texts.tokens(1, 4))
    assert round((total - 256 * 384) / 1e6, 2) == 10.65
    params = run.init(model(use_bias=False), TOKENS)["params"]
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    assert names == {"embedding", "kernel", "scale"}


def test_untied_output_is_a_matrix_of_its_own() -> None:
    tied, own = texts.count(model(), TOKENS), texts.count(model(tied=False), TOKENS)
    assert own - tied == texts.VOCABULARY * SMALL.width
    params = run.params(model(tied=False), TOKENS)
    before = logits(model(tied=False), params)
    zeroed = {**params, "head": jax.tree.map(jnp.zeros_like, params["head"])}
    assert np.any(before) and not np.any(logits(model(tied=False), zeroed))


def test_residual_projections_start_smaller() -> None:
    """.02 everywhere, .02 / sqrt(2 depth) where a branch writes into the sum (GPT-2, 2.3)."""
    module = gpt.build(gpt.Config(width=64, depth=8, heads=2, max_length=64), INFO)
    params = run.init(module, TOKENS)["params"]
    layer = params["layer_03"]
    for kernel, std in (
        (layer["attention"]["query"]["kernel"], 0.02),
        (layer["attention"]["out"]["kernel"], 0.02 / 4),
        (layer["mlp"]["hidden"]["kernel"], 0.02),
        (layer["mlp"]["out"]["kernel"], 0.02 / 4),
        (params["tokens"]["embedding"], 0.02),
        (params["positions"]["embedding"], 0.02),
    ):
        assert abs(float(kernel.std()) / std - 1) < 0.1
    biases = [a for p, a in jax.tree_util.tree_leaves_with_path(params) if p[-1].key == "bias"]
    assert not any(np.any(a) for a in biases)


@pytest.mark.parametrize(("positions", "pattern"), KINDS)
def test_no_token_sees_a_later_one(positions: str, pattern: str) -> None:
    """The derivative of position i's logits by a token's vector is zero for all after i.

    The window of 4 and two layers reach 6 tokens back and no further; BigBird's first block is
    seen from everywhere.
    """
    module, params = model(positions=positions, pattern=pattern), parameters(positions)
    tokens = jnp.arange(12)[None]

    def row(embedding, weights):
        changed = {**params, "tokens": {"embedding": embedding}}
        # A linear readout: the tied output would let every token's vector touch all logits.
        _, kept = module.apply(
            {"params": changed}, tokens, train=False,
            capture_intermediates=lambda m, _: m.name == "norm",
        )  # fmt: skip
        return (kept["intermediates"]["norm"]["__call__"][0][0] * weights).sum()

    gradient = run.jit(jax.grad(row))
    rng = np.random.default_rng(0)
    for i in (0, 5, 11):
        weights = jnp.zeros((12, SMALL.width)).at[i].set(rng.normal(size=SMALL.width))
        seen = np.any(np.asarray(gradient(params["tokens"]["embedding"], weights)), axis=1)[:12]
        assert not seen[i + 1 :].any() and seen[i]
        if pattern == "full":
            assert seen[: i + 1].all()
        elif pattern == "window":
            np.testing.assert_array_equal(seen[: i + 1], np.arange(i + 1) >= i - 6)
        else:
            assert seen[:2][: i + 1].all() and (i < 11 or not seen[:i].all())


@pytest.mark.parametrize("positions", gpt.POSITIONS)
def test_order_matters(positions: str) -> None:
    """Two tokens before the last change places: attention alone would not see it."""
    module, params = model(positions=positions, depth=1), parameters(positions)
    swapped = TOKENS.at[:, 3].set(TOKENS[:, 8]).at[:, 8].set(TOKENS[:, 3])
    first, other = (logits(module, params, t)[:, -1] for t in (TOKENS, swapped))
    assert not np.allclose(first, other, atol=1e-4)


@pytest.mark.parametrize(("positions", "pattern"), [k for k in KINDS if k[1] != "bigbird"])
def test_packed_documents_are_read_one_by_one(positions: str, pattern: str) -> None:
    """A row of two documents and padding gives what each gives alone."""
    module, params = model(positions=positions, pattern=pattern), parameters(positions)
    segments = jnp.asarray([[1] * 5 + [2] * 4 + [0] * 3] * 2)
    where = jnp.asarray([[*range(5), *range(4), 0, 0, 0]] * 2)
    packed = logits(module, params, TOKENS, segments=segments, positions=where)
    close(packed[:, :5], logits(module, params, TOKENS[:, :5]))
    close(packed[:, 5:9], logits(module, params, TOKENS[:, 5:9]))


def step(module, variables, piece):
    tokens, positions = piece
    return module.apply(
        variables, tokens, positions=positions, decode=True, train=False, mutable=["cache"],
        cache_length=16,
    )  # fmt: skip


@pytest.mark.parametrize(("kv_heads", "scan"), [(None, False), (2, True)])
@pytest.mark.parametrize("positions", gpt.POSITIONS)
def test_cached_steps_equal_the_whole_text(positions, kv_heads, scan) -> None:
    """A prompt of five, then token by token."""
    module = model(positions=positions, kv_heads=kv_heads, scan_layers=scan)
    params = parameters(positions, kv_heads)
    params = stack_layers(params) if scan else params
    pieces = [(TOKENS[:, :5], None), *((TOKENS[:, i : i + 1], None) for i in range(5, 12))]
    found, kept = texts.continued(module, params, step, pieces)
    close(jnp.concatenate(found, axis=1), logits(module, params))
    heads = {a.shape[-2] for a in jax.tree.leaves(kept) if a.ndim >= 4}
    assert heads == {kv_heads or SMALL.heads}


@pytest.mark.parametrize("kernel", ["tpu", "cudnn"])
def test_what_a_kernel_trained_can_be_generated_with(kernel, monkeypatch) -> None:
    """Its rules are for whole texts: a cached step is a query or a prompt, under any mask."""
    where = {"tpu": "tpu", "cudnn": "gpu"}[kernel]
    monkeypatch.setattr(devices, "platform", lambda: where)
    module = model(attention_kernel=kernel, dtype="float32")
    _, kept = step(module, {"params": parameters()}, (TOKENS[:, :5], None))
    found, _ = step(module, {"params": parameters(), **kept}, (TOKENS[:, 5:6], None))
    close(found[:, 0], logits(model(), parameters())[:, 5])


@pytest.mark.parametrize("pattern", ["window", "bigbird"])
def test_cached_steps_see_the_pattern(pattern: str) -> None:
    module, params = model(pattern=pattern), parameters()
    pieces = [(TOKENS[:, :5], None), *((TOKENS[:, i : i + 1], None) for i in range(5, 12))]
    found, _ = texts.continued(module, params, step, pieces)
    close(jnp.concatenate(found, axis=1), logits(module, params))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("positions", "pattern"), [*KINDS[:5], ("learned", "window"), ("alibi", "window")]
)
def test_prompts_of_different_lengths_share_a_batch(positions, pattern, side) -> None:
    """Three and five tokens, padded on either side, go on as each would alone."""
    module, params = model(positions=positions, pattern=pattern), parameters(positions)
    lengths = np.array([3, 5])
    slots = np.arange(5)
    where = slots - (5 - lengths)[:, None] if side == "left" else np.broadcast_to(slots, (2, 5))
    valid = (where >= 0) & (where < lengths[:, None])
    prompts = np.where(valid, np.asarray(TOKENS)[[[0], [1]], np.maximum(where, 0)], 7)
    pieces = [(jnp.asarray(prompts), jnp.asarray(np.where(valid, where, -1), jnp.int32))]
    for i in range(3):
        at = lengths + i
        pieces.append((TOKENS[jnp.arange(2), at][:, None], jnp.asarray(at)[:, None]))
    found, _ = texts.continued(module, params, step, pieces)
    for row, length in enumerate(lengths):
        alone = logits(module, params, TOKENS[row : row + 1, : length + 3])[0]
        together = np.concatenate([found[0][row][valid[row]], *(f[row] for f in found[1:])])
        close(together, alone)


def test_segments_tell_the_padding_of_a_prompt_too() -> None:
    module, params = model(), parameters()
    segments = jnp.asarray([[1, 1, 1, 0, 0], [1] * 5])
    out, kept = run.apply(
        module, {"params": params}, TOKENS[:, :5], segments, train=False, decode=True,
        mutable=["cache"],
    )  # fmt: skip
    close(out[0, :3], logits(module, params, TOKENS[:1, :3])[0])
    np.testing.assert_array_equal(kept["cache"]["slots"]["positions"][0, :6], [0, 1, 2, -1, -1, -1])


@pytest.mark.parametrize("scan", [False, True])
def test_a_row_may_go_on_from_anothers_text(scan: bool) -> None:
    module, params = model(scan_layers=scan), parameters()
    params = stack_layers(params) if scan else params
    _, kept = texts.continued(module, params, step, [(TOKENS[:, :5], None)])
    rows = jnp.asarray([1, 1, 0])
    taken = {"cache": module.reorder(kept["cache"], rows)}
    following = texts.tokens(3, 1, seed=5)
    found, _ = step(module, {"params": params, **taken}, (following, None))
    whole = jnp.concatenate([TOKENS[rows, :5], following], axis=1)
    close(found, logits(module, params, whole)[:, 5:])


def test_a_prompt_longer_than_the_cache_is_refused_and_a_text_that_outgrows_it_is_nan() -> None:
    module, params = model(), parameters()
    with pytest.raises(ValueError, match="12 tokens are more than the cache's 10"):
        module.apply(
            {"params": params}, TOKENS, train=False, decode=True, cache_length=10,
            mutable=["cache"],
        )  # fmt: skip
    pieces = [(TOKENS[:, :8], None), (TOKENS[:, :8], None), (TOKENS[:, :1], None)]
    found, _ = texts.continued(module, params, step, pieces)
    assert np.isfinite(found[1]).all() and np.isnan(found[2]).all()


def test_a_text_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"25 tokens, and model\.max_length=24"):
        model().init(jax.random.key(0), texts.tokens(1, 25), train=False)


def test_an_id_beyond_the_vocabulary_gives_no_other_tokens_answer() -> None:
    out = logits(model(), parameters(), TOKENS.at[0, 3].set(texts.VOCABULARY))
    assert np.isnan(out[0, 3:]).all() and np.isfinite(out[1]).all()


@pytest.mark.parametrize(("positions", "pattern"), KINDS)
def test_scan_and_remat_change_nothing(positions: str, pattern: str) -> None:
    options = {"positions": positions, "pattern": pattern}
    loop, other = model(**options), model(**options, scan_layers=True, remat="full")
    params = parameters(positions)

    def gradient(module, params):
        def loss(params):
            return (module.apply({"params": params}, TOKENS, train=True) ** 2).sum()

        return run.jit(jax.value_and_grad(loss))(params)

    value, plain = gradient(loop, params)
    other_value, scanned = gradient(other, stack_layers(params))
    np.testing.assert_allclose(value, other_value, rtol=1e-5)
    close(stack_layers(plain), scanned, 2e-3)
    text = str(
        jax.make_jaxpr(lambda p: other.apply({"params": p}, TOKENS, train=True))(
            stack_layers(params)
        )
    )
    assert "scan[" in text and ("remat2[" in text or "checkpoint[" in text)


@pytest.mark.parametrize("pattern", gpt.PATTERNS)
def test_attention_is_sown_by_head_and_layer(pattern: str) -> None:
    module, params = model(pattern=pattern), parameters()
    out, sown = run.apply(
        module, {"params": params}, TOKENS, train=False, mutable=["intermediates"]
    )
    weights = [w for w in jax.tree.leaves(sown) if w.ndim == 4]
    assert [w.shape for w in weights] == [(2, 4, 12, 12)] * 2
    np.testing.assert_allclose(weights[0].sum(-1), 1.0, atol=1e-6)
    close(out, logits(module, params))


@pytest.mark.parametrize("rate", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_is_for_training_only(rate: str) -> None:
    module, params = model(**{rate: 0.5}), parameters()
    close(logits(module, params), logits(model(), params))
    first, other = (
        run.apply(module, {"params": params}, TOKENS, seed=s, train=True) for s in (0, 1)
    )
    assert not np.allclose(first, other)


@pytest.mark.parametrize("positions", gpt.POSITIONS)
def test_half_precision_gives_float32_logits(positions: str) -> None:
    params = parameters(positions)
    exact, half = (
        logits(model(positions=positions, dtype=d), params) for d in ("float32", "bfloat16")
    )
    assert half.dtype == jnp.float32 and not np.array_equal(exact, half)
    np.testing.assert_allclose(half, exact, atol=0.3, rtol=0.1)


def test_depth_zero_reads_the_embedding_alone() -> None:
    module = model(depth=0)
    params = run.params(module, TOKENS)
    embedding, places = params["tokens"]["embedding"], params["positions"]["embedding"]
    x = embedding[TOKENS] + places[:12]
    normed = nn.LayerNorm(epsilon=1e-5).apply({"params": params["norm"]}, x)
    close(logits(module, params), normed @ embedding.T, 1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "relativ"}, "positions='relativ': expected one of learned, sinusoidal"),
        ({"pattern": "dense"}, "pattern='dense': expected one of full, window, bigbird"),
        ({"attention_kernel": "fast"}, "kernel 'fast': expected one of auto, xla"),
        ({"pattern": "window", "window": 0}, "window=0"),
        ({"max_length": 0}, "model.max_length: expected at least 1; not 0"),
        ({"heads": 0}, "model.heads=0"),
    ],
)
def test_values_that_no_field_accepts_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)


def test_what_the_data_does_not_say_is_asked_for() -> None:
    with pytest.raises(ValueError, match="max_length: expected at least 1; the data states none"):
        gpt.build(gpt.Config(), Info({}, vocab_size=5))
    with pytest.raises(ValueError, match="its vocab_size is 0"):
        gpt.build(gpt.Config(), Info({}, max_length=5))
    assert gpt.build(gpt.Config(), INFO).max_length == 32


@pytest.mark.parametrize(("field", "pattern"), [("window", "full"), ("block_size", "window")])
def test_sizes_of_another_pattern_do_nothing_and_are_refused(field: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=f"model.{field}=7 does nothing.* and that is {pattern}"):
        model(pattern=pattern, **{field: 7})
