"""tools.generate: a prompt in, text out, streamed as the model's own sampling would have it."""

import itertools
import json
import logging
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from models.text import rnn
from tests.tools.conftest import TrainedRun, train
from tools import codecs, command_line, generate, parts, resolve
from training.contracts import ConfigError

# Of a smoke run's rows.
BLOCK = 32


def values_of(*overrides: str) -> dict[str, Any]:
    """A small GPT on made-up characters, in rows of BLOCK."""
    file = {
        "model": {"name": "text.gpt", "width": 16, "depth": 1, "heads": 2, "mlp_width": 32},
        "data": {
            "pipeline": "blocks",
            "source": {"name": "tiny_shakespeare"},
            "splits": {"train": "train[:90%]", "val": "train[90%:]"},
            "tokenizer": {"name": "characters", "vocab_size": 65},
        },
        "task": {"name": "language_modelling"},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "evaluators": (
            {"name": "language_modelling", "split": "val", "every": 4},
            {"name": "language_modelling", "split": "val", "options": {"characters": True}},
            {"name": "generation", "split": "val"},
            {"name": "text_attention", "split": "val"},
        ),
        "train": {"steps": 12},
        "baseline": {"kind": "own", "metric": "val/nats", "direction": "min", "protocol": "a test"},
    }
    return resolve.resolve(file, overrides, smoke=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A finished language model."""
    values = values_of()
    values["model"]["max_length"] = None
    return train(tmp_path_factory.mktemp("gpt"), values)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls the program and returns what it prints, without the end of the line."""

    def call(run: TrainedRun, *argv: str) -> str:
        capsys.readouterr()
        assert generate.run([f"--workdir={run.folder}", *argv]) == 0
        return capsys.readouterr().out.removesuffix("\n")

    return call


def test_a_gpt_is_trained_and_reported_end_to_end(trained: TrainedRun) -> None:
    lines = [json.loads(line) for line in (trained.folder / "metrics.jsonl").open()]
    measured = [line for line in lines if line["split"] == "val"]
    assert {"nats", "bits_per_token", "perplexity"} <= set(measured[0])
    assert "bits_per_character" in measured[-1] or "bits_per_character" in measured[-2]
    assert measured[-1]["nats"] < measured[0]["nats"]
    figures = {path.stem for path in (trained.folder / "figures").rglob("*.npz")}
    assert any("continuations" in name for name in figures)
    assert any("heads_1" in name for name in figures)


def test_the_prompt_comes_first_and_the_text_is_that_of_the_length(trained, written) -> None:
    """Made-up ids are spelt "t7": a new token is a word more."""
    text = written(trained, "--prompt=ab", "--length=21", "--seed=1")
    assert re.fullmatch(r"(t\d+ ?)+", text) and len(text.split()) == 2 + 21
    codec = codecs.of_run(trained_values(trained))["text"]
    assert text.split()[:2] == codec.decode(codecs.encode(codec, "ab", "")).split()
    assert written(trained, "--prompt=ab", "--length=21", "--seed=1") == text
    assert written(trained, "--prompt=ab", "--length=21", "--seed=2") != text


def trained_values(run: TrainedRun) -> dict[str, Any]:
    return parts.values_of(str(run.folder))


def test_greedy_text_is_the_task_s_own(trained, written) -> None:
    """Streamed in calls of a few tokens, it is what one call of `generate` makes."""
    restored = parts.restore(str(trained.folder), "tested")
    task, params = restored.parts.algorithm.task, restored.state.params
    codec = codecs.of_run(restored.parts.values)["text"]
    prompt = np.array([codecs.encode(codec, "To be", "")], "i4")
    made = task.generate(params, {}, {"tokens": prompt}, jax.random.key(0), length=20)
    expected = codec.decode([*prompt[0], *np.asarray(made["tokens"])[0]])
    argv = ("--prompt=To be", "--length=20")
    assert written(trained, *argv, "--temperature=0") == expected
    assert written(trained, *argv, "--beams=1", "--temperature=0") == expected
    beams = task.generate(params, {}, {"tokens": prompt}, jax.random.key(0), length=20, beams=3)
    expected = codec.decode([*prompt[0], *np.asarray(beams["tokens"])[0]])
    assert written(trained, *argv, "--beams=3") == expected


def test_a_text_that_fits_the_cache_is_never_begun_again(trained, written, caplog) -> None:
    """Of 10 tokens and 22 the last call is of 6, where others are of 8; no token is forgotten."""
    logging.getLogger("reprise").addHandler(caplog.handler)
    restored = parts.restore(str(trained.folder), "tested")
    task, params = restored.parts.algorithm.task, restored.state.params
    codec = codecs.of_run(restored.parts.values)["text"]
    for count in (10, BLOCK - 3):
        prompt = np.array([codecs.encode(codec, "to be, or not to be: that is the"[:count], "")])
        length = BLOCK - count
        made = task.generate(params, {}, {"tokens": prompt}, jax.random.key(0), length=length)
        expected = codec.decode([*prompt[0], *np.asarray(made["tokens"])[0]])
        argv = ("--prompt=" + "to be, or not to be: that is the"[:count], "--temperature=0")
        assert written(trained, *argv, f"--length={length}") == expected
    assert "its last" not in caplog.text
    text = written(trained, "--prompt=" + "a" * BLOCK, "--temperature=0", "--length=3")
    assert len(text.split()) == BLOCK + 3
    assert "32 tokens: it is continued from its last 24" in caplog.text
    logging.getLogger("reprise").removeHandler(caplog.handler)


def test_a_full_cache_begins_again_with_the_last_tokens(trained, written) -> None:
    """Every token follows from at most BLOCK before it, as the uncached model has it."""
    text = written(trained, "--prompt=abcdefgh", "--length=70", "--temperature=0").split()
    assert len(text) == 78
    restored = parts.restore(str(trained.folder), "tested")
    task, params = restored.parts.algorithm.task, restored.state.params
    ids = [int(word[1:]) for word in text]
    chunk = BLOCK // 4
    # It is 8 tokens a call: from the 32nd token on, the 24 before a call are known to it.
    for start in range(BLOCK, 78 - chunk, chunk):
        tokens = np.array([ids[start - BLOCK + chunk : start + chunk - 1]], "i4")
        logits = task.model.apply({"params": params}, tokens, train=False)
        expected = np.asarray(logits[0, BLOCK - chunk - 1 :].argmax(-1)).tolist()
        assert ids[start : start + chunk] == expected


def test_text_streams_as_it_is_made(trained, monkeypatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        generate.Printer, "show", lambda self, text, whole=False: shown.append(text)
    )
    monkeypatch.setattr(generate.Printer, "end", lambda self: None)
    generate.run([f"--workdir={trained.folder}", "--prompt=a", "--length=20"])
    assert [len(text.split()) for text in shown] == [1, 9, 17, 21]
    assert all(later.startswith(text) for text, later in itertools.pairwise(shown))


def test_characters_are_printed_when_they_are_whole(capsys) -> None:
    out, printed = generate.Printer(), []
    for text in ("a", "a\ufffd", "aé", "aéb\ufffd"):
        out.show(text)
        printed.append(capsys.readouterr().out)
    out.end()
    assert printed == ["a", "", "é", "b"] and capsys.readouterr().out == "\ufffd\n"


def test_an_ensemble_writes_with_its_first_member(tmp_path: Path, written) -> None:
    values = values_of("train.ensemble=2", "evaluators=[]")
    run = train(tmp_path / "run", values)
    text = written(run, "--prompt=a", "--length=3", "--temperature=0")
    restored = parts.restore(str(run.folder), "tested")
    algorithm: Any = restored.parts.algorithm
    params = algorithm.member(restored.state, 0).params
    task = algorithm.algorithm.task
    codec = codecs.of_run(values)["text"]
    prompt = np.array([codecs.encode(codec, "a", "")], "i4")
    made = task.generate(params, {}, {"tokens": prompt}, jax.random.key(0), length=3)
    assert text == codec.decode([*prompt[0], *np.asarray(made["tokens"])[0]])


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A translation of real sums, which needs no file."""
    file = {
        "model": {"name": "text.transformer"},
        "data": {
            "pipeline": "texts",
            "source": {"name": "addition", "digits": 1},
            "tokenizer": {
                "name": "characters", "vocab_size": 15, "specials": ("pad", "bos", "eos")
            },
            "splits": {"train": "train", "val": "val", "test": "test"},
        },
        "task": {"name": "sequence_to_sequence"},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "evaluators": (
            {"name": "standard", "split": "test"},
            {"name": "translation", "split": "test"},
            {"name": "language_modelling", "split": "test"},
            {"name": "text_attention", "split": "test"},
        ),
        "train": {"steps": 12},
        "baseline": {"kind": "own", "metric": "test/exact_match", "protocol": "a test"},
    }  # fmt: skip
    values = {**resolve.resolve(file, smoke=True), "smoke": False}
    return train(tmp_path_factory.mktemp("adder"), values)


def test_a_translation_is_that_of_evaluation(adder: TrainedRun, written) -> None:
    """The prompt is read as the data's own sources are."""
    restored = parts.restore(str(adder.folder), "tested")
    pipeline = restored.parts.pipeline("test")
    batch = next(pipeline.batches(0))
    state: Any = restored.state
    penalised = {"beams": 3, "length_penalty": 2.0, "length": 2}
    for options, argv in (
        ({}, ()),
        ({"beams": 3}, ("--beams=3",)),
        (penalised, ("--beams=3", "--length_penalty=2", "--length=2")),
    ):
        task = restored.parts.algorithm.task
        made = task.generate(state.params, {}, batch, jax.random.key(0), **options)["tokens"]
        for row in range(3):
            source = pipeline.decode["source"](batch["source"][row])
            assert "+" in source
            expected = pipeline.decode["target"](np.asarray(made[row]))
            assert written(adder, f"--prompt={source}", *argv) == expected
    with pytest.raises(ConfigError, match="--prompt: 'x' is not among the 15 entries"):
        written(adder, "--prompt=1x2")
    with pytest.raises(ConfigError, match="99 tokens of a prediction: the model has 64 positions"):
        written(adder, "--prompt=1+2", "--length=99")
    with pytest.raises(ConfigError, match="--prompt has 42 tokens, but the model has read texts"):
        written(adder, "--prompt=" + "1" * 40)


def test_translations_are_reported_end_to_end(adder: TrainedRun) -> None:
    lines = [json.loads(line) for line in (adder.folder / "metrics.jsonl").open()]
    names = {"exact_match", "accuracy", "bleu", "sacrebleu", "length_ratio", "perplexity"}
    assert names <= set().union(*(line for line in lines if line["split"] == "test"))
    figures = {path.stem for path in (adder.folder / "figures").rglob("*.npz")}
    for name in ("translations", "alignment_1"):
        assert any(name in stem for stem in figures)


def test_a_recurrent_model_writes_on_without_an_end(tmp_path: Path, written) -> None:
    """Its carry is its cache: nothing is forgotten at the end of a row."""
    values = values_of("evaluators=[]", "train.steps=4")
    model = {"name": "text.rnn", **rnn.TINY}
    file = {k: v for k, v in values.items() if k not in ("smoke", "name")}
    run = train(tmp_path / "run", resolve.resolve({**file, "model": model}, smoke=True))
    text = written(run, "--prompt=ab", "--length=40", "--temperature=0")
    restored = parts.restore(str(run.folder), "tested")
    task, ids = restored.parts.algorithm.task, [int(word[1:]) for word in text.split()]
    assert task.limit == 0 and len(ids) == 42
    tokens = np.array([ids], "i4")
    logits = task.model.apply({"params": restored.state.params}, tokens, train=False)
    assert ids[2:] == np.asarray(logits[0, 1:-1].argmax(-1)).tolist()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prompt="], "holds no token"),
        (["--prompt=" + "a" * 33], "--prompt has 33 tokens, but the model remembers 32"),
        (["--prompt=a", "--length=0"], "--length=0"),
        (["--prompt=a", f"--seed={10**20}"], "a whole number from 0 to 2147483647"),
        (["--prompt=a", "--seed=-1"], "a whole number from 0 to 2147483647"),
        (["--prompt=a", "--temperature=-1"], "temperature is -1"),
        (["--prompt=a", "--top_p=2"], "top_p is 2"),
        (["--prompt=a", "--beams=2", "--temperature=1"], "beams is 2 and temperature is 1"),
        (["--prompt=a", "--beams=2", "--length=40"], "1 tokens of a prompt and 40 more"),
        (["--prompt=a", "--length_penalty=1"], "--length_penalty is for beams, and there is one"),
        (["--prompt=a", "--beams=2", "--length_penalty=-1"], "length_penalty is -1.0"),
        (["--prompt=a", "--checkpoint=7"], "it must be tested"),
    ],
)
def test_a_wrong_argument_is_one_line(trained, argv: list[str], message: str, capsys) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        generate.run([f"--workdir={trained.folder}", *argv])
    assert command_line.complain(caught.value) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_the_vocabulary_lacks_is_said(trained, monkeypatch) -> None:
    """A smoke run's tokenizer spells everything: the run is told that it is none."""
    from data.sources import tiny_shakespeare

    values = {**trained_values(trained), "smoke": False}
    assert tiny_shakespeare.build(tiny_shakespeare.Config()).alphabet
    codec = codecs.of_run(values)["text"]
    with pytest.raises(ConfigError, match="--prompt: 'é' is not among the 65 entries"):
        codecs.encode(codec, "café", "--prompt")


def test_a_run_that_generates_no_text_says_so(ensemble) -> None:
    with pytest.raises(ConfigError, match="'classification', which generates no text"):
        generate.run([f"--workdir={ensemble.folder}", "--prompt=a"])
