"""How close what is written comes to the references: BLEU, sacreBLEU, ROUGE, the best and worst.

"bleu" is unsmoothed corpus BLEU-4 of words, as the data's tokenizer cuts them: the protocol of
pytorch-seq2seq's Multi30k tables. "sacrebleu" is sacreBLEU's own of the same texts (Post 2018,
arXiv:1804.08771), whose signature the table of translations states; it is comparable with others
only where those texts are neither lower-cased nor cut.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common import bleu
from evaluators.common.passes import collect, each_batch, unpadded
from evaluators.common.text import cell, decoder, truth
from training.config import bounded
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import TextTable


@dataclass(frozen=True)
class Config:
    """Attributes:

    examples: how many translations are shown of the best, and of the worst.
    rouge: whether ROUGE-1, -2 and -L are computed, as summaries are judged.
    """

    examples: int = 5
    rouge: bool = False


TINY: dict[str, Any] = {"examples": 2}


@dataclass(frozen=True)
class Written:
    """One example: what was read, what should have been written, and what was."""

    source: str
    reference: str
    hypothesis: str


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report.

    Scalars by member, in [0, 100]: bleu, sacrebleu, and with `rouge` rouge1, rouge2 and rougeL;
    length_ratio, the words written for one of the references. The figure "translations" is member
    0's. The algorithm predicts "tokens" [b, l]; batches hold "source" and "target".

    Raises:
      ConfigError: sacrebleu, or with `rouge` rouge-score, is not installed.
    """
    del environment
    bounded(config.examples, 0, float("inf"), "evaluators: examples of 'translation'")
    bleu.imported("sacrebleu", "sacrebleu")
    if config.rouge:
        bleu.imported("rouge_score", "rouge-score")
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        each: list[list[Written]] = [[] for _ in range(members)]
        for _, batch, key in each_batch(compiled, state, pipeline):
            predicted = {"tokens": compiled.predict(state, batch, key)["tokens"]}
            names = ("source", "source_lengths", "target", "target_lengths", "index", "mask")
            read = {name: batch[name] for name in names if name in batch}
            for found, stored in zip(each, unpadded(predicted, read, members), strict=True):
                found += written(stored, pipeline)
        scored = [_scores(found, config.rouge) for found in each]
        where = "" if members == 1 else f" (member 0 of {members})"
        figures = {}
        if config.examples:
            figures["translations"] = _table(each[0], config.examples, scored[0][1], where)
        return Report(collect([scalars for scalars, _ in scored]), figures)

    return run


def written(stored: dict[str, np.ndarray], pipeline: Pipeline) -> list[Written]:
    """The texts of the unpadded rows of a batch, by its arrays [n, ...]."""
    decode = decoder(pipeline, "target")
    rows = []
    for i in range(len(stored["tokens"])):
        texts = []
        for field in ("source", "target"):
            ids = stored[field][i][: stored[f"{field}_lengths"][i]]
            index = int(stored["index"][i]) if "index" in stored else i
            texts.append(truth(pipeline, field, index, ids))
        rows.append(Written(*texts, decode(stored["tokens"][i])))
    return rows


def _scores(rows: list[Written], rouge: bool) -> tuple[dict[str, float], str]:
    """(the scalars of one member, sacreBLEU's signature)."""
    hypotheses = [row.hypothesis for row in rows]
    references = [row.reference for row in rows]
    words = [text.split() for text in hypotheses], [text.split() for text in references]
    score, signature = bleu.sacrebleu(hypotheses, references)
    said, true = (sum(map(len, side)) for side in words)
    scalars = {
        "bleu": bleu.corpus_bleu(*words),
        "sacrebleu": score,
        "length_ratio": said / max(true, 1),
    }
    if rouge:
        scalars |= bleu.rouge(hypotheses, references)
    return scalars, signature


def _table(rows: list[Written], most: int, signature: str, where: str) -> TextTable:
    scores = [bleu.sentence_bleu(r.hypothesis.split(), r.reference.split()) for r in rows]
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], i))
    shown = order if len(order) <= 2 * most else order[:most] + order[-most:]
    listed = tuple(
        (f"{scores[i]:.1f}", *map(cell, (rows[i].source, rows[i].reference, rows[i].hypothesis)))
        for i in shown
    )
    columns = ("BLEU of the sentence", "source", "reference", "written")
    return TextTable(f"Best and worst; sacreBLEU {signature}{where}", columns, listed)
