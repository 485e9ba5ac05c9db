"""How well the tokens of a text are labelled: micro and macro F1, F1 of entities, by class.

"micro_f1" leaves out the class "O", which is no finding; where no class has that name it is the
share of tokens that are right. Where the classes are spelt B-X, I-X and O, "entity_f1" counts whole
entities, right if their ends and kind are (Tjong Kim Sang and De Meulder 2003, CoNLL-2003); a
sequence of I-X without a B-X is an entity too, as conlleval has it.

Letters: `n` texts, `l` their length, `k` classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import collect, each_batch, unpadded
from evaluators.common.pictures import class_name
from training import metrics
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import Heatmap, TextTable

OUTSIDE = "O"


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


TINY: dict[str, Any] = {}
Span = tuple[int, int, int, str]


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report.

    Scalars by member, in [0, 1]: micro_f1, macro_f1, and entity_f1 where the classes are of
    entities. Figures, member 0's: confusion, classes. The algorithm predicts "logits" [b, l, k];
    batches hold "labels" [b, l], -1 where none is asked for.
    """
    del config, environment
    members, info = algorithm.members, pipeline.info
    names = tuple(class_name(info, index) for index in range(info.num_classes))

    def run(compiled: Any, state: TrainState) -> Report:
        each: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(members)]
        for _, batch, key in each_batch(compiled, state, pipeline):
            # Classes alone leave the device: the logits of a split might not fit the host.
            said = compiled.predict(state, batch, key)["logits"].argmax(-1)
            read = {name: batch[name] for name in ("labels", "mask")}
            for found, stored in zip(each, unpadded({"said": said}, read, members), strict=True):
                for labels, row in zip(stored["labels"], stored["said"], strict=True):
                    found.append((labels[labels >= 0], row[labels >= 0]))
        where = "" if members == 1 else f" (member 0 of {members})"
        confusion = _confusion(each[0], len(names))
        figures = {
            "confusion": Heatmap(
                f"Confusion matrix{where}", confusion, names, names, "true class", "said class"
            ),
            "classes": _table(confusion, names, where),
        }
        return Report(collect([scores(found, names) for found in each]), figures)

    return run


def scores(found: Sequence[tuple[np.ndarray, np.ndarray]], names: Sequence[str]) -> dict[str, Any]:
    """{"micro_f1", "macro_f1", "entity_f1"} of (true, said) classes of each text; NaN of nothing.

    There is no entity_f1 where the names are not of entities.
    """
    confusion = _confusion(found, len(names))
    counted = np.array([name != OUTSIDE for name in names])
    right = np.diagonal(confusion)[counted].sum()
    scalars = {
        "micro_f1": _f1(right, confusion[:, counted].sum(), confusion[counted].sum()),
        "macro_f1": metrics.macro_f1(confusion),
    }
    if OUTSIDE in names and all(n == OUTSIDE or n[:2] in ("B-", "I-") for n in names):
        true: set[Span] = set()
        said: set[Span] = set()
        for text, (labels, row) in enumerate(found):
            true |= entities(text, [names[i] for i in labels])
            said |= entities(text, [names[i] for i in row])
        scalars["entity_f1"] = _f1(len(true & said), len(said), len(true))
    return scalars


def entities(text: int, tags: Sequence[str]) -> set[Span]:
    """{(text, first token, last token, kind)} of tags such as B-X, I-X, O."""
    found: set[Span] = set()
    start, kind = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        head, _, own = tag.partition("-")
        if kind and (head != "I" or own != kind):
            found.add((text, start, place - 1, kind))
            kind = ""
        if tag != OUTSIDE and not kind:
            start, kind = place, own
    return found


def _f1(right: float, said: float, true: float) -> float:
    """2 right / (said + true); 0 where nothing is to be found, and nothing was."""
    return float(2.0 * right / (said + true)) if said + true else 0.0


def _confusion(found: Sequence[tuple[np.ndarray, np.ndarray]], classes: int) -> np.ndarray:
    pairs = [np.concatenate([row[side] for row in found]) for side in (0, 1)]
    return metrics.confusion_matrix(pairs[0], pairs[1], classes)


def _table(confusion: np.ndarray, names: Sequence[str], where: str) -> TextTable:
    by_class = metrics.class_scores(confusion)
    rows = []
    for index, name in enumerate(names):
        values = ("-" if np.isnan(s[index]) else f"{s[index]:.3f}" for s in by_class)
        rows.append((name, *values, f"{confusion[index].sum():,}"))
    columns = ("class", "precision", "recall", "F1", "tokens")
    return TextTable(f"By class{where}", columns, tuple(rows))
