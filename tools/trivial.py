"""What an answer costs that has learnt nothing: the number that a reader holds a result against.

Each is the best that its kind can do, chosen in hindsight on the split that it is measured on: no
constant answer is better there. Of members with splits of their own it is the mean over them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evaluators.common.bleu import corpus_bleu
from tools import pipelines
from training.contracts import Info

Arrays = Mapping[str, np.ndarray]


def trivial(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """{"name": what answers, "value": in the metric's unit} of a resolved config.

    None where nothing is known for its task and metric. Reads the split that the metric names.
    """
    split, _, metric = values["baseline"]["metric"].partition("/")
    rule = RULES.get((values["task"]["name"], metric))
    if rule is None:
        return None
    name, of, fields = rule
    pipeline = pipelines.build_pipeline(values, split)
    members = collected(pipeline.batches(0), fields) if fields else [{}]
    return {"name": name, "value": float(np.mean([of(one, pipeline.info) for one in members]))}


def collected(batches: Any, fields: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """The fields of a pass without its padding, by member: one where batches have no such axis.

    Rows of several lengths are filled up with -1.
    """
    parts: list[dict[str, list[np.ndarray]]] = []
    for batch in batches:
        mask = np.asarray(batch["mask"], bool)
        for i, own in enumerate(mask if mask.ndim == 2 else mask[None]):
            if i == len(parts):
                parts.append({name: [] for name in fields})
            for name in fields:
                array = np.asarray(batch[name])
                parts[i][name].append((array[i] if mask.ndim == 2 else array)[own])
    return [{name: _joined(arrays) for name, arrays in part.items()} for part in parts]


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    if arrays[0].ndim != 2 or arrays[0].dtype.kind == "f":
        return np.concatenate(arrays)
    longest = max(array.shape[1] for array in arrays)
    wide = [np.pad(a, ((0, 0), (0, longest - a.shape[1])), constant_values=-1) for a in arrays]
    return np.concatenate(wide)


def majority(arrays: Arrays, info: Info) -> float:
    """The accuracy of always saying the commonest label; -1 is none."""
    del info
    labels = arrays["label"].ravel()
    counts = np.bincount(labels[labels >= 0])
    return float(counts.max() / counts.sum())


def root_mean_square(arrays: Arrays, info: Info) -> float:
    """The error of always saying the mean, its square's root averaged over the targets [n, t]."""
    del info
    label = arrays["label"].astype(np.float64)
    return float(label.std(axis=0).mean())


def mean_absolute(arrays: Arrays, info: Info) -> float:
    """The error of always saying the median."""
    del info
    label = arrays["label"].astype(np.float64)
    return float(np.abs(label - np.median(label, axis=0)).mean())


def positives(arrays: Arrays, info: Info) -> float:
    """The average precision that scores at random are expected to have: the positives' share."""
    del info
    return float(arrays["label"].mean())


def random_rank(arrays: Arrays, info: Info) -> float:
    """The mean reciprocal rank that a random order of all nodes is expected to have."""
    del arrays
    return float((1.0 / np.arange(1, info.num_nodes + 1)).mean())


def entropy(arrays: Arrays, info: Info) -> float:
    """Nats a token of always saying how often each occurs; special tokens are not asked for."""
    tokens = next(iter(arrays.values())).ravel()
    asked = ~np.isin(tokens, [-1, *info.special.values()])
    counts = np.bincount(tokens[asked])
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def masked_entropy(arrays: Arrays, info: Info) -> float:
    """The same of texts "tokens" [n, l] that are padded beyond their "lengths" [n]."""
    inside = np.arange(arrays["tokens"].shape[1]) < arrays["lengths"][:, None]
    return entropy({"tokens": np.where(inside, arrays["tokens"], -1)}, info)


def _answers(arrays: Arrays, info: Info) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """(every answer's words without special tokens, the commonest answer: of such the longest)."""
    special = set(info.special.values()) - {info.special.get("unk")}
    pairs = zip(arrays["target"], arrays["target_lengths"], strict=True)
    answers = [tuple(str(t) for t in row[:length] if t not in special) for row, length in pairs]
    counted = Counter(answers)
    # By what they are and not by the order of the batches.
    return answers, max(counted, key=lambda answer: (counted[answer], len(answer), answer))


def same_answer(arrays: Arrays, info: Info) -> float:
    """The share of answers that are the commonest one."""
    answers, commonest = _answers(arrays, info)
    return answers.count(commonest) / len(answers)


def same_sentence(arrays: Arrays, info: Info) -> float:
    """BLEU of saying the commonest sentence to everything."""
    answers, commonest = _answers(arrays, info)
    return corpus_bleu([commonest] * len(answers), answers)


def half(arrays: Arrays, info: Info) -> float:
    """The area under the curve of scores at random."""
    del arrays, info
    return 0.5


Rule = tuple[str, Callable[[Arrays, Info], float], tuple[str, ...]]
MAJORITY: Rule = ("always the commonest class", majority, ("label",))
RANDOM = "scores at random"
PAIRS = ("target", "target_lengths")
# By task and metric: the name of what answers, what computes its number, what that reads.
RULES: Mapping[tuple[str, str], Rule] = {
    ("classification", "accuracy"): MAJORITY,
    ("node_classification", "accuracy"): MAJORITY,
    ("sequence_classification", "accuracy"): MAJORITY,
    ("token_classification", "accuracy"): MAJORITY,
    ("graph_prediction", "accuracy"): MAJORITY,
    ("graph_prediction", "rmse"): ("always the mean", root_mean_square, ("label",)),
    ("graph_prediction", "mae"): ("always the median", mean_absolute, ("label",)),
    ("link_prediction", "auc"): (RANDOM, half, ()),
    ("link_prediction", "ap"): (RANDOM, positives, ("label",)),
    ("knowledge_graph", "mrr"): ("a random order", random_rank, ()),
    ("language_modelling", "loss"): ("the entropy of single tokens", entropy, ("targets",)),
    ("masked_language_modelling", "loss"): (
        "the entropy of single tokens",
        masked_entropy,
        ("tokens", "lengths"),
    ),
    ("sequence_to_sequence", "exact_match"): ("always the commonest answer", same_answer, PAIRS),
    ("sequence_to_sequence", "sacrebleu"): ("always the commonest sentence", same_sentence, PAIRS),
    ("sequence_to_sequence", "bleu"): ("always the commonest sentence", same_sentence, PAIRS),
}


def known(values: Mapping[str, Any]) -> bool:
    """Whether there is one for a config's task and metric."""
    metric = values["baseline"]["metric"].partition("/")[2]
    return (values["task"]["name"], metric) in RULES
