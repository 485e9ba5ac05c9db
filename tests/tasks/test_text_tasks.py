"""Tasks of text: what their losses count, what is masked, what is written."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.text import rnn_seq2seq, transformer
from tasks import (
    language_modelling,
    masked_language_modelling,
    sequence_classification,
    sequence_to_sequence,
    token_classification,
)
from tests.models import run
from tests.oracles import cross_entropy as oracle
from tests.toys.talking import Reader, Talker, Translator
from training.contracts import ConfigError, Info

B, L, V = 6, 9, 11
KEY = jax.random.key(0)
SPECIAL = {"pad": 0, "unk": 1, "bos": 2, "eos": 3, "mask": 4}
INFO = Info({}, num_classes=3, vocab_size=V, special=SPECIAL)


def texts(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, L + 1, B).astype("i4")
    tokens = rng.integers(5, V, (B, L)).astype("i4")
    tokens[np.arange(L) >= lengths[:, None]] = 0
    return {"tokens": tokens, "lengths": lengths}


def language(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, V, (B, L + 1)).astype("i4")
    targets = np.where(rng.random((B, L)) < 0.3, -1, rows[:, 1:]).astype("i4")
    return {"tokens": rows[:, :-1], "targets": targets}


def pairs(seed: int = 0) -> dict[str, np.ndarray]:
    source, target = texts(seed), texts(seed + 1)
    written, lengths = target["tokens"], target["lengths"]
    written[:, 0] = 2
    written[np.arange(B), lengths - 1] = 3
    return {"source": source["tokens"], "source_lengths": source["lengths"],
            "target": written, "target_lengths": lengths}  # fmt: skip


def started(task: Any, batch: dict[str, np.ndarray]) -> Any:
    return run.jit(task.init)(KEY, batch)


def loss(task: Any, batch: dict[str, np.ndarray], train: bool, step: int = 0, key=KEY) -> Any:
    params, mutable = started(task, batch)
    return run.jit(task.loss, static_argnums=5)(params, mutable, batch, key, jnp.int32(step), train)


def expected(logits: Any, labels: np.ndarray, asked: np.ndarray, smoothing: float = 0.0) -> Any:
    """(mean cross-entropy, accuracy, tokens) of the asked tokens, by the oracle."""
    logits, labels = np.asarray(logits)[asked], labels[asked]
    nats = oracle.cross_entropy(logits, labels, smoothing)
    return nats.mean(), (logits.argmax(-1) == labels).mean(), len(labels)


MASK = np.array([True, True, False, True, True, False])


@pytest.mark.parametrize("train", [False, True])
def test_a_language_s_loss_is_the_mean_over_tokens_that_are_asked_for(train: bool) -> None:
    config = language_modelling.Config(label_smoothing=0.2)
    task = language_modelling.build(config, Talker(V), INFO)
    batch = {**language(), "mask": MASK}
    params, _ = started(task, batch)
    logits = task.model.apply({"params": params}, batch["tokens"], train=False)
    value, aux = loss(task, batch, train)
    asked = (batch["targets"] >= 0) & MASK[:, None]
    nats, accuracy, count = expected(logits, batch["targets"], asked, 0.2 if train else 0.0)
    np.testing.assert_allclose(value, nats, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["loss"].compute(), nats, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["accuracy"].compute(), accuracy, rtol=1e-5)
    assert aux.metrics["loss"].count == count


def test_a_language_s_predictions_are_log_probabilities_of_the_targets() -> None:
    task = language_modelling.build(language_modelling.Config(), Talker(V), INFO)
    batch = language()
    params, mutable = started(task, batch)
    found = task.predict(params, mutable, batch, KEY)["log_probabilities"]
    asked = batch["targets"] >= 0
    _, aux = loss(task, batch, False)
    np.testing.assert_allclose(-found[asked].mean(), aux.metrics["loss"].compute(), rtol=1e-5)
    assert not np.asarray(found)[~asked].any()


def masking(rate: float = 0.3) -> Any:
    config = masked_language_modelling.Config(rate=rate)
    return masked_language_modelling.build(config, Reader(V, tokens=True), INFO)


def test_masks_are_put_in_place_of_eight_of_ten_chosen_tokens() -> None:
    task = masking(0.25)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, V, (200, 50)).astype("i4")
    lengths = np.full(200, 40, "i4")
    batch = {"tokens": tokens, "lengths": lengths}
    seen, targets = map(np.asarray, task.masked(batch, KEY, jnp.arange(200)))
    chosen = targets >= 0
    np.testing.assert_array_equal(targets[chosen], tokens[chosen])
    np.testing.assert_array_equal(seen[~chosen], tokens[~chosen])
    assert not chosen[:, 40:].any() and not chosen[tokens < 5].any()
    assert chosen[:, :40][tokens[:, :40] >= 5].mean() == pytest.approx(0.25, abs=0.02)
    others = seen[chosen & (seen != 4)]
    assert others.min() >= 5 and others.max() == V - 1
    assert (seen[chosen] == 4).mean() == pytest.approx(0.8, abs=0.03)
    # A sixth of the tokens put in are the tokens themselves.
    kept = (seen[chosen] == tokens[chosen]).mean()
    assert kept == pytest.approx(0.1 + 0.1 / 6, abs=0.03)


def test_masks_are_drawn_anew_in_training_and_fixed_in_evaluation() -> None:
    task, batch = masking(), texts()
    other = jax.random.key(7)
    values = {
        train: [loss(task, batch, train, step, key)[0] for step, key in ((0, KEY), (1, other))]
        for train in (True, False)
    }
    assert values[True][0] != values[True][1] and values[False][0] == values[False][1]


def test_an_example_s_masks_in_evaluation_do_not_depend_on_its_batch() -> None:
    task = masking()
    batch = {**texts(), "index": np.arange(B)}
    whole = loss(task, batch, False)[1].metrics["loss"]
    parts = []
    for rows in ([4, 1, 0], [5, 2, 3]):
        parts.append(loss(task, {k: v[rows] for k, v in batch.items()}, False)[1].metrics["loss"])
    np.testing.assert_allclose(parts[0].merge(parts[1]).compute(), whole.compute(), rtol=1e-5)
    assert parts[0].count + parts[1].count == whole.count


def test_masks_are_filled_in_and_the_rest_is_kept() -> None:
    task, batch = masking(), texts()
    batch["tokens"][:, 1] = 4
    params, mutable = started(task, batch)
    found = task.predict(params, mutable, batch, KEY)
    tokens = np.asarray(found["tokens"])
    np.testing.assert_array_equal(np.delete(tokens, 1, 1), np.delete(batch["tokens"], 1, 1))
    logits = task.model.apply({"params": params}, batch["tokens"], batch["lengths"], train=False)
    np.testing.assert_array_equal(tokens[:, 1], logits["logits"][:, 1].argmax(-1))


@pytest.mark.parametrize("train", [False, True])
def test_a_translation_s_loss_leaves_out_the_padding(train: bool) -> None:
    config = sequence_to_sequence.Config(label_smoothing=0.1)
    task = sequence_to_sequence.build(config, Translator(V), INFO)
    batch = {**pairs(), "mask": MASK}
    params, _ = started(task, batch)
    inputs, labels = batch["target"][:, :-1], batch["target"][:, 1:]
    logits = task.model.apply(
        {"params": params}, batch["source"], batch["source_lengths"], inputs, train=False
    )
    value, aux = loss(task, batch, train)
    inside = np.arange(L - 1) < batch["target_lengths"][:, None] - 1
    asked = inside & MASK[:, None]
    nats, accuracy, count = expected(logits, labels, asked, 0.1 if train else 0.0)
    np.testing.assert_allclose(value, nats, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["accuracy"].compute(), accuracy, rtol=1e-5)
    assert aux.metrics["loss"].count == count and aux.metrics["exact_match"].count == 4
    changed = {**batch, "target": np.where(np.pad(inside, ((0, 0), (1, 0)), constant_values=True),
                                           batch["target"], 7)}  # fmt: skip
    np.testing.assert_allclose(loss(task, changed, train)[0], value, rtol=1e-6)


def tiny(part: Any, **fields: Any) -> Any:
    return part.build(part.Config(**{**part.TINY, **fields}), INFO)


MODELS = {
    "toy": Translator(V),
    "transformer": tiny(transformer, max_length=16),
    "bahdanau": tiny(rnn_seq2seq),
    "luong": tiny(rnn_seq2seq, attention="luong", cell="lstm"),
}


@pytest.mark.parametrize("model", MODELS, ids=list(MODELS))
def test_exact_matches_are_what_greedy_decoding_writes_whole(model: str) -> None:
    """Of targets that decoding itself wrote, token by token, all; of others, none."""
    config = sequence_to_sequence.Config(max_length=L - 1)
    task = sequence_to_sequence.build(config, MODELS[model], INFO)
    batch = pairs()
    params, mutable = started(task, batch)
    predict = run.jit(task.predict)
    tokens = np.asarray(predict(params, mutable, batch, KEY)["tokens"])
    target, lengths = whole(tokens)
    written = {**batch, "target": target, "target_lengths": lengths}
    evaluate = run.jit(task.loss, static_argnums=5)
    _, aux = evaluate(params, mutable, written, KEY, jnp.int32(0), False)
    assert aux.metrics["exact_match"].compute() == 1
    wrong = np.where(target[:, 1:2] == 5, 6, 5)
    written["target"] = np.concatenate([target[:, :1], wrong, target[:, 2:]], axis=1)
    _, aux = evaluate(params, mutable, written, KEY, jnp.int32(0), False)
    assert aux.metrics["exact_match"].compute() == 0


def whole(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(targets from bos on, their lengths) of what was written."""
    ended = tokens == 3
    lengths = np.where(ended.any(1), ended.argmax(1) + 1, tokens.shape[1]).astype("i4")
    return np.concatenate([np.full((len(tokens), 1), 2, "i4"), tokens], axis=1), lengths + 1


@pytest.mark.parametrize("model", MODELS, ids=list(MODELS))
def test_a_beam_s_score_is_that_of_the_whole_forward_pass(model: str) -> None:
    """The cache has followed its beams."""
    config = sequence_to_sequence.Config(max_length=7, beams=4, length_penalty=2.0)
    task = sequence_to_sequence.build(config, MODELS[model], INFO)
    batch = pairs()
    params, _ = started(task, batch)
    # Noise: an untrained transformer says the same to all.
    noise = np.random.default_rng(1)
    params = jax.tree.map(lambda a: a + 0.7 * noise.normal(size=a.shape).astype("f4"), params)
    found = run.jit(task.predict)(params, {}, batch, KEY)
    target, lengths = whole(np.asarray(found["tokens"]))
    logits = run.jit(lambda *inputs: task.model.apply({"params": params}, *inputs, train=False))(
        batch["source"], batch["source_lengths"], target[:, :-1]
    )
    nats = oracle.cross_entropy(np.asarray(logits).reshape(-1, V), target[:, 1:].reshape(-1))
    nats = nats.reshape(B, 7)
    inside = np.arange(7) < lengths[:, None] - 1
    expected = -(nats * inside).sum(1) / ((5 + lengths - 1) / 6) ** 2.0
    np.testing.assert_allclose(found["scores"], expected, rtol=1e-4, atol=1e-5)
    assert len(np.unique(target, axis=0)) > 1 and lengths.max() > 4


@pytest.mark.parametrize("model", ["transformer", "bahdanau", "luong"])
def test_an_alignment_gives_a_token_s_weights_to_the_source_alone(model: str) -> None:
    task = sequence_to_sequence.build(
        sequence_to_sequence.Config(max_length=8), MODELS[model], INFO
    )
    batch = pairs()
    params, mutable = started(task, batch)
    found = np.asarray(run.jit(task.explain)(params, mutable, batch, KEY)["alignment"])
    assert found.shape == (B, L - 1, L)
    np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-5)
    inside = np.arange(L) < batch["source_lengths"][:, None]
    assert not found[np.broadcast_to(~inside[:, None], found.shape)].any()


def test_translations_do_not_depend_on_the_target_and_follow_the_source() -> None:
    config = sequence_to_sequence.Config(max_length=7, beams=3, length_penalty=0.6)
    task = sequence_to_sequence.build(config, Translator(V), INFO)
    batch = pairs()
    params, mutable = started(task, batch)
    predict = run.jit(task.predict)
    found = predict(params, mutable, batch, KEY)
    assert found["tokens"].shape == (B, 7) and found["scores"].shape == (B,)
    other = predict(params, mutable, {**batch, "target": batch["target"][::-1]}, KEY)
    np.testing.assert_array_equal(found["tokens"], other["tokens"])
    turned = {**batch, "source": batch["source"][::-1],
              "source_lengths": batch["source_lengths"][::-1]}  # fmt: skip
    other = predict(params, mutable, turned, KEY)
    np.testing.assert_array_equal(found["tokens"][::-1], other["tokens"])
    assert len(np.unique(found["tokens"], axis=0)) > 1
    after = np.cumsum(np.asarray(found["tokens"]) == 3, axis=1) - (found["tokens"] == 3) > 0
    assert not np.asarray(found["tokens"])[after].any()


def test_teacher_forcing_is_handed_on_in_training_alone() -> None:
    batch = pairs()
    full, half = (
        sequence_to_sequence.build(
            sequence_to_sequence.Config(teacher_forcing=rate), Translator(V), INFO
        )
        for rate in (1.0, 0.5)
    )
    assert loss(full, batch, True)[0] != loss(half, batch, True)[0]
    assert loss(full, batch, False)[0] == loss(half, batch, False)[0]
    with pytest.raises(ConfigError, match="Talker reads all of a target at once"):
        sequence_to_sequence.build(half.config, Talker(V), INFO)


def test_classes_of_texts() -> None:
    config = sequence_classification.Config(label_smoothing=0.1)
    task = sequence_classification.build(config, Reader(3), INFO)
    batch = {**texts(), "label": (np.arange(B) % 3).astype("i4"), "mask": MASK}
    params, mutable = started(task, batch)
    logits = task.model.apply({"params": params}, batch["tokens"], batch["lengths"], train=False)
    for train in (False, True):
        value, aux = loss(task, batch, train)
        nats, accuracy, _ = expected(logits["logits"], batch["label"], MASK, 0.1 * train)
        np.testing.assert_allclose(value, nats, rtol=1e-5)
        np.testing.assert_allclose(aux.metrics["accuracy"].compute(), accuracy, rtol=1e-5)
    found = task.predict(params, mutable, batch, KEY)
    np.testing.assert_allclose(found["probabilities"].sum(-1), 1.0, rtol=1e-5)
    explained = task.explain(params, mutable, batch, KEY)
    assert explained["attention"].shape == (B, 1, 1, L, L)
    np.testing.assert_allclose(explained["embedding"], logits["pooled"], rtol=1e-5)


def test_token_types_reach_the_model() -> None:
    task = sequence_classification.build(sequence_classification.Config(), Reader(3), INFO)
    batch = {**texts(), "label": np.zeros(B, "i4")}
    values = [
        loss(task, {**batch, "token_types": np.full((B, L), kind, "i4")}, False)[0]
        for kind in (0, 1)
    ]
    assert values[0] != values[1]


@pytest.mark.parametrize("shape", [(B,), (B, 2)])
def test_numbers_of_texts(shape: tuple[int, ...]) -> None:
    targets = 1 if len(shape) == 1 else 2
    info = Info({}, num_targets=targets, vocab_size=V)
    task = sequence_classification.build(sequence_classification.Config(), Reader(targets), info)
    label = np.random.default_rng(0).normal(size=shape).astype("f4")
    batch = {**texts(), "label": label, "mask": MASK}
    params, mutable = started(task, batch)
    said = np.asarray(task.predict(params, mutable, batch, KEY)["prediction"])
    error = (said - label.reshape(said.shape))[MASK]
    value, aux = loss(task, batch, True)
    np.testing.assert_allclose(value, np.square(error).mean(), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["mae"].compute(), np.abs(error).mean(), rtol=1e-5)


def test_classes_of_tokens() -> None:
    task = token_classification.build(token_classification.Config(), Reader(3, tokens=True), INFO)
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, (B, L)).astype("i4")
    batch = {**texts(), "labels": labels, "mask": MASK}
    params, mutable = started(task, batch)
    logits = task.predict(params, mutable, batch, KEY)["logits"]
    value, aux = loss(task, batch, True)
    nats, accuracy, count = expected(logits, labels, (labels >= 0) & MASK[:, None])
    np.testing.assert_allclose(value, nats, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["accuracy"].compute(), accuracy, rtol=1e-5)
    assert aux.metrics["loss"].count == count


NOTHING, MASKS_ALONE = Info({}), Info({}, vocab_size=1, special={"mask": 0})


@pytest.mark.parametrize(
    ("module", "fields", "info", "message"),
    [
        (language_modelling, {}, NOTHING, "needs text"),
        (language_modelling, {"label_smoothing": 1.0}, INFO, "label_smoothing"),
        (masked_language_modelling, {}, Info({}, vocab_size=V), "needs a tokenizer with a mask"),
        (masked_language_modelling, {"rate": 0.0}, INFO, "task.rate"),
        (masked_language_modelling, {}, MASKS_ALONE, "only special"),
        (sequence_to_sequence, {}, Info({}, vocab_size=V, special={"eos": 0}), "with bos"),
        (sequence_to_sequence, {"max_length": 0}, INFO, "max_length"),
        (sequence_to_sequence, {"beams": 0}, INFO, "beams"),
        (sequence_to_sequence, {"teacher_forcing": 2.0}, INFO, "teacher_forcing"),
        (sequence_classification, {}, NOTHING, "classes or targets"),
        (token_classification, {}, NOTHING, "with classes"),
    ],
)
def test_what_does_not_fit_is_one_line(
    module: Any, fields: dict[str, Any], info: Info, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module.build(module.Config(**fields), Talker(V), info)
