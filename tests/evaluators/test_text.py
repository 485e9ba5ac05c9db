"""Evaluators of text against the packages and definitions that they follow."""

import math
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sklearn import metrics as oracle

from evaluators import (
    classification,
    generation,
    language_modelling,
    text_attention,
    token_classification,
    translation,
)
from evaluators.common import bleu, text
from training.contracts import ConfigError, Info, Mean, Pipeline
from training.figures import Heatmap, TextTable

WORDS = ["<pad>", "<unk>", "<bos>", "<eos>", "a", "dog", "cat", "runs", "sleeps", "."]
SPECIAL = {"pad": 0, "unk": 1, "bos": 2, "eos": 3}
INFO = Info({}, num_classes=3, class_names=("O", "B-X", "I-X"), special=SPECIAL)


def spell(ids: Any) -> str:
    """As a tokenizer of words decodes."""
    return " ".join(WORDS[int(i)] for i in ids if int(i) == 1 or int(i) > 3)


def sentence(ids: Any) -> str:
    """Up to the first eos."""
    listed = [int(i) for i in ids]
    return spell(listed[: listed.index(3)] if 3 in listed else listed)


DECODE = {"tokens": spell, "source": spell, "target": sentence}


class Compiled:
    """Answers with what the batch holds under "said_NAME", for each of the members."""

    def __init__(self, members: int = 1):
        self.algorithm: Any = SimpleNamespace(members=members, explain=None, generate=None)
        self.mesh = SimpleNamespace(shape={"data": 1, "fsdp": 1})
        self.asked: list[dict[str, Any]] = []

    def put(self, batch: dict[str, Any]) -> dict[str, Any]:
        return dict(batch)

    def _all(self, found: dict[str, Any]) -> dict[str, Any]:
        members = self.algorithm.members
        return {k: np.stack([v] * members) if members > 1 else v for k, v in found.items()}

    def predict(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        return self._all({k[5:]: v for k, v in batch.items() if k.startswith("said_")})

    explain = predict

    def evaluate(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        asked = (batch["targets"] >= 0) & batch["mask"][:, None]
        loss = Mean(np.where(asked, batch["nats"], 0).sum(), np.float64(asked.sum()))
        members = self.algorithm.members
        if members > 1:
            loss = Mean(*(np.full(members, v) for v in (loss.total, loss.count)))
        return {"loss": loss, "accuracy": loss}

    def generate(self, state: Any, batch: dict[str, Any], key: jax.Array, **options: Any) -> Any:
        self.asked.append({"options": options, **batch})
        rows = len(batch["tokens"])
        return self._all({"tokens": np.full((rows, options["length"]), 5, "i4")})


def run(
    module: Any,
    arrays: dict[str, np.ndarray],
    size: int = 3,
    members: int = 1,
    compiled: Compiled | None = None,
    references: Any = None,
    lossless: bool = True,
    **options: Any,
) -> Any:
    """The report on arrays [n, ...] in batches of `size`, other examples in the padding."""
    n = len(next(iter(arrays.values())))

    def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, n, size):
            rows = np.arange(first, first + size)
            batch = {name: value[rows % n] for name, value in arrays.items()}
            yield {**batch, "index": np.where(rows < n, rows, -1), "mask": rows < n}

    compiled = compiled or Compiled(members)
    pipeline = Pipeline(
        (), INFO, batches, lossless=lossless, decode=DECODE, references=references or {}
    )
    key = jax.random.key(0)
    state: Any = SimpleNamespace(key=key if members == 1 else jax.random.split(key, members))
    evaluate = module.build(module.Config(**options), compiled.algorithm, pipeline, None)
    return evaluate(compiled, state)


# --- BLEU and ROUGE

word = st.sampled_from("abcd")
sentences = st.lists(
    st.tuples(st.lists(word, max_size=9), st.lists(word, min_size=1, max_size=9)), min_size=1,
    max_size=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(sentences)
def test_corpus_bleu_is_sacrebleu_s_without_tokenizing_and_smoothing(pairs: Any) -> None:
    hypotheses, references = ([side[i] for side in pairs] for i in (0, 1))
    metric = sacrebleu.metrics.BLEU(tokenize="none", smooth_method="none", force=True)
    texts = [" ".join(h) for h in hypotheses], [[" ".join(r) for r in references]]
    expected = metric.corpus_score(*texts).score
    assert bleu.corpus_bleu(hypotheses, references) == pytest.approx(expected, abs=1e-6)


def test_sacrebleu_does_not_warn_of_words_that_are_meant_to_be_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = ["a dog runs ."] * 100
    score, signature = bleu.sacrebleu(texts, texts)
    assert score == pytest.approx(100.0) and "tok:13a" in signature
    assert not caplog.records


def test_bleu_of_papineni_s_example() -> None:
    """Section 2.1: "the" seven times has a modified precision of 2/7 where it comes twice."""
    reference = ["the", "cat", "is", "on", "the", "mat"]
    one = bleu.corpus_bleu([["the"] * 7], [reference], order=1)
    assert one == pytest.approx(100 * 2 / 7)
    assert bleu.corpus_bleu([reference], [reference]) == pytest.approx(100)
    assert bleu.corpus_bleu([reference[:5]], [reference]) == pytest.approx(100 * math.exp(-0.2))


@settings(max_examples=100, deadline=None)
@given(st.lists(word, max_size=9), st.lists(word, min_size=1, max_size=9))
def test_bleu_of_a_sentence_is_sacrebleu_s_with_one_added(said: list[str], true: list[str]) -> None:
    metric = sacrebleu.metrics.BLEU(
        tokenize="none", smooth_method="add-k", smooth_value=1, effective_order=False
    )
    expected = metric.sentence_score(" ".join(said), [" ".join(true)]).score
    assert bleu.sentence_bleu(said, true) == pytest.approx(expected, abs=1e-6)


# --- translations


def translations() -> dict[str, np.ndarray]:
    """Four pairs: written right, nearly, with an unknown word, and not at all."""
    target = np.array(
        [[2, 4, 5, 7, 9, 3, 0], [2, 4, 6, 8, 9, 3, 0], [2, 4, 1, 7, 9, 3, 0],
         [2, 4, 5, 8, 9, 3, 0]], "i4"
    )  # fmt: skip
    said = np.array(
        [[4, 5, 7, 9, 3, 0], [4, 6, 7, 9, 3, 0], [4, 1, 7, 9, 3, 0], [3, 0, 0, 0, 0, 0]], "i4"
    )
    lengths = np.full(4, 6, "i4")
    return {"source": target[:, ::-1].copy(), "source_lengths": lengths + 1, "target": target,
            "target_lengths": lengths, "said_tokens": said}  # fmt: skip


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("size", [3, 4])
def test_translations_are_scored_by_the_texts_of_the_data(size: int, members: int) -> None:
    """What the vocabulary does not know is in the references, and no unknown word is right."""
    raw = ["a dog runs .", "a cat sleeps .", "a horse runs .", "a dog sleeps ."]
    references = {"target": raw.__getitem__, "source": lambda i: f"source {i}"}
    report = run(translation, translations(), size, members, references=references, rouge=True)
    said = ["a dog runs .", "a cat runs .", "a <unk> runs .", ""]
    plain = sacrebleu.metrics.BLEU(tokenize="none", smooth_method="none", force=True)
    scores = {
        "bleu": plain.corpus_score(said, [raw]).score,
        "sacrebleu": sacrebleu.metrics.BLEU().corpus_score(said, [raw]).score,
        "length_ratio": 12 / 16,
    }
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    found = [scorer.score(true, text) for true, text in zip(raw, said, strict=True)]
    scores |= {k: 100 * np.mean([one[k].fmeasure for one in found]) for k in found[0]}
    assert set(report.scalars) == set(scores)
    for name, value in scores.items():
        np.testing.assert_allclose(report.scalars[name], value, rtol=1e-6)
        assert np.shape(report.scalars[name]) == ((2,) if members > 1 else ())
    table = report.figures["translations"]
    assert isinstance(table, TextTable) and "nrefs:1|case:mixed" in table.title
    assert table.rows[0] == ("100.0", "source 0", "a dog runs .", "a dog runs .")
    assert table.rows[-1] == ("0.0", "source 3", "a dog sleeps .", "")
    assert ("member 0" in table.title) == (members > 1)


def test_without_its_texts_the_data_s_ids_are_read() -> None:
    report = run(translation, translations(), examples=1)
    table = report.figures["translations"]
    assert [row[2] for row in table.rows] == ["a dog runs .", "a dog sleeps ."]
    assert table.rows[0][1] == ". runs dog a" and set(report.scalars) == {
        "bleu", "sacrebleu", "length_ratio"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "options"), [("sacrebleu.metrics", {}), ("rouge_score", {"rouge": True})]
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    module: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0].replace("_", "-")
    with pytest.raises(ConfigError, match=rf"pip install {package} \(the extra `text`\)"):
        run(translation, translations(), **options)


# --- language


def language() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.where(rng.random((7, 5)) < 0.3, -1, rng.integers(3, 10, (7, 5))).astype("i4")
    tokens = rng.integers(4, 10, (7, 5)).astype("i4")
    return {"targets": targets, "nats": rng.gamma(2.0, size=(7, 5)), "tokens": tokens}


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("size", [2, 7])
def test_perplexity_is_that_of_all_tokens_whatever_the_batches(size: int, members: int) -> None:
    data = language()
    report = run(language_modelling, data, size, members, characters=True)
    nats = data["nats"][data["targets"] >= 0]
    characters = sum(len(spell(row[row >= 0])) for row in data["targets"])
    expected = {
        "nats": nats.mean(),
        "bits_per_token": nats.mean() / math.log(2),
        "perplexity": math.exp(nats.mean()),
        "bits_per_character": nats.sum() / math.log(2) / characters,
    }
    assert set(report.scalars) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(report.scalars[name], value)
        assert np.shape(report.scalars[name]) == ((2,) if members > 1 else ())


def test_bits_of_characters_are_left_out_unless_asked_for() -> None:
    assert "bits_per_character" not in run(language_modelling, language()).scalars
    with pytest.raises(ConfigError, match="this one does not keep all of a text"):
        run(language_modelling, language(), characters=True, lossless=False)


@pytest.mark.parametrize("members", [1, 2])
def test_texts_are_continued_beside_how_they_go_on(members: int) -> None:
    data, compiled = language(), Compiled(members)
    report = run(generation, data, 4, members, compiled, examples=2, prompt=9, length=9, top_k=3)
    table = report.figures["continuations"]
    assert len(table.rows) == 2
    for row, tokens in zip(table.rows, data["tokens"], strict=False):
        assert row == (spell(tokens[:2]), "dog dog dog", spell(tokens[2:]))
    assert "3 tokens, temperature 0.8, top 3" in table.title
    (asked,) = compiled.asked
    assert asked["options"] == {"length": 3, "temperature": 0.8, "top_k": 3, "top_p": 1.0}
    np.testing.assert_array_equal(asked["tokens"], data["tokens"][:2, :2])


def test_only_documents_as_long_as_the_prompt_are_continued() -> None:
    data = language()
    segments = np.ones((7, 5), "i4")
    segments[0, 1:], segments[2, 0] = 2, 0
    table = run(generation, {**data, "segments": segments}, 4, examples=3).figures["continuations"]
    assert [row[0] for row in table.rows] == [spell(data["tokens"][i, :2]) for i in (1, 3)]
    assert not run(generation, {**data, "segments": 0 * segments}, 4).figures


def test_nothing_is_continued_where_nothing_is_generated() -> None:
    compiled = Compiled()
    del compiled.algorithm.generate
    assert not run(generation, language(), compiled=compiled).figures
    assert not run(generation, {"tokens": language()["tokens"]}).figures


# --- classes


def tagged(n: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, (n, 6)).astype("i4")
    logits = rng.normal(size=(n, 6, 3)).astype("f4")
    return {"labels": labels, "said_logits": logits + 1.5 * np.eye(3, dtype="f4")[labels]}


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("size", [6, 20])
def test_f1_of_tokens_is_scikit_learn_s(size: int, members: int) -> None:
    data = tagged()
    report = run(token_classification, data, size, members)
    asked = data["labels"] >= 0
    true, said = data["labels"][asked], data["said_logits"].argmax(-1)[asked]
    expected = {
        "micro_f1": oracle.f1_score(true, said, labels=[1, 2], average="micro"),
        "macro_f1": oracle.f1_score(true, said, average="macro"),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(report.scalars[name], value)
    assert set(report.scalars) == {"micro_f1", "macro_f1", "entity_f1"}
    np.testing.assert_array_equal(
        report.figures["confusion"].values, oracle.confusion_matrix(true, said)
    )
    assert [row[0] for row in report.figures["classes"].rows] == ["O", "B-X", "I-X"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", set()),
        ("B-X I-X O", {(0, 1, "X")}),
        ("B-X B-X", {(0, 0, "X"), (1, 1, "X")}),
        ("I-X I-Y B-Y I-Y", {(0, 0, "X"), (1, 1, "Y"), (2, 3, "Y")}),
        ("O I-X", {(1, 1, "X")}),
    ],
)
def test_entities_are_spans_of_one_kind(tags: str, expected: set[tuple[int, int, str]]) -> None:
    found = token_classification.entities(4, tags.split())
    assert found == {(4, *span) for span in expected}


def test_f1_of_entities_counts_whole_ones() -> None:
    names = ("O", "B-X", "I-X")
    true, said = np.array([1, 2, 0, 1]), np.array([1, 0, 0, 1])
    scores = token_classification.scores([(true, said)], names)
    assert scores["entity_f1"] == pytest.approx(0.5)
    others = token_classification.scores([(true, said)], ("a", "b", "c"))
    assert "entity_f1" not in others and others["micro_f1"] == pytest.approx(0.75)


@pytest.mark.parametrize("members", [1, 2])
def test_classes_of_texts_are_scored_as_those_of_images(members: int) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 20).astype("i4")
    probabilities = rng.dirichlet(np.ones(3), 20).astype("f4")
    data = {"tokens": rng.integers(4, 10, (20, 5)), "label": label,
            "said_probabilities": probabilities}  # fmt: skip
    report = run(classification, data, 6, members)
    expected = oracle.f1_score(label, probabilities.argmax(1), average="macro")
    np.testing.assert_allclose(report.scalars["macro_f1"], expected)
    assert set(report.figures) == {"confusion", "classes", "reliability", "mistakes"}
    wrong = [i for i in range(20) if probabilities[i].argmax() != label[i]]
    wrong.sort(key=lambda i: -probabilities[i].max())
    names = np.array(INFO.class_names)
    rows = [
        (names[label[i]], names[probabilities[i].argmax()], f"{probabilities[i].max():.2f}",
         spell(data["tokens"][i])) for i in wrong[:12]
    ]  # fmt: skip
    assert report.figures["mistakes"].rows == tuple(rows)


# --- where a model looks


def looking(causal: bool = False, cls: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weights = rng.random((5, 2, 3, 6, 6))
    weights = np.tril(weights) if causal else weights
    tokens = rng.integers(4, 10, (5, 6)).astype("i4")
    tokens[:, 0] = 2 if cls else 4
    return {"tokens": tokens, "lengths": np.full(5, 4, "i4"),
            "said_attention": weights / weights.sum(-1, keepdims=True)}  # fmt: skip


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    ("kind", "name"), [({"causal": True}, "the last token"), ({}, "all tokens")]
)
def test_heads_are_drawn_over_the_tokens_of_a_text(kind: dict, name: str, members: int) -> None:
    data = looking(**kind)
    report = run(text_attention, data, members=members, examples=2, heads=2)
    assert set(report.figures) == {"heads_1", "map_1", "heads_2", "map_2"}
    figure = report.figures["heads_2"]
    assert isinstance(figure, Heatmap) and f"attention of {name}" in figure.title
    assert figure.row_labels == ("head 1", "head 2")
    assert figure.column_labels == tuple(WORDS[i] for i in data["tokens"][1, :4])
    last = data["said_attention"][1, -1, :2, :4, :4]
    expected = last[:, -1] if "causal" in kind else last.mean(1)
    np.testing.assert_allclose(figure.values, expected)
    np.testing.assert_allclose(report.figures["map_2"].values, last.mean(0))


def test_the_class_token_is_the_query_where_there_is_one() -> None:
    data = looking(cls=True)
    weights, name = text_attention.seen(
        data["said_attention"][0, -1], data["tokens"][0], Info({}, special={"cls": 2})
    )
    assert name == "the class token"
    np.testing.assert_array_equal(weights, data["said_attention"][0, -1][:, 0])


def test_documents_of_a_causal_model_have_no_class_token() -> None:
    """Their bos goes by the name of cls, too, and sees nothing but itself."""
    special = {"bos": 2, "eos": 3, "cls": 2, "sep": 3}
    weights = np.tril(np.ones((2, 4, 4))) / np.arange(1, 5)[:, None]
    drawn, name = text_attention.seen(weights, np.array([2, 5, 6, 3]), Info({}, special=special))
    assert name == "the last token" and np.all(drawn == 0.25)
    pipeline = Pipeline((), Info({}, special=special), lambda start=0: iter(()))
    assert text.labels(pipeline, "tokens", [2, 3]) == ("<bos>", "<eos>")


def test_a_translation_is_drawn_as_an_alignment() -> None:
    data = translations()
    del data["said_tokens"]
    data["said_alignment"] = np.random.default_rng(0).random((4, 6, 7))
    report = run(text_attention, data, examples=1, tokens=3)
    figure = report.figures["alignment_1"]
    assert figure.row_labels == ("a", "dog", "runs")
    assert figure.column_labels == ("<pad>", "<eos>", ".")
    np.testing.assert_allclose(figure.values, data["said_alignment"][0, :3, :3])


def test_nothing_is_drawn_where_nothing_looks() -> None:
    data = looking()
    assert not run(text_attention, {"tokens": data["tokens"]}).figures
    assert not run(text_attention, {"label": np.zeros(3)}).figures
