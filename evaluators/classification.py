"""How a classifier is right and wrong: macro F1, ROC AUC, calibration, and where it is mistaken.

Letters: `m` members, `n` examples of the split, `k` classes. The figures are member 0's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from evaluators.common.passes import collect, each_batch, unpadded
from evaluators.common.pictures import class_name, displayable
from evaluators.common.text import cell, truth
from training import metrics
from training.config import bounded
from training.contracts import Algorithm, Info, Pipeline, Report, TrainState
from training.figures import Curve, Figure, Heatmap, Images, TextTable


@dataclass(frozen=True)
class Config:
    """Attributes:

    mistakes: how many of the most confident mistakes are shown.
    bins: intervals of confidence over which the calibration error is taken.
    """

    mistakes: int = 12
    bins: int = 15


TINY: dict[str, Any] = {"mistakes": 2}
# More classes than this are unreadable as a table by class.
_MOST_CLASSES_LISTED = 100


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report.

    Scalars: macro_f1, roc_auc, calibration_error, each [m] for an ensemble. Figures: confusion,
    classes, reliability, mistakes (where the batches hold images or texts).
    """
    del environment
    bounded(config.bins, 1, float("inf"), "evaluators: bins of 'classification'")
    bounded(config.mistakes, 0, float("inf"), "evaluators: mistakes of 'classification'")
    members = algorithm.members
    info = pipeline.info

    def run(compiled: Any, state: TrainState) -> Report:
        mistakes = Mistakes(config.mistakes, pipeline)
        parts: list[tuple[dict[str, np.ndarray], ...]] = []
        for local, batch, key in each_batch(compiled, state, pipeline):
            predicted = {"probabilities": compiled.predict(state, batch, key)["probabilities"]}
            names = ("label", "index", "mask", "tokens")
            read = {name: batch[name] for name in names if name in batch}
            stored = unpadded(predicted, read, members)
            first = stored[0]
            mistakes.add(first, local)
            parts.append(stored)
        each = [
            {k: np.concatenate([part[i][k] for part in parts]) for k in ("label", "probabilities")}
            for i in range(members)
        ]
        scalars = collect(
            [_scalars(one["label"], one["probabilities"], config.bins) for one in each]
        )
        where = "" if members == 1 else f" (member 0 of {members})"
        figures = _figures(each[0]["label"], each[0]["probabilities"], info, config.bins, where)
        if mistakes.found:
            figures["mistakes"] = mistakes.figure(where)
        return Report(scalars, figures)

    return run


def _scalars(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> dict[str, float]:
    finite = bool(np.isfinite(probabilities).all())
    confusion = metrics.confusion_matrix(
        labels, probabilities.argmax(axis=1), probabilities.shape[1]
    )
    return {
        "macro_f1": metrics.macro_f1(confusion) if finite else float("nan"),
        "roc_auc": metrics.roc_auc(labels, probabilities),
        "calibration_error": metrics.expected_calibration_error(labels, probabilities, bins),
    }


def _figures(
    labels: np.ndarray, probabilities: np.ndarray, info: Info, bins: int, where: str
) -> dict[str, Figure]:
    k = probabilities.shape[1]
    names = tuple(class_name(info, index) for index in range(k))
    confusion = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), k)
    figures: dict[str, Figure] = {
        "confusion": Heatmap(
            f"Confusion matrix{where}", confusion, names, names, "true class", "predicted class"
        )
    }
    if k <= _MOST_CLASSES_LISTED:
        figures["classes"] = _class_table(confusion, names, where)
    if np.isfinite(probabilities).all():
        confidence, accuracy, counts = metrics.reliability(labels, probabilities, bins)
        full = counts > 0
        figures["reliability"] = Curve(
            title=f"Confidence against accuracy{where}",
            x=confidence[full],
            series={"accuracy": accuracy[full]},
            sizes=counts[full],
            diagonal=True,
            x_label="mean confidence of a bin",
            y_label="accuracy",
        )
    return figures


def _class_table(confusion: np.ndarray, names: tuple[str, ...], where: str) -> TextTable:
    scores = metrics.class_scores(confusion)
    rows = []
    for index, name in enumerate(names):
        values = ("-" if np.isnan(s[index]) else f"{s[index]:.3f}" for s in scores)
        rows.append((name, *values, f"{confusion[index].sum():,}"))
    return TextTable(
        f"By class{where}", ("class", "precision", "recall", "F1", "examples"), tuple(rows)
    )


class Mistakes:
    """The `most` confident mistakes of a split, met batch by batch; no other example is kept.

    Every process holds the same list, and the images of those entries that its own batches had.
    """

    def __init__(self, most: int, pipeline: Pipeline):
        self._most, self._pipeline = most, pipeline
        # (confidence, index in the split, label, predicted), the most confident first.
        self.found: list[tuple[float, int, int, int]] = []
        self._images: dict[int, np.ndarray] = {}
        self._image_like: np.ndarray | None = None
        self._tokens: dict[int, np.ndarray] = {}

    def add(self, stored: Mapping[str, np.ndarray], local: Mapping[str, np.ndarray]) -> None:
        """Takes the unpadded examples [n] of one whole batch, and this process's part of it."""
        if not {"image", "tokens"} & set(local):
            return
        probabilities, labels, index = (stored[k] for k in ("probabilities", "label", "index"))
        predicted = probabilities.argmax(axis=1)
        confidence = probabilities.max(axis=1)
        wrong = np.flatnonzero((predicted != labels) & np.isfinite(confidence))
        new = [
            (float(confidence[i]), int(index[i]), int(labels[i]), int(predicted[i])) for i in wrong
        ]
        # Ties by position, so that the choice does not depend on the batch size.
        self.found = sorted(self.found + new, key=lambda entry: (-entry[0], entry[1]))[: self._most]
        wanted = {entry[1] for entry in self.found}
        if "tokens" in stored:
            met = dict(zip(index.tolist(), stored["tokens"], strict=True))
            self._tokens = {i: ids for i, ids in {**self._tokens, **met}.items() if i in wanted}
            return
        self._images = {i: image for i, image in self._images.items() if i in wanted}
        self._image_like = local["image"][0]
        for row, (position, real) in enumerate(zip(local["index"], local["mask"], strict=True)):
            if real and int(position) in wanted:
                self._images[int(position)] = np.array(local["image"][row])

    def figure(self, where: str) -> Images | TextTable:
        """The mistakes: images with captions such as "true 3, said 8 (0.99)", or rows of texts."""
        title, info = f"Most confident mistakes{where}", self._pipeline.info
        if self._tokens:
            rows = tuple(
                (class_name(info, label), class_name(info, said), f"{confidence:.2f}",
                 cell(truth(self._pipeline, "tokens", index, self._tokens[index])))
                for confidence, index, label, said in self.found
            )  # fmt: skip
            return TextTable(title, ("true", "said", "confidence", "text"), rows)
        assert self._image_like is not None, "figure() before any mistake was found"
        nothing = np.zeros_like(self._image_like)
        images = np.stack([self._images.get(entry[1], nothing) for entry in self.found])
        if jax.process_count() > 1:  # of each image, the first process that has it
            has = np.array([entry[1] in self._images for entry in self.found])
            images, has = multihost_utils.process_allgather((images, has))
            images = np.asarray(images)[np.asarray(has).argmax(axis=0), np.arange(len(self.found))]
        captions = tuple(
            f"true {class_name(info, label)}, said {class_name(info, said)} ({confidence:.2f})"
            for confidence, _, label, said in self.found
        )
        return Images(title, displayable(images, info), captions)
