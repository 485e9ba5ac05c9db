"""BERT and its kin: the published sizes, what padding and token types do, and the heads."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.stack import stack_layers
from models.text import bert
from tests.models import run, texts
from tests.models.texts import INFO, close
from training.contracts import Info

SMALL = bert.Config(
    width=16, depth=2, heads=4, mlp_width=24, max_length=24, dropout_rate=0.0,
    attention_dropout_rate=0.0,
)  # fmt: skip
TOKENS = texts.tokens()
LENGTHS = jnp.asarray([12, 7])
MINI = {"width": 384, "depth": 6, "mlp_width": 1536}


def model(**changes) -> bert.BERT:
    return bert.build(dataclasses.replace(SMALL, **changes), INFO)


@cache
def parameters(**changes):
    return run.params(model(**changes), TOKENS)


def outputs(module, params, *inputs, **options):
    return run.apply(module, {"params": params}, *inputs, train=False, **options)


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head": "none"}, 109_482_240),
        ({"head": "mlm"}, 109_514_298),
        ({"head": "classes"}, 109_482_240 + 3 * 769),
        ({"head": "tokens"}, 109_482_240 - 768 * 769 + 3 * 769),
        ({"head": "none", "width": 1024, "depth": 24, "heads": 16, "mlp_width": 4096}, 335_141_888),
        ({"head": "none", "depth": 6, "token_types": 0, "pooler": "none"}, 66_362_880),
        ({"head": "classes", "depth": 6, "token_types": 0, "pooler": "relu"}, 66_955_779),
        ({"head": "none", **MINI}, 22_713_216),
    ],
)
def test_sizes_are_the_published_ones(changes, expected, scan) -> None:
    """BERT-base and -large, DistilBERT (with three classes in the fifth), MiniLM-L6-H384."""
    info = Info({}, num_classes=3, vocab_size=30_522)
    module = bert.build(bert.Config(**changes, scan_layers=scan), info)
    assert texts.count(module, texts.tokens(1, 4)) == expected


@pytest.mark.parametrize("pool", bert.POOLS)
@pytest.mark.parametrize("head", bert.HEADS)
def test_outputs_have_the_shapes_of_their_head(head: str, pool: str) -> None:
    module = model(head=head, pool=pool)
    found = outputs(module, run.params(module, TOKENS), TOKENS, LENGTHS)
    shapes = {
        "mlm": (2, 12, texts.VOCABULARY),
        "classes": (2, texts.CLASSES),
        "tokens": (2, 12, texts.CLASSES),
    }
    expected = {"hidden": (2, 12, 16), "pooled": (2, 16)}
    if head in shapes:
        expected["logits"] = shapes[head]
    assert {k: v.shape for k, v in found.items()} == expected
    assert {v.dtype for v in found.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("head", "pool"), [("mlm", "first"), ("classes", "mean")])
def test_padding_is_inert(head: str, pool: str) -> None:
    """A text in a longer batch, whatever stands behind it, is read as alone."""
    module, params = model(head=head, pool=pool), parameters(head=head, pool=pool)
    batch = outputs(module, params, TOKENS, LENGTHS)
    alone = outputs(module, params, TOKENS[1:, :7])
    close(batch["hidden"][1:, :7], alone["hidden"])
    close(batch["pooled"][1:], alone["pooled"])
    logits = batch["logits"][1:, :7] if head == "mlm" else batch["logits"][1:]
    close(logits, alone["logits"])


def test_every_token_sees_both_sides() -> None:
    module, params = model(), parameters()

    def middle(embedding):
        changed = {**params, "tokens": {"embedding": embedding}}
        return module.apply({"params": changed}, jnp.arange(12)[None], train=False)["hidden"][0, 5][
            0
        ]

    seen = np.any(np.asarray(run.jit(jax.grad(middle))(params["tokens"]["embedding"])), axis=1)
    assert seen[:12].all() and not seen[12:].any()


def test_types_tell_a_pairs_texts_apart() -> None:
    module, params = model(), parameters()
    types = jnp.asarray(np.arange(12) > 5, jnp.int32) * jnp.ones((2, 1), jnp.int32)
    plain = outputs(module, params, TOKENS)
    close(plain, outputs(module, params, TOKENS, None, jnp.zeros_like(TOKENS)))
    assert not np.allclose(plain["hidden"], outputs(module, params, TOKENS, None, types)["hidden"])
    without = model(token_types=0)
    params = run.params(without, TOKENS)
    assert "types" not in params
    close(outputs(without, params, TOKENS), outputs(without, params, TOKENS, None, types))


def test_masked_tokens_are_told_by_the_embedding_itself() -> None:
    """The decoder is tied: what is added to a token's vector is added to its logit."""
    module, params = model(), parameters()
    before = outputs(module, params, TOKENS)["logits"]
    biased = {**params, "bias": params["bias"] + 2.0 * (np.arange(texts.VOCABULARY) == 3)}
    after = outputs(module, biased, TOKENS)["logits"]
    added = np.broadcast_to(2.0 * (np.arange(texts.VOCABULARY) == 3), before.shape)
    np.testing.assert_allclose(after - before, added, atol=1e-5)
    # A token that does not occur, moved: only its own logit does.
    absent = int(np.setdiff1d(np.arange(texts.VOCABULARY), np.asarray(TOKENS))[0])
    moved = {"embedding": jnp.asarray(params["tokens"]["embedding"]).at[absent].add(1.0)}
    changed = outputs(module, {**params, "tokens": moved}, TOKENS)["logits"] != before
    np.testing.assert_array_equal(changed.any((0, 1)), np.arange(texts.VOCABULARY) == absent)


@pytest.mark.parametrize("pooler", ["tanh", "relu"])
def test_pooler_is_a_dense_layer_over_what_stands_for_the_text(pooler: str) -> None:
    module = model(head="classes", pooler=pooler, pool="mean")
    params = run.params(module, TOKENS)
    found = outputs(module, params, TOKENS, LENGTHS)
    mean = np.stack([h[:n].mean(0) for h, n in zip(found["hidden"], LENGTHS, strict=True)])
    dense = mean @ params["pooler"]["kernel"] + params["pooler"]["bias"]
    expected = np.tanh(dense) if pooler == "tanh" else np.maximum(dense, 0)
    close(found["pooled"], expected, 1e-4)
    logits = expected @ params["head"]["kernel"] + params["head"]["bias"]
    close(found["logits"], logits, 1e-4)


def test_scan_and_remat_change_nothing() -> None:
    loop, other = model(), model(scan_layers=True, remat="full")
    params = parameters()

    def gradient(module, params):
        def loss(params):
            found = module.apply({"params": params}, TOKENS, LENGTHS, train=True)
            return (found["logits"] ** 2).sum()

        return run.jit(jax.grad(loss))(params)

    plain, scanned = gradient(loop, params), gradient(other, stack_layers(params))
    close(stack_layers(plain), scanned, 2e-3)
    read = lambda p: other.apply({"params": p}, TOKENS, LENGTHS, train=True)  # noqa: E731
    text = str(jax.make_jaxpr(read)(stack_layers(params)))
    assert "scan[" in text and ("remat2[" in text or "checkpoint[" in text)


@pytest.mark.parametrize("rate", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_is_for_training_only(rate: str) -> None:
    module, params = model(**{rate: 0.5}), parameters()
    close(outputs(module, params, TOKENS), outputs(model(), params, TOKENS))
    first, other = (
        run.apply(module, {"params": params}, TOKENS, seed=s, train=True)["logits"] for s in (0, 1)
    )
    assert not np.allclose(first, other)


def test_half_precision_is_near_and_gives_float32() -> None:
    exact, half = (
        outputs(model(dtype=d), parameters(), TOKENS, LENGTHS) for d in ("float32", "bfloat16")
    )
    for name, array in half.items():
        assert array.dtype == jnp.float32 and not np.array_equal(array, exact[name])
        np.testing.assert_allclose(array, exact[name], atol=0.3, rtol=0.1)


def test_attention_is_sown_by_head_and_layer() -> None:
    _, sown = outputs(model(), parameters(), TOKENS, LENGTHS, mutable=["intermediates"])
    weights = jax.tree.leaves(sown)
    assert [w.shape for w in weights] == [(2, 4, 12, 12)] * 2
    assert not np.any(weights[0][1, :, :, 7:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "nsp"}, "head='nsp': expected one of none, mlm, classes, tokens"),
        ({"pool": "max"}, "pool='max': expected one of first, mean"),
        ({"pooler": "gelu"}, "pooler='gelu': expected one of tanh, relu, none"),
        ({"attention_kernel": "fast"}, "kernel 'fast'"),
    ],
)
def test_values_that_no_field_accepts_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="neither classes nor targets"):
        bert.build(dataclasses.replace(SMALL, head="classes"), Info({}, vocab_size=9))
    with pytest.raises(ValueError, match=r"25 tokens, and model\.max_length=24"):
        model().init(jax.random.key(0), texts.tokens(1, 25), train=False)
    regression = bert.build(
        dataclasses.replace(SMALL, head="classes"), Info({}, vocab_size=9, num_targets=1)
    )
    assert regression.num_outputs == 1
