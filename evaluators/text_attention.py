"""Where a model of text looks: heads over tokens, and which source a translation is aligned with.

Of each of the first texts: what the heads of the last layer give to its tokens, as the text's own
query sees them (that of the last token where attention is causal, of the class token where there is
one, else the mean over all), and that layer's mean over the heads, tokens by tokens. Of a
translation: what each token of the target gives to those of the source (Bahdanau et al. 2015,
arXiv:1409.0473, figure 3).

Letters: `b` texts, `h` heads, `l` tokens, `m` tokens of a source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import few, unpadded
from evaluators.common.text import labels
from training.compiled import evaluation_key
from training.config import bounded
from training.contracts import Algorithm, Info, Pipeline, Report, TrainState
from training.figures import Figure, Heatmap

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Config:
    """Attributes:

    examples: how many texts are shown, the first of the split.
    heads: how many heads at most.
    tokens: how many tokens of a text at most, its first.
    """

    examples: int = 2
    heads: int = 12
    tokens: int = 40


TINY: dict[str, Any] = {"tokens": 8}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with figures of member 0, numbered by text.

    "heads_1" and "map_1" of texts, or "alignment_1" of translations. The report is empty where the
    algorithm explains nothing, or returns no attention over tokens.
    """
    del environment
    for name in ("examples", "heads", "tokens"):
        where = f"evaluators: {name} of 'text_attention'"
        bounded(getattr(config, name), 1, float("inf"), where)
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        local = next(iter(pipeline.batches(0)))
        if not hasattr(algorithm, "explain") or not {"tokens", "source"} & set(local):
            return Report()
        whole = unpadded({}, compiled.put(local), members)[0]
        stored = {**whole, "mask": np.ones(len(next(iter(whole.values()))), bool)}
        shown = few(stored, config.examples, compiled.mesh)
        if local["mask"].ndim == 2:
            # Members with texts of their own all look at member 0's.
            shown = {name: np.stack([array] * members) for name, array in shown.items()}
        batch = compiled.put(shown)
        arrays = compiled.explain(state, batch, evaluation_key(state, "evaluate", 0))
        kept = {name: arrays[name] for name in ("attention", "alignment") if name in arrays}
        found = unpadded(kept, batch, members)[0]
        where = "" if members == 1 else f" (member 0 of {members})"
        figures: dict[str, Figure] = {}
        if "alignment" in kept:
            for i in range(len(found["alignment"])):
                row = {name: array[i] for name, array in found.items()}
                title = f"Alignment of translation {i + 1}{where}"
                figures[f"alignment_{i + 1}"] = alignment(row, pipeline, config, title)
        elif "attention" in kept and "tokens" in found:
            for i in range(len(found["attention"])):
                row = {name: array[i] for name, array in found.items()}
                figures |= attention(row, pipeline, config, i + 1, where)
        return Report(figures=figures)

    return run


def alignment(row: Arrays, pipeline: Pipeline, config: Config, title: str) -> Heatmap:
    """Target by source: "alignment" [l - 1, m], whose first row wrote the target's second token."""
    source = row["source"][: row["source_lengths"]][: config.tokens]
    target = row["target"][1 : row["target_lengths"]][: config.tokens]
    return Heatmap(
        title,
        np.asarray(row["alignment"], np.float64)[: len(target), : len(source)],
        labels(pipeline, "target", target),
        labels(pipeline, "source", source),
        "target",
        "source",
    )


def attention(
    row: Arrays, pipeline: Pipeline, config: Config, number: int, where: str
) -> dict[str, Figure]:
    """{"heads_1": heads by tokens, "map_1": tokens by tokens} of "attention" [layers, h, l, l]."""
    length = min(_length(row), config.tokens)
    tokens = row["tokens"][:length]
    last = np.asarray(row["attention"], np.float64)[-1][: config.heads, :length, :length]
    names = labels(pipeline, "tokens", tokens)
    weights, query = seen(last, tokens, pipeline.info)
    heads = tuple(f"head {h + 1}" for h in range(len(last)))
    given, seeing = "token that is seen", "token that sees"
    return {
        f"heads_{number}": Heatmap(
            f"Text {number}, last layer: attention of {query}{where}",
            weights, heads, names, "head", given,
        ),
        f"map_{number}": Heatmap(
            f"Text {number}, last layer: attention, mean over the heads{where}",
            last.mean(axis=0), names, names, seeing, given,
        ),
    }  # fmt: skip


def seen(weights: np.ndarray, tokens: np.ndarray, info: Info) -> tuple[np.ndarray, str]:
    """([h, l] of [h, l, l]: what the text's own query gives to each token, the query's name)."""
    # First: bos, which documents may begin with, is known as cls too.
    if not np.triu(weights, 1).any():
        return weights[:, -1], "the last token"
    if "cls" in info.special and len(tokens) and tokens[0] == info.special["cls"]:
        return weights[:, 0], "the class token"
    return weights.mean(axis=1), "all tokens"


def _length(row: Arrays) -> int:
    """Tokens of a text's first document, without padding; at least 1."""
    if "lengths" in row:
        return max(int(row["lengths"]), 1)
    if "segments" in row:
        return max(int((row["segments"] == 1).sum()), 1)
    return len(row["tokens"])
