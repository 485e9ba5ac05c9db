"""A run remembers what its token ids mean: texts that change under it are seen, and not guessed."""

import logging
from pathlib import Path

import pytest

from tests.tools.conftest import train
from tools import evaluate, generate, resolve
from training.contracts import DataError

BEFORE, AFTER = "the cat sat on the mat and the dog ran to the cat. " * 40, "quiz jumps vex box. "


def values_of(texts: Path, *overrides: str):
    """A small GPT on the commonest words of one's own texts."""
    file = {
        "model": {"name": "text.gpt", "width": 8, "depth": 1, "heads": 1, "mlp_width": 16},
        "data": {
            "pipeline": "blocks",
            "source": {"name": "text_folder", "path": str(texts), "document": "whole"},
            "splits": {"train": "train[:80%]", "val": "train[80%:]"},
            "tokenizer": {"name": "words", "vocab_size": 16},
            "block_size": 16,
            "batch_size": 4,
        },
        "task": {"name": "language_modelling"},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "evaluators": ({"name": "standard", "split": "val"},),
        "train": {"steps": 2},
        "baseline": {"kind": "own", "metric": "val/loss", "direction": "min", "protocol": "a test"},
    }
    return resolve.resolve(file, overrides)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder with one text."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(BEFORE)
    return tmp_path / "texts"


def test_texts_that_changed_are_refused_until_they_are_back(texts, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    train(run, values_of(texts))
    (texts / "b.txt").write_text(AFTER * 40)
    for again in (
        lambda: generate.run([f"--workdir={run}", "--prompt=the", "--length=3"]),
        lambda: evaluate.run([f"--workdir={run}", "--split=val"]),
        lambda: train(run, values_of(texts, "train.steps=4")),
    ):
        with pytest.raises(DataError, match=r"vocabulary\.json: .* another vocabulary .*tokenizer"):
            again()
    (texts / "b.txt").unlink()
    assert generate.run([f"--workdir={run}", "--prompt=the", "--length=3"]) == 0
    assert capsys.readouterr().out.startswith("the")


def test_other_texts_of_the_same_words_are_no_way_to_go_on(texts, tmp_path) -> None:
    """Their order would be another; that they lie elsewhere, or were written again, is nothing."""
    run = tmp_path / "run"
    train(run, values_of(texts))
    (texts / "a.txt").write_text(BEFORE)
    train(run, values_of(texts, "train.steps=4"))
    (texts / "a.txt").write_text(BEFORE + BEFORE)
    with pytest.raises(DataError, match=r"the texts are not those that this run learned from"):
        train(run, values_of(texts, "train.steps=6"))
    assert generate.run([f"--workdir={run}", "--prompt=the", "--length=3"]) == 0


def test_weights_of_another_vocabulary_are_a_warning(texts, tmp_path, caplog) -> None:
    logging.getLogger("reprise").addHandler(caplog.handler)
    train(tmp_path / "run", values_of(texts))
    begun = f"train.init_from={tmp_path / 'run'}"
    train(tmp_path / "same", values_of(texts, begun))
    assert "another vocabulary" not in caplog.text
    (texts / "b.txt").write_text(AFTER * 40)
    train(tmp_path / "other", values_of(texts, begun))
    assert "learned with another vocabulary (data.tokenizer:" in caplog.text
    logging.getLogger("reprise").removeHandler(caplog.handler)
