"""Classification: what its loss and metrics count, and what it says of a prediction."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.vision import vit
from tasks import classification
from tests.models import run
from tests.oracles import cross_entropy as oracle
from training.contracts import Info

B, K = 8, 7
KEY = jax.random.key(0)


class Given(nn.Module):
    """Logits are the image itself, times a parameter that starts at 1, with dropout before them."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, inputs, train):
        scale = self.param("scale", nn.initializers.ones, ())
        count = self.variable("statistics", "count", jnp.zeros, ())
        if train:
            count.value += 1.0
        x = nn.Dropout(self.rate, deterministic=not train)(inputs)
        return scale * x.reshape(len(x), -1)


def build(classes: int = K, model=None, **fields):
    config = classification.Config(**fields)
    return classification.build(config, model or Given(), Info({}, classes))


def batch(classes: int = K, mixed: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(B, 1, 1, classes)).astype("f4") * 3
    label = rng.integers(0, classes, B).astype("i4")
    if mixed:
        label = rng.dirichlet(np.ones(classes), B).astype("f4")
    return {"image": image, "label": label}


def loss(task, batch, train: bool, key=KEY, step: int = 0):
    params, mutable = task.init(KEY, batch)
    return run.jit(task.loss, static_argnums=5)(params, mutable, batch, key, jnp.int32(step), train)


@pytest.mark.parametrize("mixed", [False, True])
def test_loss_is_smoothed_in_training_and_plain_in_evaluation(mixed: bool) -> None:
    data, task = batch(mixed=mixed), build(label_smoothing=0.2)
    logits = data["image"].reshape(B, K)
    for train, smoothing in ((True, 0.2), (False, 0.0)):
        value, aux = loss(task, data, train)
        expected = oracle.cross_entropy(logits, data["label"], smoothing).mean()
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(aux.metrics["loss"].compute(), expected, rtol=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_accuracies_are_shares_of_the_batch(mixed: bool) -> None:
    """A mixed label counts as its likeliest class."""
    data = batch(mixed=mixed)
    label = data["label"].argmax(-1) if mixed else data["label"]
    _, aux = loss(build(), data, False)
    for name, k in (("accuracy", 1), ("top5", 5)):
        expected = oracle.in_top(data["image"].reshape(B, K), label, k).mean()
        np.testing.assert_allclose(aux.metrics[name].compute(), expected)


def test_top5_is_left_out_where_it_is_always_right() -> None:
    assert set(loss(build(5), batch(5), False)[1].metrics) == {"loss", "accuracy"}
    assert set(loss(build(6), batch(6), False)[1].metrics) == {"loss", "accuracy", "top5"}


@pytest.mark.parametrize("train", [False, True])
def test_padding_counts_nowhere(train: bool) -> None:
    """Whatever stands there, even labels out of range, loss, metrics and gradient are the same."""
    data, task = batch(), build(label_smoothing=0.1)
    mask = np.arange(B) < 5
    other = {k: np.where(mask.reshape((-1,) + (1,) * (v.ndim - 1)), v, 99) for k, v in data.items()}
    params, mutable = task.init(KEY, data)

    @run.jit
    def evaluated(data):
        def of(params):
            return task.loss(params, mutable, data, KEY, jnp.int32(0), train)

        (value, aux), gradient = jax.value_and_grad(of, has_aux=True)(params)
        return value, {k: m.total / m.count for k, m in aux.metrics.items()}, gradient

    alone = {k: v[:5] for k, v in data.items()}
    expected = evaluated(alone)
    assert loss(task, {**data, "mask": mask}, train)[1].metrics["loss"].count == 5
    for padded in (data, other):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
            evaluated({**padded, "mask": mask}),
            expected,
        )


def test_a_batch_of_padding_alone_is_zero_and_not_nan() -> None:
    value, aux = loss(build(), {**batch(), "mask": np.zeros(B, bool)}, False)
    assert value == 0.0 and aux.metrics["accuracy"].count == 0


def test_dropout_follows_key_and_step_in_training_only() -> None:
    data, task = batch(), build(model=Given(rate=0.5))
    values = {
        (train, seed, step): float(loss(task, data, train, jax.random.key(seed), step)[0])
        for train in (False, True)
        for seed, step in ((0, 0), (0, 1), (1, 0))
    }
    assert len({v for (train, *_), v in values.items() if train}) == 3
    assert len({v for (train, *_), v in values.items() if not train}) == 1
    assert float(loss(task, data, True)[0]) == values[True, 0, 0]


def test_only_training_changes_the_mutable_collections() -> None:
    for train, expected in ((True, 1.0), (False, 0.0)):
        assert loss(build(), batch(), train)[1].mutable["statistics"]["count"] == expected


def test_init_reads_no_data_and_jits() -> None:
    task, data = build(), batch()
    shapes = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in data.items()}
    abstract = jax.eval_shape(task.init, KEY, shapes)
    real = run.jit(task.init)(KEY, {**data, "image": np.full_like(data["image"], np.nan)})
    assert jax.tree.map(jnp.shape, real) == jax.tree.map(jnp.shape, abstract)
    assert set(real[1]) == {"statistics"} and real[1]["statistics"]["count"] == 0.0


def test_predict_gives_logits_and_their_softmax() -> None:
    task, data = build(model=Given(rate=0.5)), batch()
    del data["label"]
    params, mutable = task.init(KEY, data)
    arrays = run.jit(task.predict)(params, mutable, data, KEY)
    assert set(arrays) == {"logits", "probabilities"}
    logits = data["image"].reshape(B, K)
    np.testing.assert_allclose(arrays["logits"], logits)
    exponentials = np.exp(logits.astype(np.float64))
    expected = exponentials / exponentials.sum(-1, keepdims=True)
    np.testing.assert_allclose(arrays["probabilities"], expected, rtol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_explain_shows_attention_by_layer(scan: bool) -> None:
    """[b, layers, h, l, l], the layers in their order: ten would sort before two."""
    config = vit.Config(width=8, depth=11, heads=2, mlp_width=8, patch_size=2, scan_layers=scan)
    task = build(model=vit.build(config, Info({}, K)))
    data = {"image": np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype("f4")}
    params, mutable = run.jit(task.init)(KEY, data)
    arrays = run.jit(task.explain)(params, mutable, data, KEY)
    attention = arrays["attention"]
    assert attention.shape == (3, 11, 2, 5, 5) and attention.dtype == jnp.float32
    np.testing.assert_allclose(attention.sum(-1), 1.0, rtol=1e-5)
    if not scan:
        flat = dict(params)
        for name in ("query", "key"):
            last = flat["layer_10"]["attention"][name]
            flat["layer_10"]["attention"][name] = jax.tree.map(jnp.zeros_like, last)
        uniform = run.jit(task.explain)(flat, mutable, data, KEY)["attention"]
        np.testing.assert_allclose(uniform[:, 10], 0.2, rtol=1e-5)
        np.testing.assert_allclose(uniform[:, :10], attention[:, :10], rtol=1e-4, atol=1e-6)


def test_a_model_without_attention_explains_nothing() -> None:
    task, data = build(), batch()
    assert task.explain(*task.init(KEY, data), data, KEY) == {}


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes is 0"):
        build(0)
    with pytest.raises(ValueError, match=r"label_smoothing=1.0: expected \[0, 1\)"):
        build(label_smoothing=1.0)
